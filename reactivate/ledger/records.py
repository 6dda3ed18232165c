"""What the ledger holds, as values. Times are ISO-8601 in UTC with microseconds and a `Z`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""What event data, contexts and environments are made of. Comes back as dict and list."""


class AttemptStatus(StrEnum):
    """What became of an attempt; it leaves `running` exactly once."""

    RUNNING = "running"
    """Begun; its process may still be at it, or may have been killed."""
    FINISHED = "finished"
    """Its whole result is on record."""
    INTERRUPTED = "interrupted"
    """It ended without a result; nothing of it was measured as far as the ledger knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. The order of events is the order of `seq`, never of `at`.

    Attributes:
        seq: 1, 2, 3 … without gaps.
        at: when it was recorded.
        kind: what happened: `attempt_started`, `gate_passed`, …
        phase: the phase it belongs to, "" if none.
        attempt: id of the attempt it belongs to, or None.
        data: what else is known of it.
    """

    seq: int
    at: str
    kind: str
    phase: str
    attempt: int | None
    data: Mapping[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try at one step of a phase.

    Attributes:
        id: unique in the ledger.
        phase: the phase.
        step: the step within the phase; for a gate run the name of the check.
        number: 1, 2, 3 … among the attempts of the same phase.
        started_at: when it began.
        ended_at: when it was finished or found interrupted; None while running.
        status: see `AttemptStatus`.
        outcome: the word given to `finish`, "" while running and when interrupted.
        environment_sha256: key of the environment it ran in.
        folder: where its evidence lies, relative to the folder of all results.
    """

    id: int
    phase: str
    step: str
    number: int
    started_at: str
    ended_at: str | None
    status: AttemptStatus
    outcome: str
    environment_sha256: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A file of an attempt, by its content.

    Attributes:
        path: relative to the attempt's folder, with `/`; unique in the attempt.
        sha256: hex digest of the content.
        size_bytes: length of the content.
        note: what it is, one sentence, or "".
    """

    path: str
    sha256: str
    size_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionDraft:
    """A decision before it is recorded.

    Attributes:
        kind: `advanced`, `refused`, `waived`, `retried`, `rolled_back`, `items_confirmed`, …
        phase: the phase it is about.
        reason: why, in the words of who decided.
        who: the person, or the gate that decided.
        unattended: whether it was taken without a person looking.
        attempt: id of the attempt it rests on, or None.
        criterion: id of the criterion it is about, or None.
        supersedes: number of an earlier decision that this one replaces, or None.
        context: what a reader needs to follow it, as plain data.
        event: kind and data of the event to record it with; None leaves the choice to the
            writing method.
    """

    kind: str
    phase: str
    reason: str
    who: str
    unattended: bool = False
    attempt: int | None = None
    criterion: str | None = None
    supersedes: int | None = None
    context: Mapping[str, JSON] = field(default_factory=dict)
    event: tuple[str, Mapping[str, JSON]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A recorded decision: the draft's fields, and where it stands.

    Attributes:
        number: 1, 2, 3 … in the ledger; the number of its file in the decision log.
        at: when it was recorded.
        seq: the event it stands with.
    """

    number: int
    at: str
    seq: int
    kind: str
    phase: str
    attempt: int | None
    criterion: str | None
    reason: str
    who: str
    unattended: bool
    supersedes: int | None
    context: Mapping[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much is in the ledger."""

    events: int
    attempts: int
    measurements: int
    decisions: int
