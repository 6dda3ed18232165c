"""Whether a ledger is as it was written: every row, every guard, and what binds them.

Nothing is believed here, not even that a row has the columns' types: what cannot be understood is
a finding as well.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reactivate.errors import LedgerVersionError
from reactivate.ledger import chain, codec, schema
from reactivate.ledger.chain import ENDED, RESULTS, STARTED, Link
from reactivate.ledger.connection import damaged

_FORGED: Final = re.compile(r"(CHECK constraint|[A-Z-]+ value in|NULL value)")
"""What SQLite says of a row that no ledger would have taken: somebody wrote it, nothing broke."""
_TOLD: Final = 5
"""How many keys of strange rows are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was recorded.

    Attributes:
        where: `chain`, `guards`, `artifacts`, `checklist`, `decisions` or `anchors`.
        what: what it is, in words.
        seq: the event it belongs to, None if it is about none.
        kind: that event's kind, "" if unknown.
    """

    where: str
    what: str
    seq: int | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What came of looking at all of a ledger.

    Attributes:
        rows: how many rows were looked at, by table.
        links: digest of each entry of the chain, by event.
        unproven: up to this event the chain was made later and proves nothing; 0 in a ledger
            that always had one.
        findings: what is wrong, the first event first.
    """

    rows: dict[str, int]
    links: dict[int, str]
    unproven: int
    findings: tuple[Finding, ...]

    @property
    def head(self) -> tuple[int, str] | None:
        """The newest event in the chain and its digest; None if there is no entry at all."""
        return max(self.links.items()) if self.links else None


def audit(connection: sqlite3.Connection, path: Path) -> Audit:
    """Recompute everything; the caller sees to it that nobody writes meanwhile.

    Args:
        connection: to any database with the marks of a ledger.
        path: its file, for errors.

    Raises:
        LedgerCorruptError: the file is damaged, which is another thing than tampered with.
        LedgerVersionError: an older ledger, which has no chain.
    """
    for report, *_ in connection.execute("PRAGMA integrity_check").fetchall():
        if report != "ok" and not _FORGED.match(report):
            raise damaged(path, report)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    guards = [Finding(where="guards", what=what) for what in schema.differences(connection)]
    guards += _older(connection, path)
    tables = {name for name, text in schema.TEXTS.items() if text.startswith("CREATE TABLE")}
    there = {
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    }
    if not tables | {"_sqlite_migrations"} <= there:
        gone = sorted(tables | {"_sqlite_migrations"} - there)
        guards.append(Finding(where="guards", what=f"tables are missing: {', '.join(gone)}"))
        return Audit(rows={}, links={}, unproven=0, findings=tuple(guards))
    rows = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        for table in sorted(tables)
    }
    links = chain.entries(connection)
    found = [
        *_links(connection, links, rows["events"]),
        *_strays(connection),
        *_digests(connection),
    ]
    found.sort(key=lambda each: (each.seq is None, each.seq or 0))
    return Audit(
        rows=rows,
        links={link.seq: link.sha256 for link in links},
        unproven=_unproven(connection),
        findings=(*found, *guards),
    )


def _older(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version == schema.VERSION:
        return
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchall():
        raise LedgerVersionError(
            f"{path.name} has schema {version}, which has no chain to verify",
            hint="any command that writes upgrades it, e.g. reactivate next",
        )
    yield Finding(where="guards", what=f"it has a chain, but says that its schema is {version}")


def _links(connection: sqlite3.Connection, links: list[Link], events: int) -> Iterator[Finding]:
    """Each entry against its event and against the entry before."""
    kinds = dict(connection.execute("SELECT seq, kind FROM events ORDER BY seq").fetchall())
    by_seq = {link.seq: link for link in links}
    if not by_seq and not kinds:
        yield Finding(where="chain", what="the chain has no beginning", seq=0)
    previous = chain.BEFORE_ALL
    for seq in sorted({0, *by_seq, *kinds}):
        link, kind = by_seq.get(seq), str(kinds.get(seq, "")) if seq else "the beginning"
        wrong = []
        if seq and seq not in kinds:
            wrong.append("the event is gone")
        if link is None:
            wrong.append("it has no entry in the chain")
        else:
            if seq == 0 or seq in kinds:
                content = chain.content_of(connection, seq) if seq else _beginning(connection)
                wrong += chain.unlike(link.content, content)
            if chain.digest(previous, seq, link.content) != link.sha256:
                wrong.append("its entry in the chain does not follow the one before")
            previous = link.sha256
        if seq and seq - 1 and seq - 1 not in kinds and seq - 1 not in by_seq:
            wrong.append("the event before it is gone")
        if wrong:
            yield Finding(where="chain", what="; ".join(wrong), seq=seq, kind=kind)


def _beginning(connection: sqlite3.Connection) -> str:
    return chain.content_of_ledger(connection)


def _strays(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Rows that belong to no event: nothing that recorded them is on record."""
    ended = ", ".join(f"'{kind}'" for kind in sorted(ENDED))
    over = f"SELECT attempt FROM events WHERE attempt IS NOT NULL AND kind IN ({ended})"
    begun = f"SELECT attempt FROM events WHERE attempt IS NOT NULL AND kind = '{STARTED}'"
    told = connection.execute("SELECT data FROM events WHERE kind = ?", (STARTED,)).fetchall()
    begun_in = {_environment_of(data) for (data,) in told}
    questions = {
        "attempts": (
            "id",
            f"id NOT IN ({begun}) OR (status = 'running') = (id IN ({over}))",
        ),
        **dict.fromkeys(RESULTS, ("id", f"attempt NOT IN ({over})")),
        "decisions": ("number", "seq NOT IN (SELECT seq FROM events)"),
        "environments": ("sha256", "sha256 NOT IN (SELECT environment_sha256 FROM attempts)"),
    }
    for table, (key, condition) in questions.items():
        rows = connection.execute(f"SELECT {key} FROM {table} WHERE {condition}").fetchall()
        rows = [row for row in rows if table != "environments" or row[0] not in begun_in]
        if rows:
            keys = ", ".join(str(row[0]) for row in rows[:_TOLD])
            more = f" and {len(rows) - _TOLD} more" if len(rows) > _TOLD else ""
            yield Finding(
                where="chain", what=f"{table}: no event recorded the rows {keys}{more} as they are"
            )


def _environment_of(data: object) -> object:
    """The environment that the event of a begin names; None if it cannot be read."""
    try:
        return codec.load(str(data)).get("environment")
    except (ValueError, AttributeError):
        return None


def _digests(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Environments carry their own digest."""
    for sha256, content in connection.execute("SELECT sha256, content FROM environments"):
        text = str(content).encode(errors="surrogateescape")
        if hashlib.sha256(text).hexdigest() != sha256:
            yield Finding(where="chain", what=f"environments: {sha256} is not what it says")


def _unproven(connection: sqlite3.Connection) -> int:
    rows = connection.execute(
        "SELECT seq FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", (chain.CHAINED,)
    ).fetchall()
    return int(rows[0][0]) - 1 if rows else 0
