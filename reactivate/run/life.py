"""The stacks of one program over its life: painted at a thread's birth, read at its death.

Knows memory, not ptrace: whoever calls has stopped the thread. A newborn thread's stack is empty,
so everything below its stack pointer may be painted, what an earlier thread left there included.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace

from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.paint import Deepest, Paint, StackMemory, ThreadStack, paint, scan
from reactivate.procfs import (
    PAGE_BYTES,
    MemoryMapping,
    StackMapping,
    main_stack,
    main_stack_room_bytes,
    mapping_containing,
    memory_mappings,
    thread_name,
    thread_start_ticks,
)

_PRESENT_OR_SWAPPED = 0b11 << 62
_PATTERN = 0
_LARGEST_GUARD_BYTES = 64 * 1024
_ENTRY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBlock:
    """What clone(2) was told of a new thread's stack; sizes are unknown to the older call."""

    start: Address | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadLife:
    """How deep a thread went between its birth and its death.

    Attributes:
        tid: the thread.
        name: its name when it ended.
        main: whether it is the program's first thread.
        top: one past the highest address of its stack, where depths count from: the end of the
            main stack's mapping, or a thread's first stack pointer.
        limit_bytes: how deep its stack can become.
        depth_bytes: depth of the deepest byte that was surely written.
        at_most_bytes: the depth is not more than this; equal to `depth_bytes` where exact.
        reused: whether its stack held an earlier thread's bytes. They were painted over.
        measured: False if its stack could not be read; then the numbers mean nothing.
        note: what a reader must know, or "".
    """

    tid: Tid
    name: str
    main: bool
    top: Address
    limit_bytes: int
    depth_bytes: int
    at_most_bytes: int
    reused: bool
    measured: bool = True
    note: str = ""

    @property
    def exact(self) -> bool:
        """Whether `depth_bytes` is the truth and not only the least it can be."""
        return self.measured and self.depth_bytes == self.at_most_bytes


@dataclass(slots=True, kw_only=True)
class _Living:
    stack: ThreadStack
    painted: Paint | None
    reused: bool
    note: str = ""
    seen: Deepest = field(default_factory=lambda: Deepest(address=None, floor=None))


class Lives:
    """The threads of one program image; a context manager that holds its memory open."""

    def __init__(self, pid: Pid) -> None:
        self.pid = pid
        self._memory = StackMemory(pid)
        self._living: dict[Tid, _Living] = {}

    def __enter__(self) -> Lives:
        self._memory.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def __contains__(self, tid: object) -> bool:
        return tid in self._living

    def born(self, tid: Tid, sp: Address, block: StackBlock | None) -> None:
        """Paint the stack of a thread that has not run yet.

        Args:
            tid: the thread; stopped.
            sp: its stack pointer.
            block: where its stack lies; None for the main thread.
        """
        ticks = thread_start_ticks(self.pid, tid)
        if block is None:
            mapping = main_stack(self.pid)
            limit = main_stack_room_bytes(self.pid)
            note = ""
        else:
            low, note = _lower_end(block, sp, memory_mappings(self.pid))
            mapping = StackMapping(start=low, end=sp)
            limit = mapping.size_bytes
        stack = ThreadStack(
            tid=tid,
            start_ticks=ticks,
            main=block is None,
            mapping=mapping,
            limit_bytes=limit,
            sp=sp,
        )
        reused = block is not None and not note and self._resident_below(stack)
        painted = None if note else paint(self._memory, stack, pattern=_PATTERN)
        self._living[tid] = _Living(stack=stack, painted=painted, reused=reused, note=note)

    def dropping(self, start: int, end: int) -> None:
        """Memory is about to be thrown away: look at the stacks that lie in it first.

        All that is known of the dropped part is kept; from now on its pages are fresh.
        """
        for living in self._living.values():
            painted = living.painted
            if painted is None or end <= living.stack.mapping.start or start >= painted.high:
                continue
            living.seen = _deeper(living.seen, self._scan(living))
            low = min(max(painted.low, _page_up(end)), painted.high)
            if start > living.stack.mapping.start:
                living.note = "it dropped a part of its own stack; what lay below is not seen again"
            pages = max(0, low - living.stack.mapping.start) // PAGE_BYTES
            living.painted = replace(
                painted, low=Address(low), pages_below=bytes(pages * _ENTRY_BYTES)
            )

    def died(self, tid: Tid) -> ThreadLife | None:
        """Read the stack of a thread that will not run again; None if it was never seen."""
        living = self._living.pop(tid, None)
        if living is None:
            return None
        name = ""
        with contextlib.suppress(ProcessLookupError):
            name = thread_name(self.pid, tid)
        if living.painted is None:
            return _unmeasured(living, tid, name, living.note)
        try:
            found = _deeper(living.seen, self._scan(living))
        except (OSError, ProcessLookupError) as error:
            return _unmeasured(living, tid, name, f"its memory was gone: {error}")
        stack = living.stack
        deepest = stack.sp if found.address is None else min(found.address, stack.sp)
        floor = deepest if found.floor is None else min(found.floor, deepest)
        return ThreadLife(
            tid=tid,
            name=name,
            main=stack.main,
            top=stack.mapping.end,
            limit_bytes=stack.limit_bytes,
            depth_bytes=stack.mapping.end - deepest,
            at_most_bytes=stack.mapping.end - floor,
            reused=living.reused,
            note=living.note,
        )

    def lost(self) -> tuple[ThreadLife, ...]:
        """Threads that ended without being seen."""
        found = tuple(
            _unmeasured(living, tid, "", "it ended before its stack could be read")
            for tid, living in self._living.items()
        )
        self._living.clear()
        return found

    def _scan(self, living: _Living) -> Deepest:
        assert living.painted is not None
        stack = living.stack
        mapping = main_stack(self.pid) if stack.main else stack.mapping
        return scan(self._memory, living.painted, mapping)

    def _resident_below(self, stack: ThreadStack) -> bool:
        """Whether pages are there that the newborn thread cannot have touched itself."""
        pages = self._memory.pages(stack.mapping.start, stack.sp - stack.sp % PAGE_BYTES)
        return any(entry & _PRESENT_OR_SWAPPED for entry in memoryview(pages).cast("Q"))


def _lower_end(
    block: StackBlock, sp: Address, mappings: tuple[MemoryMapping, ...]
) -> tuple[Address, str]:
    """Lowest address of a stack, and why it must not be painted ("" if it may).

    A stack may be a piece of a larger mapping with other things in it: only what the thread's
    creator called the stack, or what has a guard below, is surely nothing else.
    """
    mapping = mapping_containing(mappings, sp - 1)
    if mapping is None or "w" not in mapping.permissions:
        return sp, "its stack pointer lies in no writable memory"
    if block.start is not None and block.size_bytes:
        return Address(max(_page_up(block.start), mapping.start)), ""
    below = next((m for m in mappings if m.end == mapping.start), None)
    guarded = below is not None and below.permissions.startswith("---")
    if guarded and below is not None and below.size_bytes <= _LARGEST_GUARD_BYTES:
        return mapping.start, ""
    return mapping.start, "where its stack ends is not known, so it was not painted"


def _deeper(one: Deepest, other: Deepest) -> Deepest:
    return Deepest(
        address=_lowest(one.address, other.address), floor=_lowest(one.floor, other.floor)
    )


def _lowest(one: Address | None, other: Address | None) -> Address | None:
    there = [address for address in (one, other) if address is not None]
    return min(there, default=None)


def _unmeasured(living: _Living, tid: Tid, name: str, note: str) -> ThreadLife:
    return ThreadLife(
        tid=tid,
        name=name,
        main=living.stack.main,
        top=living.stack.mapping.end,
        limit_bytes=living.stack.limit_bytes,
        depth_bytes=0,
        at_most_bytes=0,
        reused=living.reused,
        measured=False,
        note=note,
    )


def _page_up(address: int) -> int:
    return (address + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
