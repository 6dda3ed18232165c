"""`reactivate target`: edit the target's own configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_group, add_verb
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "target", "The filesystem under test.")
    add_verb(
        group,
        set_,
        name="set",
        example="reactivate target set search_engine.implementation iterative",
    )


def set_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="SECTION.KEY of the target's configuration file.")],
    value: Annotated[str, typer.Argument(help="The new value, of the type the old one has.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
