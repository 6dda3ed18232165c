"""The pattern of input and output: which requests the kernel sent while the workload ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reactivate.documents import tables, text, whole
from reactivate.evidence import NotMeasured
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.values import Values, cell
from reactivate.units import format_count, format_duration_ns, format_percent

_TOTALS = ("requests.total", "requests.errors", "requests.unanswered", "memory.mapped")


def requests_section(evidence: Evidence, values: Values, missing: str) -> list[str]:
    """Requests by opcode, with errors and the longest answer.

    Args:
        evidence: where the lifecycle's document is read.
        values: of a trace attempt.
        missing: why there is none, if there is none.
    """
    lines = ["## Requests", ""]
    if values.attempt is None:
        return [*lines, f"Not measured: {prose(missing)}.", ""]
    rows = []
    for metric in _TOTALS:
        found = values.one(metric)
        rows.append([code(metric), cell(found), values.cite(evidence, found)])
    lines += table(["metric", "value", "evidence"], rows)
    total = values.one("requests.total")
    path = "" if total is None else total.measurement.evidence
    if not path:
        return lines
    document = evidence.document(values.attempt, path)
    if isinstance(document, NotMeasured):
        return [*lines, f"By opcode: not measured: {prose(document.reason)}.", ""]
    try:
        listed = [_row_of(each) for each in tables(document, "opcodes")]
    except ValueError as error:
        return [*lines, f"By opcode: not measured: {prose(path)}: {prose(str(error))}.", ""]
    if not listed:
        return [*lines, f"By opcode: {evidence.cite(values.attempt, path)} lists none.", ""]
    sent = sum(each["sent"] for each in listed)
    ordered = sorted(listed, key=lambda each: (-each["sent"], each["opcode"]))
    lines += table(
        ["opcode", "sent", "share", "failed", "longest answer"],
        [_row(each, sent) for each in ordered],
    )
    return [*lines[:-1], "", f"Evidence: {evidence.cite(values.attempt, path)}", ""]


def _row(each: Mapping[str, Any], sent: int) -> list[str]:
    return [
        code(each["opcode"]),
        format_count(each["sent"]),
        format_percent(each["sent"] / sent) if sent else "",
        format_count(each["failed"]),
        format_duration_ns(each["longest_ns"]),
    ]


def _row_of(each: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: whole(each, key) for key in ("sent", "failed", "longest_ns")}
    return {"opcode": text(each, "opcode"), **numbers}
