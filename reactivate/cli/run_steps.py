"""Runs steps with progress and prints each as it ends; shared by `next` and `tour`."""

from __future__ import annotations

from reactivate.campaign.campaign import opened
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.cli.console import emit_json, err
from reactivate.cli.progress import progress
from reactivate.cli.step_view import show_step, step_json
from reactivate.workspace import Workspace


def run_steps(
    workspace: Workspace, *, who: str, yes: bool, until_blocked: bool, as_json: bool
) -> list[StepReport]:
    """Perform one step, or steps until one does not advance. At least one report comes back."""
    reports: list[StepReport] = []
    with opened(workspace) as campaign:
        while True:
            if not as_json:
                err().print(f"{campaign.announcement()}", style="dim", markup=False)
            with progress(quiet=as_json) as reporter:
                report = campaign.step(who=who, yes=yes, reporter=reporter)
            reports.append(report)
            if not as_json:
                show_step(report)
            if not until_blocked or report.outcome is not Outcome.ADVANCED:
                break
    if as_json:
        emit_json(
            "reactivate.next/1",
            {
                "steps": [step_json(report) for report in reports],
                "exit_code": int(reports[-1].exit_code),
            },
        )
    return reports
