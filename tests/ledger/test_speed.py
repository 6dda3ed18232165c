"""A ledger with 100,000 measurements answers what `status` asks without reading them all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from reactivate.evidence import Measurement, Role
from reactivate.ledger import Ledger

from .test_store import JUDGEMENTS

PHASES = ("baseline", "storage", "search", "metadata", "cache", "transactions", "all")
METRICS = ("stack.peak", "stack.operation", "latency.p50", "latency.p99")


def _like_the_first(beside: sqlite3.Connection, attempt: int) -> None:
    """The rows of the first attempt again: encoding each anew would take most of the time."""
    names = [row[1] for row in beside.execute("PRAGMA table_info(measurements)")]
    same = ", ".join(name for name in names if name not in ("id", "attempt"))
    with beside:
        beside.execute(
            f"INSERT INTO measurements (attempt, {same})"
            f" SELECT ?, {same} FROM measurements WHERE attempt = 1",
            (attempt,),
        )


def test_status_of_a_large_ledger(path: Path) -> None:
    many = [
        Measurement(
            metric=METRICS[n % 4],
            value=n * 7919 % 100_003,
            instrument="watermark",
            role=tuple(Role)[n % 3],
            operation=f"op{n % 50}",
            samples=tuple(range(10)),
        )
        for n in range(1500)
    ]
    with Ledger.open(path, writer=True) as ledger, closing(sqlite3.connect(path)) as beside:
        for turn in range(70):
            attempt = ledger.begin_attempt(PHASES[turn % 7], "baseline", {"kernel": "6.1"})
            if turn:
                _like_the_first(beside, attempt.id)
            ledger.finish(
                attempt, "passed", events=[("checked", {})] * 10,
                measurements=() if turn else many, judgements=JUDGEMENTS,
            )  # fmt: skip
    thousands = 0

    def count() -> None:
        nonlocal thousands
        thousands += 1

    with Ledger.open(path, writer=False) as reader, reader.snapshot():
        # Steps of SQLite's machine, not time: the same on every computer.
        reader._connection.set_progress_handler(count, 1000)
        events = reader.events()
        counts = reader.counts()
        worst = [reader.worst_stack(phase) for phase in PHASES]
        verdicts = [reader.latest_judgements(phase, "baseline") for phase in PHASES]
    assert counts.measurements == 105_000
    assert len(events) == 70 * 12
    assert all(worst)
    assert all(verdicts)
    # Six; a look at each measurement takes more than a hundred.
    assert 0 < thousands < 30
