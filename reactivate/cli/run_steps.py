"""Runs steps with progress and prints each as it ends; what is stale is measured before them."""

from __future__ import annotations

from reactivate.campaign.campaign import opened
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.campaign.review import review
from reactivate.campaign.states import PhaseState
from reactivate.cli.console import emit_json, say, talk
from reactivate.cli.progress import progress
from reactivate.cli.step_view import show_step, step_json
from reactivate.errors import ExitCode
from reactivate.report.verified import Verified
from reactivate.workspace import Workspace


def run_steps(
    workspace: Workspace, *, who: str, yes: bool, until_blocked: bool, as_json: bool
) -> ExitCode:
    """Perform one step, or steps until one does not advance.

    Active phases whose evidence is stale are measured again first; none of the steps is performed
    unless they pass.
    """
    reports: list[StepReport] = []
    verified = _measure_stale(workspace, as_json=as_json)
    if verified is None or not verified.exit_code:
        reports = _steps(workspace, who=who, yes=yes, until_blocked=until_blocked, as_json=as_json)
    code = reports[-1].exit_code if reports else ExitCode.INCONCLUSIVE
    if verified is not None and verified.exit_code:
        code = verified.exit_code
    if as_json:
        from reactivate.cli.verify import verified_json

        emit_json(
            "reactivate.next/1",
            {
                "verified": None if verified is None else verified_json(verified),
                "steps": [step_json(each) for each in reports],
                "exit_code": int(code),
            },
        )
    return code


def _steps(
    workspace: Workspace, *, who: str, yes: bool, until_blocked: bool, as_json: bool
) -> list[StepReport]:
    reports: list[StepReport] = []
    with opened(workspace) as campaign:
        while True:
            heading, intent = ("", "") if as_json else campaign.announcement()
            if heading:
                say(heading, style="bold")
                talk(f"  {intent}", style="dim")
            with progress(quiet=as_json) as reporter:
                report = campaign.step(who=who, yes=yes, reporter=reporter)
            reports.append(report)
            goes_on = until_blocked and report.outcome is Outcome.ADVANCED
            if not as_json:
                show_step(report, with_heading=not heading, with_commands=not goes_on)
            if not goes_on:
                return reports


def _measure_stale(workspace: Workspace, *, as_json: bool) -> Verified | None:
    """Measure again what is active on evidence that no longer holds; None if nothing is."""
    active = PhaseState.ACTIVE.value
    stale = [p for p in review(workspace).phases if p.stale and p.state == active]
    if not stale:
        return None
    from reactivate.campaign.verification import verify
    from reactivate.cli.verify import print_gates, tell_gate

    if not as_json:
        for phase in stale:
            say(f"{phase.id} · measured again: {phase.stale}", style="bold")
    with progress(quiet=as_json) as reporter:
        verified = verify(
            workspace,
            only=[phase.id for phase in stale],
            reporter=reporter,
            say=(lambda _: None) if as_json else tell_gate,
        )
    if not as_json:
        print_gates(verified)
        say()
        if verified.exit_code:
            say("No step was performed: what is active rests on evidence that no longer holds.")
            say("Undo the change or mend it; reactivate next measures it again.")
            say(f"[exit {int(verified.exit_code)}]", style="dim")
            say("next: reactivate status")
    return verified
