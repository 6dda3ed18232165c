"""The tables as SQL text, and what marks a file as a ledger. Light: readers import it too."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

APPLICATION_ID: Final = 0x52454143
"""`REAC`: in the SQLite header of every ledger, so that no other database is taken for one."""

_TABLES: Final = (
    """CREATE TABLE environments (
        sha256 TEXT PRIMARY KEY CHECK (length(sha256) = 64),
        recorded_at TEXT NOT NULL,
        content TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        phase TEXT NOT NULL,
        step TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number > 0),
        started_at TEXT NOT NULL,
        ended_at TEXT,
        status TEXT NOT NULL CHECK (status IN ('running', 'finished', 'interrupted')),
        outcome TEXT NOT NULL,
        environment_sha256 TEXT NOT NULL REFERENCES environments (sha256),
        folder TEXT NOT NULL,
        UNIQUE (phase, number),
        CHECK ((status = 'running') = (ended_at IS NULL)),
        CHECK ((status = 'finished') = (outcome <> ''))
    )""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY CHECK (seq > 0),
        at TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind <> ''),
        phase TEXT NOT NULL,
        attempt INTEGER REFERENCES attempts (id),
        data TEXT NOT NULL
    )""",
    # `value`, `observed` and their like have no declared type: SQLite then keeps an integer
    # an integer and a float a float. It would store NaN as NULL, which the checks refuse.
    """CREATE TABLE measurements (
        id INTEGER PRIMARY KEY,
        attempt INTEGER NOT NULL REFERENCES attempts (id),
        metric TEXT NOT NULL,
        value CHECK (typeof(value) IN ('integer', 'real', 'null')),
        not_measured TEXT CHECK (not_measured <> ''),
        instrument TEXT NOT NULL,
        bound TEXT NOT NULL,
        role TEXT NOT NULL,
        operation TEXT NOT NULL,
        thread TEXT NOT NULL,
        samples TEXT NOT NULL,
        evidence TEXT NOT NULL,
        note TEXT NOT NULL,
        CHECK ((value IS NULL) <> (not_measured IS NULL))
    )""",
    """CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY,
        attempt INTEGER NOT NULL REFERENCES attempts (id),
        criterion TEXT NOT NULL,
        source TEXT NOT NULL,
        "check" TEXT NOT NULL,
        verdict TEXT NOT NULL,
        observed CHECK (typeof(observed) IN ('integer', 'real', 'null')),
        observed_missing TEXT CHECK (observed_missing <> ''),
        "limit" CHECK (typeof("limit") IN ('integer', 'real', 'null')),
        limit_missing TEXT CHECK (limit_missing <> ''),
        dimension TEXT NOT NULL,
        interval_low CHECK (typeof(interval_low) IN ('integer', 'real', 'null')),
        interval_high CHECK (typeof(interval_high) IN ('integer', 'real', 'null')),
        samples INTEGER NOT NULL CHECK (samples >= 0),
        operation TEXT NOT NULL,
        thread TEXT NOT NULL,
        instrument TEXT NOT NULL,
        evidence TEXT NOT NULL,
        reason TEXT NOT NULL,
        CHECK ((observed IS NULL) <> (observed_missing IS NULL)),
        CHECK (("limit" IS NULL) <> (limit_missing IS NULL)),
        CHECK ((interval_low IS NULL) = (interval_high IS NULL))
    )""",
    """CREATE TABLE artifacts (
        id INTEGER PRIMARY KEY,
        attempt INTEGER NOT NULL REFERENCES attempts (id),
        path TEXT NOT NULL CHECK (path <> ''),
        sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
        size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
        note TEXT NOT NULL,
        UNIQUE (attempt, path)
    )""",
    """CREATE TABLE decisions (
        number INTEGER PRIMARY KEY CHECK (number > 0),
        at TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES events (seq),
        kind TEXT NOT NULL CHECK (kind <> ''),
        phase TEXT NOT NULL,
        attempt INTEGER REFERENCES attempts (id),
        criterion TEXT,
        reason TEXT NOT NULL,
        who TEXT NOT NULL CHECK (who <> ''),
        unattended INTEGER NOT NULL CHECK (unattended IN (0, 1)),
        supersedes INTEGER REFERENCES decisions (number) CHECK (supersedes < number),
        context TEXT NOT NULL
    )""",
)

_INDEXES: Final = (
    "CREATE INDEX attempts_by_step ON attempts (phase, step, status, outcome)",
    "CREATE INDEX attempts_by_status ON attempts (status, phase)",
    "CREATE INDEX events_by_attempt ON events (attempt) WHERE attempt IS NOT NULL",
    # The last column lets the largest value of a metric be read off the index.
    "CREATE INDEX measurements_by_metric ON measurements (attempt, metric, role, value)",
    "CREATE INDEX verdicts_by_attempt ON verdicts (attempt)",
    "CREATE INDEX decisions_by_phase ON decisions (phase)",
)

_KEYS: Final = {
    "environments": "sha256",
    "events": "seq",
    "measurements": "id",
    "verdicts": "id",
    "artifacts": "id",
    "decisions": "number",
}
_RESULTS: Final = ("measurements", "verdicts", "artifacts")


def _guard(name: str, table: str, moment: str, condition: str, message: str) -> str:
    when = f" WHEN {condition}" if condition else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {moment} ON {table}{when} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _append_only(table: str, key: str) -> tuple[str, ...]:
    """Triggers that keep the rows of a table as they were recorded."""
    message = f"{table}: the ledger is append-only"
    return (
        _guard(f"{table}_no_update", table, "UPDATE", "", message),
        _guard(f"{table}_no_delete", table, "DELETE", "", message),
        # INSERT OR REPLACE deletes without firing delete triggers, unless the connection
        # asked for recursive triggers.
        _guard(
            f"{table}_no_replace",
            table,
            "INSERT",
            f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})",
            message,
        ),
    )


def _guards() -> tuple[str, ...]:
    """Triggers that keep what was recorded as it was recorded, whoever opens the file."""
    guards: list[str] = []
    for table, key in _KEYS.items():
        guards += _append_only(table, key)
    for table in _RESULTS:
        state = "(SELECT status FROM attempts WHERE id = NEW.attempt)"
        guards.append(
            _guard(
                f"{table}_only_while_running",
                table,
                "INSERT",
                f"{state} IS NOT 'running'",
                f"{table}: the attempt is not running",
            )
        )
    # UNIQUE (attempt, path) and (phase, number) could be replaced as well as the key.
    guards += [
        _guard(
            "artifacts_no_replace_path",
            "artifacts",
            "INSERT",
            "EXISTS (SELECT 1 FROM artifacts WHERE attempt = NEW.attempt AND path = NEW.path)",
            "artifacts: the path is already on record for this attempt",
        ),
        _guard("attempts_no_delete", "attempts", "DELETE", "", "attempts: nothing is deleted"),
        _guard(
            "attempts_start_running",
            "attempts",
            "INSERT",
            "NEW.status <> 'running' OR EXISTS (SELECT 1 FROM attempts WHERE id = NEW.id "
            "OR (phase = NEW.phase AND number = NEW.number))",
            "attempts: an attempt starts once, running",
        ),
        _guard(
            "attempts_end_once",
            "attempts",
            "UPDATE",
            "OLD.status <> 'running' OR NEW.status = 'running' "
            "OR (NEW.id, NEW.phase, NEW.step, NEW.number, NEW.started_at, NEW.folder) IS NOT "
            "(OLD.id, OLD.phase, OLD.step, OLD.number, OLD.started_at, OLD.folder)",
            "attempts: an attempt only ends, and only once",
        ),
    ]
    return tuple(guards)


_CHAIN: Final = (
    """CREATE TABLE chain (
        seq INTEGER PRIMARY KEY CHECK (seq >= 0),
        content TEXT NOT NULL,
        sha256 TEXT NOT NULL CHECK (length(sha256) = 64)
    )""",
    # Each entry of the chain asks which decisions stand with its event.
    "CREATE INDEX decisions_by_seq ON decisions (seq)",
    *_append_only("chain", "seq"),
    _guard(
        "chain_in_order",
        "chain",
        "INSERT",
        "NEW.seq <> (SELECT coalesce(max(seq), -1) + 1 FROM chain)",
        "chain: entries follow each other",
    ),
)

VERSIONS: Final[tuple[tuple[str, ...], ...]] = (
    (*_TABLES, *_INDEXES, *_guards()),
    _CHAIN,
)
"""Statements of each schema version, in order; a released version is never edited again."""

VERSION: Final = len(VERSIONS)
"""The newest schema version this code knows; the header's `user_version`."""

TEXTS: Final[Mapping[str, str]] = {
    statement.split()[2]: statement for version in VERSIONS for statement in version
}
"""All tables, indexes and triggers that a whole ledger has, by name; SQLite keeps their text."""

EVERYTHING: Final = frozenset(TEXTS)
"""Their names."""


def differences(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What is missing, altered or added of what guards the rows; () for a whole ledger.

    An index or a table that somebody added for themselves changes nothing; a trigger may.
    """
    found = {
        name: (kind, sql)
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master")
    }
    told = []
    for name, text in TEXTS.items():
        kind = text.split()[1].lower()
        if name not in found:
            told.append(f"the {kind} {name} is missing")
        elif found[name] != (kind, text):
            told.append(f"the {kind} {name} is not as it was made")
    told += [
        f"the trigger {name} was added"
        for name, (kind, _) in sorted(found.items())
        if kind == "trigger" and name not in TEXTS
    ]
    return tuple(told)
