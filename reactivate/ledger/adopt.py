"""Taking attempts of another ledger into this one, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reactivate.evidence import Measurement
from reactivate.gate.judgement import Judgement
from reactivate.ledger import codec
from reactivate.ledger.records import JSON, ArtifactRecord, AttemptRecord, AttemptStatus
from reactivate.ledger.store import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that an attempt brought.

    Attributes:
        notes: data of the notes that say what was seen; only a scenario run by hand has one.
    """

    measurements: tuple[Measurement, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    notes: tuple[Mapping[str, JSON], ...] = ()

    def rows(self) -> list[codec.Columns]:
        """Everything as columns, in the order of recording."""
        return [
            *(codec.measurement_row(0, m) for m in self.measurements),
            *(codec.judgement_row(0, j) for j in self.judgements),
            *(codec.artifact_row(0, a) for a in self.artifacts),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """An attempt that is to be taken.

    Attributes:
        attempt: as the other ledger has it; it has ended.
        environment: what it ran in.
        phase: under which it stands here.
        number: its number there, unless that is taken.
        folder: of its evidence here, relative to the folder of all results.
        sha256: see `attempt_digest`.
    """

    attempt: AttemptRecord
    environment: Mapping[str, JSON]
    phase: str
    number: int
    folder: str
    sha256: str


class AdoptingLedger(Ledger):
    """A ledger that can take what another one recorded."""

    def adopt(
        self,
        adoptions: Sequence[Adoption],
        results: Callable[[AttemptRecord], Results],
        note: Mapping[str, JSON],
    ) -> None:
        """Record attempts with their own times and all they brought, then the note, as one.

        Args:
            adoptions: in the order of the other ledger.
            results: what an attempt of the other ledger brought; asked for one at a time.
            note: data of the event that says where it comes from.

        Raises:
            LedgerError: nothing was recorded.
        """
        with self._transaction("record what is merged") as at:
            for adoption in adoptions:
                self._adopt(at, adoption, results(adoption.attempt))
            self._event(at, ("note", note), "", None)

    def _adopt(self, at: str, adoption: Adoption, brought: Results) -> int:
        """Record an attempt as a whole; returns its id here."""
        theirs = adoption.attempt
        environment = codec.dump(adoption.environment, "the environment")
        sha256 = self._environment(at, environment)
        begun = {
            "phase": adoption.phase,
            "step": theirs.step,
            "number": adoption.number,
            "started_at": theirs.started_at,
            "ended_at": None,
            "status": AttemptStatus.RUNNING.value,
            "outcome": "",
            "environment_sha256": sha256,
            "folder": adoption.folder,
        }
        identity = self._insert("attempts", begun)
        started: dict[str, JSON] = {
            "step": theirs.step,
            "number": adoption.number,
            "folder": adoption.folder,
            "environment": sha256,
        }
        self._event(at, ("attempt_started", started), adoption.phase, identity)
        for table, rows in (
            ("measurements", [codec.measurement_row(identity, m) for m in brought.measurements]),
            ("verdicts", [codec.judgement_row(identity, j) for j in brought.judgements]),
            ("artifacts", [codec.artifact_row(identity, a) for a in brought.artifacts]),
        ):
            self._insert_all(table, rows)
        for note in brought.notes:
            self._event(at, ("note", note), adoption.phase, identity)
        ended: dict[str, JSON] = {"step": theirs.step}
        if theirs.status is AttemptStatus.FINISHED:
            kind = "attempt_finished"
            ended |= {
                "outcome": theirs.outcome,
                "measurements": len(brought.measurements),
                "verdicts": len(brought.judgements),
                "artifacts": len(brought.artifacts),
            }
        else:
            kind = "attempt_interrupted"
            ended["reason"] = "interrupted where it was measured"
        self._event(at, (kind, ended), adoption.phase, identity)
        self._end(theirs.ended_at or at, identity, theirs.status, theirs.outcome, None)
        return identity
