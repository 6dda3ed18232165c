"""Depths against a parameter: points, deaths, and the limits they were measured under."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reactivate.report.picture.svg import WIDTH, Picture, cut, label, number, plain
from reactivate.units import format_bytes, format_count

_LEFT: Final = 100.0
_RIGHT: Final = WIDTH - 24.0
_HEIGHT: Final = 130.0
_LINE: Final = 16.0
_FAR: Final = 4
"""A limit this many times the highest point is named, not drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A sweep under one stack limit.

    Attributes:
        name: what it was measured on.
        points: pairs of parameter and depth in bytes.
        deaths: parameters at which the daemon died; crosses at the top, their depth is unknown.
        limit_bytes: of the stack; None if it is not on record.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    deaths: tuple[float, ...] = ()
    limit_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    low: float
    high: float
    top_bytes: float
    y: float

    def across(self, x: float) -> float:
        share = (x - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return _LEFT + 12 + (_RIGHT - _LEFT - 24) * share

    def down(self, depth: float) -> float:
        return self.y + _HEIGHT * (1 - depth / self.top_bytes)


def curve(title: str, series: Sequence[Series], *, parameter: str) -> Picture:
    """Draw sweeps of one parameter; zero is the lower edge."""
    finite = [_finite(each) for each in series]
    places = [x for each in finite for x in (*(p[0] for p in each.points), *each.deaths)]
    if not places:
        nothing = label("nothing was measured", 4, 14, kind="dim")
        return Picture(title=title, said="nothing was measured", height=20, parts=(nothing,))
    top = max((y for each in finite for _, y in each.points), default=0.0)
    top = top or max((each.limit_bytes or 0.0 for each in finite), default=0.0) or 1.0
    near = [each.limit_bytes or 0.0 for each in finite if (each.limit_bytes or 0.0) <= _FAR * top]
    area = _Area(
        low=min(places),
        high=max(places),
        top_bytes=max([top, *near]) * 1.05,
        y=_LINE * len(finite) + 14,
    )
    parts = _frame(area, parameter)
    for index, each in enumerate(finite):
        parts += _legend(index, each, drawn=(each.limit_bytes or 0.0) in near)
        parts += _series(index, each, area, parameter, drawn=(each.limit_bytes or 0.0) in near)
    died = sum(len(each.deaths) for each in finite)
    said = f"{parameter} from {format_count(area.low)} to {format_count(area.high)}; "
    said += f"the deepest {format_bytes(top)}; {died} deaths"
    height = area.y + _HEIGHT + 22
    return Picture(title=title, said=said, height=height, parts=tuple(parts))


def _finite(series: Series) -> Series:
    return Series(
        name=series.name,
        points=tuple(sorted(p for p in series.points if all(map(math.isfinite, p)))),
        deaths=tuple(sorted(x for x in series.deaths if math.isfinite(x))),
        limit_bytes=series.limit_bytes,
    )


def _frame(area: _Area, parameter: str) -> list[str]:
    bottom = area.y + _HEIGHT
    path = f"M{number(_LEFT)} {number(area.y)}V{number(bottom)}H{number(_RIGHT)}"
    return [
        f'<path class="axis" d="{path}"/>',
        label(format_bytes(area.top_bytes), _LEFT - 6, area.y + 8, kind="dim", anchor="end"),
        label("0 B", _LEFT - 6, bottom, kind="dim", anchor="end"),
        label(format_count(area.low), area.across(area.low), bottom + 15, anchor="middle"),
        *(
            [label(format_count(area.high), area.across(area.high), bottom + 15, anchor="middle")]
            if area.high > area.low
            else []
        ),
        label(cut(parameter, 400), (_LEFT + _RIGHT) / 2, bottom + 15, kind="dim", anchor="middle"),
    ]


def _legend(index: int, series: Series, *, drawn: bool) -> list[str]:
    y = _LINE * index + 12
    said = series.name
    if series.limit_bytes:
        said += ": the dashed line" if drawn else ", far above the picture"
    if series.deaths:
        said += f"; {len(series.deaths):,} died (×)"
    return [_mark(index, _LEFT + 6, y - 4, ""), label(cut(said, 800), _LEFT + 16, y)]


def _series(index: int, series: Series, area: _Area, parameter: str, *, drawn: bool) -> list[str]:
    parts = []
    if series.limit_bytes and drawn:
        height = number(area.down(series.limit_bytes))
        said = plain(f"{series.name}: limit {format_bytes(series.limit_bytes)}")
        line = f"M{number(_LEFT)} {height}H{number(_RIGHT)}"
        parts.append(f'<path class="limit" d="{line}"><title>{said}</title></path>')
    places = " ".join(f"{number(area.across(x))},{number(area.down(y))}" for x, y in series.points)
    if len(series.points) > 1:
        parts.append(f'<polyline class="line" points="{places}"/>')
    for x, y in series.points:
        said = f"{series.name}, {parameter} {format_count(x)}: {format_bytes(y)}"
        parts.append(_mark(index, area.across(x), area.down(y), said))
    for x in series.deaths:
        parts.append(_cross(area.across(x), area.y, f"{series.name}, {parameter} {x:g}: died"))
    return parts


def _mark(index: int, x: float, y: float, said: str) -> str:
    """A dot, a square, a triangle: series are told apart without colours."""
    shapes = (
        f'd="M{number(x - 4)} {number(y)}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"',
        f'd="M{number(x - 4)} {number(y - 4)}h8v8h-8z"',
        f'd="M{number(x)} {number(y - 5)}l5 9h-10z"',
    )
    title = f"<title>{plain(said)}</title>" if said else ""
    return f'<path class="point" {shapes[index % len(shapes)]}>{title}</path>'


def _cross(x: float, y: float, said: str) -> str:
    left, right = number(x - 5), number(x + 5)
    low, high = number(y - 5), number(y + 5)
    return (
        f'<path class="dead" d="M{left} {low}L{right} {high}M{left} {high}L{right} {low}">'
        f"<title>{plain(said)}</title></path>"
    )
