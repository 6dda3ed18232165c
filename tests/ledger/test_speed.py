"""A ledger with 100,000 measurements answers what `status` asks without reading them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.evidence import Measurement, Role
from reactivate.ledger import Ledger

from .test_store import JUDGEMENTS

PHASES = ("baseline", "storage", "search", "metadata", "cache", "transactions", "all")
METRICS = ("stack.peak", "stack.operation", "latency.p50", "latency.p99")


@pytest.mark.slow
def test_status_of_a_large_ledger(path: Path) -> None:
    with Ledger.open(path, writer=True) as ledger:
        for turn in range(70):
            attempt = ledger.begin_attempt(PHASES[turn % 7], "baseline", {"kernel": "6.1"})
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
            ledger.finish(
                attempt, "passed", events=[("checked", {})] * 10, measurements=many,
                judgements=JUDGEMENTS,
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
