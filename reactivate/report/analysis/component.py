"""A component: what it costs against the minimal build and the build before it."""

from __future__ import annotations

from collections.abc import Mapping

from reactivate.evidence import Check, Role
from reactivate.ledger.origin import BY_HAND
from reactivate.ledger.records import AttemptRecord
from reactivate.report.analysis.by_hand import by_hand_section
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.frames import frames_section
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.refusals import refusal_section, verdict_section
from reactivate.report.analysis.requests import requests_section
from reactivate.report.analysis.scenarios import read_by_hand, scenario_deaths
from reactivate.report.analysis.shape import PhaseShape, Shape, latest
from reactivate.report.analysis.values import (
    Values,
    cell,
    change,
    environment_lines,
    number,
    source_line,
)
from reactivate.units import format_ratio

_MEMORY = ("rss.idle", "rss.peak", "faults.minor", "faults.major")
_DISAGREEMENT = "stack.disagreement"


def component_analysis(evidence: Evidence, shape: Shape, name: str) -> str:
    """Everything the ledger knows of a component, as Markdown.

    Raises:
        UsageError: there is no such component.
    """
    phase = shape.phase(name)
    reader = evidence.reader
    attempts = {check: latest(reader, name, check) for check in Check}
    lines = [f"# Component {code(name)}", "", "From the ledger and its evidence files alone.", ""]
    if shape.missing:
        lines += [f"The order of the phases is that of their attempts: {prose(shape.missing)}.", ""]
    lines += [source_line(evidence, attempts[check], phase, check.value) for check in Check]
    measured = attempts[Check.BASELINE]
    if measured is not None:
        environment = reader.environment(measured.environment_sha256)
        lines.append(f"- environment: {environment_lines(environment)}")
    lines.append("")
    lines += verdict_section(evidence, attempts)
    lines += refusal_section(evidence, name, attempts)
    now = Values(reader, measured)
    others = _others(evidence, shape, phase)
    lines += stack_section(evidence, now, others)
    lines += _frames(evidence, shape, phase, attempts[Check.TRACE])
    lines += memory_section(evidence, now, others)
    lines += latency_section(evidence, now)
    traced = Values(reader, attempts[Check.TRACE])
    lines += requests_section(evidence, traced, f"{name} has no finished trace check")
    lines += crosscheck_section(evidence, traced)
    by_hand = [
        each
        for each in read_by_hand(evidence)
        if each.attempt.phase == BY_HAND and name in each.components
    ]
    lines += by_hand_section(evidence, by_hand, scenario_deaths(by_hand))
    lines += overhead_section(evidence)
    return "\n".join([*lines, *evidence.section()])


def _others(evidence: Evidence, shape: Shape, phase: PhaseShape) -> Mapping[str, Values]:
    """The recorded measurements of the minimal build and of the build before."""
    reader = evidence.reader
    found = {}
    for label, other in (("baseline", shape.baseline), ("previous", shape.previous(phase))):
        attempt = None if other is None else latest(reader, other.id, Check.BASELINE)
        found[label] = Values(reader, attempt)
    return found


def stack_section(evidence: Evidence, now: Values, others: Mapping[str, Values]) -> list[str]:
    """Bytes that each operation takes, against both other builds."""
    lines = ["## Stack of each operation", ""]
    rows = []
    for operation, thread in now.operations("stack.operation"):
        found = now.one("stack.operation", operation, thread)
        row = [code(operation), code(thread), cell(found)]
        for other in others.values():
            then = other.one("stack.operation", operation, thread)
            row += [cell(then), change("stack.operation", number(found), number(then))]
        cited = [now.cite(evidence, found)]
        cited += [
            other.cite(evidence, other.one("stack.operation", operation, thread))
            for other in others.values()
        ]
        row.append(" ".join(dict.fromkeys(each for each in cited if each)))
        rows.append((-(number(found) or 0.0), row))
    if not rows:
        return [*lines, "Not measured: no operation's depth is on record.", ""]
    lines += ["Below the idle stack pointer: where a stack begins differs from mount to mount.", ""]
    headers = ["operation", "thread", "takes", "baseline", "change", "previous", "change"]
    ordered = [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1]))]
    return lines + table([*headers, "evidence"], ordered)


def _frames(
    evidence: Evidence, shape: Shape, phase: PhaseShape, attempt: AttemptRecord | None
) -> list[str]:
    previous = shape.previous(phase)
    then = None if previous is None else latest(evidence.reader, previous.id, Check.TRACE)
    name = "none" if previous is None else previous.id
    return frames_section(
        evidence,
        attempt,
        then,
        title="Frames that appeared or grew",
        missing_now=f"{phase.id} has no finished trace check",
        missing_then=f"the build before ({name}) has no finished trace check",
    )


def memory_section(evidence: Evidence, now: Values, others: Mapping[str, Values]) -> list[str]:
    """Resident memory and page faults against both other builds."""
    rows = []
    for metric in _MEMORY:
        found = now.one(metric)
        row = [code(metric), cell(found)]
        for other in others.values():
            then = other.one(metric)
            row += [cell(then), change(metric, number(found), number(then))]
        cited = [now.cite(evidence, found)]
        cited += [other.cite(evidence, other.one(metric)) for other in others.values()]
        rows.append([*row, " ".join(dict.fromkeys(each for each in cited if each))])
    headers = ["metric", "value", "baseline", "change", "previous", "change", "evidence"]
    return ["## Memory", "", *table(headers, rows)]


def latency_section(evidence: Evidence, now: Values) -> list[str]:
    """Median and 99th percentile, against the build that was measured in turns with it."""
    lines = ["## Latency", ""]
    rows = []
    for operation, _ in now.operations("latency.p50"):
        row = [code(operation)]
        for metric in ("latency.p50", "latency.p99"):
            found = now.one(metric, operation)
            row.append(cell(found))
            for role in (Role.BASELINE, Role.PREVIOUS):
                then, value = number(now.one(metric, operation, role=role)), number(found)
                row.append(format_ratio(value / then) if value is not None and then else "–")
        half = now.one("latency.p50", operation)
        rows.append([*row, f"{half.samples:,}" if half else "", now.cite(evidence, half)])
    if not rows:
        return [*lines, "Not measured: no latency is on record.", ""]
    lines += [
        "Against builds that were measured in turns with this one; – where none was. "
        "Whether a difference is more than noise is the gate's verdict above.",
        "",
    ]
    median = ["median", "of baseline", "of previous"]
    worst = ["99th percentile", "of baseline", "of previous"]
    return lines + table(["operation", *median, *worst, "n", "evidence"], rows)


def crosscheck_section(evidence: Evidence, traced: Values) -> list[str]:
    """By how much independent instruments contradict each other."""
    lines = ["## Cross-check of the instruments", ""]
    rows = []
    for operation, thread in traced.operations(_DISAGREEMENT):
        found = traced.one(_DISAGREEMENT, operation, thread)
        note = "" if found is None else prose(found.measurement.note)
        row = [code(operation), code(thread), cell(found), note]
        rows.append([*row, traced.cite(evidence, found)])
    if not rows:
        return [*lines, "Not measured: no cross-check is on record.", ""]
    return lines + table(["operation", "thread", "disagreement", "witnesses", "evidence"], rows)


def overhead_section(evidence: Evidence) -> list[str]:
    """What measuring itself costs, as the newest calibration found it."""
    lines = ["## Overhead of measuring", ""]
    events = evidence.reader.events(kind="calibrated")
    if not events:
        return [*lines, "Not measured: no calibration is on record.", ""]
    newest = events[-1]
    listed = newest.data.get("instruments")
    rows = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, Mapping):
            continue
        ratio = each.get("overhead_ratio")
        told = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
        seconds = each.get("overhead_seconds")
        spent = f"{seconds:,.2f} s" if isinstance(seconds, (int, float)) else "–"
        red = "yes" if each.get("red") is True else "no"
        shown = f"{ratio:,.2f}×" if told else "not measured"
        rows.append([code(str(each.get("instrument"))), shown, spent, red])
    lines += table(
        ["instrument", "operation under it", "seconds for it", "seen red"],
        sorted(rows),
    )
    path = newest.data.get("evidence")
    where = code(path) if isinstance(path, str) else "not on record"
    return [*lines, f"Event {newest.seq} of the ledger; evidence in {where}.", ""]
