"""The scenarios of an overflow check: which a phase names, their run, and what the gate gets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import ConfigurationError, UsageError
from reactivate.evidence import Measurement
from reactivate.instrument.contract import Reporter
from reactivate.run.checks import InstrumentRun
from reactivate.run.explain import Explanation
from reactivate.run.overflow.explained import explanation_of
from reactivate.run.overflow.measured import INSTRUMENT, measurements
from reactivate.run.overflow.result import ScenarioResult
from reactivate.run.overflow.scenario import run_scenario
from reactivate.run.overflow.step import Site
from reactivate.target.model import Build, TargetSpec
from reactivate.workload.scenario import Scenario, find_scenario, load_scenarios
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioRun:
    """What the scenarios of a check gave.

    Attributes:
        measurements: for the gate.
        run: for display.
        explanation: the chain of the first death that no scenario expects; None if there is none.
    """

    measurements: tuple[Measurement, ...]
    run: InstrumentRun
    explanation: Explanation | None


def scenarios_for(
    workspace: Workspace, names: Sequence[str], components: Sequence[str]
) -> tuple[Scenario, ...]:
    """The scenarios that a phase names.

    Args:
        workspace: whose scenarios they are.
        names: as in the checklist.
        components: what is on in the phase.

    Raises:
        ConfigurationError: a file has faults, or there is none of that name, or it needs a
            component that is not on then.
    """
    if not names:
        return ()
    known = load_scenarios(workspace.configs)
    found = []
    for name in names:
        try:
            scenario = find_scenario(known, name)
        except UsageError as error:
            raise ConfigurationError(
                f"the checklist names a scenario that is not there: {error.what}",
                why=error.why,
                hint="reactivate overflow --list",
            ) from None
        if missing := [c for c in scenario.components if c not in components]:
            raise ConfigurationError(
                f"the scenario {name} needs {', '.join(missing)}, which is not on in this phase",
                why=f"what is on: {', '.join(components) or 'no component'}",
                hint="name it in a later phase of the checklist",
            )
        found.append(scenario)
    return tuple(found)


async def check_scenarios(
    workspace: Workspace,
    spec: TargetSpec,
    build: Build,
    scenarios: Sequence[Scenario],
    folder: Path,
    reporter: Reporter,
    *,
    reduced: bool,
) -> ScenarioRun:
    """Run them all, whatever becomes of each.

    Args:
        workspace: whose results they are.
        spec: the target.
        build: with everything on that is on in the phase.
        scenarios: what to run.
        folder: the attempt's folder; evidence goes into its subfolder `scenarios`.
        reporter: progress.
        reduced: only the reduced set of each scenario's steps.
    """
    started = time.monotonic()
    own = folder / INSTRUMENT
    own.mkdir(parents=True, exist_ok=True)
    site = Site(workspace=workspace, spec=spec, build=build)
    results = [
        await run_scenario(site, scenario, own, reporter, reduced=reduced) for scenario in scenarios
    ]
    return ScenarioRun(
        measurements=measurements(results, f"{INSTRUMENT}/"),
        run=InstrumentRun(
            instrument=INSTRUMENT,
            seconds=time.monotonic() - started,
            summary=", ".join(f"{r.scenario.name} ({r.set_text})" for r in results),
        ),
        explanation=_first_death(results),
    )


def _first_death(results: Sequence[ScenarioResult]) -> Explanation | None:
    for result in results:
        for step in result.steps:
            if step.cause is not None and not step.as_expected(result.scenario.expect):
                return explanation_of(step, f"{INSTRUMENT}/{result.evidence}")
    return None
