"""Runs steps with progress and prints each as it ends."""

from __future__ import annotations

from reactivate.campaign.campaign import opened
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.cli.console import emit_json, say, talk
from reactivate.cli.progress import progress
from reactivate.cli.step_view import show_step, step_json
from reactivate.workspace import Workspace


def run_steps(
    workspace: Workspace, *, who: str, yes: bool, until_blocked: bool, as_json: bool
) -> StepReport:
    """Perform one step, or steps until one does not advance; returns the last one's report."""
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
                break
    if as_json:
        emit_json(
            "reactivate.next/1",
            {
                "steps": [step_json(each) for each in reports],
                "exit_code": int(reports[-1].exit_code),
            },
        )
    return reports[-1]
