"""Writes to the ledger only what the machine lets through.

The guards decide before anything is recorded, not when it is read back: an event that cannot
happen is a bug and leaves the ledger as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reactivate.campaign.edition import EDITIONS, changes, consequences, edition_data
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Ground
from reactivate.campaign.outcome import Line
from reactivate.errors import LedgerCorruptError
from reactivate.evidence import Measurement
from reactivate.gate.judgement import Judgement
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.records import JSON, AttemptRecord, DecisionDraft
from reactivate.report.decision_log import file_name, write_log

EventDraft = tuple[str, Mapping[str, JSON]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An event that is not recorded yet."""

    seq: int
    kind: str
    phase: str
    data: Mapping[str, object] = field(default_factory=dict)


def follow_checklist(ground: Ground) -> list[Line]:
    """Record the beginning of a campaign, and each edition of its checklist once it is met.

    Returns:
        What was edited since, and what that does; nothing if the edition in force is the file's.
    """
    events = ground.ledger.events()
    path = ground.workspace.settings().checklist
    data: dict[str, JSON] = {**edition_data(ground.checklist, _named(path, ground))}
    latest = next((event for event in reversed(events) if event.kind in EDITIONS), None)
    if latest is None:
        data["target"] = ground.spec.name
        append(ground, EventKind.CAMPAIGN_STARTED, "", data)
        return []
    if latest.data.get("checklist_sha256") == ground.checklist.sha256:
        return []
    before, after = replay(events), replay(events, now=ground.checklist)
    found = changes(before.checklist, ground.checklist)
    append(ground, EventKind.CHECKLIST_CHANGED, "", {**data, "changed": list(found)})
    since = f"{latest.at[:10]} {latest.at[11:16]} UTC"
    edited = Line(
        label="checklist", text=f"changed since {since}: {'; '.join(found)}", result="on record"
    )
    return [edited, *(Line(label="", text=text) for text in consequences(before, after))]


def complete_log(ground: Ground) -> None:
    """Write the decision log if a killed call had recorded a decision and not written it whole.

    The newest decision's file is the last that is written.
    """
    decisions = ground.ledger.decisions()
    folder = ground.workspace.decisions
    if decisions and not (folder / file_name(decisions[-1])).exists():
        write_log(ground.ledger, folder)


def _named(path: Path, ground: Ground) -> str:
    root = ground.workspace.root
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def append(ground: Ground, kind: EventKind, phase: str, data: Mapping[str, JSON]) -> None:
    """Record one event that the machine allows now."""
    _admit(ground, phase, [(kind, data)])
    ground.ledger.append(kind, phase, data)


def decide(ground: Ground, draft: DecisionDraft) -> None:
    """Record a decision that the machine allows now, and write it to the decision log."""
    assert draft.event is not None
    _admit(ground, draft.phase, [draft.event])
    ground.ledger.decide(draft)
    write_log(ground.ledger, ground.workspace.decisions)


def finish(
    ground: Ground,
    attempt: AttemptRecord,
    outcome: str,
    *,
    events: Sequence[EventDraft],
    decisions: Sequence[DecisionDraft] = (),
    measurements: Sequence[Measurement] = (),
    judgements: Sequence[Judgement] = (),
    environment: Mapping[str, JSON] | None = None,
) -> None:
    """Record the whole result of an attempt in one transaction, its evidence files by digest."""
    own = [draft.event for draft in decisions if draft.event is not None]
    _admit(ground, attempt.phase, [*events, *own])
    ground.ledger.finish(
        attempt,
        outcome,
        events=events,
        measurements=measurements,
        judgements=judgements,
        artifacts=record_artifacts(ground.workspace.results / attempt.folder),
        decisions=decisions,
        environment=environment,
    )
    if decisions:
        write_log(ground.ledger, ground.workspace.decisions)


def _admit(ground: Ground, phase: str, drafts: Iterable[EventDraft]) -> None:
    recorded = ground.ledger.events()
    last = recorded[-1].seq if recorded else 0
    new = [
        _Candidate(seq=last + number, kind=kind, phase=phase, data=data)
        for number, (kind, data) in enumerate(drafts, start=1)
    ]
    replay(recorded, now=ground.checklist)  # a ledger that was broken before is its own error
    try:
        replay([*recorded, *new], now=ground.checklist)
    except LedgerCorruptError as error:
        raise RuntimeError(f"refused before it was recorded: {error.what}: {error.why}") from error
