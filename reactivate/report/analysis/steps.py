"""What the steps of a scenario came to, as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactivate.evidence import NotMeasured
from reactivate.report.analysis.markup import prose
from reactivate.report.analysis.scenarios import ScenarioFacts, whole
from reactivate.units import format_bytes, format_percent


def step_cells(each: ScenarioFacts) -> list[str]:
    """Which steps, how they ended, how deep they came, and whether that was expected."""
    if isinstance(each.content, NotMeasured):
        return [f"not measured: {prose(each.content.reason)}", "", "", ""]
    return [
        prose(str(each.content.get("set", ""))),
        _endings(each.steps),
        _deepest(each.steps),
        "as expected" if each.content.get("passed") is True else "**not as expected**",
    ]


def _endings(steps: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        ending = str(step.get("ending", "unknown"))
        counts[ending] = counts.get(ending, 0) + 1
    return ", ".join(f"{count:,} {prose(ending)}" for ending, count in counts.items()) or "none"


def _deepest(steps: Sequence[Mapping[str, Any]]) -> str:
    known = [
        (depth / limit, depth, limit)
        for step in steps
        if (depth := whole(step.get("depth_bytes"))) is not None
        and (limit := whole(step.get("stack_limit_bytes")))
    ]
    if not known:
        return "not measured"
    share, depth, limit = max(known)
    return f"{format_bytes(depth)} of {format_bytes(limit)} ({format_percent(share)})"
