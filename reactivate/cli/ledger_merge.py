"""`reactivate ledger merge`: what another ledger has and this one has not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

_MOST_NAMED = 5


def register(group: typer.Typer) -> None:
    """Add the verb."""
    add_verb(group, merge, example="reactivate ledger merge ../ci/ledger.db")


def merge(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A ledger.db, a workspace, or a pack.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take another campaign's attempts into this ledger.

    They stand under its name, to be read, and move nothing here. What is here already is not taken
    twice.
    """
    from reactivate.campaign.merging import merge as take

    state: State = ctx.obj
    found = take(state.workspace(), file)
    if as_json:
        emit_json(
            "reactivate.ledger.merge/1",
            {
                "origin": found.origin,
                "file_sha256": found.file_sha256,
                "events": found.events,
                "attempts": found.attempts,
                "known": found.known,
                "measurements": found.measurements,
                "decisions": found.decisions,
                "evidence": {
                    "copied": found.copied,
                    "missing": list(found.missing),
                    "changed": list(found.changed),
                },
                "left_out": list(found.left_out),
            },
        )
        return
    say(f"{found.origin} · {found.events:,} events", style="bold")
    say(
        f"  attempts     {found.attempts:,} new, {found.known:,} here already; "
        f"{found.measurements:,} measurements, {found.decisions:,} decisions came with them"
    )
    say(f"  evidence     {found.copied:,} files copied to results/merged/")
    _named("missing", found.missing)
    _named("changed", found.changed)
    _named("left out", found.left_out)
    if not found.is_new:
        say("Nothing is new.")
    say("next: reactivate history stack.peak")


def _named(what: str, names: tuple[str, ...]) -> None:
    if names:
        say(f"  {what:<11}  {len(names):,}", style="yellow")
        for name in names[:_MOST_NAMED]:
            say(f"    {name.encode('unicode_escape').decode()}")
        if len(names) > _MOST_NAMED:
            say(f"    {len(names) - _MOST_NAMED:,} more; --json names all", style="dim")
