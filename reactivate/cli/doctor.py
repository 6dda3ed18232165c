"""`reactivate doctor`: what this machine can measure, and what mends what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import Styled, emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.cli.table import print_table
from reactivate.errors import ExitCode, ReactivateError

if TYPE_CHECKING:
    from reactivate.target.model import TargetSpec


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, doctor, example="reactivate doctor --json")


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine can measure, and what is missing.

    Ends with 6 if something is missing, and says what mends it.
    """
    from reactivate.run.doctor import examine, missing

    findings = examine(_target(ctx.obj))
    calibrated = _calibrated(ctx.obj)
    absent = missing(findings)
    code = ExitCode.ENVIRONMENT if absent else ExitCode.DONE
    if as_json:
        emit_json(
            "reactivate.doctor/1",
            {
                "findings": [
                    {
                        "group": f.group,
                        "subject": f.subject,
                        "condition": f.condition.value,
                        "detail": f.detail,
                        "needs": f.needs,
                        "hint": f.hint,
                    }
                    for f in findings
                ],
                "calibrated": calibrated,
                "exit_code": int(code),
            },
        )
        raise typer.Exit(int(code))
    styles = {"ready": "green", "partly": "yellow", "missing": "red"}
    print_table(
        ["", "condition", "here", "needed for, or needs"],
        [
            [f.subject, Styled(f.condition.value, styles[f.condition]), f.detail, f.needs]
            for f in findings
        ],
    )
    print_table(["", ""], [[f.subject, f.hint] for f in absent if f.hint])
    say(f"calibrated: {calibrated}", style="dim")
    if code:
        say(f"[exit {int(code)}]", style="dim")
        say("next: mend the above, then reactivate doctor")
    else:
        say("next: reactivate next")
    raise typer.Exit(int(code))


def _target(state: State) -> TargetSpec | None:
    """The workspace's target; None where there is no workspace, or its files are faulty."""
    from reactivate.target.config import load_target, target_path

    try:
        workspace = state.workspace()
        return load_target(target_path(workspace, workspace.settings().target))
    except ReactivateError:
        # What is wrong with them is said by the verbs that work on them.
        return None


def _calibrated(state: State) -> str:
    """What the workspace's ledger knows of calibrations, in one line."""
    from reactivate.campaign.calibrated import COMMAND, Standing, standing
    from reactivate.ledger.store import Ledger

    try:
        workspace = state.workspace()
    except ReactivateError:
        return f"not known, this is no workspace. {COMMAND} prints its table anywhere."
    try:
        with Ledger.open(workspace.ledger, writer=False) as ledger:
            return standing(ledger).text
    except ReactivateError as error:
        # What is wrong with a ledger is for the verbs that work on it.
        return Standing().text if not workspace.ledger.exists() else f"not known: {error}"
