"""Running a bpftrace script beside a workload: started, known to be attached, stopped, read.

bpftrace dies with the tool, even if that is killed: a tracer without its tool would go on to slow
down every process on the machine, and fill the disk with what nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import trio

from reactivate.errors import MeasurementError, MissingToolError
from reactivate.evidence import Pid, Tid
from reactivate.instrument.contract import Availability
from reactivate.instrument.tracefs import (
    MOUNT_HINT,
    has_tracepoint,
    mount_tracefs,
    tracefs_for_a_look,
)
from reactivate.procfs import task_folder, task_syscall
from reactivate.target.process import KeptProcess, StartError, spawn

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.5
"""More than bpftrace sleeps at a time on the way to its end, which is 0.1 s."""
_POLL_SECONDS = 0.005
_LAST_LINES = 6
_OLDEST = (0, 17)
"""Of Debian 12; what is older has never run these scripts, and 0.9 cannot parse them."""
_EVENTS = "anon_inode:[eventpoll]"
_JSON_LINE = '{"type": "printf", "data": "'

ENVIRONMENT = {
    # Events wait here until bpftrace reads them: 4 MiB per processor with pages of 4 KiB.
    "BPFTRACE_PERF_RB_PAGES": "1024",
    # Requests under way at one time, and distinct keys of every other map.
    "BPFTRACE_MAP_KEYS_MAX": "65536",
    # Without it the symbols of the program are read anew for each frame of each stack. It is
    # wrong only where several processes run one program at different addresses: we trace one.
    "BPFTRACE_CACHE_USER_SYMBOLS": "1",
}


class Tracer:
    """A running bpftrace and the file with what it says."""

    def __init__(self, process: KeptProcess, output: Path) -> None:
        self._process = process
        self._told = False
        self.output = output

    @property
    def pid(self) -> Pid:
        """Of bpftrace itself."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """What it has said so far, line by line; the last may be unfinished and is left out."""
        with self.output.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.endswith("\n"):
                    yield line.rstrip("\n")

    def has_said(self, word: str) -> bool:
        """Whether one of the lines that the script printed begins with the word.

        Not what bpftrace says of itself: it speaks of "attached_probes" before they are.
        """
        return any(line.startswith((word, f"{_JSON_LINE}{word}")) for line in self.lines())

    async def wait_for(
        self,
        seen: Callable[[], bool],
        *,
        provoke: Callable[[], object] | None = None,
        seconds: float = _START_SECONDS,
    ) -> None:
        """Wait until `seen` holds; do `provoke` before each look.

        Raises:
            MissingToolError: bpftrace ended, or did not get that far in time.
        """
        with trio.move_on_after(seconds):
            while self._process.running():
                if provoke is not None:
                    provoke()
                if seen():
                    return
                await trio.sleep(_POLL_SECONDS)
        if seen():
            return
        ended = not self._process.running()
        raise MissingToolError(
            "bpftrace ended at once" if ended else f"bpftrace saw nothing within {seconds:g} s",
            why="its last words:\n" + "\n".join(list(self.lines())[-_LAST_LINES:]),
            hint="reactivate doctor",
        )

    def tell_to_stop(self) -> None:
        """Ask it, once, to print its maps and end; `stop` waits for that."""
        if not self._told:
            self._told = True
            self._ask()

    async def stop(self) -> None:
        """Ask it to print its maps and end; everything it said is in `output` afterwards.

        Raises:
            MeasurementError: it did not end in time, so its result is incomplete.
        """
        self.tell_to_stop()
        ends = trio.current_time() + _STOP_SECONDS
        slept = False
        while not await self._process.wait(_LOOK_SECONDS):
            if trio.current_time() > ends:
                raise MeasurementError(
                    f"bpftrace did not end within {_STOP_SECONDS:g} s",
                    why="what it counted is lost",
                    hint="run the same step again",
                )
            # A signal that came while it was at work is seen at the next event, if there is one.
            # One that comes at its end makes it throw away what END says. On its way there it
            # sleeps, too, but for a tenth of a second, so one look does not tell.
            sleeps = self._sleeps()
            if slept and sleeps:
                self._ask()
            slept = sleeps

    def _ask(self) -> None:
        # It alone, and by one signal. SIGINT would kill it while it prints its maps.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def _sleeps(self) -> bool:
        """Whether it waits for events, and has not said its last word."""
        try:
            call = task_syscall(self.pid, Tid(self.pid))
            if call is None or not call.arguments:
                return False
            waits_on = (task_folder(self.pid) / "fd" / str(call.arguments[0])).readlink()
        except OSError:
            return False
        return str(waits_on) == _EVENTS and not self.has_said("end")


@asynccontextmanager
async def tracing(
    script: Path,
    arguments: Sequence[int | str],
    output: Path,
    *,
    form: str = "text",
    only: Pid | None = None,
) -> AsyncIterator[Tracer]:
    """bpftrace running a script; gone on leaving by whichever door.

    Args:
        script: a file of probes/trace.
        arguments: its positional parameters.
        output: file for everything it says.
        form: "text" or "json".
        only: put probes in functions into this process alone.

    Raises:
        MissingToolError: bpftrace is not installed, or tracefs cannot be mounted.
    """
    program = shutil.which("bpftrace")
    if program is None or not mount_tracefs():
        found = bpftrace_availability()
        raise MissingToolError(f"{script.name} cannot be run: {found.detail}", hint=found.hint)
    narrowed = [] if only is None else ["-p", str(only)]
    script = script.resolve()
    command = [program, "-B", "line", "-f", form, *narrowed, str(script), *map(str, arguments)]
    output.write_bytes(b"")
    process: KeptProcess | None = None
    try:
        try:
            process = spawn(
                command,
                environment=os.environ | ENVIRONMENT,
                # Not where we are: that may be the mount, which a tracer in it would keep.
                folder=output.parent.resolve(),
                log=output,
                stack_limit_bytes=None,
                traced=False,
            )
            await process.begin()
        except StartError as error:
            raise MissingToolError(f"{program} cannot be started", why=str(error)) from error
        yield Tracer(process, output)
    finally:
        if process is not None:
            with trio.CancelScope(shield=True):
                if process.running():
                    process.signal_group(signal.SIGKILL)
                # It may be in the kernel, taking its probes away: nothing interrupts that.
                await process.wait(_STOP_SECONDS)
                process.release()


def bpftrace_availability(*tracepoints: tuple[str, str]) -> Availability:
    """Whether bpftrace runs here and the kernel has the tracepoints (category, name)."""
    program = shutil.which("bpftrace")
    if program is None:
        return Availability(
            ready=False, detail="bpftrace is not installed", hint="sudo apt-get install bpftrace"
        )
    if os.geteuid() != 0:
        return Availability(
            ready=False, detail="bpftrace needs root", hint="run reactivate with sudo"
        )
    with tracefs_for_a_look() as there:
        if not there:
            return Availability(ready=False, detail="tracefs is not mounted", hint=MOUNT_HINT)
        for category, name in tracepoints:
            if not has_tracepoint(category, name):
                return Availability(
                    ready=False, detail=f"this kernel has no tracepoint {category}:{name}"
                )
        version, refusal = _trial(program)
    if _too_old(version):
        oldest = ".".join(map(str, _OLDEST))
        return Availability(
            ready=False,
            detail=f"bpftrace {version} is too old: the scripts need {oldest}",
            hint="sudo apt-get install bpftrace   with the packages of Debian 12 or newer",
        )
    if refusal:
        return Availability(
            ready=False,
            detail=f"bpftrace cannot load a program here: {refusal}",
            hint="a container needs --privileged, or --cap-add SYS_ADMIN and the kernel's BPF",
        )
    return Availability(ready=True, detail=f"ready (bpftrace {version})")


def _too_old(version: str) -> bool:
    """Whether a version is one, and too low; development builds are called by other names."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST


@cache
def _trial(program: str) -> tuple[str, str]:
    """Version, and why the smallest program cannot run ("" if it can). Once per process."""
    try:
        version = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
        trial = subprocess.run(
            [program, "-e", "BEGIN { exit(); }"],
            capture_output=True, text=True, timeout=20, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    said = version.stdout.split()
    number = said[-1].lstrip("v") if said else "of unknown version"
    if trial.returncode != 0:
        return number, (trial.stderr or trial.stdout).strip()[-300:] or "it says nothing"
    return number, ""
