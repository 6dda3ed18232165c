"""Damage to JSON documents: one value, one key, or the text; and a ledger made to fit to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from reactivate.ledger import chain
from tests.fuzz.damage import HOSTILE, SEEDS, damaged_text
from tests.report import hostile

VALUES = (
    "null", "true", "false", '""', "[]", "{}", "[[]]", '[{"a":1}]', "0", "-1", "-0.0", "1.5",
    "1e308",
    "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1" + "0" * 400, "9" * 5000,
    str(1 << 63), str(1 << 64), '"5"', '"1e9"', '"nan"', '"\\ud800"', '"\\udcff"', '"\\u0000"',
    "[" * 200 + "]" * 200, "[" * 5000 + "]" * 5000, '{"a":' * 900 + "1" + "}" * 900,
    *(json.dumps(word) for word in HOSTILE[:16]),
)  # fmt: skip
"""JSON texts, not all of which are JSON."""

CHAIN: dict[str, Any] = {
    **hostile.chain(900), "caught_at_depth": 4040, "attributed_bytes": 4040, "tid": 7,
    "deepest_byte_depth": 4040, "stopped": "",
}  # fmt: skip
CHAIN_TEXT = json.dumps(CHAIN)
DEATH = json.dumps(
    {
        "format": 1, "core": "death.core", "pid": 7, "tid": 7, "thread_name": "main", "signal": 11,
        "code": 1, "address": 4096, "stack_pointer": 8192, "instruction_pointer": 1, "main": True,
        "thread_start": 16000, "stack_start": 4096, "stack_end": 16384, "copied_start": 8192,
        "copied_end": 16384, "mappings": [[4096, 16384, "rw-p", 0, 0, "[stack]"]],
        "files": {"/a": [5, 6]},
    }
)  # fmt: skip

_MARK = "@here@"

Way = tuple[str | int, ...]


def ways(document: object, so_far: Way = ()) -> Iterator[Way]:
    """The way to every value in a document."""
    yield so_far
    inner: Any = document.items() if isinstance(document, dict) else ()
    inner = enumerate(document) if isinstance(document, list) else inner
    for key, value in inner:
        yield from ways(value, (*so_far, key))


def at(document: Any, way: Way) -> Any:
    """The value at the end of a way."""
    for key in way:
        document = document[key]
    return document


def with_value(document: Any, way: Way, value: str) -> str:
    """The document's text with another JSON text for the value at the end of a way."""
    if not way:
        return value
    copy = json.loads(json.dumps(document))
    at(copy, way[:-1])[way[-1]] = _MARK
    return json.dumps(copy).replace(json.dumps(_MARK), value)


def damaged_document(real: str, seed: int) -> str:
    """A JSON document with other values, without keys, or no longer one."""
    chance = Random(seed)
    if chance.random() < 0.15:
        return damaged_text(real, seed)
    document: Any = json.loads(real)
    text = real
    for _ in range(chance.randrange(1, 3)):
        every = list(ways(document))
        way = chance.choice(every)
        kind = chance.randrange(4)
        if kind == 0:
            value = json.dumps(at(document, chance.choice(every)))
        elif kind == 1 and way:
            inner = at(document, way[:-1])
            del inner[way[-1]]
            text = json.dumps(document)
            continue
        else:
            value = chance.choice(VALUES)
        text = with_value(document, way, value)
        if chance.random() < 0.1:  # one key twice
            text = text.replace("{", '{"total_bytes": 7, "total_bytes": 8, ', 1)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def damaged(real: str) -> st.SearchStrategy[str]:
    """As `damaged_document`."""
    return st.builds(damaged_document, st.just(real), SEEDS)


def forge(ledger: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change rows as an enemy would: past the guards, and with a chain that fits afterwards."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        guards = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        change(connection)
        connection.execute("DELETE FROM chain")
        chain.extend(connection)
        for _, sql in guards:
            connection.execute(sql)
        connection.execute("COMMIT")
