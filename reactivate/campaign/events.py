"""The events that move a campaign, and reading their data without trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from reactivate.errors import LedgerCorruptError
from reactivate.evidence import Check, Verdict


class EventKind(StrEnum):
    """Every kind of event the machine understands."""

    CAMPAIGN_STARTED = "campaign_started"
    CHECKLIST_CHANGED = "checklist_changed"
    ITEMS_CONFIRMED = "items_confirmed"
    PREPARED = "prepared"
    ACTIVATED = "activated"
    CHECKED = "checked"
    GATE_PASSED = "gate_passed"
    REFUSED = "refused"
    WAIVED = "waived"
    RETRIED = "retried"
    ROLLED_BACK = "rolled_back"
    DOCUMENTED = "documented"
    INCONCLUSIVE = "inconclusive"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_INTERRUPTED = "attempt_interrupted"
    ATTEMPT_FINISHED = "attempt_finished"
    CAMPAIGN_COMPLETED = "campaign_completed"
    NOTE = "note"
    CALIBRATED = "calibrated"
    CHAINED = "chained"


IGNORED = frozenset(
    {
        EventKind.ATTEMPT_STARTED,
        EventKind.ATTEMPT_INTERRUPTED,
        EventKind.ATTEMPT_FINISHED,
        EventKind.NOTE,
        EventKind.CALIBRATED,
        EventKind.CHAINED,
    }
)
"""Kinds that are history, and move nothing."""

UNDECIDED = frozenset({Verdict.INCONCLUSIVE, Verdict.INVALID, Verdict.ERROR})
"""Outcomes of a step that neither passed nor was refused."""


class RecordedEvent(Protocol):
    """What the machine reads of a ledger's event."""

    @property
    def seq(self) -> int:
        """Place in the ledger."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def phase(self) -> str:
        """The phase it belongs to, "" if none."""

    @property
    def data(self) -> Mapping[str, object]:
        """What else is known of it."""


def impossible(event: RecordedEvent, why: str) -> LedgerCorruptError:
    """The error for an event that cannot have happened here."""
    where = f" in phase `{event.phase}`" if event.phase else ""
    return LedgerCorruptError(
        f"The ledger's event {event.seq} (`{event.kind}`{where}) cannot have happened",
        why=why,
        hint="restore ledger.db from a copy, or begin anew: reactivate init DIR",
    )


def kind_of(event: RecordedEvent) -> EventKind:
    """The event's kind.

    Raises:
        LedgerCorruptError: a kind that does not exist.
    """
    try:
        return EventKind(event.kind)
    except ValueError:
        raise impossible(event, f"there is no event of the kind `{event.kind}`") from None


def text(event: RecordedEvent, key: str) -> str:
    """A text of the event's data that is not empty."""
    value = event.data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise impossible(event, f"its `{key}` is missing, empty or not text")
    return value


def texts(event: RecordedEvent, key: str) -> tuple[str, ...]:
    """A list of texts of the event's data, each there once."""
    value = event.data.get(key)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise impossible(event, f"its `{key}` is missing or no list")
    found = tuple(x for x in value if isinstance(x, str))
    if len(found) != len(value) or len(set(found)) != len(found):
        raise impossible(event, f"its `{key}` holds something twice, or something that is no text")
    return found


def proof(event: RecordedEvent, key: str) -> None:
    """Refuse a proof that says nothing; one may be a sentence or several by component."""
    value = event.data.get(key)
    sentences = list(value.values()) if isinstance(value, Mapping) else [value]
    if not sentences or not all(isinstance(x, str) and x.strip() for x in sentences):
        raise impossible(event, f"its `{key}` proves nothing")


def check_of(event: RecordedEvent) -> Check:
    """The check the event is about."""
    name = text(event, "check")
    try:
        return Check(name)
    except ValueError:
        raise impossible(event, f"there is no check `{name}`") from None


def verdict_of(event: RecordedEvent, key: str) -> Verdict:
    """A verdict of the event's data."""
    return _verdict(event, event.data.get(key), key)


def verdicts(event: RecordedEvent) -> dict[str, Verdict]:
    """The verdicts of a check by criterion id."""
    value = event.data.get("verdicts")
    if not isinstance(value, Mapping):
        raise impossible(event, "its `verdicts` are missing or no table")
    return {str(key): _verdict(event, verdict, str(key)) for key, verdict in value.items()}


def _verdict(event: RecordedEvent, value: object, key: str) -> Verdict:
    for verdict in Verdict:
        if verdict.value == value:
            return verdict
    raise impossible(event, f"`{key}` has no verdict but {value!r}")
