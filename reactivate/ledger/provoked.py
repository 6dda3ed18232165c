"""Scenarios run by hand: each is recorded as a whole when it has ended, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from reactivate.ledger.adopt import AdoptingLedger, Adoption, Results
from reactivate.ledger.origin import BY_HAND, PROVOKED
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import JSON, ArtifactRecord, AttemptRecord, AttemptStatus, Event
from reactivate.ledger.store import timestamp

STEP: Final = "by-hand"
"""The step of such an attempt. No check has this name."""


class ProvokedLedger(AdoptingLedger):
    """A ledger that takes what somebody provoked by hand."""

    def provoked(
        self,
        note: Mapping[str, JSON],
        *,
        outcome: str,
        environment: Mapping[str, JSON],
        folder: str,
        artifacts: Sequence[ArtifactRecord],
        started: datetime,
    ) -> AttemptRecord:
        """Record an attempt that has ended, its files and the note that says what was seen.

        It has neither measurements nor verdicts: there is nothing that a gate could take.

        Args:
            note: data of the note; its `about` is put in here.
            outcome: how it went, one word.
            environment: what it ran in.
            folder: where its files lie, relative to the folder of all results.
            artifacts: its files.
            started: when it began, with a timezone.

        Raises:
            LedgerError: nothing was recorded.
        """
        with self._transaction("record a scenario run by hand") as at:
            ((number,),) = self._connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE phase = ?", (BY_HAND,)
            )
            attempt = AttemptRecord(
                id=0,
                phase=BY_HAND,
                step=STEP,
                number=number,
                started_at=timestamp(started),
                ended_at=at,
                status=AttemptStatus.FINISHED,
                outcome=outcome,
                environment_sha256="",
                folder=folder,
            )
            whole = Adoption(
                attempt=attempt,
                environment=environment,
                phase=BY_HAND,
                number=number,
                folder=folder,
                sha256="",
            )
            brought = Results(artifacts=tuple(artifacts), notes=({**note, "about": PROVOKED},))
            return self.attempt(self._adopt(at, whole, brought))


def provoked_notes(queries: LedgerQueries, attempt: int | None = None) -> tuple[Event, ...]:
    """What was seen in scenarios run by hand, oldest first; of one attempt where asked for."""
    notes = queries.events(kind="note", attempt=attempt)
    return tuple(e for e in notes if e.data.get("about") == PROVOKED and e.attempt is not None)
