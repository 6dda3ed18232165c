"""From an empty file to the newest schema, whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from reactivate.errors import LedgerVersionError
from reactivate.ledger import Ledger, schema


def header(path: Path) -> tuple[int, int]:
    connection = sqlite3.connect(path)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return application, version


def test_a_new_ledger_has_the_newest_version(path: Path) -> None:
    Ledger.open(path, writer=True).close()
    assert header(path) == (schema.APPLICATION_ID, schema.VERSION)
    assert path.read_bytes()[68:72] == b"REAC"  # SQLite's place for an application's id


def test_there_is_a_migration_for_each_version(path: Path) -> None:
    Ledger.open(path, writer=True).close()
    connection = sqlite3.connect(path)
    names = [n for (n,) in connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
    connection.close()
    assert len(names) == len(schema.VERSIONS) == schema.VERSION
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, schema.VERSION + 1)]


def test_opening_again_changes_nothing(path: Path) -> None:
    Ledger.open(path, writer=True).close()
    before = path.read_bytes()
    Ledger.open(path, writer=True).close()
    Ledger.open(path, writer=False).close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("writer", [False, True])
def test_a_newer_ledger_is_left_alone(path: Path, writer: bool) -> None:
    Ledger.open(path, writer=True).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerVersionError) as caught:
        Ledger.open(path, writer=writer)
    assert "newer version" in caught.value.what
    assert str(schema.VERSION + 1) in caught.value.why
    assert caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", range(schema.VERSION))
def test_a_reader_names_an_older_schema(path: Path, version: int) -> None:
    Ledger.open(path, writer=True).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(LedgerVersionError, match=f"schema {version}"):
        Ledger.open(path, writer=False)
