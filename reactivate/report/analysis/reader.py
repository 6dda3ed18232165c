"""Questions that analyses and exports ask of a large ledger.

Values are reduced where they lie, and rows are read in portions: neither a million measurements
nor a result that is being written meanwhile is in anybody's way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reactivate.evidence import Measurement
from reactivate.ledger import codec
from reactivate.ledger.connection import connect_reader, damaged
from reactivate.ledger.origin import MERGED_PHASES
from reactivate.ledger.queries import LedgerQueries

_PORTION: Final = 2_000
_GROUP: Final = "metric, role, operation, thread, instrument"
_LEAST: Final = ("stack.margin", "stack.attributed")
"""Metrics of which the smallest value is the one to look at."""

KEYS: Final = {
    "attempts": "id",
    "measurements": "id",
    "verdicts": "id",
    "artifacts": "id",
    "decisions": "number",
    "events": "seq",
}
"""The tables that grow, by the column that counts their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The worst of the values that an attempt has for the same thing.

    Attributes:
        measurement: that value.
        samples: number of its raw samples.
        values: how many values it was chosen from.
    """

    measurement: Measurement
    samples: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The worst value of a metric in one attempt.

    Attributes:
        attempt: its id.
        measurement: the value; a NotMeasured only if the attempt has no value at all.
    """

    attempt: int
    measurement: Measurement


class LedgerReader(LedgerQueries):
    """A ledger opened for reading, with questions that do not load everything."""

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[LedgerReader]:
        """Open it; a ledger that was not begun reads as empty.

        Raises:
            LedgerError: see `Ledger.open`.
        """
        connection = connect_reader(path)
        try:
            yield cls(path, connection)
        finally:
            connection.close()

    def worst(self, attempt_id: int, *, metric: str | None = None) -> tuple[Worst, ...]:
        """The worst value of each metric, build, operation, thread and instrument."""
        where, values = ("", ()) if metric is None else (" AND metric = ?", (metric,))
        least = ", ".join("?" for _ in _LEAST)
        columns = ", ".join(f"m.{name.strip()}" for name in codec.MEASUREMENT.split(","))
        parts = [
            f"SELECT id, {pick}(value), count(*) AS n FROM measurements WHERE attempt = ?{where}"
            f" AND metric {which} ({least}) GROUP BY {_GROUP}"
            for pick, which in (("max", "NOT IN"), ("min", "IN"))
        ]
        # Only ids are grouped: texts of a million rows would be sorted with them.
        found = self._rows(
            f"SELECT {columns}, json_array_length(m.samples), w.n FROM"
            f" ({' UNION ALL '.join(parts)}) AS w JOIN measurements AS m ON m.id = w.id"
            " ORDER BY m.metric, m.role, m.operation, m.thread, m.instrument",
            (attempt_id, *values, *_LEAST) * 2,
        )
        with self._understood():
            return tuple(
                Worst(measurement=codec.measurement(row[:-2]), samples=row[-2], values=row[-1])
                for row in found
            )

    def moments(
        self, metric: str, *, phase: str | None = None, operation: str | None = None
    ) -> tuple[Moment, ...]:
        """The worst value of a metric of the build under test, attempt by attempt.

        Args:
            phase: only this phase, here and where it was merged from; None for all.
        """
        pick = "min" if metric in _LEAST else "max"
        where = ""
        values: list[str] = []
        if phase is not None:
            where += f" AND (a.phase = ? OR ({MERGED_PHASES} AND a.phase GLOB '*.' || ?))"
            values = [*values, phase, phase]
        if operation is not None:
            where, values = where + " AND m.operation = ?", [*values, operation]
        rows = self._rows(
            f"SELECT m.attempt, m.id, {pick}(m.value) FROM attempts AS a"
            " JOIN measurements AS m ON m.attempt = a.id"
            f" WHERE m.metric = ? AND m.role = 'subject'{where}"
            " GROUP BY m.attempt ORDER BY m.attempt",
            (metric, *values),
        )
        return tuple(Moment(attempt=row[0], measurement=self._measurement(row[1])) for row in rows)

    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics that were ever recorded."""
        rows = self._rows(
            "SELECT DISTINCT m.metric FROM attempts AS a JOIN measurements AS m"
            " ON m.attempt = a.id ORDER BY m.metric"
        )
        return tuple(str(row[0]) for row in rows)

    def damage(self) -> str:
        """What SQLite finds wrong with the file, "" if nothing."""
        ((report, *_), *_) = self._rows("PRAGMA quick_check(1)")
        return "" if report == "ok" else str(report)

    def counted(self, table: str) -> dict[int, int]:
        """How many rows of `measurements`, `verdicts` or `artifacts` each attempt has."""
        rows = self._rows(f"SELECT attempt, count(*) FROM {table} GROUP BY attempt")
        return {int(attempt): int(count) for attempt, count in rows}

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of a table, in order."""
        return tuple(str(row[1]) for row in self._rows(f"PRAGMA table_info({table})"))

    def last(self, table: str) -> int:
        """The key of a table's newest row; 0 if it has none."""
        ((newest,),) = self._rows(f"SELECT coalesce(max({KEYS[table]}), 0) FROM {table}")
        return int(newest)

    def rows(self, table: str, *, up_to: int) -> Iterator[dict[str, Any]]:
        """Rows of a table that grows, as columns, in portions; none is held back from a writer.

        Args:
            table: one of `KEYS`.
            up_to: the key of the last row to give, see `last`.
        """
        key = KEYS[table]
        names = self.columns(table)
        quoted = ", ".join(f'"{name}"' for name in names)
        at = names.index(key)
        after = 0
        while after < up_to:
            portion = self._rows(
                f"SELECT {quoted} FROM {table} WHERE {key} > ? AND {key} <= ?"
                f" ORDER BY {key} LIMIT {_PORTION}",
                (after, up_to),
            )
            if not portion:
                return
            if not all(map(codec.plain, portion)):
                raise damaged(self.path, f"{table}: a row holds what no ledger writes")
            yield from (dict(zip(names, row, strict=True)) for row in portion)
            after = portion[-1][at]

    def environments(self) -> list[dict[str, Any]]:
        """All environments; there are few."""
        rows = self._rows(
            "SELECT sha256, recorded_at, content FROM environments ORDER BY recorded_at, sha256"
        )
        return [{"sha256": a, "recorded_at": b, "content": c} for a, b, c in rows]

    def _measurement(self, measurement_id: int) -> Measurement:
        ((*row,),) = self._rows(
            f"SELECT {codec.MEASUREMENT} FROM measurements WHERE id = ?", (measurement_id,)
        )
        with self._understood():
            return codec.measurement(tuple(row))
