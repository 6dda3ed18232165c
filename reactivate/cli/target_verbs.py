"""`reactivate target`: edit the target's own configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.console import emit_json, out
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="The filesystem under test.")
    group.command(
        "set", epilog="Example: reactivate target set search_engine.implementation iterative"
    )(set_)
    app.add_typer(group, name="target", no_args_is_help=True)


def set_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="SECTION.KEY of the target's configuration file.")],
    value: Annotated[str, typer.Argument(help="The new value, of the type the old one has.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Change one setting of the target's configuration; comments and layout stay."""
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
    console = out()
    console.print(
        f"{change.path.relative_to(workspace.root)}: {key} was {change.before!r}, "
        f"is {change.after!r}",
        markup=False,
    )
    console.print("next: reactivate status")
