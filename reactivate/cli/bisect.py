"""`reactivate bisect`: which commit of the target's source broke a gate."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import Part, Styled, emit_json, say, talk
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reactivate.checklist.model import Checklist, Criterion, Phase
    from reactivate.evidence import Check
    from reactivate.gate.difference import Difference
    from reactivate.run.bisect import Culprit, Probe
    from reactivate.run.bisect_measure import Gate
    from reactivate.workspace import CampaignSettings

_MOST_CHANGES = 8


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, bisect, example="reactivate bisect --good v1 --bad HEAD --gate baseline.baseline")


def bisect(
    ctx: typer.Context,
    bad: Annotated[str, typer.Option("--bad", metavar="REV", help="The gate fails there.")],
    good: Annotated[
        str, typer.Option("--good", metavar="REV", help="It passes there; an ancestor of BAD.")
    ],
    gate: Annotated[
        str, typer.Option("--gate", metavar="NAME", help="PHASE.CHECK, or a criterion's id.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("--source", metavar="PATH", help="The checkout; default: the target's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the commit that broke a gate: build, measure, halve.

    The checkout is only read. A search that was interrupted goes on when the command is typed
    again. Ends with 0 if one commit is found, with 5 if several are left that could not be told
    apart, or if GOOD is not good or BAD not bad.
    """
    from reactivate.checklist.parse import load
    from reactivate.cli.progress import progress
    from reactivate.run.bisect import bisect as search
    from reactivate.target.config import load_target, target_path

    state: State = ctx.obj
    workspace = state.workspace()
    settings = workspace.settings()
    chosen = chosen_gate(load(settings.checklist), gate, settings)
    spec = load_target(target_path(workspace, settings.target))

    def tell(probe: Probe, left: int) -> None:
        if not as_json:
            talk(*_told(probe, left))

    with progress(quiet=as_json) as reporter:
        found = search(
            workspace, spec, chosen, source=source, good=good, bad=bad, reporter=reporter, tell=tell
        )  # fmt: skip
    if as_json:
        emit_json("reactivate.bisect/1", culprit_json(found))
    else:
        _show(found, chosen, source or spec.source)
    raise typer.Exit(int(ExitCode.DONE if found.certain else ExitCode.INCONCLUSIVE))


# -- which gate --------------------------------------------------------------------------------


def chosen_gate(checklist: Checklist, name: str, settings: CampaignSettings) -> Gate:
    """The gate that a name means: a phase's check, one criterion, or the end of its id.

    Raises:
        UsageError: none, or several.
    """
    from reactivate.campaign.criteria import gate_criteria
    from reactivate.evidence import Check

    gates: dict[str, tuple[Phase, Check, tuple[Criterion, ...]]] = {}
    for phase in checklist.phases:
        for check in Check:
            if criteria := gate_criteria(checklist, phase, check):
                gates[f"{phase.id}.{check.value}"] = (phase, check, criteria)
    if name in gates:
        phase, check, criteria = gates[name]
        return _gate(checklist, name, phase, check, criteria, settings)
    own = [
        (phase, check, c)
        for phase, check, criteria in gates.values()
        for c in criteria
        if c in phase.criteria
    ]
    wanted = [each for each in own if each[2].id == name]
    wanted = wanted or [each for each in own if each[2].id.endswith(f".{name}")]
    if len(wanted) != 1:
        raise UsageError(
            f"`{name}` means several criteria" if wanted else f"there is no gate `{name}`",
            why="criteria: " + ", ".join(each[2].id for each in wanted)
            if wanted
            else "gates: " + ", ".join(gates),
            hint=f"reactivate bisect --gate {(wanted[0][2].id if wanted else next(iter(gates)))} …",
        )
    phase, check, criterion = wanted[0]
    return _gate(checklist, criterion.id, phase, check, (criterion,), settings)


def _gate(
    checklist: Checklist,
    name: str,
    phase: Phase,
    check: Check,
    criteria: tuple[Criterion, ...],
    settings: CampaignSettings,
) -> Gate:
    from reactivate.campaign.criteria import components_of, scenarios_of, suites_of
    from reactivate.checklist.model import PhaseKind
    from reactivate.run.bisect_measure import Gate

    components = components_of(checklist, phase)
    together = phase.kind is PhaseKind.INTEGRATION
    return Gate(
        name=name,
        check=check,
        criteria=criteria,
        components=components,
        added=components if together else components[-1:],
        suites=suites_of(checklist, phase),
        scenarios=scenarios_of(checklist, phase),
        times=settings.integration_times if together else 1,
        reduced=settings.reduced_scenarios,
    )


# -- what is shown -----------------------------------------------------------------------------


def _told(probe: Probe, left: int) -> tuple[Part, ...]:
    from reactivate.run.bisect import Answer
    from reactivate.texts import visible

    styles = {Answer.GOOD: "green", Answer.BAD: "red", Answer.SKIPPED: "yellow"}
    return (
        f"  {probe.commit[:12]}  ",
        Styled(f"{probe.answer.value:<8}", styles[probe.answer]),
        Styled(f"  {visible(probe.reason)}   of {left:,} commits", "dim"),
    )


def _show(found: Culprit, gate: Gate, source: Path | None) -> None:
    from reactivate.run.bisect import Answer
    from reactivate.texts import visible

    if found.certain:
        say(f"The gate {gate.name} was broken by")
    else:
        say(f"The gate {gate.name} was broken by one of {len(found.suspects)} commits", style="yellow")  # fmt: skip # noqa: E501
    for sha in found.suspects:
        commit = found.commits[sha]
        about = f"  {visible(commit.author)}, {commit.date[:10]}"
        say(f"  {sha[:12]}  ", Styled(visible(commit.title), "bold"), Styled(about, "dim"))
    say(Styled(f"  the last good one measured is {found.last_good.commit[:12]}", "dim"))
    say()
    say(f"{visible(found.first_bad.reason)}")
    _changes(found)
    skipped = [p for p in found.probes.values() if p.answer is Answer.SKIPPED]
    for probe in skipped:
        say(Styled(f"skipped {probe.commit[:12]}: {visible(probe.reason)}", "yellow"))
    say(Styled(f"evidence: {visible(str(found.folder / 'commits'))}", "dim"))
    where = shlex.quote(str(source)) if source is not None else "."
    say(f"next: git -C {where} show {found.first_bad.commit[:12]}")


def _changes(found: Culprit) -> None:
    """The numbers that changed between the last good and the first bad commit."""
    from reactivate.cli.table import print_table
    from reactivate.report.analysis.values import quantity
    from reactivate.texts import visible

    changed = _changed(found)
    rows = [
        (visible(d.metric), visible(d.operation), visible(d.thread), quantity(d.metric, before),
         quantity(d.metric, after), Styled(d.change.value, "red" if by > 0 else "green"))
        for d, before, after, by in changed[:_MOST_CHANGES]
    ]  # fmt: skip
    if rows:
        print_table(["metric", "operation", "thread", "before", "after", ""], rows, right=(3, 4))
    if len(changed) > len(rows):
        say(Styled(f"  and {len(changed) - len(rows):,} smaller ones (--json)", "dim"))
    say()


def _changed(found: Culprit) -> list[tuple[Difference, float, float, float]]:
    """What changed with its numbers: the operation that decided first, then the largest."""
    from reactivate.evidence import NotMeasured

    listed = [
        (d, d.before, d.after, d.by or 0)
        for d in found.differences
        if d.decided
        and not isinstance(d.before, NotMeasured)
        and not isinstance(d.after, NotMeasured)
    ]
    decisive = found.first_bad.operation
    return sorted(listed, key=lambda each: (each[0].operation != decisive, -abs(each[3])))


def culprit_json(found: Culprit) -> dict[str, Any]:
    """The end of a search for `--json`."""
    return {
        "certain": found.certain,
        "first_bad": _probe_json(found.first_bad, found),
        "last_good": _probe_json(found.last_good, found),
        "suspects": list(found.suspects),
        "changes": [
            {
                "metric": d.metric,
                "operation": d.operation,
                "thread": d.thread,
                "before": before,
                "after": after,
                "by": by,
            }
            for d, before, after, by in _changed(found)
        ],
        "probes": [_probe_json(probe, found) for probe in found.probes.values()],
        "folder": str(found.folder),
        "exit_code": int(ExitCode.DONE if found.certain else ExitCode.INCONCLUSIVE),
    }


def _probe_json(probe: Probe, found: Culprit) -> dict[str, Any]:
    return {
        "commit": probe.commit,
        "title": found.commits[probe.commit].title,
        "answer": probe.answer.value,
        "reason": probe.reason,
        "criterion": probe.criterion,
        "operation": probe.operation,
        "artifact_sha256": probe.artifact_sha256,
    }
