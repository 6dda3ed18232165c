"""Numbered steps from an empty file to the newest schema. Only a writer imports this."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from sqlite_utils import Database, Migrations

from reactivate.ledger import schema
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


def upgrade(database: Database, connection: sqlite3.Connection) -> None:
    """Bring an empty or older ledger to `schema.VERSION`; call inside a transaction.

    Everything, the marks in the header included, becomes visible with the commit: a kill in
    the middle leaves the ledger as it was.
    """
    MIGRATIONS.apply(database)
    # PRAGMA takes no parameters; both are integers of our own.
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")


def ready_to_write(connection: sqlite3.Connection, path: Path) -> Database:
    """Check the file, and bring it to the present schema if it is new or older.

    Raises:
        LedgerCorruptError, LedgerVersionError, LedgerLockedError, LedgerError: see
            `Ledger.open`; the file is as it was.
    """
    with translated(path, "open it for writing"):
        # Refuses what is no ledger before anything is written.
        version = schema_version(connection, path)
        database = Database(connection, execute_plugins=False)
        if version < schema.VERSION:
            patiently(connection, "BEGIN IMMEDIATE")
            try:
                upgrade(database, connection)
                patiently(connection, "COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise
        check_identity(connection, path)
        ((report, *_), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if report != "ok":
        raise damaged(path, report)
    return database
