"""`reactivate status`: where the campaign stands."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.light import add_verb
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, status, example="reactivate status --json")


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Phases, gates, worst stacks, open items, stale evidence."""
    from reactivate.cli.status_view import show_status

    state: State = ctx.obj
    show_status(state.workspace(), as_json=as_json)
