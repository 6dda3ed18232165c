"""`reactivate log`: the decision log."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import emit_json, say, talk
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reactivate.workspace import Workspace


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
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; end with 5 if the files are not what would be written."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print, write or check the decision log, as Markdown.

    It is generated from the ledger alone: the same ledger gives the same bytes.
    """
    if check:
        if write:
            raise UsageError(
                "--write and --check exclude each other", hint="reactivate log --check"
            )
        _check(ctx.obj.workspace(), as_json=as_json)
        return
    from reactivate.ledger.store import Ledger
    from reactivate.report.decision_log import file_name, render_log, write_log
    from reactivate.report.logged import require_own_log

    state: State = ctx.obj
    workspace = state.workspace()
    if write:
        require_own_log(workspace.ledger, workspace.decisions)
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


def _check(workspace: Workspace, *, as_json: bool) -> None:
    """Say what of the written log is not what the ledger renders, and end with 5 if anything."""
    from reactivate.ledger.store import Ledger
    from reactivate.report.decision_log import check_log

    with Ledger.open(workspace.ledger, writer=False) as ledger:
        found = check_log(ledger, workspace.decisions)
        count = len(ledger.decisions())
    told = {"changed": found.changed, "missing": found.missing, "unknown": found.unknown}
    relative = {
        key: [str(path.relative_to(workspace.root)) for path in paths]
        for key, paths in told.items()
    }
    code = ExitCode.INCONCLUSIVE if found else ExitCode.DONE
    if as_json:
        emit_json("reactivate.log.check/1", {**relative, "exit_code": int(code)})
    elif found:
        meaning = {
            "changed": "not what the ledger says",
            "missing": "not there",
            "unknown": "of no decision in the ledger",
        }
        for key, names in relative.items():
            for name in names:
                say(f"{name}: {meaning[key]}", style="red")
        talk(f"[exit {int(code)}]", style="dim")
        if found.changed or found.missing:
            say("next: reactivate log --write")
        else:
            say(f"next: rm {shlex.join(map(str, found.unknown))}")
    else:
        say(
            f"{count} decision{'s' * (count != 1)}, every file is what the ledger renders",
            style="green",
        )
        say("next: reactivate status")
    if found:
        raise typer.Exit(int(code))
