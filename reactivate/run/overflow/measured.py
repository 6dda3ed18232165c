"""What the scenarios of a check prove, as measurements for its gate."""

from __future__ import annotations

from collections.abc import Sequence

from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.gate.growth_law import Law, LawKind
from reactivate.run.overflow.result import Ending, ScenarioResult, StepResult
from reactivate.workload.scenario import Expectation, Restart

INSTRUMENT = "scenarios"

METRICS = ("overflow.crashes", "overflow.hangs", "overflow.lost", "overflow.reproduced",
           "stack.margin", "stack.growth")  # fmt: skip


def measurements(results: Sequence[ScenarioResult], prefix: str) -> tuple[Measurement, ...]:
    """One measurement per metric and scenario; the scenario's name is the operation.

    Args:
        results: every scenario of the check.
        prefix: what to put before a scenario's evidence file.
    """
    return tuple(m for result in results for m in _of(result, prefix + result.evidence))


def _of(result: ScenarioResult, evidence: str) -> list[Measurement]:
    broken = _not_judged(result)
    values: dict[str, tuple[int | float | NotMeasured, Bound, str]] = {}
    if result.scenario.expect is Expectation.OVERFLOWS:
        died = sum(step.overflown for step in result.steps)
        missed = len(result.steps) - died
        # A red test that stays green counts nothing as seen, whatever else it saw.
        values["overflow.reproduced"] = (
            0 if missed else died, Bound.EXACT, _first_text(result) if missed else "",
        )  # fmt: skip
    else:
        values["overflow.crashes"] = _count(result, Ending.DIED, broken)
        values["overflow.hangs"] = _count(result, Ending.HUNG, broken)
        if result.scenario.restart is Restart.KILL:
            values["overflow.lost"] = (_lost(result, broken), Bound.EXACT, "")
        values["stack.margin"] = (_margin(result, broken), Bound.LOWER, "")
        if result.laws:
            values["stack.growth"] = _growth(result)
    return [
        Measurement(
            metric=metric,
            value=value,
            bound=bound,
            operation=result.scenario.name,
            instrument=INSTRUMENT,
            samples=() if isinstance(value, NotMeasured) else (value,),
            evidence=evidence,
            note="; ".join(part for part in (result.set_text, note) if part),
        )
        for metric, (value, bound, note) in values.items()
    ]


def _not_judged(result: ScenarioResult) -> str:
    """Why the scenario proves nothing; "" if it does."""
    for step in result.steps:
        if step.ending is Ending.NOT_RUN:
            return f"{step.step.label} could not be run: {step.text}"
        if step.ending is Ending.REFUSED:
            return f"{step.step.label}, {step.during}: {step.text}"
    return ""


def _count(
    result: ScenarioResult, ending: Ending, broken: str
) -> tuple[int | NotMeasured, Bound, str]:
    found = [step for step in result.steps if step.ending is ending]
    if broken and not found:
        return NotMeasured(reason=broken), Bound.EXACT, ""
    note = f"{found[0].step.label}: {found[0].text}" if found else ""
    # What was not run may have died, too.
    return len(found), Bound.LOWER if broken else Bound.EXACT, note


def _lost(result: ScenarioResult, broken: str) -> int | NotMeasured:
    counted = [step.lost for step in result.steps if isinstance(step.lost, int)]
    if counted and sum(counted):
        return sum(counted)
    for step in result.steps:
        if isinstance(step.lost, NotMeasured):
            return NotMeasured(reason=broken or step.lost.reason)
    return sum(counted)


def _margin(result: ScenarioResult, broken: str) -> float | NotMeasured:
    """The least free share of a limit, over all steps; a step that died left nothing."""
    shares: list[float] = []
    for step in result.steps:
        if isinstance(step.depth_bytes, NotMeasured):
            if not step.overflown:
                return NotMeasured(reason=broken or f"{step.step.label}: {step.text}")
            shares.append(0.0)
            continue
        shares.append(max(0.0, 1 - step.depth_bytes / step.step.stack_limit_bytes))
    return min(shares)


def _growth(result: ScenarioResult) -> tuple[int | NotMeasured, Bound, str]:
    """By how much the stack deepens when the swept value doubles, at its largest."""
    worst: tuple[int, str] | None = None
    unclear = "no step was measured"
    for law in result.laws.values():
        if law.kind is LawKind.UNCLEAR:
            unclear = law.reason
            continue
        found = (doubling_bytes(law, result.steps), law.formula)
        worst = found if worst is None else max(worst, found)
    if worst is None:
        return NotMeasured(reason=f"no growth law: {unclear}"), Bound.EXACT, ""
    return worst[0], Bound.EXACT, worst[1]


def doubling_bytes(law: Law, steps: Sequence[StepResult]) -> int:
    """Further depth when the largest swept value that survived is doubled."""
    largest = law.highest
    if law.kind is LawKind.CONSTANT or largest is None:
        return 0
    here, there = law.at(largest), law.at(2 * largest)
    assert here is not None and there is not None
    return round(there - here)


def _first_text(result: ScenarioResult) -> str:
    first = next(step for step in result.steps if not step.overflown)
    return f"{first.step.label} was to overflow and did not: {first.text}"
