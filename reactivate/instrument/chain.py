"""A call chain with the bytes of every frame: facts, sums, and the folded table. Pure.

A frame takes the bytes from its own stack pointer up to its caller's: locals, saved registers,
outgoing arguments, and the return address that its caller's call pushed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from reactivate.evidence import Address

_LONGEST_CYCLE = 16
"""Functions that call each other in a ring of at most this many are folded together."""

_MOST_NAMES = 4
"""Of a ring, in its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of an unwound stack.

    Attributes:
        function: its name, "" if none is known.
        file: source file as the debug information has it, "" if unknown.
        line: 1-based line in it, 0 if unknown.
        module: path of the mapped file that holds the code, "" for code outside of files.
        offset: of the code in that file.
        sp: stack pointer in this frame.
        size_bytes: see the module's text; 0 for inlined frames.
        inlined: whether it has no frame of its own.
    """

    function: str
    file: str
    line: int
    module: str
    offset: int
    sp: Address
    size_bytes: int
    inlined: bool = False

    @property
    def known(self) -> bool:
        """Whether the bytes can be blamed on somebody."""
        return bool(self.function or self.module)

    @property
    def name(self) -> str:
        """Function, else `module+0xoffset`, else `?`."""
        if self.function:
            return self.function
        if self.module:
            return f"{PurePath(self.module).name}+{self.offset:#x}"
        return "?"

    @property
    def place(self) -> str:
        """`file:line`, else `module+0xoffset`, else ""."""
        if self.file:
            return f"{self.file}:{self.line}"
        if self.module:
            return f"{PurePath(self.module).name}+{self.offset:#x}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A thread's whole stack at one moment.

    Attributes:
        frames: innermost first.
        deepest: the address that was caught; the innermost stack pointer may lie below it.
        start: one past the address where the thread's first frame begins.
        top: one past the highest address of the stack's mapping; depths count from here.
        stopped: why unwinding ended before the thread's start, "" if it did not.
    """

    frames: Sequence[Frame]
    deepest: Address
    start: Address
    top: Address
    stopped: str = ""

    @property
    def total_bytes(self) -> int:
        """From the thread's start to the deepest byte or stack pointer."""
        lowest = min([self.deepest, *(frame.sp for frame in self.frames[:1])])
        return self.start - lowest

    @property
    def attributed_bytes(self) -> int:
        """Bytes that belong to known frames."""
        return sum(frame.size_bytes for frame in self.frames if frame.known)

    @property
    def attributed_ratio(self) -> float:
        """Share of `total_bytes` that belongs to known frames."""
        return self.attributed_bytes / self.total_bytes if self.total_bytes > 0 else 0.0

    @property
    def recursion(self) -> tuple[int, str]:
        """Most frames of one function, and its name. Unknown functions count by their code."""
        counts: dict[tuple[str, str], int] = {}
        for frame in self.frames:
            counts[_identity(frame)] = counts.get(_identity(frame), 0) + 1
        if not counts:
            return 0, ""
        worst = max(counts, key=lambda identity: counts[identity])
        return counts[worst], worst[0]

    @property
    def largest(self) -> Frame:
        """The frame with the most bytes."""
        return max(self.frames, key=lambda frame: frame.size_bytes)

    def depth_bytes(self, frame: Frame) -> int:
        """Depth of a frame's lower end, from the top of the mapping."""
        return self.top - min(frame.sp, self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the folded chain.

    Attributes:
        depth_bytes: of the row's lower end, from the top of the mapping.
        size_bytes: of all its frames together.
        functions: the names that repeat, outermost first; one for plain recursion.
        place: of the innermost frame.
        count: how often they repeat; 1 for a single frame.
        smallest_bytes: of one repetition.
        largest_bytes: of one repetition.
    """

    depth_bytes: int
    size_bytes: int
    functions: tuple[str, ...]
    place: str
    count: int
    smallest_bytes: int
    largest_bytes: int

    @property
    def location(self) -> str:
        """`walk × 412 (2,304 each)`, or the function's name."""
        name = " → ".join(self.functions[:_MOST_NAMES])
        if len(self.functions) > _MOST_NAMES:
            name += f" → {len(self.functions) - _MOST_NAMES} more"
        if self.count == 1:
            return name
        if self.smallest_bytes == self.largest_bytes:
            return f"{name} × {self.count:,} ({self.largest_bytes:,} each)"
        return f"{name} × {self.count:,} ({self.smallest_bytes:,} to {self.largest_bytes:,} each)"


def fold(chain: Chain) -> tuple[Row, ...]:
    """Recursion folded into one row each, innermost first.

    A row repeats one function, or up to sixteen that call each other in a ring: an interpreter
    takes eight to call itself.
    """
    frames = tuple(chain.frames)
    identities = [_identity(frame) for frame in frames]
    rows: list[Row] = []
    at = 0
    while at < len(frames):
        period, count = _cycle_at(identities, at)
        rows.append(_row(chain, frames[at : at + period * count], period, count))
        at += period * count
    return tuple(rows)


def render_chain(chain: Chain) -> list[tuple[int, int, str, str]]:
    """Rows for a table: depth and size in bytes, what, and where in the source."""
    return [(row.depth_bytes, row.size_bytes, row.location, row.place) for row in fold(chain)]


def _cycle_at(identities: Sequence[tuple[str, str]], at: int) -> tuple[int, int]:
    """Length of the ring that begins here, and how often it goes round; (1, 1) without one."""
    best = (1, 1)
    for period in range(1, _LONGEST_CYCLE + 1):
        count = 1
        ring = identities[at : at + period]
        while identities[at + period * count : at + period * (count + 1)] == ring:
            count += 1
        # Two equal neighbours are recursion; a longer ring must come round at least thrice.
        enough = count >= (2 if period == 1 else 3)
        if enough and period * count > best[0] * best[1]:
            best = (period, count)
    return best


def _row(chain: Chain, frames: Sequence[Frame], period: int, count: int) -> Row:
    sizes = [
        sum(frame.size_bytes for frame in frames[index : index + period])
        for index in range(0, period * count, period)
    ]
    return Row(
        depth_bytes=chain.depth_bytes(frames[0]),
        size_bytes=sum(sizes),
        functions=tuple(frame.name for frame in reversed(frames[:period])),
        place=frames[0].place,
        count=count,
        smallest_bytes=min(sizes),
        largest_bytes=max(sizes),
    )


def _identity(frame: Frame) -> tuple[str, str]:
    return frame.name, frame.module
