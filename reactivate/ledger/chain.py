"""The chain over what was recorded: one entry for each event, each bound to the one before.

An entry covers its event and every other row that was recorded with it, so that whoever changes
a row must change all later entries, too, and the head, which can be kept elsewhere. The format is
in docs/ledger.md: other programs can compute it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from reactivate.errors import LedgerTamperedError
from reactivate.ledger import codec

BEFORE_ALL: Final = "0" * 64
"""What the first entry, number 0, follows."""

STARTED: Final = "attempt_started"
ENDED: Final = frozenset({"attempt_finished", "attempt_interrupted"})
CHAINED: Final = "chained"
"""The event that says from where on the chain proves anything, in a ledger that is older."""
RESERVED: Final = frozenset({STARTED, *ENDED, CHAINED})
"""Kinds of events that decide what an entry covers; only the ledger itself records them."""

RESULTS: Final[Mapping[str, str]] = {
    "measurements": f"id, attempt, {codec.MEASUREMENT}",
    "verdicts": f"id, attempt, {codec.VERDICT}",
    "artifacts": f"id, attempt, {codec.ARTIFACT}",
}
"""Tables of what an attempt brought, with their columns."""

_PORTION: Final = 1_000
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=lambda blob: {"blob": blob.hex()}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry of the chain.

    Attributes:
        seq: the event it covers; 0 for what was there before any event.
        content: what it covers, see `content_of`.
        sha256: hex digest over the entry before and this one.
    """

    seq: int
    content: str
    sha256: str


def digest(previous: str, seq: int, content: str) -> str:
    """The digest of an entry, from that of the one before."""
    # Content is ASCII in every ledger that is whole; a forged one is to be told, not tripped over.
    return hashlib.sha256(f"{previous} {seq} {content}\n".encode(errors="replace")).hexdigest()


def content_of(connection: sqlite3.Connection, seq: int) -> str:
    """What the entry of an event covers: how many rows of which table, and their digest, as JSON.

    Computed from the rows as they are stored now, when writing and when verifying alike.
    """
    rows = connection.execute(f"SELECT {codec.EVENT} FROM events WHERE seq = ?", (seq,)).fetchall()
    parts = {"events": _part(rows)}
    for event in rows:
        _, _, kind, _, attempt, data = event
        if attempt is not None and kind == STARTED:
            parts |= _begun(connection, attempt, data)
        elif attempt is not None and kind in ENDED:
            parts |= _ended(connection, attempt)
    decisions = connection.execute(
        f"SELECT {codec.DECISION} FROM decisions WHERE seq = ? ORDER BY number", (seq,)
    ).fetchall()
    if decisions:
        parts["decisions"] = _part(decisions)
    return _written(parts)


def content_of_ledger(connection: sqlite3.Connection) -> str:
    """What entry 0 covers: which schema changes were applied to the file, and when."""
    rows = connection.execute(
        "SELECT id, migration_set, name, applied_at FROM _sqlite_migrations ORDER BY id"
    ).fetchall()
    return _written({"_sqlite_migrations": _part(rows)})


def extend(connection: sqlite3.Connection) -> None:
    """Add an entry for each event that has none; the last act of every transaction."""
    last = head(connection)
    if last is None:
        content = content_of_ledger(connection)
        last = Link(seq=0, content=content, sha256=digest(BEFORE_ALL, 0, content))
        _add(connection, last)
    events = connection.execute("SELECT seq FROM events WHERE seq > ? ORDER BY seq", (last.seq,))
    for (seq,) in events.fetchall():
        content = content_of(connection, seq)
        last = Link(seq=seq, content=content, sha256=digest(last.sha256, seq, content))
        _add(connection, last)


def head(connection: sqlite3.Connection) -> Link | None:
    """The newest entry; None in a ledger that was not begun."""
    for link in entries(connection, "ORDER BY seq DESC LIMIT 1"):
        return link
    return None


def entries(connection: sqlite3.Connection, which: str = "ORDER BY seq") -> list[Link]:
    """Entries of the chain as they are stored."""
    rows = connection.execute(f"SELECT seq, content, sha256 FROM chain {which}").fetchall()
    return [Link(seq=seq, content=content, sha256=sha256) for seq, content, sha256 in rows]


def check_head(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that the newest event, and what was recorded with it, are as they were recorded.

    Raises:
        LedgerTamperedError: they are not, or the chain does not end with it.
    """
    ((newest,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchall()
    last = entries(connection, "ORDER BY seq DESC LIMIT 2")
    if not last or last[0].seq != newest:
        end = f"ends with event {last[0].seq}" if last else "is empty"
        raise tampered(path, f"its newest event is {newest}, but its chain {end}")
    previous = last[1].sha256 if newest else BEFORE_ALL
    found = content_of(connection, newest) if newest else content_of_ledger(connection)
    wrong = [*unlike(last[0].content, found)]
    if last[0].sha256 != digest(previous, newest, last[0].content):
        wrong.append("its entry in the chain does not follow the one before")
    if wrong:
        raise tampered(path, f"event {newest} is not as it was recorded: {'; '.join(wrong)}")


def tampered(path: Path, why: str) -> LedgerTamperedError:
    """The refusal to go on with a ledger that is not as it was written."""
    return LedgerTamperedError(
        f"{path.name} was tampered with",
        why=why,
        hint="reactivate ledger verify     shows all that is wrong; keep the file",
    )


def unlike(recorded: str, found: str) -> Iterator[str]:
    """What differs between two contents, each in words; nothing if they are equal."""
    if recorded == found:
        return
    then, now = _read(recorded), _read(found)
    if then is None or now is None:
        yield "its entry in the chain cannot be read"
        return
    for table in sorted(then.keys() | now.keys()):
        before, after = then.get(table, [0, ""]), now.get(table, [0, ""])
        if before[0] != after[0]:
            yield f"{table}: {before[0]} recorded, {after[0]} there"
        elif before != after:
            yield f"{table}: a row is not as it was recorded"
    if then == now:
        yield "its entry in the chain was written anew"


def _read(content: str) -> dict[str, list[Any]] | None:
    try:
        parts = codec.load(content)
        return {str(table): [int(count), str(sha256)] for table, (count, sha256) in parts.items()}
    except (ValueError, TypeError, AttributeError):
        return None


def _begun(
    connection: sqlite3.Connection, attempt: int, data: object
) -> dict[str, tuple[int, str]]:
    """The attempt as it began, whatever became of it, and the environment it began in."""
    try:
        environment = codec.load(str(data))["environment"]
    except (ValueError, TypeError, KeyError):
        environment = None
    if not isinstance(environment, str):
        environment = None
    # A running attempt is taken as it stands; one that has ended, as it stood then.
    rows = connection.execute(
        "SELECT id, phase, step, number, started_at,"
        " CASE status WHEN 'running' THEN ended_at END, 'running',"
        " CASE status WHEN 'running' THEN outcome ELSE '' END,"
        " CASE status WHEN 'running' THEN environment_sha256 ELSE ? END, folder"
        " FROM attempts WHERE id = ?",
        (environment, attempt),
    ).fetchall()
    return {"attempts": _part(rows), "environments": _environment(connection, environment)}


def _ended(connection: sqlite3.Connection, attempt: int) -> dict[str, tuple[int, str]]:
    """The attempt as it ended, the environment, and all that it brought."""
    rows = connection.execute(
        f"SELECT {codec.ATTEMPT} FROM attempts WHERE id = ?", (attempt,)
    ).fetchall()
    parts = {
        "attempts": _part(rows),
        "environments": _environment(connection, rows[0][8] if rows else None),
    }
    for table, columns in RESULTS.items():
        found = _part(
            connection.execute(
                f"SELECT {columns} FROM {table} WHERE attempt = ? ORDER BY id", (attempt,)
            )
        )
        if found[0]:
            parts[table] = found
    return parts


def _environment(connection: sqlite3.Connection, sha256: str | None) -> tuple[int, str]:
    return _part(
        connection.execute(
            "SELECT sha256, recorded_at, content FROM environments WHERE sha256 = ?", (sha256,)
        )
    )


def _part(rows: Iterable[tuple[object, ...]]) -> tuple[int, str]:
    """How many rows, and the digest of the JSON list of them, which is never held whole."""
    hashed, count, rest = hashlib.sha256(b"["), 0, iter(rows)
    while portion := [_plain(row) for row in islice(rest, _PORTION)]:
        text = _ENCODER.encode(portion)[1:-1]
        hashed.update((f",{text}" if count else text).encode(errors="surrogateescape"))
        count += len(portion)
    hashed.update(b"]")
    return count, hashed.hexdigest()


def _plain(row: tuple[object, ...]) -> tuple[object, ...]:
    """A row without floating point numbers: their text is not the same in every language."""
    if float not in map(type, row):
        return row
    return tuple([struct.pack(">d", x).hex()] if type(x) is float else x for x in row)


def _written(parts: Mapping[str, tuple[int, str]]) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def _add(connection: sqlite3.Connection, link: Link) -> None:
    connection.execute(
        "INSERT INTO chain (seq, content, sha256) VALUES (?, ?, ?)",
        (link.seq, link.content, link.sha256),
    )
