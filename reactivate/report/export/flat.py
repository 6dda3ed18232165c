"""Every measurement as a line of CSV, with the attempt that made it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from reactivate.ledger.connection import damaged
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.values import dimension_of
from reactivate.texts import visible

COLUMNS: Final = (
    "id", "phase", "step", "attempt", "started_at", "outcome", "metric", "value", "unit",
    "not_measured", "bound", "role", "operation", "thread", "instrument", "evidence", "note",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@")
_LINES = 1_000


def csv_export(reader: LedgerReader) -> Iterator[str]:
    """The text in pieces, the names of the columns first.

    Text that a spreadsheet would compute begins with an apostrophe, and control characters are
    written out. Numbers are as they were recorded; what was not measured has an empty value.
    """
    last = reader.last("measurements")
    attempts = {attempt.id: attempt for attempt in reader.attempts()}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index, row in enumerate(reader.rows("measurements", up_to=last), start=1):
        attempt = attempts.get(row["attempt"])
        if attempt is None:
            raise damaged(reader.path, f"measurement {row['id']} is of no attempt on record")
        metric = row["metric"]
        unit = dimension_of(metric)
        evidence = f"{attempt.folder}/{row['evidence']}" if row["evidence"] else ""
        known = {
            **row,
            "phase": attempt.phase,
            "step": attempt.step,
            "attempt": attempt.number,
            "started_at": attempt.started_at,
            "outcome": attempt.outcome,
            "unit": "" if unit is None else unit.value,
            "evidence": evidence,
        }
        writer.writerow([csv_cell(known[column]) for column in COLUMNS])
        if index % _LINES == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def csv_cell(value: Any) -> Any:
    """A value as it may stand in a spreadsheet: what is text stays text."""
    if not isinstance(value, str):
        return "" if value is None else value
    shown = visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
