"""Memory that a daemon asks for while it answers requests: mappings, and large allocations.

Counted inside the kernel by two bpftrace scripts. Where one of them cannot work, its numbers are
`NotMeasured` with the reason; the other's are not touched by that.
"""

from __future__ import annotations

import mmap
import os
import re
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reactivate.errors import MissingToolError
from reactivate.evidence import Measurement, NotMeasured, Pid
from reactivate.instrument import bpftrace_json
from reactivate.instrument.bpftrace import Tracer, bpftrace_availability, tracing
from reactivate.instrument.probe_files import trace_probe
from reactivate.procfs import MemoryMapping, memory_mappings, task_folder
from reactivate.units import format_bytes

MAPPED = "memory.mapped"
LARGE = "memory.large_allocations"
LARGE_BYTES = 1 << 20

_CALLS_SCRIPT = "memory_calls.bt"
_LARGE_SCRIPT = "large_allocations.bt"
_TRACEPOINTS = tuple(
    ("syscalls", name)
    for name in (
        "sys_enter_mmap", "sys_exit_mmap", "sys_exit_brk",
        "sys_enter_mremap", "sys_exit_mremap", "sys_enter_munmap",
    )
)  # fmt: skip
# glibc only: in others one of the functions calls another, and would be counted twice.
_C_LIBRARY = re.compile(r"/libc(\.so\.6|-2\.[0-9]+\.so)$")
_BREAKPOINT = 0xCC  # int3
_FUNCTIONS = 5
"""So many functions of the C library the script puts a probe into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one of the scripts counted, by call.

    Attributes:
        calls: how often; for the C library only the large ones.
        bytes: how many bytes in sum.
        largest_bytes: by a single call, by call or, for the C library, under "".
        where: callers, innermost first, with how often; only of large allocations.
    """

    calls: Mapping[str, int]
    bytes: Mapping[str, int]
    largest_bytes: Mapping[str, int]
    where: Mapping[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocations:
    """Both sides.

    Attributes:
        kernel: mmap, brk, mremap and munmap.
        library: allocations of at least `large_bytes` through the C library.
        large_bytes: what is large.
    """

    kernel: Counted | NotMeasured
    library: Counted | NotMeasured
    large_bytes: int


class AllocationTrace:
    """Traces one process while its context is open; `stop` gives what was counted."""

    def __init__(self, pid: Pid, folder: Path, *, large_bytes: int = LARGE_BYTES) -> None:
        self._pid = pid
        self._folder = folder
        self._large_bytes = large_bytes
        self._stack = AsyncExitStack()
        self._kernel: Tracer | NotMeasured = NotMeasured(reason="not begun")
        self._library: Tracer | NotMeasured = NotMeasured(reason="not begun")

    async def __aenter__(self) -> AllocationTrace:
        try:
            # Both take their time to start: first start them, then wait for them.
            self._kernel = await _or_why_not(self._start_kernel())
            self._library = await _or_why_not(self._start_library())
            self._kernel = await _or_why_not(self._kernel_attached(self._kernel))
            self._library = await _or_why_not(self._library_attached(self._library))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def stop(self) -> Allocations:
        """What was counted since the context was entered.

        Raises:
            MeasurementError: a tracer did not come to its end.
        """
        for tracer in (self._kernel, self._library):
            if isinstance(tracer, Tracer):
                # Each takes its time to take its probes away: first tell both, then wait.
                tracer.tell_to_stop()
        return Allocations(
            kernel=await _counted(self._kernel),
            library=await _counted(self._library),
            large_bytes=self._large_bytes,
        )

    async def _start_kernel(self) -> Tracer | NotMeasured:
        found = bpftrace_availability(*_TRACEPOINTS)
        if not found.ready:
            return NotMeasured(reason=found.detail)
        heap = [m.end for m in memory_mappings(self._pid) if m.path == "[heap]"]
        return await self._stack.enter_async_context(
            tracing(
                trace_probe(_CALLS_SCRIPT),
                (self._pid, max(heap, default=0), os.getpid()),
                self._folder / "memory-calls.jsonl",
                form="json",
            )
        )

    async def _kernel_attached(self, tracer: Tracer | NotMeasured) -> Tracer | NotMeasured:
        if isinstance(tracer, Tracer):
            await tracer.wait_for(lambda: tracer.has_said("attached"), provoke=_call_munmap)
        return tracer

    async def _start_library(self) -> Tracer | NotMeasured:
        found = bpftrace_availability()
        if not found.ready:
            return NotMeasured(reason=found.detail)
        code = self._library_code()
        if not code:
            return NotMeasured(
                reason="the daemon has no glibc mapped: it is linked statically, or allocates "
                "by other means"
            )
        return await self._stack.enter_async_context(
            tracing(
                trace_probe(_LARGE_SCRIPT),
                (code[0].path, self._pid, self._large_bytes),
                self._folder / "large-allocations.jsonl",
                form="json",
                only=self._pid,
            )
        )

    async def _library_attached(self, tracer: Tracer | NotMeasured) -> Tracer | NotMeasured:
        if isinstance(tracer, Tracer):
            code = self._library_code()
            # bpftrace reads what BEGIN said when all probes are attached. The breakpoints alone
            # may be another tracer's: the kernel puts those into this process, too.
            await tracer.wait_for(
                lambda: tracer.has_said("begin") and breakpoints(self._pid, code) >= _FUNCTIONS
            )
        return tracer

    def _library_code(self) -> list[MemoryMapping]:
        return [
            m
            for m in memory_mappings(self._pid)
            if "x" in m.permissions and _C_LIBRARY.search(m.path)
        ]


async def _or_why_not(attached: Awaitable[Tracer | NotMeasured]) -> Tracer | NotMeasured:
    """One side's failure is no reason to lose the other, and the requests."""
    try:
        return await attached
    except MissingToolError as error:
        return NotMeasured(reason=f"{error.what}: {error.why}" if error.why else error.what)


def _call_munmap() -> None:
    mmap.mmap(-1, mmap.PAGESIZE).close()


def breakpoints(pid: Pid, code: Iterable[MemoryMapping]) -> int:
    """How many instructions of a file's code are breakpoints in a process that maps it."""
    count = 0
    for mapping in code:
        live = task_folder(pid) / "mem"
        with Path(mapping.path).open("rb") as file, live.open("rb", buffering=0) as memory:
            file.seek(mapping.offset)
            original = file.read(mapping.size_bytes)
            memory.seek(mapping.start)
            present = memory.read(len(original))
        if present != original:
            count += sum(
                now == _BREAKPOINT != was for now, was in zip(present, original, strict=True)
            )
    return count


def not_asked_for(reason: str, large_bytes: int) -> Allocations:
    """Neither side was traced, and why."""
    neither = NotMeasured(reason=reason)
    return Allocations(kernel=neither, library=neither, large_bytes=large_bytes)


async def _counted(tracer: Tracer | NotMeasured) -> Counted | NotMeasured:
    if isinstance(tracer, NotMeasured):
        return tracer
    await tracer.stop()
    return parse_counts(tracer.lines())


@bpftrace_json.well_formed()
def parse_counts(lines: Iterable[str]) -> Counted | NotMeasured:
    """The maps that one of the scripts prints at its end, in bpftrace's JSON form.

    Raises:
        MeasurementError: they are of another form.
    """
    maps: dict[str, Any] = {}
    ended = False
    for event in bpftrace_json.events(lines):
        ended = ended or (event.get("type") == "printf" and event["data"].strip() == "end")
        if event.get("type") == "map":
            maps.update(event["data"])
    if not ended:
        return NotMeasured(reason="the tracer was ended before it could say what it counted")
    largest = maps.get("@largest", {})
    where: Counter[tuple[str, ...]] = Counter()
    for key, count in maps.get("@where", {}).items():
        where[_callers(key)] += int(count)
    return Counted(
        calls=maps.get("@calls", {}),
        bytes=maps.get("@bytes", {}),
        largest_bytes=largest if isinstance(largest, Mapping) else {"": largest},
        where=where,
    )


def _callers(key: str) -> tuple[str, ...]:
    """`store_vector`, `main`: until frame pointers lead to something without a name.

    Args:
        key: who called, then the stack from the allocating function on. At its entry that has no
            frame yet, so the one that called it is missing there.
    """
    caller, _, stack = key.partition(",\n")
    names = [caller]
    for line in stack.strip().splitlines()[1:]:
        symbol = line.strip().partition(" ")[2].rpartition(" (")[0]
        if not symbol or symbol.startswith("0x"):
            break
        names.append(symbol.rpartition("+")[0])
    return tuple(names)


def measurements(
    instrument: str, found: Allocations, evidence: str
) -> tuple[Measurement, Measurement]:
    """Bytes mapped, and the number of large allocations."""
    mapped: int | NotMeasured
    large: int | NotMeasured
    mapped_note = large_note = ""
    if isinstance(found.kernel, NotMeasured):
        mapped = NotMeasured(reason=f"mappings were not traced: {found.kernel.reason}")
    else:
        mapped = sum(size for call, size in found.kernel.bytes.items() if call != "munmap")
        mapped_note = f"given back: {format_bytes(found.kernel.bytes.get('munmap', 0))}"
    if isinstance(found.library, NotMeasured):
        large = NotMeasured(reason=f"allocations were not traced: {found.library.reason}")
    else:
        large = sum(found.library.calls.values())
        largest = max(found.library.largest_bytes.values(), default=0)
        large_note = f"of {format_bytes(found.large_bytes)} or more" + (
            f"; the largest {format_bytes(largest)}" if largest else ""
        )
    return (
        _measurement(MAPPED, mapped, instrument, evidence, mapped_note),
        _measurement(LARGE, large, instrument, evidence, large_note),
    )


def _measurement(
    metric: str, value: int | NotMeasured, instrument: str, evidence: str, note: str
) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        instrument=instrument,
        samples=() if isinstance(value, NotMeasured) else (value,),
        evidence=evidence,
        note=note,
    )


def as_json(found: Allocations) -> dict[str, Any]:
    """Both sides, for the evidence."""
    return {
        "large_bytes": found.large_bytes,
        "kernel": _side(found.kernel),
        "library": _side(found.library),
    }


def _side(counted: Counted | NotMeasured) -> dict[str, Any]:
    if isinstance(counted, NotMeasured):
        return {"not_measured": counted.reason}
    return {
        "calls": dict(counted.calls),
        "bytes": dict(counted.bytes),
        "largest_bytes": dict(counted.largest_bytes),
        "where": [
            {"callers": list(callers), "count": count}
            for callers, count in sorted(counted.where.items(), key=lambda item: -item[1])
        ],
    }
