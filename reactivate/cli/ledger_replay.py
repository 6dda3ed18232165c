"""`reactivate ledger replay`: does everything follow from what was measured?"""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

_MOST_SHOWN = 20


def register(group: typer.Typer) -> None:
    """Add the verb."""
    add_verb(group, replay, example="reactivate ledger replay")


def replay(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Work out verdicts and documents anew, and compare.

    States, too, from what the ledger holds; nothing is measured or mounted. Exit 7 if the record
    contradicts itself, 5 if something cannot be told.
    """
    from dataclasses import asdict

    from reactivate.campaign.replaying import replay_ledger
    from reactivate.texts import visible

    state: State = ctx.obj
    found = replay_ledger(state.workspace())
    code = found.exit_code
    if as_json:
        payload = asdict(found)
        payload["findings"] = [{**asdict(f), "kind": f.kind.value} for f in found.findings]
        emit_json("reactivate.ledger.replay/1", {**payload, "exit_code": int(code)})
        raise typer.Exit(int(code))
    say(
        f"{found.events:,} events, {found.attempts:,} judged attempts replayed: "
        f"{found.verdicts:,} verdicts, {found.documents:,} documents, {found.chains:,} call chains "
        "are as recorded",
        style="bold",
    )
    if found.merged:
        say(f"  {found.merged:,} merged attempts are their own ledger's", style="dim")
    for each in found.findings[:_MOST_SHOWN]:
        style = "red" if each.kind.value == "contradiction" else "yellow"
        say(f"  {each.kind.value}: {visible(each.place)}: {visible(each.why)}", style=style)
        if each.recorded or each.rebuilt:
            say(f"    recorded  {visible(each.recorded)}")
            say(f"    replayed  {visible(each.rebuilt)}")
    if len(found.findings) > _MOST_SHOWN:
        say(f"  {len(found.findings) - _MOST_SHOWN:,} more; --json has all", style="dim")
    if code:
        say(f"[exit {int(code)}]", style="dim")
        say("next: reactivate ledger replay --json")
    else:
        say("next: reactivate status")
    raise typer.Exit(int(code))
