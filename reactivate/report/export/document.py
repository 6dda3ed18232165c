"""The whole ledger as one JSON document, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reactivate.ledger import codec
from reactivate.ledger.connection import damaged
from reactivate.metrics import METRICS
from reactivate.report.analysis.reader import KEYS, LedgerReader

SCHEMA: Final = "reactivate.export/1"
"""Raised when a member is taken away or changes its meaning; new members do not raise it."""

TABLES: Final = ("attempts", "measurements", "verdicts", "artifacts", "decisions", "events")
_JSON_COLUMNS: Final = frozenset({"samples", "context", "data", "content"})


def json_export(reader: LedgerReader) -> Iterator[str]:
    """The text of the document, in pieces. Rows recorded meanwhile are left out.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ends = {table: reader.last(table) for table in KEYS}
    yield f'{{"schema":{json.dumps(SCHEMA)},\n"metrics":['
    yield from _joined(_metric(name) for name in METRICS)
    yield '],\n"environments":['
    yield from _joined(_told(reader, "environments", reader.environments()))
    for table in TABLES:
        yield f'],\n"{table}":['
        yield from _joined(_told(reader, table, reader.rows(table, up_to=ends[table])))
    yield "]}\n"


def _told(reader: LedgerReader, table: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        try:
            yield _row(row)
        except (ValueError, TypeError) as error:
            raise damaged(reader.path, f"{table}: a row cannot be understood: {error}") from error


def _joined(texts: Iterator[str]) -> Iterator[str]:
    """One row a line, so that a person and a diff can read it."""
    for index, text in enumerate(texts):
        yield f",\n{text}" if index else f"\n{text}"


def _metric(name: str) -> str:
    metric = METRICS[name]
    return _row({"name": name, "unit": metric.dimension.value, "meaning": metric.meaning})


def _row(columns: Mapping[str, Any]) -> str:
    content = {name: _value(name, value) for name, value in columns.items()}
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _value(name: str, value: Any) -> Any:
    if name == "unattended":
        return bool(value)
    if name in _JSON_COLUMNS and isinstance(value, str):
        # Most values come without samples.
        return [] if value == "[]" else codec.load(value)
    return value
