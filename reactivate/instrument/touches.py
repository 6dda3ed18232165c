"""First touches of pages by a process, as the kernel's page faults show them.

Two tracers give the same result: bpftrace sees touches from user and kernel mode; perf sees
those from user mode only, and needs no root for one's own processes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from reactivate.errors import MeasurementError, MissingToolError
from reactivate.evidence import Pid
from reactivate.instrument.bpftrace import Tracer, bpftrace_availability, tracing
from reactivate.instrument.contract import Availability
from reactivate.instrument.probe_files import trace_probe
from reactivate.instrument.stack_areas import StackArea
from reactivate.instrument.touch import Touch, following, parse_bpftrace, parse_perf
from reactivate.procfs import PAGE_BYTES

SCRIPT = "stack_growth.bt"
_ACK_SECONDS = 20.0
_STOP_SECONDS = 20.0
_READ_SECONDS = 60.0
_POLL_SECONDS = 0.01


@dataclass(slots=True, kw_only=True)
class Recording:
    """What a tracer saw; complete when the tracer's context is left.

    Attributes:
        tracer: "bpftrace" or "perf".
        sees_kernel: whether touches by the kernel are in it.
        touches: in order of time.
        lost: events that came too fast to be read.
    """

    tracer: str
    sees_kernel: bool
    touches: list[Touch] = field(default_factory=list)
    lost: int = 0


def touches_availability() -> Availability:
    """bpftrace, else perf, else why neither."""
    first = bpftrace_availability(
        ("exceptions", "page_fault_user"), ("exceptions", "page_fault_kernel")
    )
    if first.ready:
        return first
    second = perf_availability()
    if second.ready:
        return Availability(ready=True, detail=f"{second.detail}; {first.detail}", hint=first.hint)
    return Availability(ready=False, detail=f"{first.detail}; {second.detail}", hint=first.hint)


def perf_availability() -> Availability:
    """Whether perf can record page faults of one's own processes."""
    perf = shutil.which("perf")
    if perf is None:
        return Availability(
            ready=False, detail="perf is not installed", hint="sudo apt-get install linux-perf"
        )
    try:
        trial = subprocess.run(
            [perf, "stat", "-e", "page-faults:u", "--", "true"],
            capture_output=True, text=True, timeout=20, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Availability(ready=False, detail=f"perf does not run: {error}")
    if trial.returncode != 0:
        return Availability(
            ready=False,
            detail="perf may not count page faults here",
            hint="sudo sysctl kernel.perf_event_paranoid=2",
        )
    return Availability(ready=True, detail="ready (perf, without the kernel's own touches)")


def choose_tracer(wanted: str) -> str:
    """`wanted`, or for "auto" the better one that works here.

    Raises:
        MissingToolError: neither works.
    """
    if wanted != "auto":
        return wanted
    if bpftrace_availability(("exceptions", "page_fault_user")).ready:
        return "bpftrace"
    if perf_availability().ready:
        return "perf"
    found = touches_availability()
    raise MissingToolError("page faults cannot be traced here", why=found.detail, hint=found.hint)


@asynccontextmanager
async def recording(
    pid: Pid,
    areas: tuple[StackArea, ...],
    folder: Path,
    tracer: str,
    *,
    live: Callable[[Touch], None] | None = None,
) -> AsyncIterator[Recording]:
    """Record the first touches of a process's pages while the body runs.

    The body starts when the tracer is proven to be attached. The main thread's touches are
    narrowed to its stack; those of other threads are not.

    Args:
        pid: the process.
        areas: its stacks as they are now.
        folder: for the tracer's own output.
        tracer: "bpftrace" or "perf".
        live: called with each touch while the body runs, in a thread of its own. Only with
            bpftrace: perf tells nothing before its end.
    """
    if tracer == "bpftrace":
        async with _by_bpftrace(pid, areas, folder, live) as found:
            yield found
    else:
        async with _by_perf(pid, areas, folder) as found:
            yield found


@asynccontextmanager
async def _by_bpftrace(
    pid: Pid,
    areas: tuple[StackArea, ...],
    folder: Path,
    live: Callable[[Touch], None] | None,
) -> AsyncIterator[Recording]:
    result = Recording(tracer="bpftrace", sees_kernel=True)
    main = [area for area in areas if area.main]
    low = min((area.floor for area in main), default=0)
    high = max((area.end for area in main), default=0)
    with _Canary() as canary:
        arguments = (pid, low, high, os.getpid(), canary.start, canary.end)
        output = folder / "growth-trace.txt"
        async with tracing(trace_probe(SCRIPT), arguments, output) as tracer:
            await tracer.wait_for(lambda: bool(canary.seen(tracer)), provoke=canary.touch)
            with following(output, live):
                yield result
                await _all_read(tracer, canary, pid)
            await tracer.stop()
            result.touches, result.lost = parse_bpftrace(tracer.lines())


async def _all_read(tracer: Tracer, canary: _Canary, pid: Pid) -> None:
    """Wait until the tracer has read what was touched before now.

    Raises:
        MeasurementError: it did not get there in time.
    """
    wanted = set()
    for processor in os.sched_getaffinity(pid):
        with _on_processor(processor):
            wanted.add(f"c {canary.touch():x}")
    with trio.move_on_after(_READ_SECONDS):
        while not wanted <= canary.seen(tracer) and not tracer.has_said("Lost "):
            await trio.sleep(_POLL_SECONDS)
        return
    raise MeasurementError(
        f"bpftrace has not read all page faults {_READ_SECONDS:g} s after the workload",
        why="the workload touches pages faster than it can write them down",
        hint="fewer repeats in configs/instruments.toml",
    )


@contextmanager
def _on_processor(processor: int) -> Iterator[None]:
    """Run the body on one processor, if this thread may."""
    usual = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class _Canary:
    """Fresh pages of our own, touched in both modes to see whether a tracer sees it."""

    _PAGES = 8192

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, self._PAGES * PAGE_BYTES, flags=mmap.MAP_PRIVATE)
        self._next = 0
        self._zero = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
        anchor = ctypes.c_char.from_buffer(self._map)
        self.start = ctypes.addressof(anchor)
        self.end = self.start + self._PAGES * PAGE_BYTES
        del anchor

    def __enter__(self) -> _Canary:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
        os.close(self._zero)

    def touch(self) -> int:
        """One page from user mode, one by the kernel; the address of the first."""
        at = self._next * PAGE_BYTES
        self._next = (self._next + 2) % self._PAGES
        if self._next == 0:
            self._map.madvise(mmap.MADV_DONTNEED)
        self._map[at] = 1
        view = memoryview(self._map)[at + PAGE_BYTES : at + PAGE_BYTES + 1]
        os.readv(self._zero, [view])
        view.release()
        return self.start + at

    def seen(self, tracer: Tracer) -> set[str]:
        """What the tracer has said of it: from the start, one line of each mode at least."""
        lines = {line for line in tracer.lines() if line.startswith(("c ", "d "))}
        return lines if {line[0] for line in lines} == {"c", "d"} else set()


@asynccontextmanager
async def _by_perf(
    pid: Pid, areas: tuple[StackArea, ...], folder: Path
) -> AsyncIterator[Recording]:
    result = Recording(tracer="perf", sees_kernel=False)
    data, log = folder / "growth-perf.data", folder / "growth-perf.log"
    control, answer = os.pipe(), os.pipe()
    try:
        command = [
            _perf(), "record", "-q", "-e", "page-faults:u", "-c", "1", "-d", "-D", "-1",
            "--control", f"fd:{control[0]},{answer[1]}", "-p", str(pid), "-o", str(data),
        ]  # fmt: skip
        with log.open("wb") as file:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                pass_fds=(control[0], answer[1]), start_new_session=True,
            )  # fmt: skip
        try:
            os.close(answer[1])
            answer = (answer[0], -1)
            await _enable(control[1], answer[0], log)
            yield result
            process.send_signal(signal.SIGINT)
            with trio.move_on_after(_STOP_SECONDS) as scope:
                await process.wait()
            if scope.cancelled_caught:
                raise MeasurementError("perf did not end", hint="run the same step again")
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
    finally:
        for descriptor in (*control, *answer):
            if descriptor >= 0:
                os.close(descriptor)
    found = await trio.run_process(
        [_perf(), "script", "-i", str(data), "-F", "tid,time,addr,ip", "-G",
         "--show-lost-events"],
        capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip
    if found.returncode != 0:
        raise MeasurementError(
            "perf cannot read its own recording", why=found.stderr.decode(errors="replace")[-500:]
        )
    lines = found.stdout.decode(errors="replace").splitlines()
    result.touches, result.lost = parse_perf(lines, areas, pid)


def _perf() -> str:
    perf = shutil.which("perf")
    if perf is None:
        raise MissingToolError("perf is not installed", hint="sudo apt-get install linux-perf")
    return perf


async def _enable(control: int, answer: int, log: Path) -> None:
    """Switch the events on; perf acknowledges when they are."""
    os.write(control, b"enable\n")
    with trio.move_on_after(_ACK_SECONDS):
        await trio.lowlevel.wait_readable(answer)
        if b"ack" in os.read(answer, 64):
            return
    raise MissingToolError(
        "perf did not start to record page faults",
        why=log.read_text(errors="replace")[-500:].strip() or "it said nothing",
        hint="reactivate doctor",
    )
