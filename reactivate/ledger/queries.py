"""Reading the ledger. Everything a question needs is asked of the indexes, never by loading all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from reactivate.errors import LedgerError
from reactivate.evidence import Measurement, Role
from reactivate.gate.judgement import Judgement
from reactivate.ledger import chain, codec
from reactivate.ledger.chain import Link
from reactivate.ledger.connection import damaged, translated
from reactivate.ledger.origin import OTHER_PHASES
from reactivate.ledger.records import (
    JSON,
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    Counts,
    Decision,
    Event,
)

_T = TypeVar("_T")
_Parameter = int | float | str | None


class LedgerQueries:
    """The questions a ledger answers. All results are values; nothing is loaded lazily.

    Every method may raise LedgerCorruptError (damaged), LedgerLockedError (a commit took
    longer than a reader waits) or another LedgerError.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all questions in the block see the same moment. Keep it short: no commit is
        possible meanwhile.
        """
        with translated(self.path, "read it"):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    # Events

    def events(
        self,
        *,
        after: int = 0,
        phase: str | None = None,
        kind: str | None = None,
        attempt: int | None = None,
    ) -> tuple[Event, ...]:
        """Events in their order, those with `seq` greater than `after` and as asked for."""
        where, values = _where(phase=phase, kind=kind, attempt=attempt)
        return self._all(
            codec.event,
            f"SELECT {codec.EVENT} FROM events WHERE seq > ?{where} ORDER BY seq",
            (after, *values),
        )

    # Attempts

    def attempt(self, attempt_id: int) -> AttemptRecord:
        """The attempt with this id.

        Raises:
            LedgerError: there is none.
        """
        found = self._first(
            codec.attempt, f"SELECT {codec.ATTEMPT} FROM attempts WHERE id = ?", (attempt_id,)
        )
        if found is None:
            raise LedgerError(f"{self.path.name} has no attempt {attempt_id}")
        return found

    def attempts(
        self, phase: str | None = None, *, status: AttemptStatus | None = None
    ) -> tuple[AttemptRecord, ...]:
        """All attempts, oldest first, of one phase or in one status where asked for."""
        where, values = _where(phase=phase, status=status)
        return self._all(
            codec.attempt,
            f"SELECT {codec.ATTEMPT} FROM attempts WHERE id > 0{where} ORDER BY id",
            values,
        )

    def latest_attempt(
        self,
        phase: str,
        step: str | None = None,
        *,
        status: AttemptStatus | None = None,
        outcome: str | None = None,
    ) -> AttemptRecord | None:
        """The newest attempt of a phase, of one step, status or outcome where asked for."""
        where, values = _where(step=step, status=status, outcome=outcome)
        return self._first(
            codec.attempt,
            f"SELECT {codec.ATTEMPT} FROM attempts WHERE phase = ?{where} ORDER BY id DESC LIMIT 1",
            (phase, *values),
        )

    # Results

    def measurements(
        self, attempt_id: int, *, metric: str | None = None
    ) -> tuple[Measurement, ...]:
        """What an attempt measured, in the order it was given."""
        where, values = _where(metric=metric)
        return self._all(
            codec.measurement,
            f"SELECT {codec.MEASUREMENT} FROM measurements WHERE attempt = ?{where} ORDER BY id",
            (attempt_id, *values),
        )

    def latest_measurements(
        self,
        phase: str,
        step: str | None = None,
        metric: str | None = None,
        *,
        outcome: str | None = None,
    ) -> tuple[Measurement, ...]:
        """What the newest finished attempt measured; empty if none was finished."""
        newest = self.latest_attempt(phase, step, status=AttemptStatus.FINISHED, outcome=outcome)
        return () if newest is None else self.measurements(newest.id, metric=metric)

    def worst_stack(self, phase: str) -> Measurement | None:
        """The largest `stack.peak` of the build under test, from the newest finished attempt
        of the phase that measured one; None if none did.
        """
        return self._first(
            codec.measurement,
            f"SELECT {codec.MEASUREMENT} FROM measurements WHERE id = ("
            " SELECT m.id FROM attempts AS a JOIN measurements AS m ON m.attempt = a.id"
            " WHERE a.phase = ? AND a.status = 'finished'"
            " AND m.metric = 'stack.peak' AND m.role = ? AND m.value IS NOT NULL"
            " ORDER BY a.id DESC, m.value DESC LIMIT 1)",
            (phase, Role.SUBJECT.value),
        )

    def judgements(self, attempt_id: int) -> tuple[Judgement, ...]:
        """The verdicts of an attempt, in the order they were given."""
        return self._all(
            codec.judgement,
            f"SELECT {codec.VERDICT} FROM verdicts WHERE attempt = ? ORDER BY id",
            (attempt_id,),
        )

    def latest_judgements(self, phase: str, step: str | None = None) -> tuple[Judgement, ...]:
        """The verdicts of the newest finished attempt; empty if none was finished."""
        newest = self.latest_attempt(phase, step, status=AttemptStatus.FINISHED)
        return () if newest is None else self.judgements(newest.id)

    def artifacts(self, attempt_id: int) -> tuple[ArtifactRecord, ...]:
        """The files of an attempt, in the order they were given."""
        return self._all(
            codec.artifact,
            f"SELECT {codec.ARTIFACT} FROM artifacts WHERE attempt = ? ORDER BY id",
            (attempt_id,),
        )

    # Decisions and environments

    def decisions(
        self, phase: str | None = None, *, kind: str | None = None, attempt: int | None = None
    ) -> tuple[Decision, ...]:
        """Decisions in the order of their numbers, of one phase, kind or attempt if asked for."""
        where, values = _where(phase=phase, kind=kind, attempt=attempt)
        # SQLite keeps references only for those who ask it to.
        if astray := self._rows(
            "SELECT number FROM decisions WHERE supersedes >= number"
            " OR (supersedes NOT NULL AND supersedes NOT IN (SELECT number FROM decisions))"
            " OR (attempt NOT NULL AND attempt NOT IN (SELECT id FROM attempts))"
        ):
            raise damaged(self.path, f"decision {astray[0][0]} rests on what is not on record")
        return self._all(
            codec.decision,
            f"SELECT {codec.DECISION} FROM decisions WHERE number > 0{where} ORDER BY number",
            values,
        )

    def environment(self, sha256: str) -> Mapping[str, JSON]:
        """The environment stored under this digest.

        Raises:
            LedgerError: there is none.
        """
        found = self._first(
            lambda row: codec.table(row[0]),
            "SELECT content FROM environments WHERE sha256 = ?",
            (sha256,),
        )
        if found is None:
            raise LedgerError(f"{self.path.name} has no environment {sha256}")
        return found

    def head(self) -> Link | None:
        """The newest entry of the chain; None in a ledger that was not begun."""
        with translated(self.path, "read it"):
            return chain.head(self._connection)

    def decision_heads(self) -> Mapping[int, str]:
        """The digest of the chain up to a decision's event, by number of the decision."""
        rows = self._rows(
            "SELECT d.number, c.sha256 FROM decisions AS d JOIN chain AS c ON c.seq = d.seq"
        )
        return {int(number): str(sha256) for number, sha256 in rows}

    def counts(self) -> Counts:
        """How much is in the ledger; of attempts and measurements, the campaign's own."""
        others = f"(SELECT id FROM attempts WHERE {OTHER_PHASES})"
        ((events, attempts, measurements, decisions),) = self._rows(
            "SELECT (SELECT count(*) FROM events),"
            f" (SELECT count(*) FROM attempts) - (SELECT count(*) FROM {others}),"
            " (SELECT count(*) FROM measurements)"
            f" - (SELECT count(*) FROM measurements WHERE attempt IN {others}),"
            " (SELECT count(*) FROM decisions)"
        )
        return Counts(
            events=events, attempts=attempts, measurements=measurements, decisions=decisions
        )

    # Plumbing

    def _rows(self, sql: str, values: Sequence[_Parameter] = ()) -> list[codec.Row]:
        # Always fetched to the end: an open cursor would keep the writer from committing.
        with translated(self.path, "read it"):
            return self._connection.execute(sql, values).fetchall()

    def _all(
        self, decode: Callable[[codec.Row], _T], sql: str, values: Sequence[_Parameter] = ()
    ) -> tuple[_T, ...]:
        rows = self._rows(sql, values)
        with self._understood():
            return tuple(decode(row) for row in rows)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """While the body takes rows apart."""
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(self.path, f"a row cannot be understood: {error}") from error

    def _first(
        self, decode: Callable[[codec.Row], _T], sql: str, values: Sequence[_Parameter] = ()
    ) -> _T | None:
        found = self._all(decode, sql, values)
        return found[0] if found else None


def _where(**wanted: _Parameter) -> tuple[str, tuple[_Parameter, ...]]:
    """` AND column = ?` for each value that is not None. Column names are ours, values bound."""
    given = {column: value for column, value in wanted.items() if value is not None}
    return "".join(f" AND {column} = ?" for column in given), tuple(given.values())
