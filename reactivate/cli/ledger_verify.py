"""`reactivate ledger verify` and `anchor`: is the record as it was written, and who vouches."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import Part, Styled, emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.campaign.ledger_check import Checked

_SHOWN = 20
_NEXT = "reactivate ledger verify"


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    add_verb(group, verify, example="reactivate ledger verify --json")
    add_verb(group, anchor, example="reactivate ledger anchor --git-tag")


def verify(
    ctx: typer.Context,
    anchor: Annotated[
        str,
        typer.Option(
            "--anchor",
            metavar="SEQ:DIGEST",
            help="A head that was kept elsewhere; see `reactivate ledger anchor`.",
            show_default=False,
        ),
    ] = "",
    no_git: Annotated[
        bool, typer.Option("--no-git", help="Do not ask the repository for anchors.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute the chain, and compare all that hangs on it.

    That is evidence, decision files, checklists and anchors. Changes nothing. Ends with 7 if
    anything is not as it was recorded, and names the first bad event; with 8 if it could not be
    checked.
    """
    from reactivate.campaign.ledger_check import check_ledger, parse_anchor

    state: State = ctx.obj
    given = [parse_anchor(anchor)] if anchor else []
    checked = check_ledger(state.workspace(), given=given, ask_git=not no_git)
    code = int(checked.exit_code)
    if as_json:
        emit_json("reactivate.ledger.verify/1", checked_json(checked))
    elif checked.findings:
        _show_findings(checked)
    else:
        _show_whole(checked)
    raise typer.Exit(code)


def checked_json(checked: Checked) -> dict[str, Any]:
    """A verification for `--json`."""
    head = checked.audit.head
    return {
        "exit_code": int(checked.exit_code),
        "rows": checked.audit.rows,
        "head": None if head is None else {"seq": head[0], "sha256": head[1]},
        "unproven": checked.audit.unproven,
        "artifacts": checked.files,
        "artifact_bytes": checked.size_bytes,
        "editions": checked.editions,
        "decision_files": checked.logged.files,
        "anchors": [asdict(anchor) for anchor in checked.anchors],
        "anchored": checked.reach,
        "findings": [asdict(finding) for finding in checked.findings],
        "notes": list(checked.notes),
    }


def _show_findings(checked: Checked) -> None:
    from reactivate.cli.table import print_table

    first = checked.findings[0]
    where = "" if first.seq is None else f" at event {first.seq}"
    kind = f" ({first.kind})" if first.kind else ""
    say(f"The ledger was tampered with, first{where}{kind}: {first.what}", style="red")
    say()
    rows: list[list[Part]] = [
        ["" if f.seq is None else str(f.seq), f.kind, f.where, Styled(f.what, "red")]
        for f in checked.findings[:_SHOWN]
    ]
    print_table(["event", "kind", "in", "what differs"], rows, right=[0])
    more = len(checked.findings) - _SHOWN
    if more > 0:
        say(f"  and {more:,} more: --json lists all", style="dim")
    _show_notes(checked)
    say(f"[exit {int(checked.exit_code)}]", style="dim")
    say("next: cp ledger.db ledger.tampered.db, then put a copy back that verifies")


def _show_whole(checked: Checked) -> None:
    from reactivate.cli.table import print_table
    from reactivate.units import format_bytes

    audit, head = checked.audit, checked.audit.head
    rows = audit.rows
    results = sum(rows.get(table, 0) for table in ("measurements", "verdicts", "artifacts"))
    table: list[list[Part]] = [
        [
            "chain",
            f"{rows.get('events', 0):,} events, {rows.get('attempts', 0):,} attempts, "
            f"{results:,} results, {rows.get('decisions', 0):,} decisions",
            "recomputed",
        ],
        ["evidence", f"{checked.files:,} files, {format_bytes(checked.size_bytes)}", "as recorded"],
        ["checklist", f"{checked.editions:,} on record", "as recorded"],
        ["decisions", f"{checked.logged.files:,} files", "as the ledger says"],
        ["anchors", _anchored(checked), ""],
    ]
    print_table(["", "looked at", ""], table)
    _show_notes(checked)
    say()
    if head is None:
        say("Nothing is on record yet.")
    else:
        say(f"Whole to event {head[0]:,}, head {head[1]}", style="green")
        if audit.unproven:
            say(
                f"Chained since event {audit.unproven + 1:,}: of what was recorded before, "
                "the chain proves nothing.",
                style="yellow",
            )
        if checked.reach < head[0]:
            say(
                f"No anchor reaches beyond event {checked.reach:,}: a ledger cut off or written "
                "anew after it would look the same."
            )
    done = head is None or checked.reach >= head[0]
    say(f"next: {'reactivate status' if done else 'reactivate ledger anchor'}")


def _anchored(checked: Checked) -> str:
    if not checked.anchors:
        return "none"
    newest = max(checked.anchors, key=lambda each: each.seq)
    return f"{len(checked.anchors):,}, the newest at event {newest.seq:,}: {newest.source}"


def _show_notes(checked: Checked) -> None:
    for note in checked.notes:
        say("  ", Styled(note, "yellow"))


def anchor(
    ctx: typer.Context,
    git_tag: Annotated[
        bool, typer.Option("--git-tag", help="Put it into an annotated tag at HEAD.")
    ] = False,
    git_note: Annotated[
        bool, typer.Option("--git-note", help="Add it to the notes of HEAD.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the head of the chain, to be kept elsewhere.

    Git runs only if asked to, in the repository that the workspace is in. Whoever can rewrite the
    repository can rewrite a tag: push it.
    """
    from reactivate.campaign import git_anchors
    from reactivate.errors import UsageError
    from reactivate.ledger.store import Ledger

    state: State = ctx.obj
    workspace = state.workspace()
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        head = ledger.head()
    if head is None:
        raise UsageError(
            "there is nothing to anchor", why="nothing is on record yet", hint="reactivate next"
        )
    tag = git_anchors.put_tag(workspace, head.seq, head.sha256) if git_tag else ""
    note = git_anchors.put_note(workspace, head.seq, head.sha256) if git_note else ""
    if as_json:
        emit_json(
            "reactivate.ledger.anchor/1",
            {"seq": head.seq, "sha256": head.sha256, "git_tag": tag, "git_note": note},
        )
        return
    say(f"{head.seq}:{head.sha256}")
    if tag:
        say(f"git tag {tag}")
    if note:
        say(f"git note on {note}: git notes --ref={git_anchors.NOTES} show")
    command = _NEXT if tag or note else f"{_NEXT} --anchor {head.seq}:{head.sha256}"
    say(f"next: {f'git push origin {tag}' if tag else command}")
