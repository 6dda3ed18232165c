"""Numbered steps from an empty file to the newest schema. Only a writer imports this."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from sqlite_utils import Database, Migrations

from reactivate.ledger import chain, codec, schema
from reactivate.ledger.connection import (
    check_identity,
    damaged,
    patiently,
    schema_version,
    translated,
)

MIGRATIONS = Migrations("reactivate.ledger")


@MIGRATIONS(name="0001_tables")
def tables(database: Database) -> None:
    """All tables, their indexes, and the triggers that keep them append-only."""
    for statement in schema.VERSIONS[0]:
        database.execute(statement)


@MIGRATIONS(name="0002_chain")
def chained(database: Database) -> None:
    """The chain over what is recorded; what was recorded before is chained as it stands now."""
    for statement in schema.VERSIONS[1]:
        database.execute(statement)


def upgrade(database: Database, connection: sqlite3.Connection, at: str) -> None:
    """Bring an empty or older ledger to `schema.VERSION`; call inside a transaction.

    Everything, the marks in the header included, becomes visible with the commit: a kill in
    the middle leaves the ledger as it was.

    Args:
        at: the time to record it under.
    """
    before = {migration.name for migration in MIGRATIONS.applied(database)}
    MIGRATIONS.apply(database)
    if "0002_chain" not in before:
        # Its own clock is the machine's; the times of a ledger come from the ledger's.
        connection.execute(
            "UPDATE _sqlite_migrations SET applied_at = ? WHERE migration_set = ?",
            (at, MIGRATIONS.name),
        )
        _say_since_when(connection, at)
    chain.extend(connection)
    # PRAGMA takes no parameters; both are integers of our own.
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")


def _say_since_when(connection: sqlite3.Connection, at: str) -> None:
    """Of what was recorded before there was a chain, nobody can say whether it was changed."""
    ((events,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchall()
    if events:
        data = codec.dump(
            {"unproven": events, "reason": "recorded before the ledger had a chain"}, "the upgrade"
        )
        connection.execute(
            "INSERT INTO events (at, kind, phase, attempt, data) VALUES (?, ?, '', NULL, ?)",
            (at, chain.CHAINED, data),
        )


def ready_to_write(connection: sqlite3.Connection, path: Path, at: str) -> Database:
    """Check the file, and bring it to the present schema if it is new or older.

    Args:
        at: the time to record an upgrade under.

    Raises:
        LedgerError: tampered, corrupt, another version, locked: see `Ledger.open`; the file is as
            it was.
    """
    with translated(path, "open it for writing"):
        # Refuses what is no ledger before anything is written.
        version = schema_version(connection, path)
        database = Database(connection, execute_plugins=False)
        if version < schema.VERSION:
            patiently(connection, "BEGIN IMMEDIATE")
            try:
                upgrade(database, connection, at)
                patiently(connection, "COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise
        ((report, *_), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if report != "ok":
            raise damaged(path, report)
        check_identity(connection, path)
        chain.check_head(connection, path)
    return database
