"""The record of a campaign: append-only events, results and decisions in one SQLite file.

`Ledger.open` is the way in. Reading needs only the standard library; what writing needs on top
is loaded when a writer opens.
"""

from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.records import (
    JSON,
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    Counts,
    Decision,
    DecisionDraft,
    Event,
)
from reactivate.ledger.store import EventDraft, Ledger, utc_now

__all__ = [
    "JSON",
    "ArtifactRecord",
    "AttemptRecord",
    "AttemptStatus",
    "Counts",
    "Decision",
    "DecisionDraft",
    "Event",
    "EventDraft",
    "Ledger",
    "record_artifacts",
    "utc_now",
]
