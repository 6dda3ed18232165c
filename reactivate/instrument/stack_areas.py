"""Where the stacks of a process lie, how deep each can become, and how deep each is resident."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.paint import StackMemory
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
    """

    tid: Tid | None
    main: bool
    start: Address
    end: Address
    limit_bytes: int
    resident_bytes: int

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
            areas.append(_area(memory, mapping, tid=tid, limit=room if main else None))
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
        resident_bytes=_resident_bytes(memory, mapping),
    )


def _resident_bytes(memory: StackMemory, mapping: MemoryMapping) -> int:
    entries = memoryview(memory.pages(mapping.start, mapping.end)).cast("Q")
    for index, entry in enumerate(entries):
        if entry & _PRESENT_OR_SWAPPED:
            return mapping.end - (mapping.start + (index + 1) * PAGE_BYTES) + 1
    return 0
