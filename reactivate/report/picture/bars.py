"""Numbers as bars, each held against its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reactivate.report.picture.svg import WIDTH, Picture, cut, label, number, plain, rectangle
from reactivate.units import format_bytes

_ROW: Final = 20
_NAME: Final = 290.0
_VALUE: Final = 225.0
_FAR: Final = 4
"""A budget this many times the longest bar is named, not drawn: it would press all bars flat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        name: of the operation or attempt.
        value_bytes: its length; None if nothing was measured.
        budget_bytes: a mark across the bar, None if there is none.
        missing: why there is no value.
        note: a few words behind the value.
    """

    name: str
    value_bytes: float | None
    budget_bytes: float | None = None
    missing: str = ""
    note: str = ""

    @property
    def over(self) -> bool:
        """Whether it is over its budget."""
        measured, budget = self.value_bytes, self.budget_bytes
        return measured is not None and budget is not None and measured > budget


def bars(title: str, found: Sequence[Bar]) -> Picture:
    """All bars at one scale, zero at the left."""
    longest = max((bar.value_bytes or 0.0 for bar in found), default=0.0)
    near = [b.budget_bytes for b in found if b.budget_bytes and b.budget_bytes <= _FAR * longest]
    scale = (WIDTH - _NAME - _VALUE) / (max([longest, *near]) or 1.0)
    parts = []
    for row, bar in enumerate(found):
        y = row * _ROW + 2.0
        parts.append(f"<g>{_hover(bar)}{''.join(_bar(bar, y, scale, longest))}</g>")
    height = len(found) * _ROW + 6.0
    said = _budgets(found, longest)
    if said:
        parts.append(label(said, _NAME, height + 10, kind="dim"))
        height += 16
    over = sum(bar.over for bar in found)
    return Picture(
        title=title,
        said=f"{len(found)} bars, the longest {format_bytes(longest)}; {over} over budget. {said}",
        height=height,
        parts=tuple(parts),
    )


def _budgets(found: Sequence[Bar], longest: float) -> str:
    budgets = {bar.budget_bytes for bar in found if bar.budget_bytes}
    if not budgets or not longest:
        return ""
    far = [budget for budget in budgets if budget > _FAR * longest]
    if not far:
        return "the upright line is the budget"
    least = min(far)
    return f"budget {format_bytes(least)}, {least / longest:,.0f} times the longest bar: not drawn"


def _hover(bar: Bar) -> str:
    said = f"not measured: {bar.missing}" if bar.value_bytes is None else ""
    said = said or format_bytes(bar.value_bytes or 0)
    budget = f"; budget {format_bytes(bar.budget_bytes)}" if bar.budget_bytes else ""
    return f"<title>{plain(f'{bar.name}: {said}{budget}')}</title>"


def _bar(bar: Bar, y: float, scale: float, longest: float) -> list[str]:
    parts = [label(cut(bar.name, _NAME - 12), _NAME - 8, y + 12, anchor="end")]
    if bar.value_bytes is None:
        return [*parts, label("not measured", _NAME + 4, y + 12, kind="dim")]
    kind = "over" if bar.over else "ok" if bar.budget_bytes else "own"
    width = max(1.0, bar.value_bytes * scale)
    parts.append(rectangle(kind, _NAME, y, width, _ROW - 5))
    said = format_bytes(bar.value_bytes) + (", over budget" if bar.over else "")
    said += f" {bar.note}" if bar.note else ""
    drawn = bar.budget_bytes if bar.budget_bytes and bar.budget_bytes <= _FAR * longest else 0.0
    room = WIDTH - _NAME - width - 6
    after = _NAME + width + 5
    mark = _NAME + drawn * scale
    # The mark would strike through the words.
    if drawn and after - 3 < mark < after + 6.7 * len(said):
        after = mark + 5
        room = WIDTH - after
    parts.append(label(cut(said, room), after, y + 12))
    if drawn:
        x = number(mark)
        parts.append(f'<path class="budget" d="M{x} {number(y - 2)}V{number(y + _ROW - 3)}"/>')
    return parts
