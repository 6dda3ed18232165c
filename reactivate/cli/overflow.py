"""`reactivate overflow`: provoke stack overflows on purpose, in a box, and explain every death."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reactivate import interruption
from reactivate.cli.console import emit_json
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reactivate.run.overflow.result import ScenarioResult
    from reactivate.run.overflow.session import Plan, Ran
    from reactivate.target.model import TargetSpec
    from reactivate.workload.scenario import Scenario
    from reactivate.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, overflow, example="reactivate overflow --scenario deep_recursion")


def overflow(
    ctx: typer.Context,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="Its name; again for more.")
    ] = None,
    all_scenarios: Annotated[
        bool, typer.Option("--all-scenarios", help="Every scenario of the workspace.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Show the scenarios, run none.")] = False,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", help="Also on, besides what the scenario needs."),
    ] = None,
    reduced: Annotated[
        bool, typer.Option("--reduced", help="The same scenarios with fewer steps.")
    ] = False,
    least: Annotated[
        bool,
        typer.Option("--least", help="Also find the least stack that each scenario survives."),
    ] = False,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Mount and process namespaces of its own.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run overflow scenarios on the real, mounted daemon.

    Scenarios are files in configs/scenarios. Every mount has limits on stack, memory, processes
    and time; a death is explained by signal, fault address and call chain. What was seen goes into
    the ledger with its evidence, marked as run by hand: analyses show it, no gate counts it. Ends
    with 3 if a step did not end as its scenario expects, with 5 if one could not be judged.
    """
    from reactivate.target.config import load_target, target_path
    from reactivate.workload.scenario import load_scenarios

    state: State = ctx.obj
    workspace = state.workspace()
    spec = load_target(target_path(workspace, workspace.settings().target))
    known = [switch.id for switch in spec.components]
    # Those of other targets are no fault: they name components that this one has not.
    scenarios = load_scenarios(workspace.configs)
    if show:
        from reactivate.cli.overflow_view import list_json, show_list

        if as_json:
            emit_json("reactivate.overflow.list/1", list_json(scenarios))
        else:
            show_list(scenarios, known)
        return
    from reactivate.run.overflow.session import planned

    chosen = _chosen(scenarios, scenario or [], all_scenarios=all_scenarios)
    plans = planned(spec, _possible(chosen, known, named=bool(scenario)), component or ())
    code = _run(
        workspace, spec, plans, reduced=reduced, least=least, isolate=isolate, as_json=as_json
    )
    raise typer.Exit(int(code))


def _chosen(
    scenarios: Sequence[Scenario], names: Sequence[str], *, all_scenarios: bool
) -> Sequence[Scenario]:
    from reactivate.workload.scenario import find_scenario

    if all_scenarios and names:
        raise UsageError("--all-scenarios and --scenario exclude each other")
    if not all_scenarios and not names:
        raise UsageError(
            "overflow what?",
            why="neither --scenario nor --all-scenarios was given",
            hint="reactivate overflow --list",
        )
    if all_scenarios:
        if not scenarios:
            raise UsageError("this workspace has no configs/scenarios/*.toml")
        return scenarios
    return [find_scenario(scenarios, name) for name in dict.fromkeys(names)]


def _possible(
    chosen: Sequence[Scenario], known: Sequence[str], *, named: bool
) -> Sequence[Scenario]:
    """Of all scenarios, those whose components the target has; a named one must be possible."""
    if named:
        return chosen
    return [each for each in chosen if set(each.components) <= set(known)]


def _run(
    workspace: Workspace,
    spec: TargetSpec,
    plans: Sequence[Plan],
    *,
    reduced: bool,
    least: bool,
    isolate: bool,
    as_json: bool,
) -> ExitCode:
    from reactivate.campaign.provoked import book
    from reactivate.cli.overflow_view import results_json, show_end, show_result, show_unrecorded
    from reactivate.cli.progress import progress
    from reactivate.run.overflow.session import results_folder, run_plans

    with book(workspace, spec) as taken:
        folder = results_folder(workspace)
        show_unrecorded(taken.why_not)

        def found(ran: Ran) -> None:
            # Shown first: what was seen is not lost where it cannot be recorded.
            if not as_json:
                show_result(ran.result)
            taken.take(ran, folder)

        async def run() -> tuple[ScenarioResult, ...]:
            with progress(quiet=as_json) as reporter:
                return await run_plans(
                    workspace,
                    spec,
                    plans,
                    folder,
                    reporter,
                    reduced=reduced,
                    least=least,
                    isolate=isolate,
                    found=found,
                )

        results = interruption.run(run)
    code = exit_code(results)
    if as_json:
        kept = {"recorded": taken.recorded, "not_recorded": taken.why_not or None}
        document = {**results_json(results), "folder": str(folder), **kept, "exit_code": int(code)}
        emit_json("reactivate.overflow/1", document)
    else:
        show_end(results, folder, code, recorded=taken.recorded)
        show_unrecorded(taken.why_not)
    return code


def exit_code(results: Sequence[ScenarioResult]) -> ExitCode:
    """3 before 5 before 0: a death is a death, whatever else could not be judged."""
    if any(result.unexpected for result in results):
        return ExitCode.REFUSED
    return ExitCode.DONE if all(result.complete for result in results) else ExitCode.INCONCLUSIVE
