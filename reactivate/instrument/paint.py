"""Painting and scanning the unused part of a sleeping thread's stack, from outside.

The lowest level of the watermark: it knows addresses and bytes, not FUSE, operations or threads'
wakefulness. Whoever calls `paint` has made sure that the thread sleeps (see `sleep.py`).

Not the whole reserved stack is painted but a *zone* below the stack pointer that reaches past
everything ever touched. Below the zone lie only pages that were never touched, and the kernel
says so itself: /proc/PID/pagemap shows no page there. A page that is there after the operation
was touched by it. So nothing deep is missed, the target's memory is not blown up, and a scan
reads kilobytes, not megabytes.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from reactivate.evidence import Address, Pid, Tid
from reactivate.procfs import PAGE_BYTES, StackMapping

RED_ZONE_BYTES = 256
"""Left unpainted below the stack pointer. The x86-64 ABI lets a leaf use 128 bytes there."""

ZONE_BYTES = 64 * 1024
"""How far the zone reaches beyond the deepest point that was ever touched."""

_BLOCK_BYTES = 64 * 1024  # fits the cache: bigger blocks were read three times slower
# Never 0: compilers probe big frames by writing zeros, and fresh pages are full of them.
# Two, used in turn: a program that happens to write one of them at its deepest point is
# caught by the next repetition.
PATTERNS = (0xB5, 0xD9)
_BLOCKS = tuple(bytes([value]) * _BLOCK_BYTES for value in PATTERNS)
_SOURCES = tuple(ctypes.create_string_buffer(block, _BLOCK_BYTES) for block in _BLOCKS)
_MOST_PIECES = 1024  # IOV_MAX
_ZEROS = bytes(_BLOCK_BYTES)

_PRESENT_OR_SWAPPED = 0b11 << 62  # bits 63 and 62 of a pagemap entry, pagemap.rst
_ENTRY_BYTES = 8


# PyDLL, not CDLL: the interpreter lock is kept, so no other thread of the tool can come between
# the last look at a sleeping thread and the writing of its stack.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.process_vm_writev.restype = ctypes.c_ssize_t
_libc.process_vm_writev.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
]  # fmt: skip


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStack:
    """A sleeping thread's stack.

    Attributes:
        tid: the thread.
        start_ticks: its start time; with the tid it names the thread for good.
        main: whether it is the process's first thread, whose stack grows by itself.
        mapping: what is mapped of the stack.
        limit_bytes: how deep the stack can become, from the mapping's end.
        sp: the stack pointer while it sleeps.
    """

    tid: Tid
    start_ticks: int
    main: bool
    mapping: StackMapping
    limit_bytes: int
    sp: Address

    @property
    def idle_bytes(self) -> int:
        """Depth of the sleeping thread, from the top of its mapping."""
        return self.mapping.end - self.sp


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """What was painted: bytes `low` to `high`, and which pages were there below `low`."""

    stack: ThreadStack
    low: Address
    high: Address
    pattern: int
    pages_below: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deepest:
    """The deepest byte that was written since the paint, as an interval.

    Attributes:
        address: lowest address that surely changed; None if nothing below the red zone did.
        floor: the truth is not below this. Equal to `address` where paint was found changed;
            the start of the lowest touched page where the pages were fresh, because a zero
            written into fresh, zero-filled memory cannot be seen.
    """

    address: Address | None
    floor: Address | None

    @property
    def exact(self) -> bool:
        """Whether the interval is a point."""
        return self.address == self.floor


class StackMemory:
    """The memory of one process; a context manager that holds /proc/PID/mem and pagemap open.

    The descriptors mean the process's address space itself: after the process ended, or its
    pid was recycled, they reach nothing.
    """

    def __init__(self, pid: Pid) -> None:
        self.pid = pid
        self._memory = -1
        self._pagemap = -1
        self._buffer = bytearray(_BLOCK_BYTES)

    def __enter__(self) -> StackMemory:
        try:
            self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._pagemap = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.close()
            raise ProcessLookupError(f"process {self.pid} is gone") from None
        except OSError:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process; may be called twice."""
        for descriptor in (self._memory, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._pagemap = -1

    def first_other(self, low: int, high: int, block: bytes) -> Address | None:
        """Address of the lowest byte between `low` and `high` that is not as in `block`.

        `block` is a run of one byte value, so where it is compared from does not matter.
        """
        buffer = self._buffer
        at = low
        while at < high:
            wanted = min(_BLOCK_BYTES, high - at)
            # Sized by slicing so that the comparison is one memcmp.
            got = os.preadv(self._memory, [memoryview(buffer)[:wanted]], at)
            if got == 0:
                raise ProcessLookupError(f"process {self.pid} has ended")
            whole = got == _BLOCK_BYTES
            if buffer != block if whole else not buffer.startswith(block[:got]):
                return Address(at + _first_difference(buffer, block, got))
            at += got
        return None

    def first_unpainted(self, low: int, high: int, pattern: int) -> Address | None:
        """The lowest byte that is no longer as painted."""
        return self.first_other(low, high, _BLOCKS[pattern])

    def first_nonzero(self, low: int, high: int) -> Address | None:
        """The lowest byte that is not zero."""
        return self.first_other(low, high, _ZEROS)

    def pages(self, low: int, high: int) -> bytes:
        """The pagemap entries of whole pages from `low` to `high`."""
        if high <= low:
            return b""
        wanted = (high - low) // PAGE_BYTES * _ENTRY_BYTES
        return os.pread(self._pagemap, wanted, low // PAGE_BYTES * _ENTRY_BYTES)


def _first_difference(buffer: bytearray, block: bytes, length: int) -> int:
    """Index of the first byte that differs; there is one below `length`. By halving: memcmp."""
    low, high = 0, length
    while high - low > 1:
        middle = (low + high) // 2
        if buffer[low:middle] == block[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _lowest_touched(before: bytes, after: bytes) -> int | None:
    """Index of the first page that is there in `after` and was not there in `before`."""
    if before == after:  # nearly always
        return None
    old = memoryview(before).cast("Q")
    for index, entry in enumerate(memoryview(after).cast("Q")):
        if entry & _PRESENT_OR_SWAPPED and not old[index] & _PRESENT_OR_SWAPPED:
            return index
    return None


def _page_floor(address: int) -> int:
    return address - address % PAGE_BYTES


def _touched_below(memory: StackMemory, painted: Paint, start: int) -> int | None:
    """Lowest page below the zone that appeared since the paint; `start` is the mapping's now."""
    grown_pages = max(0, painted.stack.mapping.start - start) // PAGE_BYTES
    before = bytes(grown_pages * _ENTRY_BYTES) + painted.pages_below
    index = _lowest_touched(before, memory.pages(start, painted.low))
    return None if index is None else start + index * PAGE_BYTES


def planned(
    memory: StackMemory, stack: ThreadStack, *, pattern: int, previous: Paint | None = None
) -> Paint:
    """The zone to paint below a sleeping thread's stack pointer; nothing is written yet.

    Never reaches below what is mapped, so the stack does not grow by our hand. Everything that
    is resident below the zone belongs to it too: what nobody painted cannot be told from new.

    Args:
        memory: the process.
        stack: fresh facts about the thread; the caller has just seen it asleep.
        pattern: index into `PATTERNS`; use them in turn.
        previous: the last paint of the same thread; its zone is kept and, where the thread
            went deeper meanwhile, extended.
    """
    start = stack.mapping.start
    high = stack.sp - RED_ZONE_BYTES
    low = _page_floor(high - ZONE_BYTES)
    if previous is None:
        pages = memory.pages(start, low)
        index = _lowest_touched(bytes(len(pages)), pages)
        touched = None if index is None else start + index * PAGE_BYTES
    else:
        low = min(low, previous.low)
        touched = _touched_below(memory, previous, start)
    if touched is not None:
        low = touched - ZONE_BYTES
    low = max(start, low)
    return Paint(
        stack=stack,
        low=Address(low),
        high=Address(max(high, low)),
        pattern=pattern,
        pages_below=memory.pages(start, low),
    )


class Brush:
    """Paints, made ready so that putting them on is a single system call.

    Args:
        pid: the process.
        paints: what to write; more than 64 MiB in all need more calls.
    """

    def __init__(self, pid: Pid, paints: Sequence[Paint]) -> None:
        self._pid = pid
        pieces = [piece for painted in paints for piece in _pieces(painted)]
        self._calls = [
            _Call(pieces[at : at + _MOST_PIECES]) for at in range(0, len(pieces), _MOST_PIECES)
        ]

    def apply(self) -> None:
        """Write.

        Raises:
            ProcessLookupError: the process ended.
            OSError: as the kernel answers.
        """
        for call in self._calls:
            written = _libc.process_vm_writev(
                self._pid, call.ours, call.count, call.theirs, call.count, 0
            )
            if written != call.length:
                number = ctypes.get_errno() if written < 0 else errno.EFAULT
                raise OSError(number, os.strerror(number))


class _Call:
    """The arguments of one process_vm_writev(2)."""

    def __init__(self, pieces: Sequence[tuple[int, int, int]]) -> None:
        self.count = len(pieces)
        self.length = sum(length for _, length, _ in pieces)
        self.ours = (_Piece * self.count)()
        self.theirs = (_Piece * self.count)()
        for index, (at, length, pattern) in enumerate(pieces):
            self.ours[index] = _Piece(ctypes.addressof(_SOURCES[pattern]), length)
            self.theirs[index] = _Piece(at, length)


def _pieces(painted: Paint) -> list[tuple[int, int, int]]:
    """(address, length, pattern) of blocks: the one near the stack pointer is the last."""
    return [
        (at, min(_BLOCK_BYTES, painted.high - at), painted.pattern)
        for at in range(painted.low, painted.high, _BLOCK_BYTES)
    ]


def paint(
    memory: StackMemory, stack: ThreadStack, *, pattern: int, previous: Paint | None = None
) -> Paint:
    """Paint the zone below a stopped or sleeping thread's stack pointer; see `planned`."""
    painted = planned(memory, stack, pattern=pattern, previous=previous)
    Brush(memory.pid, [painted]).apply()
    return painted


def scan(memory: StackMemory, painted: Paint, mapping: StackMapping) -> Deepest:
    """Find the deepest byte written since the paint.

    Args:
        memory: the process.
        painted: what `paint` returned.
        mapping: the stack's mapping as it is now; a main stack may have grown.
    """
    fresh = _touched_below(memory, painted, mapping.start)
    found = None
    if fresh is not None:
        found = memory.first_nonzero(fresh, painted.low)
    if found is None:
        found = memory.first_unpainted(painted.low, painted.high, painted.pattern)
    return Deepest(address=found, floor=found if fresh is None else Address(fresh))


def scan_fresh(memory: StackMemory, stack: ThreadStack) -> Deepest:
    """The deepest byte of a stack that was never painted: a new thread's."""
    start = stack.mapping.start
    pages = memory.pages(start, stack.mapping.end)
    touched = _lowest_touched(bytes(len(pages)), pages)
    if touched is None:
        return Deepest(address=None, floor=None)
    floor = Address(min(start + touched * PAGE_BYTES, stack.sp))
    return Deepest(address=memory.first_nonzero(floor, stack.sp), floor=floor)
