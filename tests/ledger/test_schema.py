"""The guards in the file itself: what was recorded stays, whoever opens it and with what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import ExitCode, LedgerTamperedError
from reactivate.evidence import Check, Dimension, Measurement, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import ArtifactRecord, DecisionDraft, Ledger, schema

APPEND_ONLY = ("environments", "events", "measurements", "verdicts", "artifacts", "decisions")


@pytest.fixture
def filled(path: Path) -> Path:
    """A ledger with at least one row in each table, and one attempt still running."""
    with Ledger.open(path, writer=True) as ledger:
        attempt = ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
        ledger.finish(
            attempt,
            "passed",
            measurements=[Measurement(metric="stack.peak", value=7, instrument="watermark")],
            judgements=[
                Judgement(
                    criterion="c",
                    source="s",
                    check=Check.BASELINE,
                    verdict=Verdict.FAIL,
                    observed=7,
                    limit=6,
                    dimension=Dimension.BYTES,
                    samples=1,
                )
            ],
            artifacts=[ArtifactRecord(path="x", sha256="0" * 64, size_bytes=1)],
            decisions=[DecisionDraft(kind="refused", phase="a", reason="r", who="gate")],
        )
        ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
    return path


@pytest.fixture
def shell(filled: Path) -> Iterator[sqlite3.Connection]:
    """What somebody with an SQLite shell has: no foreign keys, no recursive triggers."""
    connection = sqlite3.connect(filled, isolation_level=None)
    yield connection
    connection.close()


def rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_recorded_rows_can_neither_be_changed_nor_removed(
    shell: sqlite3.Connection, table: str
) -> None:
    before = rows(shell, table)
    assert before
    columns = [row[1] for row in shell.execute(f"PRAGMA table_info({table})")]
    attempts = [f'UPDATE {table} SET "{column}" = "{column}"' for column in columns]
    attempts += [
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        f"REPLACE INTO {table} SELECT * FROM {table}",
        f"UPDATE OR REPLACE {table} SET {columns[0]} = {columns[0]}",
    ]
    for statement in attempts:
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|not running|already on"):
            shell.execute(statement)
    assert rows(shell, table) == before


@pytest.mark.parametrize("table", ["measurements", "verdicts", "artifacts"])
def test_nothing_is_added_to_an_attempt_that_has_ended(
    shell: sqlite3.Connection, table: str
) -> None:
    columns = [row[1] for row in shell.execute(f"PRAGMA table_info({table})")][1:]
    names = ", ".join(f'"{column}"' for column in columns)
    for attempt in (1, 99):
        values = ", ".join(
            str(attempt) if c == "attempt" else "'y'" if c == "path" else f'"{c}"' for c in columns
        )
        with pytest.raises(sqlite3.IntegrityError, match="not running"):
            shell.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM attempts",
        "UPDATE attempts SET outcome = 'passed' WHERE id = 1",
        "UPDATE attempts SET status = 'running', ended_at = NULL, outcome = '' WHERE id = 1",
        "UPDATE attempts SET step = 'trace' WHERE id = 2",
        "UPDATE attempts SET status = 'finished', ended_at = 'x', outcome = 'passed', number = 9"
        " WHERE id = 2",
        "UPDATE attempts SET status = 'finished', outcome = 'passed' WHERE id = 2",
        "UPDATE attempts SET status = 'finished', ended_at = 'x' WHERE id = 2",
        "UPDATE attempts SET status = 'lost', ended_at = 'x' WHERE id = 2",
        "INSERT OR REPLACE INTO attempts SELECT * FROM attempts WHERE id = 2",
        "INSERT OR REPLACE INTO attempts SELECT 9, phase, step, number, started_at, ended_at,"
        " status, outcome, environment_sha256, folder FROM attempts WHERE id = 2",
        "INSERT INTO attempts SELECT 9, phase, step, 9, started_at, ended_at, status, outcome,"
        " environment_sha256, folder FROM attempts WHERE id = 1",
    ],
)
def test_an_attempt_only_goes_from_running_to_its_end(
    shell: sqlite3.Connection, statement: str
) -> None:
    before = rows(shell, "attempts")
    with pytest.raises(sqlite3.IntegrityError):
        shell.execute(statement)
    assert rows(shell, "attempts") == before


def test_a_running_attempt_may_be_ended(shell: sqlite3.Connection) -> None:
    shell.execute("UPDATE attempts SET status = 'interrupted', ended_at = 'x' WHERE id = 2")
    assert shell.execute("SELECT status FROM attempts WHERE id = 2").fetchone() == ("interrupted",)


@pytest.mark.parametrize("value", ["NULL", "'12'", "x'00'"])
def test_a_value_is_a_number_or_there_is_a_reason(shell: sqlite3.Connection, value: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        shell.execute(
            "INSERT INTO measurements (attempt, metric, value, instrument, bound, role, operation,"
            f" thread, samples, evidence, note) VALUES (2, 'm', {value}, 'i', 'exact', 'subject',"
            " '', '', '[]', '', '')"
        )


@pytest.mark.parametrize("writer", [False, True])
@pytest.mark.parametrize(
    "name", sorted(n for n in schema.EVERYTHING if n.endswith(("_no_delete", "_end_once")))
)
def test_a_ledger_without_its_guards_is_not_trusted(
    filled: Path, shell: sqlite3.Connection, name: str, writer: bool
) -> None:
    shell.execute(f"DROP TRIGGER {name}")
    before = filled.read_bytes()
    with pytest.raises(LedgerTamperedError) as caught:
        Ledger.open(filled, writer=writer)
    assert caught.value.exit_code is ExitCode.TAMPERED
    assert caught.value.why == f"the trigger {name} is missing"
    assert filled.read_bytes() == before


def test_the_list_of_all_things_is_what_a_ledger_has(filled: Path) -> None:
    connection = sqlite3.connect(filled)
    found = {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")
        if not name.startswith("_sqlite_migrations") and "_sqlite_migrations" not in name
    }
    connection.close()
    assert found == schema.EVERYTHING
