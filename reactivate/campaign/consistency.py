"""Whether what a ledger says in one place is what it says in another. Reads, runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reactivate.campaign.edition import EDITIONS
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.outcome import Outcome
from reactivate.errors import LedgerCorruptError
from reactivate.ledger.records import AttemptRecord, AttemptStatus, Event
from reactivate.report.analysis.reader import LedgerReader

_TABLES = ("measurements", "verdicts", "artifacts")
_ENDINGS: Mapping[str, str] = {
    EventKind.GATE_PASSED: Outcome.ADVANCED.value,
    EventKind.REFUSED: Outcome.REFUSED.value,
    EventKind.INCONCLUSIVE: Outcome.INCONCLUSIVE.value,
}
"""How an attempt ended whose gate gave this event."""
_DECIDED: Mapping[str, str] = {
    "confirmed": EventKind.ITEMS_CONFIRMED,
    "advanced": EventKind.DOCUMENTED,
    "completed": EventKind.CAMPAIGN_COMPLETED,
}
"""Decisions whose event is called otherwise."""


class Kind(StrEnum):
    """What a finding means."""

    CONTRADICTION = "contradiction"
    """Two things on record cannot both be true."""
    NOT_REPLAYED = "not replayed"
    """Whether it is true cannot be told from what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as the rest of the record says.

    Attributes:
        kind: how bad that is.
        place: the attempt, event, criterion or document.
        why: one sentence.
        recorded: what is on record or on disk, "" if that says nothing more.
        rebuilt: what follows from the rest.
    """

    kind: Kind
    place: str
    why: str
    recorded: str = ""
    rebuilt: str = ""


def contradiction(place: str, why: str, recorded: object = "", rebuilt: object = "") -> Finding:
    """A finding that two things on record cannot both be true."""
    return Finding(
        kind=Kind.CONTRADICTION, place=place, why=why, recorded=str(recorded), rebuilt=str(rebuilt)
    )


def not_replayed(place: str, why: str) -> Finding:
    """A finding that something could not be told."""
    return Finding(kind=Kind.NOT_REPLAYED, place=place, why=why)


def attempt_name(attempt: AttemptRecord) -> str:
    """An attempt as messages name it."""
    return f"attempt {attempt.id} ({attempt.phase} {attempt.step} {attempt.number})"


def contradictions(
    reader: LedgerReader, events: Sequence[Event], attempts: Sequence[AttemptRecord]
) -> Iterator[Finding]:
    """Everything that a ledger says twice and differently.

    Args:
        reader: the ledger.
        events: all of its events, in order.
        attempts: all of its attempts.
    """
    yield from _order(events)
    yield from _states(events)
    yield from _attempts(reader, events, attempts)
    yield from _verdicts(reader, events)
    yield from _decisions(reader, events)


def _order(events: Sequence[Event]) -> Iterator[Finding]:
    for place, event in enumerate(events, start=1):
        if event.seq != place:
            yield contradiction("events", "events are missing", f"{event.seq}", f"{place}")
            return


def _states(events: Sequence[Event]) -> Iterator[Finding]:
    if not any(event.kind in EDITIONS for event in events):
        return
    try:
        replay(events)
    except LedgerCorruptError as error:
        yield contradiction("states", f"{error.what}: {error.why}")


def _attempts(
    reader: LedgerReader, events: Sequence[Event], attempts: Sequence[AttemptRecord]
) -> Iterator[Finding]:
    counted = {table: reader.counted(table) for table in _TABLES}
    ends: dict[int | None, Event] = {
        e.attempt: e for e in events if e.kind == EventKind.ATTEMPT_FINISHED
    }
    given: dict[int | None, str] = {}
    for event in events:
        if event.kind in _ENDINGS:
            given[event.attempt] = event.kind
    for attempt in attempts:
        if attempt.status is not AttemptStatus.FINISHED:
            continue
        name, ended = attempt_name(attempt), ends.get(attempt.id)
        if ended is None:
            yield contradiction(name, "it is finished, but no event says so")
            continue
        if ended.data.get("outcome") != attempt.outcome:
            yield contradiction(
                f"{name}, outcome", f"event {ended.seq} says another",
                attempt.outcome, ended.data.get("outcome"),
            )  # fmt: skip
        for table in _TABLES:
            there = counted[table].get(attempt.id, 0)
            if ended.data.get(table, there) != there:
                yield contradiction(
                    f"{name}, {table}", f"event {ended.seq} counted others",
                    there, ended.data.get(table),
                )  # fmt: skip
        expected = _ENDINGS.get(given.get(attempt.id, ""), attempt.outcome)
        broken = given.get(attempt.id) == EventKind.INCONCLUSIVE and not counted["verdicts"].get(
            attempt.id
        )
        if expected != attempt.outcome and not broken:
            yield contradiction(
                f"{name}, outcome", "its gate's event says another", attempt.outcome, expected
            )


def _verdicts(reader: LedgerReader, events: Sequence[Event]) -> Iterator[Finding]:
    for event in events:
        if event.kind != EventKind.CHECKED or event.attempt is None:
            continue
        rows = {j.criterion: j.verdict.value for j in reader.judgements(event.attempt)}
        told = event.data.get("verdicts")
        told = told if isinstance(told, Mapping) else {}
        for criterion in sorted(rows.keys() | told.keys()):
            if rows.get(criterion) != told.get(criterion):
                yield contradiction(
                    f"attempt {event.attempt}, {criterion}",
                    f"event {event.seq} says another verdict",
                    rows.get(criterion, "none"), told.get(criterion, "none"),
                )  # fmt: skip


def _decisions(reader: LedgerReader, events: Sequence[Event]) -> Iterator[Finding]:
    by_seq = {event.seq: event for event in events}
    for decision in reader.decisions():
        event = by_seq.get(decision.seq)
        expected = _DECIDED.get(decision.kind, decision.kind)
        found = "no such event" if event is None else event.kind
        # One recorded without an event of its own stands with the end of its attempt.
        if found not in (expected, EventKind.ATTEMPT_FINISHED, decision.kind):
            yield contradiction(
                f"decision {decision.number}", f"it stands with event {decision.seq}",
                found, expected,
            )  # fmt: skip
