"""Static frame sizes: what each function of a binary takes from the stack, without running it.

The size of a frame is the distance from its canonical frame address (CFA: rsp before the call
that entered the function) to the lowest rsp that the binary tells, return address included. The
sizes along a call chain therefore add up to its depth. Not in it: the red zone (up to 128 bytes
that a function without calls may use below rsp) and what is taken at run time (`dynamic`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reactivate.elf.cfi import read_tables
from reactivate.elf.demangle import build_independent, demangle
from reactivate.elf.errors import BinaryError
from reactivate.elf.image import Image, open_image
from reactivate.elf.motion import Follower
from reactivate.elf.rows import Rows
from reactivate.elf.symbols import Symbols, printable

_PAGE_BYTES = 4096
_LARGEST_FUNCTION_BYTES = 1 << 26
_LINKAGE_SECTIONS = frozenset((".plt", ".plt.sec", ".plt.got", ".iplt"))


class FrameBound(StrEnum):
    """What a frame's size is, measured by the function's real need."""

    EXACT = "exact"
    """No more, no less, on the function's deepest path."""
    UP_TO = "up to"
    """An over-aligned frame: the most; the least is `slack_bytes` less."""
    DYNAMIC = "dynamic"
    """A lower bound: alloca or an array of variable length takes more at run time."""
    LOWER = "at least"
    """A lower bound: a part of a function, or code that was not understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One function's frame.

    Attributes:
        address: as in the file, before it is loaded.
        code_bytes: length of the function.
        size_bytes: see the module; with slack included, without what is dynamic.
        slack_bytes: part of the size that depends on where the stack is at entry.
        bound: what `size_bytes` is.
        part: a part of a function that the compiler moved elsewhere (`NAME.cold`); it continues
            a frame that another part built.
        symbol: as stored, "" if there is none.
        name: readable; `BINARY+0xADDRESS` without a symbol.
    """

    address: int
    code_bytes: int
    size_bytes: int
    slack_bytes: int
    bound: FrameBound
    part: bool
    symbol: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTable:
    """The frames of a binary, largest first.

    Attributes:
        path: the binary.
        frames: those that were asked for.
        functions: how many functions there are.
        over: how many of them are as large as asked for.
        sections: where the frames were read.
        untold: functions of the symbol table without frame information; nothing is known of them.
        left_out: entries that describe no function (linkage tables, signal frames).
        stripped: only exported functions have names.
        note: why names are not readable, or "".
    """

    path: Path
    frames: tuple[Frame, ...]
    functions: int
    over: int
    sections: tuple[str, ...]
    untold: int
    left_out: int
    stripped: bool
    note: str


def read_frames(path: Path, *, top: int | None = None, over_bytes: int = 0) -> FrameTable:
    """Frame sizes of an ELF x86-64 executable or shared library.

    Args:
        path: the binary.
        top: at most so many, the largest; None for all.
        over_bytes: only frames of at least so many bytes.

    Raises:
        BinaryError: it is something else, damaged, or without frame information.
    """
    with open_image(path) as image:
        tables = read_tables(image)
        functions: dict[int, tuple[int, Rows]] = {}
        for table in reversed(tables):  # where both tell, .eh_frame counts
            functions.update(table.functions)
        linkage = _linkage(image, functions)
        for address in linkage:
            del functions[address]
        if not functions:
            raise BinaryError(
                f"{path} tells no frame sizes",
                why="it has neither .eh_frame nor .debug_frame entries for its code",
                hint="build it with -fasynchronous-unwind-tables",
            )
        sized = [s for s in _sizes(image, functions) if s[0] >= over_bytes]
        sized.sort(key=lambda s: (-s[0], s[1]))
        symbols = Symbols(image)
        frames, note = _named(path, symbols, sized if top is None else sized[:top])
        return FrameTable(
            path=path,
            frames=frames,
            functions=len(functions),
            over=len(sized),
            sections=tuple(t.section for t in tables if t.functions),
            untold=len(symbols.functions() - functions.keys()),
            left_out=sum(t.left_out for t in tables) + len(linkage),
            stripped=symbols.stripped,
            note=note,
        )


def _linkage(image: Image, functions: dict[int, tuple[int, Rows]]) -> list[int]:
    """Entries for the stubs by which other libraries are called."""
    stubs = [
        (s.address, s.address + s.size_bytes) for s in image.sections if s.name in _LINKAGE_SECTIONS
    ]
    if not stubs:
        return []
    low, high = min(stubs)[0], max(end for _, end in stubs)
    near = [a for a in functions if low <= a < high]
    return [a for a in near if any(begin <= a < end for begin, end in stubs)]


_Sized = tuple[int, int, int, int, FrameBound, bool]
"""size, address, code bytes, slack, bound, part: an object each would cost more than the rest."""


def _sizes(image: Image, functions: dict[int, tuple[int, Rows]]) -> list[_Sized]:
    budget = 2 * image.code_bytes() + _PAGE_BYTES
    sizes: list[_Sized] = []
    for address, (code_bytes, rows) in functions.items():
        if rows.untold is None:
            size = rows.deepest_bytes
            sizes.append((size, address, code_bytes, 0, FrameBound.EXACT, rows.headless))
            continue
        if code_bytes > _LARGEST_FUNCTION_BYTES:
            raise image.damaged(f"the function at {address:#x} claims {code_bytes:,} bytes")
        code = image.code(address, code_bytes)
        budget -= len(code)
        if budget < 0:
            raise image.damaged("its functions overlap")
        sizes.append(_followed(address, code_bytes, code, rows))
    return sizes


def _followed(address: int, code_bytes: int, code: bytes, rows: Rows) -> _Sized:
    """The size of a frame whose table leaves something to be read from the code."""
    since, until = rows.untold or (0, None)
    follower = Follower(code, rows.depth_bytes, rows.frame_pointer_bytes)
    motion = follower.follow(since, code_bytes if until is None else until)
    size, slack = max(rows.deepest_bytes, motion.deepest_bytes), motion.slack_bytes
    if motion.dynamic:
        return size, address, code_bytes, 0, FrameBound.DYNAMIC, rows.headless
    if motion.incomplete or rows.headless:
        return size, address, code_bytes, 0, FrameBound.LOWER, rows.headless
    bound = FrameBound.UP_TO if slack else FrameBound.EXACT
    return size + slack, address, code_bytes, slack, bound, False


def _named(path: Path, symbols: Symbols, sized: Sequence[_Sized]) -> tuple[tuple[Frame, ...], str]:
    stored = symbols.names({s[1] for s in sized})
    readable, note = demangle(stored.values())
    file = printable(path.name.encode("utf-8", "surrogateescape"))
    frames = []
    for size, address, code_bytes, slack, bound, part in sized:
        symbol = stored.get(address, "")
        frames.append(
            Frame(
                address=address,
                code_bytes=code_bytes,
                size_bytes=size,
                slack_bytes=slack,
                bound=bound,
                part=part,
                symbol=symbol,
                name=readable.get(symbol, symbol) or f"{file}+{address:#x}",
            )
        )
    return tuple(frames), note


class Change(StrEnum):
    """What became of a function's frame."""

    APPEARED = "appeared"
    GREW = "grew"
    SHRANK = "shrank"
    WENT = "went"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChange:
    """One function whose frame is not the same in two binaries."""

    change: Change
    before: Frame | None
    after: Frame | None

    @property
    def name(self) -> str:
        """The function's name."""
        frame = self.after or self.before
        return frame.name if frame else ""

    @property
    def largest_bytes(self) -> int:
        """The larger of the two sizes."""
        return max(frame.size_bytes for frame in (self.before, self.after) if frame)

    @property
    def growth_bytes(self) -> int:
        """How much larger the frame is now."""
        after = self.after.size_bytes if self.after else 0
        return after - (self.before.size_bytes if self.before else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDifference:
    """Two binaries compared.

    Attributes:
        changes: largest change first.
        same: functions whose frame is the same in both.
        nameless_before: functions that have no name to be matched by, and are not compared.
        nameless_after: the same in the other binary.
    """

    changes: tuple[FrameChange, ...]
    same: int
    nameless_before: int
    nameless_after: int


def compare_frames(before: FrameTable, after: FrameTable) -> FrameDifference:
    """Match the functions of two binaries by name.

    Of several functions with one name (static ones, instances of a generic) equal sizes belong
    together; what is left is paired in the order of size.
    """
    old, nameless_before = _by_name(before.frames)
    new, nameless_after = _by_name(after.frames)
    changes: list[FrameChange] = []
    same = 0
    for key in sorted(old.keys() | new.keys()):
        left, right = _unequal(old.get(key, []), new.get(key, []))
        same += len(old.get(key, [])) - len(left)
        for index in range(max(len(left), len(right))):
            was = left[index] if index < len(left) else None
            now = right[index] if index < len(right) else None
            changes.append(FrameChange(change=_change(was, now), before=was, after=now))
    changes.sort(key=lambda c: (-abs(c.growth_bytes), c.name))
    return FrameDifference(
        changes=tuple(changes),
        same=same,
        nameless_before=nameless_before,
        nameless_after=nameless_after,
    )


def _by_name(frames: Iterable[Frame]) -> tuple[dict[str, list[Frame]], int]:
    named: dict[str, list[Frame]] = defaultdict(list)
    nameless = 0
    for frame in frames:
        if frame.symbol:
            named[build_independent(frame.symbol)].append(frame)
        else:
            nameless += 1
    return named, nameless


def _unequal(left: list[Frame], right: list[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Both lists without the frames that have an equal in the other."""
    sizes: dict[int, int] = defaultdict(int)
    for frame in right:
        sizes[frame.size_bytes] += 1
    kept = []
    for frame in left:
        if sizes[frame.size_bytes]:
            sizes[frame.size_bytes] -= 1
        else:
            kept.append(frame)
    others = []
    for frame in reversed(right):
        if sizes[frame.size_bytes]:
            sizes[frame.size_bytes] -= 1
            others.append(frame)
    by_size = sorted(others, key=lambda f: (-f.size_bytes, f.address))
    return sorted(kept, key=lambda f: (-f.size_bytes, f.address)), by_size


def _change(before: Frame | None, after: Frame | None) -> Change:
    if before is None:
        return Change.APPEARED
    if after is None:
        return Change.WENT
    return Change.GREW if after.size_bytes > before.size_bytes else Change.SHRANK
