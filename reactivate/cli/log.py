"""`reactivate log`: the decision log."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.console import emit_json, out
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example: reactivate log --write")(log)


def log(
    ctx: typer.Context,
    write: Annotated[
        bool, typer.Option("--write", help="Write one file per decision to docs/decisions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the decision log as Markdown, or write it; generated from the ledger alone."""
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
        console = out()
        console.print(
            f"{len(decisions)} decisions, {len(changed)} files written to "
            f"{workspace.decisions.relative_to(workspace.root)}/"
        )
        console.print(f"next: less {workspace.decisions / 'README.md'}", markup=False)
        return
    typer.echo("\n".join(files.values()))
