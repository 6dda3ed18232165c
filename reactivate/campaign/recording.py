"""Writes to the ledger only what the machine lets through.

The guards decide before anything is recorded, not when it is read back: an event that cannot
happen is a bug and leaves the ledger as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Ground
from reactivate.errors import LedgerCorruptError
from reactivate.evidence import Measurement
from reactivate.gate.judgement import Judgement
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.records import JSON, AttemptRecord, DecisionDraft
from reactivate.report.decision_log import write_log

EventDraft = tuple[str, Mapping[str, JSON]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An event that is not recorded yet."""

    seq: int
    kind: str
    phase: str
    data: Mapping[str, object] = field(default_factory=dict)


def start_if_new(ground: Ground) -> None:
    """Record the beginning of a campaign in an empty ledger."""
    if ground.ledger.events():
        return
    path = ground.workspace.settings().checklist
    ground.ledger.append(
        EventKind.CAMPAIGN_STARTED,
        "",
        {
            "target": ground.spec.name,
            "checklist": path.relative_to(ground.workspace.root).as_posix(),
            "checklist_sha256": ground.checklist.sha256,
        },
    )


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
    replay(ground.checklist, recorded)  # a ledger that was broken before is its own error
    try:
        replay(ground.checklist, [*recorded, *new])
    except LedgerCorruptError as error:
        raise RuntimeError(f"refused before it was recorded: {error.what}: {error.why}") from error
