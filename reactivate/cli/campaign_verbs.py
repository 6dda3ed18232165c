"""`next`, `confirm`, `retry`, `waive`, `rollback`: what moves a campaign."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import emit_json
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.campaign.campaign import Campaign
    from reactivate.campaign.outcome import StepReport
    from reactivate.workspace import Workspace

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Who = Annotated[
    str, typer.Option("--who", help="Who decides; default: the user.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays on record.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("next", epilog="Example: reactivate next --until blocked")(next_)
    app.command(epilog="Example: reactivate confirm --all")(confirm)
    app.command(epilog="Example: reactivate retry")(retry)
    app.command(
        epilog='Example: reactivate waive search_engine.baseline.stack.peak --reason "known, #12"'
    )(waive)
    app.command(epilog='Example: reactivate rollback --reason "needs a redesign"')(rollback)


def next_(
    ctx: typer.Context,
    until: Annotated[
        str, typer.Option("--until", help="`step` (one step) or `blocked` (as far as it goes).")
    ] = "step",
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Confirm items for people, on record as unattended. Never overrides a gate.",
        ),
    ] = False,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Perform exactly one step: say what it is, do it, show the verdicts and the next command."""
    from reactivate.errors import UsageError

    if until not in ("step", "blocked"):
        raise UsageError(f"Unknown --until value: {until}", hint="reactivate next --until blocked")
    from reactivate.cli.run_steps import run_steps

    reports = run_steps(
        _workspace(ctx), who=_name(who), yes=yes, until_blocked=until == "blocked", as_json=as_json
    )
    raise typer.Exit(int(reports[-1].exit_code))


def confirm(
    ctx: typer.Context,
    items: Annotated[
        list[str] | None, typer.Argument(help="Ids of items, as `status` and `next` list them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every item that is open now.")] = False,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Confirm items of the checklist that are for people."""
    _record(
        ctx,
        lambda campaign: campaign.confirm(items or [], everything=all_, who=_name(who)),
        as_json,
    )


def retry(ctx: typer.Context, who: Who = "", as_json: Json = False) -> None:
    """After a fix: build again, prove again, and run the refused component's checks again."""
    _record(ctx, lambda campaign: campaign.retry(who=_name(who)), as_json)


def waive(
    ctx: typer.Context,
    criterion: Annotated[str, typer.Argument(help="Id of a failed criterion, or its metric.")],
    reason: Reason,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Take the risk of one failed criterion, on record, with a reason and a name."""
    _record(
        ctx,
        lambda campaign: campaign.waive(criterion, reason=reason, who=_name(who)),
        as_json,
    )


def rollback(ctx: typer.Context, reason: Reason, who: Who = "", as_json: Json = False) -> None:
    """Switch the refused component off again; the campaign waits until `retry`."""
    _record(ctx, lambda campaign: campaign.roll_back(reason=reason, who=_name(who)), as_json)


def _record(ctx: typer.Context, act: Callable[[Campaign], StepReport], as_json: bool) -> None:
    from reactivate.campaign.campaign import opened
    from reactivate.cli.step_view import show_step, step_json

    with opened(_workspace(ctx)) as campaign:
        report = act(campaign)
    if as_json:
        emit_json("reactivate.step/1", step_json(report))
    else:
        show_step(report)
    raise typer.Exit(int(report.exit_code))


def _workspace(ctx: typer.Context) -> Workspace:
    state: State = ctx.obj
    return state.workspace()


def _name(who: str) -> str:
    """Who decides: the option, else the login name."""
    return who or getpass.getuser()
