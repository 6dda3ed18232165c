"""The chain while writing: what is refused at the door, and ledgers from before there was one."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reactivate.campaign.events import IGNORED, EventKind
from reactivate.errors import ExitCode, LedgerError, LedgerTamperedError, LedgerVersionError
from reactivate.ledger import DecisionDraft, Ledger, chain, schema
from reactivate.ledger.audit import Audit, audit

from .material import build


def look(path: Path) -> Audit:
    connection = sqlite3.connect(path)
    try:
        return audit(connection, path)
    finally:
        connection.close()


@pytest.fixture
def filled(path: Path, tmp_path: Path) -> Path:
    """A whole ledger on disk."""
    build(path, tmp_path / "results")
    return path


def changed(path: Path, *statements: str) -> None:
    """Change the file past its guards, which are put back."""
    connection = sqlite3.connect(path)
    triggers = {n: sql for n, sql in schema.TEXTS.items() if sql.startswith("CREATE TRIGGER")}
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    left = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for sql in triggers.values():
        if sql.split(" ON ")[1].split()[0] in left:
            connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE events SET data = '{}' WHERE seq = 13", "events: a row is not as it was recorded"),
        ("UPDATE attempts SET started_at = '' WHERE id = 4", "attempts: a row is not as"),
        ("DELETE FROM events WHERE seq = 13", "is 12, but its chain ends with event 13"),
        ("DELETE FROM chain WHERE seq = 13", "is 13, but its chain ends with event 12"),
        ("DELETE FROM chain", "newest event is 13, but its chain is empty"),
        ("UPDATE chain SET sha256 = replace(sha256, 'a', 'b')", "does not follow the one before"),
        ("INSERT INTO events VALUES (14, '', 'note', '', NULL, '{}')", "newest event is 14"),
    ],
)  # fmt: skip
def test_a_head_that_does_not_fit_is_refused_before_anything_is_written(
    filled: Path, statement: str, why: str
) -> None:
    changed(filled, statement)
    before = filled.read_bytes()
    with pytest.raises(LedgerTamperedError) as caught:
        Ledger.open(filled, writer=True)
    assert why in caught.value.why
    assert caught.value.exit_code is ExitCode.TAMPERED
    assert "reactivate ledger verify" in caught.value.hint
    assert filled.read_bytes() == before
    assert look(filled).findings


def test_what_nobody_touched_is_opened(filled: Path) -> None:
    changed(filled)
    with Ledger.open(filled, writer=True) as ledger:
        ledger.append("note", "", {})
    assert not look(filled).findings


def without_chain(path: Path) -> None:
    """As the ledger was in schema 1."""
    changed(
        path,
        "DROP TABLE chain",
        "DROP INDEX decisions_by_seq",
        "DELETE FROM _sqlite_migrations WHERE name = '0002_chain'",
        "PRAGMA user_version = 1",
    )


def test_an_older_ledger_is_chained_by_the_first_who_writes(filled: Path) -> None:
    without_chain(filled)
    with pytest.raises(LedgerVersionError, match="schema 1"):
        Ledger.open(filled, writer=False)
    connection = sqlite3.connect(filled)
    with pytest.raises(LedgerVersionError, match="no chain"):
        audit(connection, filled)
    connection.close()
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    with Ledger.open(filled, writer=True, clock=lambda: moment) as ledger:
        said = ledger.events()[-1]
        assert (said.seq, said.kind, said.at) == (14, "chained", "2027-01-01T00:00:00.000000Z")
        assert said.data["unproven"] == 13
        ledger.append("note", "", {})
    found = look(filled)
    assert not found.findings
    assert (found.unproven, found.head and found.head[0]) == (13, 15)
    assert EventKind(said.kind) in IGNORED  # it moves no campaign


def test_an_older_ledger_without_events_has_nothing_unproven(path: Path) -> None:
    Ledger.open(path, writer=True).close()
    without_chain(path)
    with Ledger.open(path, writer=True) as ledger:
        assert ledger.events() == ()
    assert look(path).unproven == 0
    assert not look(path).findings


@pytest.mark.parametrize("kind", sorted(chain.RESERVED))
def test_kinds_that_decide_what_an_entry_covers_are_the_ledgers_own(
    ledger: Ledger, kind: str
) -> None:
    draft = DecisionDraft(kind="noted", phase="a", reason="", who="x", event=(kind, {}))
    attempt = ledger.begin_attempt("a", "baseline", {})
    before = ledger.counts()
    for record in (
        lambda: ledger.append(kind, "a", {}),
        lambda: ledger.decide(draft),
        lambda: ledger.finish(attempt, "passed", events=[(kind, {})]),
        lambda: ledger.finish(attempt, "passed", decisions=[draft]),
    ):
        with pytest.raises(LedgerError, match="cannot be recorded by itself"):
            record()
    assert ledger.counts() == before


def test_a_clock_that_goes_backwards_changes_times_and_nothing_else(path: Path) -> None:
    moments = (datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=n) for n in range(100))
    with Ledger.open(path, writer=True, clock=lambda: next(moments)) as ledger:
        for _ in range(5):
            ledger.append("note", "", {})
            ledger.finish(ledger.begin_attempt("a", "baseline", {}), "passed")
        events = ledger.events()
        attempts = ledger.attempts()
    assert [e.seq for e in events] == [*range(1, 16)]
    assert [e.at for e in events] == sorted((e.at for e in events), reverse=True)
    assert all(a.ended_at is not None and a.ended_at < a.started_at for a in attempts)
    assert not look(path).findings
