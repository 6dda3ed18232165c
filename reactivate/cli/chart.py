"""A small chart of depth against a parameter, as lines of text that fit into a table's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reactivate.units import format_bytes, format_count

WIDTH = 60
HEIGHT = 10
"""Of the whole chart, labels and axes included."""

_LABEL = 11
_LOGARITHMIC_FROM = 20.0
"""The parameter's axis is logarithmic if its largest value is so many times the smallest."""

_LIMIT_SHOWN_UP_TO = 4.0
"""A limit farther above the points than this would press them into one row; it is named only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The characters of a chart, each one column wide."""

    point: str
    death: str
    law: str
    limit: str
    vertical: str
    horizontal: str
    corner: str


UNICODE = Glyphs(point="●", death="×", law="·", limit="┄", vertical="│", horizontal="─", corner="└")
ASCII = Glyphs(point="o", death="x", law=".", limit="-", vertical="|", horizontal="-", corner="+")


def chart(
    points: Sequence[tuple[float, float]],
    *,
    parameter: str,
    limit_bytes: float | None = None,
    deaths: Sequence[float] = (),
    law: Callable[[float], float | None] | None = None,
    unicode: bool = True,
) -> list[str]:
    """Draw it; at most `WIDTH` columns and `HEIGHT` lines, without colours.

    Args:
        points: pairs of parameter and depth in bytes.
        parameter: its name, below the axis.
        limit_bytes: drawn as a line across, or named in the first line if it is far above.
        deaths: parameters at which the daemon died; drawn at the top, their depth is unknown.
        law: depth by the fitted law, drawn between the points.
        unicode: False for terminals that have ASCII only.

    Returns:
        The lines; none if there is nothing to draw.
    """
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    ends = [x for x in deaths if math.isfinite(x)]
    places = [x for x, _ in finite] + ends
    if not places:
        return []
    glyphs = UNICODE if unicode else ASCII
    top = max((y for _, y in finite), default=0.0) or limit_bytes or 1.0
    far = limit_bytes is not None and limit_bytes > _LIMIT_SHOWN_UP_TO * top
    if limit_bytes is not None and not far:
        top = max(top, limit_bytes)
    area = _Area(low=min(places), high=max(places), top=top)
    rows = [[" "] * area.columns for _ in range(area.rows)]
    if limit_bytes is not None and not far:
        rows[area.row(limit_bytes)] = [glyphs.limit] * area.columns
    if law is not None:
        for column in range(area.columns):
            depth = law(area.parameter(column))
            if depth is not None and 0 <= depth <= top:
                rows[area.row(depth)][column] = glyphs.law
    for x in ends:
        rows[0][area.column(x)] = glyphs.death
    for x, y in finite:
        rows[area.row(y)][area.column(x)] = glyphs.point
    return _framed(rows, area, glyphs, parameter, limit_bytes, far)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    """Where a parameter and a depth are in the drawing."""

    low: float
    high: float
    top: float

    columns: int = WIDTH - _LABEL - 2
    rows: int = HEIGHT - 3

    @property
    def logarithmic(self) -> bool:
        return self.low > 0 and self._decades >= math.log(_LOGARITHMIC_FROM)

    @property
    def _decades(self) -> float:
        # A quotient of the smallest and the largest floats would be infinite.
        return math.log(self.high) - math.log(self.low)

    def column(self, parameter: float) -> int:
        if self.high == self.low:
            return self.columns // 2
        if self.logarithmic:
            share = (math.log(parameter) - math.log(self.low)) / self._decades
        else:
            share = (parameter - self.low) / (self.high - self.low)
        return round(share * (self.columns - 1))

    def parameter(self, column: int) -> float:
        share = column / (self.columns - 1)
        if self.logarithmic:
            return math.exp(math.log(self.low) + share * self._decades)
        return self.low + share * (self.high - self.low)

    def row(self, depth: float) -> int:
        share = min(1.0, max(0.0, depth / self.top))
        return round((1 - share) * (self.rows - 1))


def _framed(
    rows: Sequence[Sequence[str]],
    area: _Area,
    glyphs: Glyphs,
    parameter: str,
    limit_bytes: float | None,
    far: bool,
) -> list[str]:
    labels = {0: format_bytes(area.top), area.rows - 1: "0 B"}
    title = ""
    if limit_bytes is not None:
        where = f"{format_bytes(limit_bytes)}, above this chart" if far else "the line"
        title = f"{' ' * (_LABEL + 1)}limit: {where}"
        if not far:
            title = f"{title} {glyphs.limit * 3} at {format_bytes(limit_bytes)}"
    lines = [title[:WIDTH].rstrip()] if title else []
    for number, row in enumerate(rows):
        label = labels.get(number, "").rjust(_LABEL)[:_LABEL]
        lines.append(f"{label} {glyphs.vertical}{''.join(row)}".rstrip())
    lines.append(f"{' ' * (_LABEL + 1)}{glyphs.corner}{glyphs.horizontal * area.columns}")
    lines.append(_axis(area, parameter))
    return lines


def _axis(area: _Area, parameter: str) -> str:
    low, high = format_count(area.low), format_count(area.high)
    name = f"{parameter} (log)" if area.logarithmic else parameter
    room = area.columns - len(low) - len(high)
    middle = name[: max(0, room - 2)].center(room) if area.high != area.low else f" = {name}"
    text = f"{low}{middle}{high}" if area.high != area.low else f"{name} {low}".center(area.columns)
    return f"{' ' * (_LABEL + 2)}{text}"[:WIDTH].rstrip()
