"""`next`, `confirm`, `retry`, `waive`, `rollback`: what moves a campaign."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import emit_json
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.campaign.campaign import Campaign
    from reactivate.campaign.outcome import StepReport
    from reactivate.workspace import Workspace

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Who = Annotated[
    str,
    typer.Option(
        "--who",
        help="Who decides; default: `who` of configs/campaign.toml, else the login name.",
        show_default=False,
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays on record.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    add_verb(app, next_, name="next", example="reactivate next --until blocked")
    add_verb(app, confirm, example="reactivate confirm --all")
    add_verb(app, retry, example="reactivate retry")
    add_verb(
        app,
        waive,
        example='reactivate waive stack.peak --reason "fixed in 1.3"',
    )
    add_verb(app, rollback, example='reactivate rollback --reason "needs a redesign"')


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
    """Perform exactly one step.

    Says what it will do, does it, and shows the verdicts and the next command. Never skips, and
    never opens a gate: a refusal ends with 3, a person's turn with 4, an open question with 5.
    Active phases whose evidence is stale are measured again first.
    """
    from reactivate.errors import UsageError

    if until not in ("step", "blocked"):
        raise UsageError(f"Unknown --until value: {until}", hint="reactivate next --until blocked")
    from reactivate.cli.run_steps import run_steps

    workspace = _workspace(ctx)
    code = run_steps(
        workspace,
        who=_name(who, workspace),
        yes=yes,
        until_blocked=until == "blocked",
        as_json=as_json,
    )
    raise typer.Exit(int(code))


def confirm(
    ctx: typer.Context,
    items: Annotated[
        list[str] | None, typer.Argument(help="Ids of items, as `status` and `next` list them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every item that is open now.")] = False,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Confirm items of the checklist for people."""
    _record(
        ctx,
        lambda campaign, name: campaign.confirm(items or [], everything=all_, who=name),
        who,
        as_json,
    )


def retry(
    ctx: typer.Context,
    reason: Annotated[
        str, typer.Option("--reason", help="What was mended; default: what is seen to differ.")
    ] = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Begin a refused component again, after a fix.

    It is built and proven again, then all of its checks run again.
    """
    _record(ctx, lambda campaign, name: campaign.retry(who=name, reason=reason), who, as_json)


def waive(
    ctx: typer.Context,
    criterion: Annotated[str, typer.Argument(help="Id of a failed criterion, or its metric.")],
    reason: Reason,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Take the risk of one failed criterion, on record."""
    _record(
        ctx,
        lambda campaign, name: campaign.waive(criterion, reason=reason, who=name),
        who,
        as_json,
    )


def rollback(ctx: typer.Context, reason: Reason, who: Who = "", as_json: Json = False) -> None:
    """Switch a component off again; waits until `retry`."""
    _record(ctx, lambda campaign, name: campaign.roll_back(reason=reason, who=name), who, as_json)


def _record(
    ctx: typer.Context, act: Callable[[Campaign, str], StepReport], who: str, as_json: bool
) -> None:
    from reactivate.campaign.campaign import opened
    from reactivate.cli.step_view import show_step, step_json

    workspace = _workspace(ctx)
    with opened(workspace) as campaign:
        report = act(campaign, _name(who, workspace))
    if as_json:
        emit_json("reactivate.step/1", step_json(report))
    else:
        show_step(report)
    raise typer.Exit(int(report.exit_code))


def _workspace(ctx: typer.Context) -> Workspace:
    state: State = ctx.obj
    return state.workspace()


def _name(who: str, workspace: Workspace) -> str:
    """Who decides: the option, else who the workspace says, else the login name."""
    return who.strip() or workspace.settings().who
