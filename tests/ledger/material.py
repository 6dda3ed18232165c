"""A whole ledger made through the public interface, and what somebody can do to its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reactivate.evidence import Check, Dimension, Measurement, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import DecisionDraft, Ledger, record_artifacts, schema

KEYS = {
    "_sqlite_migrations": "id", "environments": "sha256", "attempts": "id", "events": "seq",
    "measurements": "id", "verdicts": "id", "artifacts": "id", "decisions": "number",
    "chain": "seq",
}  # fmt: skip


def build(path: Path, results: Path, first: dict[str, str] | None = None) -> None:
    """Three attempts, one of them interrupted, with files; four decisions; the last one runs.

    Args:
        path: of the ledger.
        results: where evidence files are laid.
        first: data of the first event.
    """
    moments = (datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(seconds=n) for n in range(1000))
    clock: Callable[[], datetime] = lambda: next(moments)  # noqa: E731 - an iterator's next
    with Ledger.open(path, writer=True, clock=clock) as ledger:
        ledger.append("campaign_started", "", first or {"checklist": "a.md"})
        for number in range(2):
            attempt = ledger.begin_attempt("search", "baseline", {"kernel": "6.1", "µ": number})
            folder = results / attempt.folder
            folder.mkdir(parents=True)
            for name in ("frames.json", "log.txt"):
                (folder / name).write_text(f"{name} of attempt {number}\n")
            ledger.finish(
                attempt, "refused" if number else "passed",
                events=[("checked", {"check": "baseline"})],
                measurements=_measured(number), judgements=[_judged(n) for n in range(2)],
                artifacts=record_artifacts(folder),
                decisions=[
                    DecisionDraft(kind="refused", phase="search", reason="too deep", who="gate",
                                  event=("refused", {"failed": ["c0"]})),
                    DecisionDraft(kind="noted", phase="search", reason="as before", who="gate"),
                ] if number else [],
                environment={"kernel": "6.1", "build": "9f31"},
            )  # fmt: skip
        ledger.begin_attempt("search", "trace", {"kernel": "6.1"})
        ledger.interrupt_open_attempts("killed")
        ledger.decide(
            DecisionDraft(kind="waived", phase="search", reason="known — so far", who="ann",
                          criterion="c0", attempt=2, context={"remaining_risk": ["it dies"]})
        )  # fmt: skip
        ledger.decide(
            DecisionDraft(kind="retried", phase="search", reason="mended", who="ann", supersedes=1)
        )
        ledger.begin_attempt("search", "baseline", {"kernel": "6.2"})


def _measured(number: int) -> list[Measurement]:
    return [
        Measurement(metric="stack.peak", value=4096 + number, instrument="watermark",
                    operation="search", thread="main", samples=(4096, 4095.5),
                    evidence="frames.json", note="µs ≥ \x00"),
        Measurement(metric="latency.p99", value=2.0, instrument="latency"),
        Measurement(metric="latency.p50", value=0.1 + number, instrument="latency"),
        Measurement(metric="stack.recursion", value=NotMeasured(reason="no gdb"),
                    instrument="deepest"),
    ]  # fmt: skip


def _judged(number: int) -> Judgement:
    return Judgement(
        criterion=f"c{number}", source="stack.peak <= 1 KiB", check=Check.BASELINE,
        verdict=Verdict.FAIL, observed=4096 if number else NotMeasured(reason="no value"),
        limit=1024, dimension=Dimension.BYTES, interval=(1.0, 1.5) if number else None, samples=2,
        operation="search", thread="main", instrument="watermark", evidence="frames.json",
        reason="more than its limit",
    )  # fmt: skip


def unguarded(source: sqlite3.Connection) -> sqlite3.Connection:
    """A copy in memory whose guards are all on record and do not act.

    Somebody who knows SQLite takes them away and puts them back; here they come back as rows of
    the schema, which this connection does not read again.
    """
    connection = copy_of(source)
    triggers = {n: sql for n, sql in schema.TEXTS.items() if sql.startswith("CREATE TRIGGER")}
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("PRAGMA writable_schema = ON")
    connection.executemany(
        "INSERT INTO sqlite_master VALUES ('trigger', ?, ?, 0, ?)",
        [(name, sql.split(" ON ")[1].split()[0], sql) for name, sql in triggers.items()],
    )
    connection.execute("PRAGMA ignore_check_constraints = ON")
    return connection


def copy_of(source: sqlite3.Connection) -> sqlite3.Connection:
    """The same database in memory."""
    copied = sqlite3.connect(":memory:", isolation_level=None)
    source.backup(copied)
    return copied


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's columns."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """All rows, in the order of their keys."""
    return connection.execute(f"SELECT * FROM {table} ORDER BY {KEYS[table]}").fetchall()


def cut_off(connection: sqlite3.Connection, last: int) -> None:
    """Take away everything that was recorded after an event, leaving no trace."""
    begun = "SELECT attempt FROM events WHERE kind = 'attempt_started'"
    ended = "SELECT attempt FROM events WHERE kind GLOB 'attempt_[fi]*'"
    connection.execute("DELETE FROM decisions WHERE seq > ?", (last,))
    connection.execute("DELETE FROM events WHERE seq > ?", (last,))
    connection.execute("DELETE FROM chain WHERE seq > ?", (last,))
    for table in ("measurements", "verdicts", "artifacts"):
        connection.execute(f"DELETE FROM {table} WHERE attempt NOT IN ({ended})")
    connection.execute(f"DELETE FROM attempts WHERE id NOT IN ({begun})")
    connection.execute(
        "UPDATE attempts SET status = 'running', outcome = '', ended_at = NULL,"
        " environment_sha256 = (SELECT json_extract(data, '$.environment') FROM events"
        " WHERE attempt = attempts.id AND kind = 'attempt_started')"
        f" WHERE id NOT IN ({ended})"
    )
    connection.execute(
        "DELETE FROM environments WHERE sha256 NOT IN (SELECT environment_sha256 FROM attempts)"
        " AND sha256 NOT IN (SELECT json_extract(data, '$.environment') FROM events"
        " WHERE kind = 'attempt_started')"
    )
