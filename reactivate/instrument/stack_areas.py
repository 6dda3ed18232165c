"""Where the stacks of a process lie, how deep each can become, and how deep each is resident."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, replace

from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.paint import PATTERNS, StackMemory
from reactivate.instrument.sleep import Sleepers
from reactivate.procfs import (
    PAGE_BYTES,
    MemoryMapping,
    main_stack_room_bytes,
    mapping_containing,
    memory_mappings,
)

_PRESENT_OR_SWAPPED = 0b11 << 62  # bits 63 and 62 of a pagemap entry
_LARGEST_GUARD_BYTES = 64 * 1024
_ENTRY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StackArea:
    """A thread's stack as it is laid out in memory.

    Attributes:
        tid: the thread; None for the stack of a thread that has ended.
        main: whether it is the stack that grows by itself, up to RLIMIT_STACK.
        start: lowest mapped address.
        end: one past the highest; depths count from here.
        limit_bytes: how deep it can become.
        resident_bytes: depth of the deepest byte that is surely touched: the last byte of the
            lowest resident page; 0 if no page is resident.
        idle_bytes: depth of the sleeping stack pointer; 0 where it is not known, of the stack of
            a thread that has ended.
    """

    tid: Tid | None
    main: bool
    start: Address
    end: Address
    limit_bytes: int
    resident_bytes: int
    idle_bytes: int = 0

    @property
    def thread(self) -> str:
        """As in `Measurement.thread`."""
        return "main" if self.main else "worker"

    @property
    def floor(self) -> Address:
        """The lowest address the stack can ever reach."""
        return Address(self.end - self.limit_bytes)

    def contains(self, address: int) -> bool:
        """Whether the address is in this stack or where it can still grow."""
        return self.floor <= address < self.end


def stack_areas(pid: Pid, *, deadline_seconds: float = 5.0) -> tuple[StackArea, ...]:
    """The stacks of all threads. Blocks until every thread sleeps.

    Raises:
        ThreadBusyError: they did not fall asleep.
        ProcessLookupError: the process has ended.
    """
    with Sleepers(pid, deadline_seconds=deadline_seconds) as sleepers, StackMemory(pid) as memory:
        looks = sleepers.wait_idle()
        mappings = memory_mappings(pid)
        room = main_stack_room_bytes(pid)
        areas = []
        for tid, look in looks.items():
            mapping = mapping_containing(mappings, look.call().sp)
            if mapping is None:
                continue
            main = mapping.path == "[stack]"
            area = _area(memory, mapping, tid=tid, limit=room if main else None)
            areas.append(replace(area, idle_bytes=mapping.end - look.call().sp))
    return tuple(areas)


def former_stacks(pid: Pid, known: tuple[StackArea, ...]) -> tuple[StackArea, ...]:
    """Mappings that look like stacks of threads that have ended: glibc keeps them for reuse.

    Such a mapping is anonymous and writable and lies directly above a small guard.
    """
    mappings = memory_mappings(pid)
    starts = {area.start for area in known}
    found = []
    with StackMemory(pid) as memory:
        for below, mapping in itertools.pairwise(mappings):
            guarded = (
                below.end == mapping.start
                and below.permissions.startswith("---")
                and below.size_bytes <= _LARGEST_GUARD_BYTES
            )
            writable = mapping.permissions.startswith("rw") and not mapping.path
            if guarded and writable and mapping.start not in starts:
                found.append(_area(memory, mapping, tid=None, limit=None))
    return tuple(found)


def _area(
    memory: StackMemory, mapping: MemoryMapping, *, tid: Tid | None, limit: int | None
) -> StackArea:
    return StackArea(
        tid=tid,
        main=limit is not None,
        start=mapping.start,
        end=mapping.end,
        limit_bytes=mapping.size_bytes if limit is None else limit,
        resident_bytes=resident_bytes(memory, mapping),
    )


def resident_bytes(memory: StackMemory, mapping: MemoryMapping) -> int:
    """Depth of the deepest byte of a stack that is surely touched; 0 if no page is there.

    Pages that are there because an instrument has painted them do not count.
    """
    entries = memory.pages(mapping.start, mapping.end)
    # Absent pages look all alike; comparing whole pieces is much faster than page by page.
    absent = entries[:_ENTRY_BYTES]
    if not absent:
        return 0
    skipped = 0 if _present(absent) else _equal_entries(entries, absent)
    for index, entry in enumerate(memoryview(entries)[skipped * _ENTRY_BYTES :].cast("Q"), skipped):
        if entry & _PRESENT_OR_SWAPPED:
            return mapping.end - _surely_touched(memory, mapping, index)
    return 0


def _surely_touched(memory: StackMemory, mapping: MemoryMapping, index: int) -> int:
    """The lowest address of which it is sure that the thread has touched it or one below.

    Args:
        index: of the lowest page that is there.
    """
    low = mapping.start + index * PAGE_BYTES
    for pattern in range(len(PATTERNS)):
        if memory.first_unpainted(low, low + PAGE_BYTES, pattern) is None:
            found = memory.first_unpainted(low, mapping.end, pattern)
            return mapping.end if found is None else found
    return low + PAGE_BYTES - 1


def _present(entry: bytes) -> bool:
    return bool(int.from_bytes(entry, sys.byteorder) & _PRESENT_OR_SWAPPED)


def _equal_entries(entries: bytes, entry: bytes) -> int:
    """How many entries from the first on are as `entry`; by halving."""
    low, high = 1, len(entries) // _ENTRY_BYTES + 1
    while high - low > 1:
        middle = (low + high) // 2
        if entries.startswith(entry * middle):
            low = middle
        else:
            high = middle
    return low
