"""The minimal build: what everything else is held against."""

from __future__ import annotations

from reactivate.evidence import Check
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.requests import requests_section
from reactivate.report.analysis.shape import Shape, latest
from reactivate.report.analysis.values import (
    Values,
    cell,
    environment_lines,
    number,
    source_line,
)
from reactivate.units import format_percent

_MEMORY = ("rss.idle", "rss.peak", "faults.minor", "faults.major")


def baseline_analysis(evidence: Evidence, shape: Shape) -> str:
    """Depth per operation, idle depth, limit, memory, latency, requests; Markdown."""
    phase = shape.baseline
    lines = ["# Baseline", ""]
    if phase is None:
        why = shape.missing or "the checklist has no baseline phase"
        return "\n".join([*lines, f"Not measured: {prose(why)}.", ""])
    reader = evidence.reader
    attempt = latest(reader, phase.id, Check.BASELINE)
    trace = latest(reader, phase.id, Check.TRACE)
    lines += ["From the ledger and its evidence files alone.", ""]
    lines.append(source_line(evidence, attempt, phase, "baseline"))
    lines.append(source_line(evidence, trace, phase, "trace"))
    if attempt is not None:
        environment = reader.environment(attempt.environment_sha256)
        lines.append(f"- environment: {environment_lines(environment)}")
    lines.append("")
    values = Values(reader, attempt)
    lines += depth_section(evidence, values)
    lines += memory_section(evidence, values)
    lines += latency_section(evidence, values)
    traced = Values(reader, trace)
    lines += requests_section(evidence, traced, "the baseline has no finished trace check")
    lines += evidence.section()
    return "\n".join(lines)


def depth_section(evidence: Evidence, values: Values) -> list[str]:
    """Idle depth and limit of each thread, then every operation, deepest first."""
    lines = ["## Stack", ""]
    threads = [thread for _, thread in values.operations("stack.idle", "stack.limit")]
    if not threads:
        return [*lines, "Not measured: no stack depth is on record.", ""]
    rows = []
    for thread in dict.fromkeys(threads):
        idle, limit = values.one("stack.idle", "", thread), values.one("stack.limit", "", thread)
        rows.append([code(thread), cell(idle), cell(limit), values.cite(evidence, idle or limit)])
    lines += table(["thread", "idle depth", "limit", "evidence"], rows)
    return lines + operation_rows(evidence, values)


def operation_rows(evidence: Evidence, values: Values) -> list[str]:
    """Depth of each operation: from the top of the stack, below idle, share of the limit."""
    rows = []
    for operation, thread in values.operations("stack.peak"):
        peak = values.one("stack.peak", operation, thread)
        below = values.one("stack.operation", operation, thread)
        depth, limit = number(peak), number(values.one("stack.limit", "", thread))
        share = format_percent(depth / limit) if depth is not None and limit else "cannot be told"
        samples = 0 if peak is None else peak.samples
        row = [code(operation), code(thread), cell(peak), cell(below), share, f"{samples:,}"]
        rows.append((-(depth or 0.0), [*row, values.cite(evidence, peak)]))
    headers = ["operation", "thread", "deepest", "below idle", "of limit", "n", "evidence"]
    ordered = [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1]))]
    return table(headers, ordered) if rows else ["No operation's depth is on record.", ""]


def memory_section(evidence: Evidence, values: Values) -> list[str]:
    """Resident memory and page faults."""
    rows = []
    for metric in _MEMORY:
        found = values.one(metric)
        rows.append([code(metric), cell(found), values.cite(evidence, found)])
    return ["## Memory", "", *table(["metric", "value", "evidence"], rows)]


def latency_section(evidence: Evidence, values: Values) -> list[str]:
    """Median and 99th percentile of each operation."""
    rows = []
    for operation, _ in values.operations("latency.p50", "latency.p99"):
        half, most = values.one("latency.p50", operation), values.one("latency.p99", operation)
        count = f"{half.samples:,}" if half is not None else ""
        note = "" if most is None else prose(most.measurement.note)
        row = [code(operation), cell(half), cell(most), count, note]
        rows.append([*row, values.cite(evidence, half or most)])
    lines = ["## Latency", ""]
    if not rows:
        return [*lines, "Not measured: no latency is on record.", ""]
    headers = ["operation", "median", "99th percentile", "n", "note", "evidence"]
    return lines + table(headers, rows)
