"""`reactivate target`: look at, check and configure the filesystem under test."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate import interruption
from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_group, add_verb
from reactivate.cli.state import State

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "target", "The filesystem under test.")
    add_verb(group, check, example="reactivate target check vexfs")
    add_verb(group, show, example="reactivate target show model")
    add_verb(
        group,
        set_,
        name="set",
        example="reactivate target set search_engine.implementation iterative",
    )


def check(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A target; default: the campaign's.")] = None,
    as_json: _Json = False,
) -> None:
    """Build, mount, ask, unmount; each component on and off.

    Ends with 5 if a switch proves nothing, with 6 if the target does not build or mount. Nothing is
    recorded.
    """
    from functools import partial

    from reactivate.cli.console import talk
    from reactivate.cli.target_view import check_json, show_check
    from reactivate.run.target_check import check_target
    from reactivate.target.config import load_target, target_path
    from reactivate.target.reap import reap

    state: State = ctx.obj
    workspace = state.workspace()
    spec = load_target(target_path(workspace, name or workspace.settings().target))
    reap(workspace)

    def tell(what: str) -> None:
        if not as_json:
            talk(f"  {what}", style="dim")

    found = interruption.run(partial(check_target, spec, workspace, tell))
    if as_json:
        emit_json("reactivate.target.check/1", check_json(found))
    else:
        show_check(spec, found)
    raise typer.Exit(int(found.exit_code))


def show(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A target; default: the campaign's.")] = None,
    as_json: _Json = False,
) -> None:
    """Show what a target's file says, as it is understood."""
    from reactivate.cli.target_view import show_spec, spec_json
    from reactivate.target.config import load_target, target_path

    state: State = ctx.obj
    workspace = state.workspace()
    spec = load_target(target_path(workspace, name or workspace.settings().target))
    if as_json:
        emit_json("reactivate.target.show/1", spec_json(spec))
    else:
        show_spec(spec)


def set_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="SECTION.KEY of the target's configuration file.")],
    value: Annotated[str, typer.Argument(help="The new value, of the type the old one has.")],
    as_json: _Json = False,
) -> None:
    """Change one setting; comments and layout stay."""
    from reactivate.target.settings import set_value

    state: State = ctx.obj
    workspace = state.workspace()
    change = set_value(workspace, key, value)
    if as_json:
        emit_json(
            "reactivate.target.set/1",
            {
                "file": str(change.path),
                "key": key,
                "before": change.before,
                "after": change.after,
            },
        )
        return
    file = change.path.relative_to(workspace.root)
    say(f"{file}: {key} was {change.before!r}, is {change.after!r}")
    say("next: reactivate status")
