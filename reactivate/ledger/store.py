"""Writing the ledger: one writer, each result in one transaction."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reactivate.errors import LedgerError
from reactivate.evidence import Measurement
from reactivate.gate.judgement import Judgement
from reactivate.ledger import chain, codec
from reactivate.ledger.connection import (
    connect_reader,
    connect_writer,
    lock_path,
    patiently,
    translated,
)
from reactivate.ledger.lock import Holder, WriterLock
from reactivate.ledger.origin import is_phase
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import (
    JSON,
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    Decision,
    DecisionDraft,
    Event,
)
from reactivate.trust import give_back

if TYPE_CHECKING:
    from sqlite_utils import Database

Clock = Callable[[], datetime]
EventDraft = tuple[str, Mapping[str, JSON]]
"""Kind and data of an event to be."""


def utc_now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


class Ledger(LedgerQueries):
    """The record of a campaign, in one SQLite file. Open it with `Ledger.open`.

    A ledger belongs to the thread that opened it.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        clock: Clock,
        database: Database | None = None,
        lock: WriterLock | None = None,
    ) -> None:
        super().__init__(path, connection)
        self._clock = clock
        self._database = database
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, writer: bool, clock: Clock = utc_now) -> Self:
        """Open for reading or for writing; use it as a context manager, or `close` it.

        A reader takes no lock, changes nothing, and sees a ledger that does not exist yet as an
        empty one. A writer holds the lock until closed, makes the file if it is absent, brings
        an older schema up to date, and checks the whole file for damage.

        Args:
            path: the ledger file; its folder must exist.
            writer: whether to write.
            clock: where times come from; must give times with a timezone.

        Raises:
            LedgerLockedError: another process is writing; it is named.
            LedgerTamperedError: a guard is missing or altered; for a writer, also if the newest
                event is not as it was recorded.
            LedgerCorruptError: the file is damaged, or not a ledger.
            LedgerVersionError: written by a newer version, or, for a reader, by an older one.
            LedgerError: not readable, not writable, no space.
        """
        path = path.resolve()  # by whatever name it is opened, it has one lock
        if not writer:
            return cls(path, connect_reader(path), clock=clock)
        holder = Holder(pid=os.getpid(), command=" ".join(sys.orig_argv), since=timestamp(clock()))
        lock = WriterLock.acquire(lock_path(path), holder)
        try:
            connection = connect_writer(path)
            try:
                # Loaded here, so that reading a ledger does not pay for sqlite-utils.
                from reactivate.ledger.migrations import ready_to_write

                database = ready_to_write(connection, path, holder.since)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise
        # The user can go on where root began, also after a kill. SQLite does so with its journal.
        give_back(path.parent, (path, lock_path(path)))
        return cls(path, connection, clock=clock, database=database, lock=lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give the lock back; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    # Writing

    def append(
        self, kind: str, phase: str, data: Mapping[str, JSON], attempt: int | None = None
    ) -> Event:
        """Record one event.

        Raises:
            LedgerError: it was not recorded.
        """
        _refuse_reserved(kind)
        with self._transaction(f"record the event {kind}") as at:
            return self._event(at, (kind, data), phase, attempt)

    def begin_attempt(
        self, phase: str, step: str, environment: Mapping[str, JSON], *, folder: str | None = None
    ) -> AttemptRecord:
        """Record that a step is tried now, with the event `attempt_started`.

        Args:
            phase: the phase; a plain name, since a folder is named after it.
            step: the step within the phase.
            environment: what the result will depend on. Stored once however often it is given.
            folder: where the evidence will lie, relative to the folder of all results;
                default `PHASE/attempt-001`, counted within the phase.

        Raises:
            LedgerError: it was not recorded.
        """
        if not is_phase(phase):
            raise LedgerError(
                f"`{phase}` cannot be the phase of an attempt",
                why="its evidence lies in a folder of that name",
                hint="use letters, digits, `_`, `-` and `.`",
            )
        content = codec.dump(environment, "the environment")
        with self._transaction(f"record the begin of {step} in {phase}") as at:
            ((number,),) = self._connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE phase = ?", (phase,)
            )
            begun = {
                "phase": phase,
                "step": step,
                "number": number,
                "started_at": at,
                "ended_at": None,
                "status": AttemptStatus.RUNNING.value,
                "outcome": "",
                "environment_sha256": self._environment(at, content),
                "folder": f"{phase}/attempt-{number:03}" if folder is None else folder,
            }
            identity = self._insert("attempts", begun)
            attempt = self.attempt(identity)
            data: dict[str, JSON] = {
                "step": step,
                "number": number,
                "folder": attempt.folder,
                "environment": attempt.environment_sha256,
            }
            self._event(at, ("attempt_started", data), phase, identity)
            return attempt

    def finish(
        self,
        attempt: AttemptRecord,
        outcome: str,
        *,
        events: Sequence[EventDraft] = (),
        measurements: Sequence[Measurement] = (),
        judgements: Sequence[Judgement] = (),
        artifacts: Sequence[ArtifactRecord] = (),
        decisions: Sequence[DecisionDraft] = (),
        environment: Mapping[str, JSON] | None = None,
    ) -> AttemptRecord:
        """Record the whole result of a running attempt, or, if anything fails, nothing of it.

        The events come in the order given, then those of the decisions that carry one, then
        `attempt_finished`. A decision without an event of its own stands with
        `attempt_finished`. A decision's `attempt` may be left out: it is this one.

        Args:
            attempt: as returned by `begin_attempt`.
            outcome: how it went, one word, e.g. "passed".
            events: kind and data of what happened.
            measurements: everything measured.
            judgements: everything judged.
            artifacts: the files of the attempt's folder.
            decisions: what was decided on these grounds.
            environment: what the result depends on, if more is known now than at the begin.

        Returns:
            The attempt as it stands now.

        Raises:
            LedgerError: nothing was recorded and the attempt is still running: a value that is
                not finite, an attempt that has ended, no space, …
        """
        measured = [codec.measurement_row(attempt.id, m) for m in measurements]
        judged = [codec.judgement_row(attempt.id, j) for j in judgements]
        filed = [codec.artifact_row(attempt.id, a) for a in artifacts]
        content = None if environment is None else codec.dump(environment, "the environment")
        doing = f"record the result of {attempt.step} in {attempt.phase}"
        with self._transaction(doing) as at:
            for table, rows in (
                ("measurements", measured), ("verdicts", judged), ("artifacts", filed)
            ):  # fmt: skip
                self._insert_all(table, rows)
            for draft in events:
                _refuse_reserved(draft[0])
                self._event(at, draft, attempt.phase, attempt.id)
            later = []
            for decision in decisions:
                if decision.event is None:
                    later.append(decision)
                else:
                    _refuse_reserved(decision.event[0])
                    own = self._event(at, decision.event, decision.phase, attempt.id)
                    self._decision(at, decision, own.seq, attempt.id)
            data: dict[str, JSON] = {
                "step": attempt.step,
                "outcome": outcome,
                "measurements": len(measured),
                "verdicts": len(judged),
                "artifacts": len(filed),
            }
            last = self._event(at, ("attempt_finished", data), attempt.phase, attempt.id)
            for decision in later:
                self._decision(at, decision, last.seq, attempt.id)
            sha256 = None if content is None else self._environment(at, content)
            self._end(at, attempt.id, AttemptStatus.FINISHED, outcome, sha256)
            return self.attempt(attempt.id)

    def interrupt_open_attempts(self, reason: str) -> tuple[AttemptRecord, ...]:
        """Record that attempts which still run will never finish; call before a new one.

        Only the holder of the lock can ask, so whoever began them is gone.

        Returns:
            The attempts that were running, as they stand now.

        Raises:
            LedgerError: nothing was recorded.
        """
        with self._transaction("record interrupted attempts") as at:
            running = self.attempts(status=AttemptStatus.RUNNING)
            for attempt in running:
                self._end(at, attempt.id, AttemptStatus.INTERRUPTED, "", None)
                data: dict[str, JSON] = {"step": attempt.step, "reason": reason}
                self._event(at, ("attempt_interrupted", data), attempt.phase, attempt.id)
            return tuple(self.attempt(attempt.id) for attempt in running)

    def decide(self, draft: DecisionDraft) -> Decision:
        """Record a decision and its event together.

        A draft without an event gets one of its own kind, whose data says who, why, whether
        unattended, the criterion if there is one, and the decision's number.

        Raises:
            LedgerError: nothing was recorded.
        """
        _refuse_reserved(draft.kind if draft.event is None else draft.event[0])
        with self._transaction(f"record the decision {draft.kind}") as at:
            own = draft.event
            if own is None:
                ((number,),) = self._connection.execute(
                    "SELECT coalesce(max(number), 0) + 1 FROM decisions"
                )
                data: dict[str, JSON] = {
                    "decision": number,
                    "reason": draft.reason,
                    "who": draft.who,
                    "unattended": draft.unattended,
                }
                if draft.criterion is not None:
                    data["criterion"] = draft.criterion
                own = (draft.kind, data)
            event = self._event(at, own, draft.phase, draft.attempt)
            return self._decision(at, draft, event.seq, draft.attempt)

    # Plumbing: what follows runs inside a transaction

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[str]:
        """All or nothing; gives the time to record it under."""
        if self._database is None:
            raise LedgerError(
                f"{self.path.name}: cannot {doing}",
                why="it was opened for reading",
                hint="this is a bug in reactivate: open it with writer=True",
            )
        at = timestamp(self._clock())
        with translated(self.path, doing):
            # Not a plain BEGIN: taking the lock later, after a read, could not wait its turn.
            patiently(self._connection, "BEGIN IMMEDIATE")
            try:
                yield at
                chain.extend(self._connection)
                patiently(self._connection, "COMMIT")
            except BaseException:
                # If even this fails, the next one who opens the file rolls it back.
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise

    def _table(self, name: str) -> Any:
        if self._database is None:
            raise AssertionError("only called inside a transaction")
        return self._database.table(name)

    def _insert(self, table: str, columns: Mapping[str, object]) -> int:
        return int(self._table(table).insert(columns).last_rowid)

    def _insert_all(self, table: str, rows: Sequence[codec.Columns]) -> None:
        if rows:
            self._table(table).insert_all(rows)

    def _event(self, at: str, draft: EventDraft, phase: str, attempt: int | None) -> Event:
        kind, data = str(draft[0]), draft[1]  # a member of an enumeration is kept as its text
        content = codec.dump(data, f"the event {kind}")
        columns = {"at": at, "kind": kind, "phase": phase, "attempt": attempt, "data": content}
        seq = self._insert("events", columns)
        return Event(
            seq=seq, at=at, kind=kind, phase=phase, attempt=attempt, data=codec.load(content)
        )

    def _decision(self, at: str, draft: DecisionDraft, seq: int, attempt: int | None) -> Decision:
        columns = {
            "at": at,
            "seq": seq,
            "kind": draft.kind,
            "phase": draft.phase,
            "attempt": draft.attempt if draft.attempt is not None else attempt,
            "criterion": draft.criterion,
            "reason": draft.reason,
            "who": draft.who,
            "unattended": int(draft.unattended),
            "supersedes": draft.supersedes,
            "context": codec.dump(draft.context, f"the context of the decision {draft.kind}"),
        }
        number = self._insert("decisions", columns)
        rows = self._connection.execute(
            f"SELECT {codec.DECISION} FROM decisions WHERE number = ?", (number,)
        ).fetchall()
        return codec.decision(rows[0])

    def _environment(self, at: str, content: str) -> str:
        """Store canonical JSON under its digest unless it is there; return the digest."""
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        if not self._rows("SELECT 1 FROM environments WHERE sha256 = ?", (sha256,)):
            row: codec.Columns = {"sha256": sha256, "recorded_at": at, "content": content}
            self._insert_all("environments", [row])
        return sha256

    def _end(
        self, at: str, attempt: int, status: AttemptStatus, outcome: str, environment: str | None
    ) -> None:
        ended = self._connection.execute(
            "UPDATE attempts SET ended_at = ?, status = ?, outcome = ?,"
            " environment_sha256 = coalesce(?, environment_sha256) WHERE id = ?",
            (at, status.value, outcome, environment, attempt),
        )
        if ended.rowcount != 1:
            raise LedgerError(f"{self.path.name} has no attempt {attempt}")


def _refuse_reserved(kind: str) -> None:
    if str(kind) in chain.RESERVED:
        raise LedgerError(
            f"the event {kind} cannot be recorded by itself",
            why="the ledger records it, and its entry in the chain covers rows beside it",
            hint="this is a bug in reactivate: begin, finish or interrupt the attempt",
        )


def timestamp(moment: datetime) -> str:
    """A moment as the ledger writes it: ISO-8601 in UTC with microseconds and a `Z`."""
    if moment.tzinfo is None:
        raise ValueError("a ledger's clock must know its timezone")
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"
