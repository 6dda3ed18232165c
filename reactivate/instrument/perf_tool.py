"""Running perf beside a workload, and reading what `perf stat` and `perf script` print."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from reactivate.errors import MeasurementError, MissingToolError, PrivilegeError, ReactivateError

INSTALL_HINT = "sudo apt-get install linux-perf"
PARANOID_HINT = "sudo sysctl kernel.perf_event_paranoid=1"
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_ACK_SECONDS = 20.0
_STOP_SECONDS = 60.0
_LAST_CHARACTERS = 500

_ABSENT = {
    "<not supported>": "not supported here: this machine or its hypervisor has no such counter",
    "<not counted>": "not counted: perf could not put the event on a counter during the workload",
}
_SAMPLE = re.compile(r"^\s*([\w./=:-]+?):?\s+([0-9a-f]+)\s+(.*?)\s\(((?:[^()]|\(deleted\))*)\)$")
# Events of a PMU may hold commas between slashes: `cpu/event=0x3c,umask=0x0/`.
_STAT_LINE = re.compile(
    r"^(?P<value>[^,]+),(?P<unit>[^,]*),(?P<event>(?:[^,/]|/[^/]*/)+),(?P<time>[^,]*),(?P<share>[^,]+)"
)
_LOST = re.compile(r"PERF_RECORD_LOST(?:_SAMPLES)?\b.*?\blost (\d{1,20})\b")
_NOBODY = "[unknown]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One line of `perf stat -x,`.

    Attributes:
        event: as asked for, with the modifier that perf added ("page-faults:u").
        value: None if there is none; then `absent` says why.
        unit: "msec", "MiB", or "" for a plain count.
        share: part of the time during which the event was on a counter; below 1 perf has
            scaled the value up.
        absent: the reason for no value.
    """

    event: str
    value: float | None
    unit: str
    share: float
    absent: str

    @property
    def user_only(self) -> bool:
        """Whether what happened in the kernel is not in it."""
        modifier = self.event.rpartition(":")[2] if ":" in self.event else ""
        return "u" in modifier and "k" not in modifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What `perf record` caught of one event.

    Attributes:
        total: number of samples.
        functions: (function, object file) → samples; unknown functions are `[unknown]`.
    """

    total: int
    functions: Mapping[tuple[str, str], int]

    @property
    def known(self) -> int:
        """Samples whose function is known."""
        return sum(n for (function, _), n in self.functions.items() if function != _NOBODY)


def perf() -> str:
    """Path of perf.

    Raises:
        MissingToolError: it is not installed.
    """
    program = shutil.which("perf")
    if program is None:
        raise MissingToolError("perf is not installed", hint=INSTALL_HINT)
    return program


def kernel_side_visible() -> bool:
    """Whether this user may count and sample what happens in the kernel.

    See the kernel's Documentation/admin-guide/perf-security.rst.
    """
    if os.geteuid() == 0:
        return True
    try:
        return int(_PARANOID.read_text(encoding="ascii")) < 2
    except (OSError, ValueError):
        return False


def refused_event(event: str) -> str:
    """Why perf does not understand the name of an event; "" if it does."""
    try:
        said = subprocess.run(
            [perf(), "stat", "-x,", "-e", event, "--", "true"],
            capture_output=True, text=True, errors="replace", timeout=_ACK_SECONDS,
            check=False, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if said.returncode == 0 or "event syntax error" not in said.stderr:
        return ""
    # The second line is a marker under the place, with the reason after it.
    lines = said.stderr.splitlines()
    return lines[1].strip(" \\_") if len(lines) > 1 else "event syntax error"


@asynccontextmanager
async def attached(arguments: Sequence[str], log: Path) -> AsyncIterator[None]:
    """perf with these arguments; its events are on exactly while the body runs.

    Args:
        arguments: subcommand, events, process and output file.
        log: for what perf itself says.

    Raises:
        PrivilegeError: the kernel does not let this user have the events.
        MissingToolError: perf did not start.
        MeasurementError: perf did not end, so its file is incomplete.
    """
    control, answer = os.pipe(), os.pipe()
    descriptors = {*control, *answer}
    try:
        command = [
            perf(), *arguments, "-D", "-1", "--control", f"fd:{control[0]},{answer[1]}",
        ]  # fmt: skip
        with log.open("wb") as file:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                pass_fds=(control[0], answer[1]), start_new_session=True,
            )  # fmt: skip
        try:
            # Without copies of perf's own ends its death is seen at once.
            for ours in (control[0], answer[1]):
                os.close(ours)
                descriptors.discard(ours)
            await _tell("enable", control[1], answer[0], log)
            yield
            await _tell("disable", control[1], answer[0], log)
            process.send_signal(signal.SIGINT)
            with trio.move_on_after(_STOP_SECONDS) as scope:
                await process.wait()
            if scope.cancelled_caught:
                raise MeasurementError(
                    f"perf did not end within {_STOP_SECONDS:g} s", hint="run the step again"
                )
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def _tell(word: str, control: int, answer: int, log: Path) -> None:
    """Send a command; perf acknowledges when it is done."""
    try:
        os.write(control, f"{word}\n".encode())
        with trio.move_on_after(_ACK_SECONDS):
            await trio.lowlevel.wait_readable(answer)
            if b"ack" in os.read(answer, 64):
                return
    except BrokenPipeError:
        pass
    raise not_started(log.read_text(encoding="utf-8", errors="replace"))


def not_started(said: str) -> ReactivateError:
    """The error for what perf said before it gave up."""
    words = said.strip()[-_LAST_CHARACTERS:] or "it said nothing"
    if "perf_event_paranoid" in said or "ermission" in said or "not permitted" in said:
        return PrivilegeError(
            "the kernel does not let this user count events", why=words, hint=PARANOID_HINT
        )
    return MissingToolError("perf did not start to measure", why=words, hint="reactivate doctor")


def parse_stat(lines: Iterable[str]) -> tuple[Count, ...]:
    """Read `perf stat -x,`: value, unit, event, run time, share in percent, and more.

    Raises:
        MeasurementError: a line is none of this.
    """
    found = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        fields = _STAT_LINE.match(line)
        if fields is None:
            raise _no_count(line)
        absent = _ABSENT.get(fields["value"], "")
        try:
            value = None if absent else float(fields["value"])
            share = float(fields["share"]) / 100
        except ValueError:
            raise _no_count(line) from None
        if not math.isfinite(share) or not (value is None or math.isfinite(value)):
            raise _no_count(line)
        found.append(
            Count(
                event=fields["event"],
                value=value,
                unit=fields["unit"],
                share=share,
                absent=absent,
            )
        )
    return tuple(found)


def _no_count(line: str) -> MeasurementError:
    return MeasurementError("perf stat printed a line that is not a count", why=line.strip())


def parse_script(lines: Iterable[str]) -> tuple[Mapping[str, Samples], int]:
    """Samples by event, and the number of lost ones, from `perf script -F event,ip,sym,dso`."""
    counters: dict[str, Counter[tuple[str, str]]] = {}
    lost = 0
    for line in lines:
        if found := _LOST.search(line):
            lost += int(found[1])
        elif found := _SAMPLE.match(line):
            event = found[1].partition("/")[0].partition(":")[0]
            counters.setdefault(event, Counter())[found[3], found[4]] += 1
    return {
        event: Samples(total=functions.total(), functions=dict(functions.most_common()))
        for event, functions in counters.items()
    }, lost
