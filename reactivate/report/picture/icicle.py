"""A call chain as an icicle: width is bytes, from the thread's start to the deepest point.

Every row is a frame. The whole row is what the frame and all that it called took; the strong part
at its left is what it took itself. So the strong parts, put side by side, are the whole chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reactivate.report.picture.svg import WIDTH, Picture, cut, label, plain, rectangle
from reactivate.units import format_bytes, format_percent

_ROW: Final = 17
_HEAD: Final = 40
_MOST_ROWS: Final = 28
_GAP: Final = 24
_ALIKE: Final = 3
"""Chains that differ by more than this factor are each drawn at a scale of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame, or a run of frames of the same recursion.

    Attributes:
        function: its name.
        place: file and line, "" if unknown.
        size_bytes: of all of them together; not negative.
        count: how many frames.
    """

    function: str
    place: str
    size_bytes: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A call chain.

    Attributes:
        title: what it is the chain of.
        frames: from the thread's start to the deepest point.
        limit_bytes: of the thread's stack; None if it is not on record.
    """

    title: str
    frames: tuple[Frame, ...]
    limit_bytes: float | None = None

    @property
    def total_bytes(self) -> int:
        """Of all frames."""
        return sum(frame.size_bytes for frame in self.frames)


def icicle(chain: Chain) -> Picture:
    """One chain, over the whole width."""
    return _pictures([chain], chain.title, [{}])


def comparison(before: Chain, after: Chain) -> Picture:
    """Two chains side by side; marked are functions that grew and shrank.

    The left one marks what shrank or went (`−`), the right one what grew or appeared (`+`).
    """
    then, now = _by_function(before), _by_function(after)
    left = {name: -1 for name, size in then.items() if now.get(name, 0) < size}
    right = {name: 1 for name, size in now.items() if then.get(name, 0) < size}
    title = f"{before.title}, and {after.title}"
    return _pictures([before, after], title, [left, right])


def merged(frames: Sequence[Frame], most: int = _MOST_ROWS) -> tuple[Frame, ...]:
    """At most so many frames: neighbours that are small become one, and no byte is lost."""
    kept = tuple(frame for frame in frames if frame.size_bytes > 0)
    small = max(1, sum(frame.size_bytes for frame in kept) // 1000)
    while len(kept) > most:
        kept = tuple(_joined(kept, small))
        small *= 2
    return kept


def _joined(frames: Sequence[Frame], small: int) -> Iterator[Frame]:
    run: list[Frame] = []
    for frame in frames:
        if frame.size_bytes <= small:
            run.append(frame)
            continue
        yield from _one(run)
        run = []
        yield frame
    yield from _one(run)


def _one(run: Sequence[Frame]) -> Iterator[Frame]:
    if len(run) < 2:
        yield from run
        return
    count = sum(frame.count for frame in run)
    size = sum(frame.size_bytes for frame in run)
    first = run[0].function.partition(" … ")[0]
    last = run[-1].function.rpartition(" … ")[2]
    yield Frame(function=f"{first} … {last}", place="", size_bytes=size, count=count)


def _by_function(chain: Chain) -> dict[str, int]:
    found: dict[str, int] = {}
    for frame in chain.frames:
        found[frame.function] = found.get(frame.function, 0) + frame.size_bytes
    return found


def _pictures(chains: Sequence[Chain], title: str, marks: Sequence[Mapping[str, int]]) -> Picture:
    each = (WIDTH - _GAP * (len(chains) - 1)) / len(chains)
    totals = [chain.total_bytes for chain in chains]
    widest = max(totals, default=0)
    own = widest > _ALIKE * max(1, min(totals, default=0))
    parts: list[str] = []
    height = float(_HEAD)
    for place, (chain, marked) in enumerate(zip(chains, marks, strict=True)):
        left = place * (each + _GAP)
        frames = _marked(chain, marked)
        across = chain.total_bytes if own else widest
        parts += [label(cut(_heading(chain), each), left, 12)]
        if len(chains) > 1 and widest:
            parts += _total(chain, left, each, widest, own=own)
        parts += _rows(frames, chain, left, each / across if across else 0.0, each)
        height = max(height, float(_HEAD + len(frames) * _ROW + 2))
    return Picture(
        title=title,
        said="; ".join(_told(chain) for chain in chains),
        height=height,
        parts=tuple(parts),
        data=f'data-total-bytes="{" ".join(map(str, totals))}"',
    )


def _told(chain: Chain) -> str:
    largest = max(chain.frames, key=lambda frame: frame.size_bytes, default=None)
    most = "" if largest is None else f", most of it {_named(largest)}"
    return f"{_heading(chain)}{most}"


def _marked(chain: Chain, marked: Mapping[str, int]) -> tuple[tuple[Frame, int], ...]:
    """Frames as they are drawn; only neighbours with the same mark become one."""
    groups: list[tuple[int, list[Frame]]] = []
    for frame in chain.frames:
        mark = marked.get(frame.function, 0)
        if not groups or groups[-1][0] != mark:
            groups.append((mark, []))
        groups[-1][1].append(frame)
    most = max(1, _MOST_ROWS // max(1, len(groups)))
    whole = merged(chain.frames)
    if len(groups) == 1 or len(groups) > _MOST_ROWS // 2:
        return tuple((frame, marked.get(frame.function, 0)) for frame in whole)
    return tuple((frame, mark) for mark, run in groups for frame in merged(run, most))


def _total(chain: Chain, left: float, each: float, widest: int, *, own: bool) -> Iterator[str]:
    """A line under the heading, at one scale for both, so that their totals can be compared."""
    width = max(1.0, chain.total_bytes * each / widest)
    yield rectangle("own", left, 18, width, 4)
    factor = widest / max(1, chain.total_bytes)
    said = f"drawn {factor:,.0f} times as wide as the other" if own and factor > 1 else ""
    yield label(said, left, 35, kind="dim")


def _heading(chain: Chain) -> str:
    return f"{chain.title}: {format_bytes(chain.total_bytes)}, {_share(chain.total_bytes, chain)}"


def _share(size_bytes: int, chain: Chain) -> str:
    if not chain.limit_bytes:
        return "limit not on record"
    of = format_percent(size_bytes / chain.limit_bytes)
    return f"{of} of the limit {format_bytes(chain.limit_bytes)}"


def _named(frame: Frame, mark: int = 0) -> str:
    times = f" × {frame.count:,}" if frame.count > 1 and " … " not in frame.function else ""
    if " … " in frame.function:
        times = f" ({frame.count:,} frames)"
    sign = {1: "+ ", -1: "− "}.get(mark, "")
    return f"{sign}{frame.function}{times} {format_bytes(frame.size_bytes)}"


def _rows(
    frames: Sequence[tuple[Frame, int]], chain: Chain, left: float, scale: float, width: float
) -> Iterator[str]:
    total, before = chain.total_bytes, 0
    for row, (frame, mark) in enumerate(frames):
        x, y = left + before * scale, float(_HEAD + row * _ROW)
        span, own = (total - before) * scale, frame.size_bytes * scale
        kind = {1: "grew", -1: "shrank"}.get(mark, "own")
        name = _named(frame, mark)
        place = f"\n{plain(frame.place)}" if frame.place else ""
        hover = f"{plain(f'{name}, {_share(frame.size_bytes, chain)}')}{place}"
        yield (
            f'<g data-start="{before}" data-bytes="{frame.size_bytes}" data-end="{total}">'
            f"<title>{hover}</title>{rectangle('span', x, y, span, _ROW)}"
            f"{rectangle(kind, x, y, own, _ROW)}{_name(name, x, y, left, width)}</g>"
        )
        before += frame.size_bytes


def _name(name: str, x: float, y: float, left: float, width: float) -> str:
    """The label where there is more room: in the row, or left of it."""
    room_right, room_left = left + width - x, x - left
    if room_right >= room_left:
        return label(cut(name, room_right - 8), x + 4, y + 12)
    return label(cut(name, room_left - 8), x - 4, y + 12, anchor="end")
