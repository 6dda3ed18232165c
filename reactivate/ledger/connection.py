"""Opening the file, knowing it for a ledger, and saying in words what SQLite found wrong."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reactivate.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
    LedgerVersionError,
)
from reactivate.files import kind_of, open_plain
from reactivate.ledger import schema
from reactivate.ledger.chain import tampered
from reactivate.ledger.lock import locked_error, read_holder

_READER_PATIENCE_SECONDS: Final = 5.0
_WRITER_PATIENCE_SECONDS: Final = 30.0
"""How long to wait for others' reads and commits, which take milliseconds. A writer has
minutes of measuring to lose and waits longer."""
_SLICE_SECONDS: Final = 0.25
"""A writer waits in slices: SQLite's own wait does not hear Ctrl-C."""

_MAGIC: Final = b"SQLite format 3\x00"
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FORBIDDEN: Final = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}
_NO_ROOM: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def lock_path(path: Path) -> Path:
    """The lock file of a ledger."""
    return path.with_name(path.name + ".lock")


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn what sqlite3 raises into errors a user can act on.

    Args:
        path: the ledger.
        doing: what was tried: "read", "record the result of …".

    Raises:
        LedgerCorruptError: the file is damaged or no ledger.
        LedgerLockedError: others kept it busy.
        LedgerError: forbidden, no space, refused by a guard, or text that is no Unicode.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(error, path, doing) from error
    except UnicodeDecodeError as error:
        raise damaged(path, str(error)) from error
    except (UnicodeEncodeError, OverflowError) as error:
        raise LedgerError(f"{path.name}: cannot {doing}", why=str(error)) from error


def _in_words(error: sqlite3.Error, path: Path, doing: str) -> LedgerError:
    # The low byte is the primary code: https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    what = f"{path.name}: cannot {doing}"
    why = str(error)
    if code in _DAMAGED or "no such table" in why or "Could not decode" in why:
        return damaged(path, why)
    if code in _BUSY:
        holder = read_holder(lock_path(path))
        if holder is not None and holder.pid != os.getpid():
            return locked_error(lock_path(path), holder)
        return LedgerLockedError(
            what,
            why=f"another program keeps it busy ({why})",
            hint=f"fuser -v {path}     shows who it is; close it and try again",
        )
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return LedgerError(
            f"{path} was replaced or removed while it was written",
            why="another file is there, or none; nothing more was recorded in either",
            hint=f"ls -l {path.parent}     then, with the right one: reactivate ledger verify",
        )
    if code in _FORBIDDEN:
        return LedgerError(
            what, why=why, hint=f"check who may write there: ls -ld {path.parent} {path}"
        )
    if code in _NO_ROOM:
        return LedgerError(
            what,
            why=f"{why}; nothing of it was recorded",
            hint=f"see whether space is left: df {path.parent}",
        )
    return LedgerError(what, why=f"{why}; nothing of it was recorded")


def damaged(path: Path, why: str) -> LedgerCorruptError:
    """The refusal to go on with a file that cannot be trusted."""
    return LedgerCorruptError(
        f"{path.name} is damaged, or not a ledger",
        why=why,
        hint=f"keep the file, and restore a copy of {path} from a backup; "
        "`sqlite3 FILE .recover` shows what is still readable",
    )


def connect_reader(path: Path, *, trusting: bool = True) -> sqlite3.Connection:
    """A connection that cannot change the ledger. A ledger that was not begun reads as empty.

    Args:
        trusting: whether it must be a whole ledger of the present schema; else it is for who
            asks what is wrong with it.

    Raises:
        LedgerTamperedError, LedgerCorruptError, LedgerVersionError, LedgerError: see
            `Ledger.open`.
    """
    connection = None if _not_begun(path) else _reading(path, trusting=trusting)
    if connection is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        for version in schema.VERSIONS:
            for statement in version:
                connection.execute(statement)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _reading(path: Path, *, trusting: bool) -> sqlite3.Connection | None:
    """The file, opened; None if its very first commit was rolled back just now."""
    _refuse_other_files(path)
    # Not mode=ro: after a kill in the middle of a commit the next one who opens the file
    # must be able to roll it back. On read-only media SQLite falls back by itself.
    connection = _connect(path, "rw", _READER_PATIENCE_SECONDS)
    try:
        with translated(path, "read it"):
            schema_version(connection, path)
            if not is_begun(connection):
                connection.close()
                return None
            if trusting:
                check_identity(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def is_begun(connection: sqlite3.Connection) -> bool:
    """Whether a reader's connection is to a ledger, and not to the empty one in its place."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0])


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that may write and makes each commit durable; the file is made if absent."""
    _refuse_other_files(path)
    connection = _connect(path, "rwc", _SLICE_SECONDS)
    try:
        with translated(path, "open it for writing"):
            # One writer and a rollback journal: no WAL, whose reset had a corruption bug with
            # several connections before SQLite 3.51.3 (https://www.sqlite.org/wal.html).
            connection.execute("PRAGMA journal_mode = DELETE")
            # With FULL the journal's removal, which is what commits, may be undone by a power cut:
            # https://www.sqlite.org/pragma.html#pragma_synchronous
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA foreign_keys = ON")
            # However large a result is, readers are kept out only while it is committed.
            connection.execute("PRAGMA cache_spill = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Begin or commit; wait for those who keep the file busy, but not for ever.

    Raises:
        sqlite3.OperationalError: still busy in the end, or another failure.
    """
    deadline = time.monotonic() + _WRITER_PATIENCE_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that this is a whole ledger of the present schema.

    Raises:
        LedgerVersionError: of another schema version.
        LedgerCorruptError: another kind of database.
        LedgerTamperedError: tables or guards are missing, or not those that were made.
    """
    version = schema_version(connection, path)
    if version < schema.VERSION:
        raise LedgerVersionError(
            f"{path.name} has schema {version}, this version reads {schema.VERSION}",
            hint="any command that writes upgrades it, e.g. reactivate next",
        )
    wrong = schema.differences(connection)
    if wrong:
        raise tampered(path, "; ".join(wrong))


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version in the header; 0 for a database with nothing in it.

    Raises:
        LedgerVersionError: written by a newer version of the tool.
        LedgerCorruptError: a database, but not a ledger.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != schema.APPLICATION_ID:
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() or application:
            raise damaged(path, "it is an SQLite database, but was not made as a ledger")
        return 0
    if version > schema.VERSION:
        raise LedgerVersionError(
            f"{path.name} was written by a newer version of reactivate",
            why=f"it has schema {version}, this version knows up to {schema.VERSION}",
            hint="git pull && pip install --upgrade .   in a checkout of reactivate",
        )
    return int(version)


def _not_begun(path: Path) -> bool:
    """Absent, or made by a writer that was killed before its first commit."""
    _require_plain_files(path)
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        if path.parent.is_dir():
            return True
        raise LedgerError(
            f"there is no folder {path.parent} to hold a ledger",
            hint="reactivate init DIR     makes a workspace",
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _refuse_other_files(path: Path) -> None:
    """SQLite takes a file of a few bytes for an empty database, and would overwrite it."""
    _require_plain_files(path)
    try:
        with open_plain(path) as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from error
    # While a journal is there the file may be half written; SQLite itself mends that first.
    if start not in (b"", _MAGIC) and not path.with_name(path.name + "-journal").exists():
        raise damaged(path, "it does not begin like an SQLite database")


def _require_plain_files(path: Path) -> None:
    """SQLite opens what is there by these names, follows links, and waits for ever at a pipe."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        each = path.with_name(path.name + suffix)
        try:
            kind = kind_of(each.lstat().st_mode)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(each, error) from error
        if kind:
            raise LedgerError(
                f"{each} is {kind}, not a file",
                why="it is read and written as a part of the ledger",
                hint=f"ls -ld {each}     put the ledger back, or move this away",
            )


def _unreadable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"{path} cannot be read",
        why=error.strerror or str(error),
        hint=f"ls -ld {path.parent} {path}",
    )


def _connect(path: Path, mode: str, patience_seconds: float) -> sqlite3.Connection:
    with translated(path, "open it"):
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=patience_seconds,
            isolation_level=None,
        )
