"""Whatever is done to a ledger's rows, order or guards is found; what was not done is not."""

from __future__ import annotations

import itertools
import math
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactivate.errors import LedgerError
from reactivate.ledger import chain, schema
from reactivate.ledger.audit import Audit, audit

from .material import KEYS, build, columns, copy_of, cut_off, rows, unguarded

SEED = random.SystemRandom().randrange(1 << 32)
TABLES = tuple(KEYS)
Mutation = tuple[str, Callable[[sqlite3.Connection], object]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A ledger that nobody touched, in memory."""
    folder = tmp_path_factory.mktemp("whole")
    build(folder / "ledger.db", folder / "results")
    opened = sqlite3.connect(folder / "ledger.db")
    yield copy_of(opened)
    opened.close()


def look(connection: sqlite3.Connection) -> Audit:
    return audit(connection, Path("ledger.db"))


@pytest.fixture(scope="module")
def bare(whole: sqlite3.Connection) -> sqlite3.Connection:
    """The same, with guards that do not act."""
    return unguarded(whole)


def seen(connection: sqlite3.Connection) -> bool:
    """Whether anything is found; refused is not believed either."""
    try:
        return bool(look(connection).findings)
    except LedgerError:
        return True


def missed(bare: sqlite3.Connection, mutations: list[Mutation]) -> list[str]:
    """Mutations after which nothing was found. Each is undone again."""
    unseen = []
    for name, mutate in mutations:
        bare.execute("BEGIN")
        mutate(bare)
        if not seen(bare):
            unseen.append(f"{name} (seed {SEED})")
        bare.execute("ROLLBACK")
    assert not seen(bare)
    return unseen


def edited(value: object, turn: random.Random) -> object:
    """Another value, in a way that might be overlooked."""
    if isinstance(value, str):
        place = turn.randrange(len(value)) if value else 0
        return turn.choice(
            [value + " ", value + "\x00", value[:place] + "~" + value[place + 1 :], "", value + "é"]
        )
    if isinstance(value, float):
        return turn.choice([math.nextafter(value, 9), -value, int(value), str(value), None])
    if isinstance(value, int):
        return turn.choice([value + 1000, -value - 1, str(value) + " ", b"\x01", None])
    return turn.choice([1, "", b"", 0.5])


def edits(whole: sqlite3.Connection, table: str, turn: random.Random) -> Iterator[Mutation]:
    """Each column of each row, once."""
    for row in rows(whole, table):
        for column, old in zip(columns(whole, table), row, strict=True):
            yield (
                f"{table}.{column} of {row[0]}",
                lambda c, column=column, old=old, row=row: _edit(c, table, column, old, row, turn),
            )


def _edit(
    connection: sqlite3.Connection, table: str, column: str, old: object, row: tuple[object, ...],
    turn: random.Random,
) -> None:  # fmt: skip
    asked = f'SELECT typeof("{column}"), hex("{column}"), "{column}" FROM {table}'
    before = connection.execute(asked).fetchall()
    for _ in range(100):
        try:
            connection.execute(
                f'UPDATE {table} SET "{column}" = ? WHERE {KEYS[table]} = ?',
                (edited(old, turn), row[0]),
            )
        except sqlite3.Error:  # not even without guards: a key of another type, say
            continue
        if connection.execute(asked).fetchall() != before:
            return
    raise AssertionError(f"{table}.{column} could not be edited")


def test_nothing_is_found_in_a_ledger_that_nobody_touched(whole: sqlite3.Connection) -> None:
    found = look(copy_of(whole))
    assert not found.findings
    assert found.head is not None
    assert found.head[0] == found.rows["events"] == found.rows["chain"] - 1 == 13


@pytest.mark.parametrize(
    "statement",
    [
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "CREATE INDEX mine ON events (kind)",
        "CREATE TABLE mine (x)",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_what_changes_no_row_is_no_finding(whole: sqlite3.Connection, statement: str) -> None:
    copied = copy_of(whole)
    copied.execute(statement)
    assert not look(copied).findings


def test_taking_guards_away_and_putting_them_back_is_no_finding(whole: sqlite3.Connection) -> None:
    """Else the mutations below would be found for what they do not test."""
    assert not look(unguarded(whole)).findings


@pytest.mark.parametrize("table", TABLES)
def test_every_edit_is_found(bare: sqlite3.Connection, table: str) -> None:
    mutations = [*edits(bare, table, random.Random(SEED))]
    assert mutations
    assert not missed(bare, mutations)


@pytest.mark.parametrize("table", TABLES)
def test_every_deletion_insertion_and_swap_is_found(bare: sqlite3.Connection, table: str) -> None:
    key, names = KEYS[table], columns(bare, table)

    def delete(c: sqlite3.Connection, row: tuple[object, ...]) -> None:
        c.execute(f"DELETE FROM {table} WHERE {key} = ?", (row[0],))

    def insert(c: sqlite3.Connection, row: tuple[object, ...]) -> None:
        again = dict(zip(names, row, strict=True))
        again[key] = "f" * 64 if key == "sha256" else 9_000
        again |= {n: f"{again[n]}-2" for n in ("path", "name", "phase") if n in again}
        marks = ", ".join("?" for _ in names)
        c.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(again.values()))

    def swap(c: sqlite3.Connection, one: tuple[object, ...], other: tuple[object, ...]) -> None:
        for old, new in ((one[0], "-7"), (other[0], one[0]), ("-7", other[0])):
            c.execute(f"UPDATE {table} SET {key} = ? WHERE {key} = ?", (new, old))

    every = rows(bare, table)
    mutations: list[Mutation] = []
    for row in every:
        mutations.append((f"{table}: {row[0]} deleted", lambda c, row=row: delete(c, row)))
        mutations.append((f"{table}: {row[0]} doubled", lambda c, row=row: insert(c, row)))
    for one, other in itertools.pairwise(every):
        mutations.append(
            (f"{table}: {one[0]}, {other[0]}", lambda c, a=one, b=other: swap(c, a, b))
        )
    assert not missed(bare, mutations)


def test_every_missing_or_altered_guard_is_found(whole: sqlite3.Connection) -> None:
    mutations: list[Mutation] = []
    for name, sql in schema.TEXTS.items():
        kind = sql.split()[1]
        if kind != "TABLE":
            mutations.append((f"no {name}", lambda c, k=kind, n=name: c.execute(f"DROP {k} {n}")))
        if kind == "TRIGGER":
            weaker = (
                sql.replace(" WHEN ", " WHEN 0 AND ")
                if " WHEN " in sql
                else sql.replace(" BEGIN", " WHEN 0 BEGIN")
            )
            mutations.append(
                (
                    f"weak {name}",
                    lambda c, n=name, w=weaker: (c.execute(f"DROP TRIGGER {n}"), c.execute(w)),
                )
            )
    mutations += [
        ("a table without its checks", lambda c: _rewritten(c, "events", "CHECK (kind <> '')", "")),
        (
            "one more trigger",
            lambda c: c.execute(
                "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM verdicts; END"
            ),
        ),
        ("no chain", lambda c: c.execute("DROP TABLE chain")),
        ("an older mark", lambda c: c.execute("PRAGMA user_version = 1")),
    ]
    assert len(mutations) > 60
    for name, mutate in mutations:
        copied = copy_of(whole)
        mutate(copied)
        assert seen(copied), name
        copied.close()


def _rewritten(connection: sqlite3.Connection, table: str, old: str, new: str) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    done = connection.execute(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ? AND instr(sql, ?)",
        (old, new, table, old),
    )
    assert done.rowcount == 1
    connection.execute("PRAGMA writable_schema = RESET")


def test_a_tail_cut_off_without_a_trace_shows_only_in_the_head(bare: sqlite3.Connection) -> None:
    before = look(bare)
    assert before.head is not None
    for last in range(before.head[0]):
        bare.execute("BEGIN")
        cut_off(bare, last)
        found = look(bare)
        bare.execute("ROLLBACK")
        assert not found.findings, last  # that is why heads are kept elsewhere
        assert found.head == (last, before.links[last])


@pytest.mark.parametrize("table", [t for t in TABLES if t != "chain"])
def test_a_chain_written_anew_has_another_head(bare: sqlite3.Connection, table: str) -> None:
    """By somebody who knows the format: it fits itself, and nothing that was kept elsewhere."""
    before = look(bare).head
    turn = random.Random(SEED)
    mutations = [*edits(bare, table, turn)]
    forged = 0
    for name, mutate in turn.sample(mutations, min(12, len(mutations))):
        bare.execute("BEGIN")
        mutate(bare)
        bare.execute("DELETE FROM chain")
        try:
            chain.extend(bare)
            found = look(bare)
        except (LedgerError, sqlite3.Error):
            continue  # the forger could not even make a chain of it
        finally:
            bare.execute("ROLLBACK")
        forged += not found.findings
        assert found.findings or found.head != before, f"{name} (seed {SEED})"
    assert forged or table == "environments"  # which carry a digest of their own


def test_the_first_bad_event_is_named_and_what_differs(bare: sqlite3.Connection) -> None:
    bare.execute("BEGIN")
    bare.execute("UPDATE decisions SET reason = 'fine' WHERE number = 4")
    bare.execute("UPDATE verdicts SET verdict = 'pass' WHERE id = 3")
    bare.execute("DELETE FROM measurements WHERE id = 5")
    found = look(bare).findings
    bare.execute("ROLLBACK")
    assert [(f.seq, f.kind) for f in found] == [(8, "attempt_finished"), (12, "retried")]
    assert found[0].what == (
        "measurements: 4 recorded, 3 there; verdicts: a row is not as it was recorded"
    )
    assert found[1].what == "decisions: a row is not as it was recorded"
