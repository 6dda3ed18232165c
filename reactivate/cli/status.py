"""`reactivate status`: where the campaign stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import emit_json, out
from reactivate.cli.state import State

if TYPE_CHECKING:
    from rich.text import Text

    from reactivate.campaign.status import CampaignStatus, PhaseStatus
    from reactivate.workspace import Workspace

_BAR_CELLS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STATE_STYLES = {"active": "green", "refused": "red", "pending": "dim"}
_VERDICT_STYLES = {"pass": "green", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example: reactivate status --json")(status)


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Phases, gates, worst stack per component against its limit, open items, stale evidence."""
    state: State = ctx.obj
    show_status(state.workspace(), as_json=as_json)


def show_status(workspace: Workspace, *, as_json: bool = False) -> None:
    """Print the status of the workspace's campaign."""
    from reactivate.campaign.review import review

    found = review(workspace)
    if as_json:
        emit_json("reactivate.status/1", status_json(found))
        return
    _print(found)


def status_json(found: CampaignStatus) -> dict[str, Any]:
    """The status for `--json`, bytes and counts in base units."""
    payload = asdict(found)
    for phase, source in zip(payload["phases"], found.phases, strict=True):
        worst = source.worst
        phase["worst"] = (
            None
            if worst is None
            else {"bytes": worst.value, "operation": worst.operation, "thread": worst.thread}
        )
        phase["verdicts"] = {verdict.value: n for verdict, n in source.verdicts.items()}
    return payload


def _print(found: CampaignStatus) -> None:
    from rich.text import Text

    from reactivate.cli.table import print_table

    console = out()
    since = f" since {found.since}" if found.since else ""
    where = "complete" if found.state == "complete" else f"{found.state} at {found.current}"
    console.print(
        Text(
            f"{found.title} · {found.target} · "
            f"{found.done} of {found.total} phases · {where}{since}"
        )
    )
    console.print()
    print_table(
        ["phase", "state", "worst stack", "of limit", "", "operation", "verdicts"],
        [_row(phase) for phase in found.phases],
        right=[2, 4],
    )
    console.print()
    stale = [f"{p.id}: {p.stale}" for p in found.phases if p.stale]
    for text in stale:
        console.print(Text(f"  stale   {text}", style="yellow"))
    for item, text in found.open_items:
        line = Text("  open    ", style="yellow")
        line.append(f"{item}  ", style="")
        line.append(text, style="dim")
        console.print(line)
    for criterion in found.failed:
        console.print(Text(f"  failed  {criterion}", style="red"))
    if found.interrupted:
        console.print(Text(f"  {found.interrupted} interrupted attempts on record", style="yellow"))
    console.print(
        Text(
            f"  stale: {len(stale) or 'none'}    evidence: {found.evidence or 'none yet'}    "
            f"ledger: {found.events} events, {found.measurements} measurements",
            style="dim",
        )
    )
    console.print(Text(f"next: {found.next_command}"))


def _row(phase: PhaseStatus) -> list[str | Text]:
    from rich.text import Text

    from reactivate.units import format_bytes

    state = Text(phase.state, style=_STATE_STYLES.get(phase.state, "yellow"))
    verdicts = Text()
    for verdict, count in phase.verdicts.items():
        verdicts.append(
            f"{count} {verdict.value}  ", style=_VERDICT_STYLES.get(verdict.value, "yellow")
        )
    if phase.waived:
        verdicts.append(f"{phase.waived} waived", style="yellow")
    worst = phase.worst
    if worst is None or not isinstance(worst.value, int):
        return [phase.id, state, "", "", "", "", verdicts]
    share = worst.value / phase.limit_bytes if phase.limit_bytes else None
    return [
        phase.id,
        state,
        format_bytes(worst.value),
        "" if share is None else bar(share),
        "" if share is None else f"{share:.1%}".replace("%", " %"),
        worst.operation,
        verdicts,
    ]


def bar(share: float) -> str:
    """`share` of a full line as block characters, to an eighth of a cell."""
    eighths = max(1, round(min(share, 1.0) * _BAR_CELLS * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_CELLS)
