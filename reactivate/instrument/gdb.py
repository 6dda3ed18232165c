"""gdb beside a process: wait at the deepest address of its stack, unwind there, let it go."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio

from reactivate.errors import MeasurementError, MissingToolError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.chain import Chain, Frame
from reactivate.instrument.contract import Availability
from reactivate.instrument.probe_files import trace_probe
from reactivate.procfs import (
    MemoryMapping,
    mapping_containing,
    memory_mappings,
    send_signal,
    task_folder,
)

SCRIPT = "deepest_gdb.py"
MOST_FRAMES = 50_000
MOST_WATCHPOINTS = 4
"""Debug registers of x86-64 and the least that aarch64 has."""

_ARM_SECONDS = 30.0
_POLL_SECONDS = 0.005
_ASK_AGAIN_SECONDS = 0.5
_THREAD_STARTS = frozenset(
    {"clone", "__clone", "clone3", "__clone3", "start_thread", "__bionic_clone"}
)


class Catch:
    """A gdb that waits at addresses of a process; from `catching`."""

    def __init__(
        self, pid: Pid, addresses: Sequence[Address], process: trio.Process, folder: Path, stem: str
    ) -> None:
        self._pid = pid
        self._process = process
        self.addresses = tuple(addresses)
        self.marker = folder / f"{stem}.armed"
        self.output = folder / f"{stem}.raw.json"
        self.log = folder / f"{stem}.gdb.log"
        self._mappings: tuple[MemoryMapping, ...] = ()

    async def armed(self) -> None:
        """Wait until the watchpoints are set.

        Raises:
            MeasurementError: gdb ended, or was not ready in time.
        """
        with trio.move_on_after(_ARM_SECONDS):
            while not self.marker.exists():
                if self._process.returncode is not None:
                    break
                await trio.sleep(_POLL_SECONDS)
        if not self.marker.exists():
            raise MeasurementError(
                "gdb did not get ready",
                why=self._error() or self._said(),
                hint="reactivate doctor",
            )

    async def result(self, *, seconds: float) -> Chain | None:
        """End the watch and return the chain at the deepest address that was hit.

        Call it when the operation is over: a watchpoint that was not hit will not be.

        Raises:
            MeasurementError: gdb failed; the process may be damaged and should be given up.
        """
        with trio.move_on_after(seconds):
            while self._process.returncode is None:
                # gdb stops at this signal and does not pass it on; and a process that gdb has
                # left already ignores it.
                send_signal(self._pid, signal.SIGWINCH)
                with trio.move_on_after(_ASK_AGAIN_SECONDS):
                    await self._process.wait()
        if not self.output.exists():
            raise MeasurementError("gdb left no result", why=self._said())
        if complaint := self._error():
            raise MeasurementError("gdb failed", why=complaint)
        data = json.loads(self.output.read_text(encoding="utf-8"))
        return None if data["chain"] is None else chain_of(self._pid, data["chain"])

    def _error(self) -> str:
        """What the script itself complained of, "" if nothing."""
        if not self.output.exists():
            return ""
        return str(json.loads(self.output.read_text(encoding="utf-8"))["error"])

    def _said(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return "its last words:\n" + "\n".join(lines[-6:]) if lines else "it said nothing"


@asynccontextmanager
async def catching(
    pid: Pid,
    addresses: Sequence[Address],
    folder: Path,
    stem: str,
    *,
    most_frames: int = MOST_FRAMES,
) -> AsyncIterator[Catch]:
    """gdb attached to a process with watchpoints on the addresses; detached on leaving.

    Args:
        pid: the process; it runs on as soon as gdb is armed.
        addresses: deepest first, at most four.
        folder: for gdb's files.
        stem: beginning of their names.
        most_frames: where unwinding gives up.
    """
    program, folder = _program(), folder.resolve()
    environment = os.environ | {
        "REACTIVATE_ADDRESSES": " ".join(f"{a:#x}" for a in addresses[:MOST_WATCHPOINTS]),
        "REACTIVATE_OUTPUT": str(folder / f"{stem}.raw.json"),
        "REACTIVATE_MARKER": str(folder / f"{stem}.armed"),
        "REACTIVATE_FRAMES": str(most_frames),
        # gdb's Python must not look into ours.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    for stale in ("raw.json", "armed"):
        (folder / f"{stem}.{stale}").unlink(missing_ok=True)
    command = [
        program, "-nx", "-batch",
        "-iex", "set debuginfod enabled off",
        "-iex", "set auto-load off",
        # Symbols are read when they are needed: at the deepest point.
        "-iex", "set auto-solib-add off",
        "-iex", "set print symbol-loading off",
        "-p", str(pid), "-x", str(trace_probe(SCRIPT)),
    ]  # fmt: skip
    with (folder / f"{stem}.gdb.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # Not where we are: that may be the mount whose daemon is about to stand still.
            cwd=folder,
            start_new_session=True,
        )
    catch = Catch(pid, addresses, process, folder, stem)
    try:
        yield catch
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                # The kernel detaches it from the process; a stop that was pending is undone.
                process.kill()
                await process.wait()
                send_signal(pid, signal.SIGCONT)
            await process.wait()
        catch.marker.unlink(missing_ok=True)


def chain_of(pid: Pid, data: Mapping[str, Any]) -> Chain:
    """The chain from what the gdb script wrote, with modules and frame sizes.

    The process must still be there.
    """
    raw = data["frames"]
    mappings = memory_mappings(pid)
    deepest = Address(int(data["address"]))
    stack = mapping_containing(mappings, deepest)
    top = stack.end if stack is not None else Address(int(raw[-1]["sp"]))
    start = _thread_start(pid, Tid(int(data["tid"])), raw, stack, top)
    # A leaf may write below its stack pointer, and a call that is being made is deeper, too.
    pointers = [min(int(raw[0]["sp"]), deepest), *(int(f["sp"]) for f in raw[1:]), start]
    stopped = str(data["stopped"])
    frames = []
    for frame, (low, high) in zip(raw, pairwise(pointers), strict=True):
        if high < low:
            stopped = stopped or f"the frame of {frame['function'] or '?'} goes upwards"
            break
        frames.append(_frame(frame, low, high - low, mappings))
    if stopped and frames:
        # Nothing is known of what lies above the last frame that was found.
        last = frames[-1]
        frames[-1] = _frame(raw[len(frames) - 1], last.sp, 0, mappings)
    return Chain(frames=tuple(frames), deepest=deepest, start=start, top=top, stopped=stopped)


def _frame(
    raw: Mapping[str, Any], sp: int, size: int, mappings: tuple[MemoryMapping, ...]
) -> Frame:
    pc = int(raw["pc"])
    mapping = mapping_containing(mappings, pc)
    in_file = mapping is not None and mapping.path != ""
    return Frame(
        function=str(raw["function"]),
        file=str(raw["file"]),
        line=int(raw["line"]),
        module=mapping.path if mapping is not None and in_file else "",
        offset=pc - mapping.start + mapping.offset if mapping is not None and in_file else pc,
        sp=Address(sp),
        size_bytes=size,
        inlined=bool(raw["inlined"]),
    )


def _thread_start(
    pid: Pid,
    tid: Tid,
    raw: Sequence[Mapping[str, Any]],
    stack: MemoryMapping | None,
    top: Address,
) -> Address:
    """Where the thread's first frame begins.

    The kernel keeps it for the main thread (field 28 of proc_pid_stat(5)); above it lie the
    arguments and the environment. Another thread's first frame is clone's; above it lie the
    thread's control block and its thread-local data.
    """
    if stack is not None and stack.path == "[stack]":
        text = (task_folder(pid, tid) / "stat").read_text(errors="replace")
        start = int(text.rpartition(")")[2].split()[25])
        if start and stack.contains(start):
            return Address(start)
    outermost = raw[-1]
    if outermost["function"] in _THREAD_STARTS:
        return Address(int(outermost["sp"]))
    return top


def _program() -> str:
    program = shutil.which("gdb")
    if program is None:
        raise MissingToolError("gdb is not installed", hint="sudo apt-get install gdb")
    return program


def gdb_availability() -> Availability:
    """Whether gdb is there, speaks Python, and may attach."""
    program = shutil.which("gdb")
    if program is None:
        return Availability(
            ready=False, detail="gdb is not installed", hint="sudo apt-get install gdb"
        )
    version, refusal = _trial(program)
    if refusal:
        return Availability(ready=False, detail=refusal, hint="sudo apt-get install gdb")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() == "3":
        return Availability(ready=False, detail="ptrace is forbidden on this machine until reboot")
    if scope.exists() and scope.read_text().strip() in "12" and os.geteuid() != 0:
        return Availability(
            ready=False,
            detail="gdb may not attach to other processes (kernel.yama.ptrace_scope)",
            hint="sudo sysctl kernel.yama.ptrace_scope=0",
        )
    return Availability(ready=True, detail=f"ready (gdb {version})")


@cache
def _trial(program: str) -> tuple[str, str]:
    """gdb's version, or why it is of no use. Once per process."""
    try:
        trial = subprocess.run(
            [program, "-nx", "-batch", "-ex", "python print('version', gdb.VERSION)"],
            capture_output=True, text=True, timeout=20, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"gdb does not run: {error}"
    for line in trial.stdout.splitlines():
        if line.startswith("version "):
            return line.split()[-1], ""
    return "", "gdb was built without Python"
