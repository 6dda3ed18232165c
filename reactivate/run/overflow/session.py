"""Scenarios outside of a campaign: which of them, with what on, and where the results lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reactivate.errors import UsageError, WorkspaceError
from reactivate.instrument.contract import Reporter
from reactivate.run.overflow.result import ScenarioResult
from reactivate.run.overflow.scenario import run_scenario
from reactivate.run.overflow.step import Site
from reactivate.target.build import build as build_target
from reactivate.target.model import Build, TargetSpec
from reactivate.target.reap import reap
from reactivate.workload.scenario import Scenario
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario and what is on for it, in the target's order."""

    scenario: Scenario
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A scenario that has ended.

    Attributes:
        result: what became of it.
        build: what it was run on.
        started: when.
    """

    result: ScenarioResult
    build: Build
    started: datetime


def planned(
    spec: TargetSpec, scenarios: Sequence[Scenario], extra: Collection[str]
) -> tuple[Plan, ...]:
    """What each scenario needs on, with all that this needs in turn.

    Args:
        spec: the target.
        scenarios: to be run.
        extra: further components that are to be on.

    Raises:
        UsageError: the target has no such component.
    """
    return tuple(
        Plan(scenario=scenario, components=with_needs(spec, {*scenario.components, *extra}))
        for scenario in scenarios
    )


def with_needs(spec: TargetSpec, wanted: Collection[str]) -> tuple[str, ...]:
    """Components and everything they need, in the target's order.

    Raises:
        UsageError: the target has no such component.
    """
    needs = {switch.id: switch.needs for switch in spec.components}
    found: set[str] = set()
    left = list(wanted)
    while left:
        component = left.pop()
        if component not in needs:
            raise UsageError(
                f"the target {spec.name} has no component `{component}`",
                why=f"it has: {', '.join(needs) or 'none'}",
                hint="reactivate overflow --list",
            )
        if component not in found:
            found.add(component)
            left += needs[component]
    return tuple(component for component in needs if component in found)


async def run_plans(
    workspace: Workspace,
    spec: TargetSpec,
    plans: Sequence[Plan],
    folder: Path,
    reporter: Reporter,
    *,
    reduced: bool,
    least: bool = False,
    isolate: bool = False,
    found: Callable[[Ran], None] = lambda ran: None,
) -> tuple[ScenarioResult, ...]:
    """Run scenarios one after the other; each build is made once.

    Args:
        workspace: whose results and builds are used; what a killed run left there goes first.
        spec: the target.
        plans: what to run.
        folder: see `results_folder`.
        reporter: progress.
        reduced: see `run_scenario`.
        least: see `run_scenario`.
        isolate: see `Site`.
        found: called with each scenario as soon as it has ended.
    """
    reap(workspace)
    builds: dict[tuple[str, ...], Build] = {}
    results: list[ScenarioResult] = []
    for plan in plans:
        if plan.components not in builds:
            reporter.advance(0, 1, f"building {' '.join(plan.components) or 'the minimal target'}")
            builds[plan.components] = await build_target(spec, workspace, plan.components)
        build = builds[plan.components]
        site = Site(workspace=workspace, spec=spec, build=build, isolate=isolate)
        started = datetime.now(UTC)
        results.append(
            await run_scenario(site, plan.scenario, folder, reporter, reduced=reduced, least=least)
        )
        found(Ran(result=results[-1], build=build, started=started))
    return tuple(results)


def results_folder(workspace: Workspace) -> Path:
    """A fresh folder in results/overflow.

    Raises:
        WorkspaceError: it cannot be made.
    """
    parent = workspace.results / "overflow"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise WorkspaceError(
            "no folder for the results can be made",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error
    raise WorkspaceError("no folder for the results can be made", why="a thousand exist already")
