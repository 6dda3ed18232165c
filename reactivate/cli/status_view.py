"""The status of a campaign as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reactivate.cli.console import Part, Styled, columns, emit_json, say

if TYPE_CHECKING:
    from reactivate.campaign.status import CampaignStatus, PhaseStatus
    from reactivate.workspace import Workspace

_BAR_CELLS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SHORT = 72
_WIDE = 100
"""Columns of a terminal from which the table of phases fits."""
_STATE_STYLES = {"active": "green", "refused": "red", "pending": "dim"}


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
    from reactivate.cli.table import print_table

    since = f" since {found.since}" if found.since else ""
    where = "complete" if found.state == "complete" else f"{found.state} at {found.current}"
    say(
        f"{found.title} · {found.target} · {found.done} of {found.total} phases · {where}{since}",
        style="bold",
    )
    say()
    if columns() < _WIDE:
        for phase in found.phases:
            _narrow(phase)
    else:
        print_table(
            ["phase", "state", "worst stack", "of limit", "", "operation", "verdicts", "", "", ""],
            [_row(phase) for phase in found.phases],
            right=[2, 4],
        )
    say()
    print_table(["", "", ""], _notes(found))
    stale = sum(bool(phase.stale) for phase in found.phases)
    say(
        f"  stale: {stale or 'none'}    evidence: {found.evidence or 'none yet'}    "
        f"ledger: {found.events:,} events, {found.measurements:,} measurements"
        + (f", head {found.head[:8]}" if found.head else ""),
        style="dim",
    )
    say(f"  calibrated: {found.calibrated}", style="dim")
    if found.verified:
        say(f"  verified: {found.verified}", style="red" if "FAILED" in found.verified else "dim")
    say(f"next: {found.next_command}")


def _notes(found: CampaignStatus) -> list[list[Part]]:
    """What a person should look at: label, name, and what about it."""
    notes: list[list[Part]] = [
        [Styled("stale", "yellow"), phase.id, phase.stale] for phase in found.phases if phase.stale
    ]
    notes += [[Styled("failed", "red"), criterion, ""] for criterion in found.failed]
    notes += [
        [Styled("waived", "yellow"), waiver.criterion, f"by {waiver.who}: {_short(waiver.reason)}"]
        for waiver in found.waivers
    ]
    notes += [
        [Styled("open", "yellow"), item, Styled(_short(text), "dim")]
        for item, text in found.open_items
    ]
    if found.interrupted:
        count = "1 attempt" if found.interrupted == 1 else f"{found.interrupted} attempts"
        notes.append([Styled("interrupted", "yellow"), count, "on record"])
    return notes


def _short(text: str) -> str:
    """The beginning of a text; `next` shows items whole, `--json` everything."""
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rstrip() + "…"


def _row(phase: PhaseStatus) -> list[Part]:
    from reactivate.units import format_bytes

    state = Styled(phase.state, _STATE_STYLES.get(phase.state, "yellow"))
    worst = phase.worst
    if worst is None or not isinstance(worst.value, int):
        return [phase.id, state, "", "", "", "", *_verdicts(phase)]
    share = worst.value / phase.limit_bytes if phase.limit_bytes else None
    return [
        phase.id,
        state,
        format_bytes(worst.value),
        "" if share is None else bar(share),
        "" if share is None else f"{share:.1%}".replace("%", " %"),
        worst.operation,
        *_verdicts(phase),
    ]


def _narrow(phase: PhaseStatus) -> None:
    """The same facts below each other."""
    _, state, depth, drawn, share, operation, *verdicts = _row(phase)
    say("  ", phase.id, "  ", state)
    if depth:
        say(f"    {depth}  {share}  {operation}".rstrip())
        say(f"    {drawn}".rstrip())
    told = [part for part in verdicts if not isinstance(part, Styled) or part.text]
    if told:
        say("    ", *(piece for part in told for piece in (part, " ")))


def _verdicts(phase: PhaseStatus) -> list[Part]:
    """How many criteria passed, failed, are undecided, are waived."""
    counts = {verdict.value: count for verdict, count in phase.verdicts.items()}
    decided = [f"{counts.pop(name)} {name}" if name in counts else "" for name in ("pass", "fail")]
    undecided = ", ".join(f"{count} {name}" for name, count in counts.items())
    return [
        Styled(decided[0], "green"),
        Styled(decided[1], "red"),
        Styled(undecided, "yellow"),
        Styled(f"{phase.waived} waived" if phase.waived else "", "yellow"),
    ]


def bar(share: float) -> str:
    """`share` of a full line as block characters, to an eighth of a cell."""
    eighths = max(1, round(min(share, 1.0) * _BAR_CELLS * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_CELLS)
