"""`reactivate compare`: what changed between two campaigns, phases or attempts, and is it noise."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.light import add_verb
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, compare, example="reactivate compare before/ after/")


def compare(
    ctx: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="WORKSPACE, a ledger, WORKSPACE:PHASE, :attempt-N or @COMMIT."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is compared with; likewise.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also numbers that did not change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what changed between two campaigns, or is it noise.

    Nothing is measured or judged: exit 0 means that they were compared, whatever came out; 5 that
    nothing was measured on both sides. `:PHASE` alone is a phase of this workspace, `@COMMIT` what
    was measured of that commit of the target's source.
    """
    from reactivate.cli.compare_view import comparison_json, show_comparison
    from reactivate.cli.console import emit_json
    from reactivate.report.comparison import compare_sides, parse_side

    state: State = ctx.obj
    # Two workspaces can be compared from anywhere; only `:PHASE` needs one here.
    here = state.workspace().root if {a[:1], b[:1]} & {":", "@"} else None
    found = compare_sides(parse_side(a, here), parse_side(b, here))
    if as_json:
        emit_json("reactivate.compare/1", comparison_json(found))
    else:
        show_comparison(found, everything=everything)
