"""`reactivate log`: the decision log."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, log, example="reactivate log --write")


def log(
    ctx: typer.Context,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write one file per decision, and a campaign report, to docs/decisions."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print or write the decision log, as Markdown.

    It is generated from the ledger alone: the same ledger gives the same bytes.
    """
    from reactivate.ledger.store import Ledger
    from reactivate.report.decision_log import file_name, render_log, write_log

    state: State = ctx.obj
    workspace = state.workspace()
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        decisions = ledger.decisions()
        changed = write_log(ledger, workspace.decisions) if write else ()
        files = {} if write or as_json else render_log(ledger)
    if as_json:
        emit_json(
            "reactivate.log/1",
            {
                "written": [str(path.relative_to(workspace.root)) for path in changed],
                "decisions": [
                    {
                        "number": d.number,
                        "at": d.at,
                        "phase": d.phase,
                        "kind": d.kind,
                        "criterion": d.criterion,
                        "who": d.who,
                        "unattended": d.unattended,
                        "reason": d.reason,
                        "file": file_name(d),
                    }
                    for d in decisions
                ],
            },
        )
        return
    if write:
        folder = workspace.decisions.relative_to(workspace.root)
        say(f"{len(decisions)} decisions, {len(changed)} files written to {folder}/")
        say(f"next: less {shlex.quote(str(workspace.decisions / 'README.md'))}")
        return
    typer.echo("\n".join(files.values()))
