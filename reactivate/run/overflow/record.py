"""The evidence file of a scenario: everything that was seen, as JSON."""

from __future__ import annotations

import math
from typing import Any

from reactivate.evidence import NotMeasured
from reactivate.gate.growth_law import Law
from reactivate.instrument.autopsy import chain_document
from reactivate.instrument.death import Cause
from reactivate.run.overflow.result import Least, ScenarioResult, StepResult
from reactivate.target.model import BoxReport

SCHEMA = 1


def document(result: ScenarioResult) -> dict[str, Any]:
    """A scenario with all its steps; numbers in bytes, seconds and counts."""
    scenario = result.scenario
    return {
        "schema": SCHEMA,
        "scenario": scenario.name,
        "title": scenario.title,
        "category": scenario.category,
        "sha256": scenario.sha256,
        "components": list(result.components),
        "expect": scenario.expect,
        "set": result.set_text,
        "passed": result.passed,
        "complete": result.complete,
        "seconds": round(result.seconds, 3),
        "steps": [_step(step) for step in result.steps],
        "growth": [{"stack_limit_bytes": k, **law_document(v, k)} for k, v in result.laws.items()],
        "least": None if result.least is None else _least(result.least),
    }


def law_document(law: Law, limit_bytes: int) -> dict[str, Any]:
    """A growth law and where it meets the limit."""
    return {
        "kind": law.kind,
        "formula": law.formula,
        "slope": law.slope,
        "intercept": law.intercept,
        "error": law.error if law.error is None or math.isfinite(law.error) else None,
        "r2": law.r2,
        "n": law.n,
        "reason": law.reason,
        "reaches_limit_at": law.reaches(limit_bytes),
    }


def _step(result: StepResult) -> dict[str, Any]:
    step = result.step
    found = result.classification
    return {
        "number": step.number,
        "label": step.label,
        "parameter": step.parameter,
        "value": step.value,
        "stack_limit_bytes": step.stack_limit_bytes,
        "exercises": [call.described() for call in step.calls],
        "ending": result.ending,
        "during": result.during,
        "text": result.text,
        "seconds": round(result.seconds, 3),
        "operations": result.operations,
        "refused": result.refused,
        "depth_bytes": _number(result.depth_bytes),
        "lost": _number(result.lost),
        "death": None if result.cause is None else cause_document(result.cause),
        "classification": None
        if found is None
        else {
            "kind": found.kind,
            "place": found.place,
            "bytes": found.size_bytes,
            "share": found.share,
            "evidence": found.evidence,
        },
        "advice": [
            {"text": one.text, "applies_to": one.applies_to, "evidence": one.evidence}
            for one in result.advice
        ],
        "box": None if result.box is None else _box(result.box),
    }


def cause_document(cause: Cause) -> dict[str, Any]:
    """A death: what, where, and the call chain behind it."""
    return {
        "kind": cause.kind,
        "text": cause.text,
        "signal": cause.signal,
        "address": None if cause.address is None else f"{cause.address:#x}",
        "thread": cause.thread,
        "distance_bytes": cause.distance_bytes,
        "chain": None if cause.chain is None else chain_document(cause.chain),
        "chain_missing": cause.chain_missing,
    }


def _least(least: Least) -> dict[str, Any]:
    return {
        "survived_bytes": least.survived_bytes,
        "died_bytes": least.died_bytes or None,
        "settled": least.settled,
        "runs": least.runs,
        "touched_bytes": _number(least.touched_bytes),
        "gap": least.gap,
    }


def _box(report: BoxReport) -> dict[str, Any]:
    return {
        "how": report.how,
        "memory_limited": report.memory_limited,
        "processes_limited": report.processes_limited,
        "isolated": report.isolated,
        "why": report.why,
        "oom_kills": _number(report.oom_kills),
        "peak_bytes": _number(report.peak_bytes),
    }


def _number(value: int | NotMeasured) -> int | dict[str, str]:
    return {"not_measured": value.reason} if isinstance(value, NotMeasured) else value
