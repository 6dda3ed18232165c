"""A whole scenario: its steps one after the other, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reactivate.errors import UsageError
from reactivate.evidence import NotMeasured
from reactivate.gate.growth_law import Law, fit
from reactivate.instrument.contract import Reporter
from reactivate.instrument.search_limit import Attempt, Search
from reactivate.procfs import PAGE_BYTES
from reactivate.run.overflow.record import document
from reactivate.run.overflow.result import Ending, Least, ScenarioResult, StepResult
from reactivate.run.overflow.step import Site, run_step
from reactivate.workload.scenario import Expectation, Scenario, Step

MOST_RUNS = 12
_START_OFFSET_BYTES = 8 * 1024
"""The kernel moves the first stack pointer by up to two pages at each exec."""


async def run_scenario(
    site: Site,
    scenario: Scenario,
    folder: Path,
    reporter: Reporter,
    *,
    reduced: bool,
    least: bool = False,
) -> ScenarioResult:
    """Run every step, in order; none is left out because one before it died.

    Args:
        site: where; its build has everything on that is to be on.
        scenario: what.
        folder: existing folder; evidence goes into `NAME.json` and `NAME/`.
        reporter: progress.
        reduced: only the reduced set of steps.
        least: also look for the least stack with which the last surviving step survives.

    Raises:
        UsageError: something it needs is not on.
        ConfigurationError: the target has no such setting.
    """
    missing = [c for c in scenario.components if c not in site.build.components]
    if missing:
        raise UsageError(
            f"the scenario {scenario.name} needs {', '.join(missing)}",
            why=f"what is on: {', '.join(site.build.components) or 'no component'}",
            hint="reactivate overflow --list",
        )
    steps = scenario.steps(reduced)
    results: list[StepResult] = []
    for step in steps:
        reporter.advance(len(results), len(steps), f"{scenario.name}: {step.label}")
        own = folder / scenario.name / f"step-{step.number}"
        own.mkdir(parents=True, exist_ok=True)
        results.append(await run_step(site, step, scenario.limits, own))
        _remove_if_empty(own)
    found = ScenarioResult(
        scenario=scenario,
        components=site.build.components,
        reduced=reduced,
        all_steps=len(scenario.steps()),
        steps=tuple(results),
        laws=laws(results),
        evidence=f"{scenario.name}.json",
    )
    survived = [result.step for result in results if result.ending is Ending.SURVIVED]
    if least and survived and scenario.expect is Expectation.SURVIVES:
        found = replace(found, least=await _least(site, scenario, survived[-1], folder, reporter))
    reporter.advance(len(steps), len(steps), f"{scenario.name}: done")
    (folder / found.evidence).write_text(
        json.dumps(document(found), indent=1) + "\n", encoding="utf-8"
    )
    return found


def laws(results: Sequence[StepResult]) -> dict[int, Law]:
    """How depth grows with the swept value, for each stack limit; without numbers there is none."""
    points: dict[int, list[tuple[float, float]]] = {}
    parameter = ""
    for result in results:
        value, depth = result.step.value, result.depth_bytes
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        parameter = result.step.parameter
        own = points.setdefault(result.step.stack_limit_bytes, [])
        if isinstance(depth, int):
            own.append((float(value), float(depth)))
    # A stack that starts up to two pages lower, and is seen in pages, is not one that grows.
    tolerance = _START_OFFSET_BYTES + PAGE_BYTES
    return {
        limit: fit(own, parameter=parameter, tolerance_bytes=tolerance)
        for limit, own in points.items()
    }


async def _least(
    site: Site, scenario: Scenario, step: Step, folder: Path, reporter: Reporter
) -> Least:
    """Halve the limit around what the step touched, down to a page."""
    search = Search(
        step_bytes=PAGE_BYTES,
        full_bytes=step.stack_limit_bytes // PAGE_BYTES * PAGE_BYTES,
        most_attempts=MOST_RUNS,
    )
    own = folder / scenario.name / "least"
    own.mkdir(parents=True, exist_ok=True)
    touched: dict[int, int] = {}
    runs, limit = 0, search.full_bytes
    deaths: dict[int, StepResult] = {}
    while True:
        reporter.advance(runs, MOST_RUNS, f"{scenario.name}: {limit // 1024:,} KiB of stack")
        result = await run_step(site, replace(step, stack_limit_bytes=limit), scenario.limits, own)
        runs += 1
        depth = result.depth_bytes if isinstance(result.depth_bytes, int) else 0
        survived = result.ending is Ending.SURVIVED
        if survived:
            touched[limit] = max(touched.get(limit, 0), depth)
        else:
            deaths[limit] = result
        search.learn(Attempt(limit_bytes=limit, survived=survived, touched_bytes=depth))
        proposed = search.next_limit()
        if proposed is None:
            break
        limit = proposed
    found = search.least_surviving
    depth_there = None if found is None else touched.get(found)
    return Least(
        survived_bytes=found,
        died_bytes=search.largest_dying,
        settled=search.settled,
        runs=runs,
        touched_bytes=NotMeasured(reason="nothing was survived")
        if depth_there is None
        else depth_there,
        gap=_gap(found, depth_there, deaths.get(search.largest_dying)),
    )


def _gap(least: int | None, touched: int | None, death: StepResult | None) -> str:
    """What lies between the deepest touched page and the least limit."""
    if least is None or touched is None:
        return "nothing was survived, so there is nothing to compare"
    gap = least - touched
    if death is not None and not death.overflown:
        return f"{gap:,} bytes, unexplained: below it the step ended otherwise ({death.text})"
    within = _START_OFFSET_BYTES + PAGE_BYTES
    if abs(gap) <= within:
        return (
            f"{gap:,} bytes: the kernel starts the stack up to {_START_OFFSET_BYTES:,} bytes lower "
            "from run to run, and limits are tried in whole pages"
        )
    if death is not None and death.cause is not None and death.cause.kernel:
        return f"{gap:,} bytes: the kernel needs them for the frame of a signal handler"
    if death is not None and death.during == "mount":
        return f"{gap:,} bytes: with less it dies on its way to the mount (loader, interpreter)"
    return f"{gap:,} bytes, unexplained"


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
