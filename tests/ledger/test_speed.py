"""A ledger with 100,000 measurements answers what `status` asks at once."""

from __future__ import annotations

import time
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
    durations = []
    for _ in range(5):
        begin = time.process_time()
        with Ledger.open(path, writer=False) as reader, reader.snapshot():
            events = reader.events()
            counts = reader.counts()
            worst = [reader.worst_stack(phase) for phase in PHASES]
            verdicts = [reader.latest_judgements(phase, "baseline") for phase in PHASES]
        durations.append(time.process_time() - begin)
    assert counts.measurements == 105_000
    assert len(events) == 70 * 12
    assert all(worst)
    assert all(verdicts)
    assert min(durations) < 0.050
