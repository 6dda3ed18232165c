"""Every step of every scenario run by hand as a line of CSV. No measurement is among them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reactivate.evidence import NotMeasured
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.scenarios import ScenarioFacts, read_by_hand, whole
from reactivate.report.export.flat import csv_cell

COLUMNS: Final = (
    "phase", "attempt", "started_at", "scenario", "components", "expect", "outcome", "step",
    "parameter", "value", "stack_limit_bytes", "ending", "depth_bytes", "died_of", "class",
    "place", "class_bytes", "class_evidence", "law", "reaches_limit_at", "evidence",
)  # fmt: skip


def provoked_export(evidence: Evidence) -> Iterator[str]:
    """The text in pieces, the names of the columns first."""
    yield _line(COLUMNS)
    for each in read_by_hand(evidence):
        for step in each.steps:
            known = _columns(each, step)
            yield _line([known[column] for column in COLUMNS])


def _columns(each: ScenarioFacts, step: Mapping[str, Any]) -> dict[str, Any]:
    content = {} if isinstance(each.content, NotMeasured) else each.content
    limit = step.get("stack_limit_bytes")
    law = next((law for law in each.laws if law.get("stack_limit_bytes") == limit), {})
    death, found = _table(step.get("death")), _table(step.get("classification"))
    attempt = each.attempt
    return {
        "phase": attempt.phase,
        "attempt": attempt.number,
        "started_at": attempt.started_at,
        "scenario": each.name,
        "components": " ".join(each.components),
        "expect": content.get("expect"),
        "outcome": attempt.outcome,
        "step": step.get("number"),
        "parameter": step.get("parameter"),
        "value": step.get("value"),
        "stack_limit_bytes": limit,
        "ending": step.get("ending"),
        "depth_bytes": whole(step.get("depth_bytes")),
        "died_of": death.get("text"),
        "class": found.get("kind"),
        "place": found.get("place"),
        "class_bytes": found.get("bytes"),
        "class_evidence": found.get("evidence"),
        "law": law.get("formula") or law.get("reason"),
        "reaches_limit_at": law.get("reaches_limit_at"),
        "evidence": f"{attempt.folder}/{each.path}" if each.path else "",
    }


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _line(values: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([csv_cell(value) for value in values])
    return buffer.getvalue()
