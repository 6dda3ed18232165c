"""The ledger: measurements appended per second, each step durable, and its verification."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks.goal import Goal
from reactivate.evidence import Measurement
from reactivate.ledger import DecisionDraft, Ledger
from reactivate.ledger.audit import audit

_STEPS = 20
_PER_STEP = 500
_EVENTS = 10_000


def _measured(count: int) -> list[Measurement]:
    return [
        Measurement(
            metric="stack.operation",
            value=10_000 + n if n % 3 else n / 7,
            instrument="watermark",
            operation=f"operation_{n % 40}",
            thread="main",
            samples=(10_000 + n,),
            evidence="watermark/watermark.json",
        )
        for n in range(count)
    ]


def _append(path: Path) -> float:
    """Measurements per second, begin and end of each step included."""
    measured = _measured(_PER_STEP)
    with Ledger.open(path, writer=True) as ledger:
        started = time.perf_counter()
        for _ in range(_STEPS):
            attempt = ledger.begin_attempt("search", "baseline", {"kernel": "benchmark"})
            ledger.finish(attempt, "passed", measurements=measured)
        return _STEPS * _PER_STEP / (time.perf_counter() - started)


def _fill(path: Path) -> None:
    """10,000 events, with ten measurements and a decision for every ten of them."""
    measured = _measured(10)
    draft = DecisionDraft(kind="noted", phase="search", reason="benchmark", who="gate")
    with Ledger.open(path, writer=True) as ledger:
        for _ in range(_EVENTS // 10):
            attempt = ledger.begin_attempt("search", "baseline", {"kernel": "benchmark"})
            ledger.finish(
                attempt, "passed", measurements=measured, decisions=[draft],
                events=[("note", {"turn": n}) for n in range(8)],
            )  # fmt: skip


def goals() -> list[Goal]:
    """The append rate, the best of three, and the verification of 10,000 events."""
    with tempfile.TemporaryDirectory() as folder:
        working = time.process_time()
        rates = [_append(Path(folder) / f"{turn}.db") for turn in range(3)]
        working = (time.process_time() - working) / len(rates)
        path = Path(folder) / "events.db"
        _fill(path)
        connection = sqlite3.connect(path)
        started = time.perf_counter()
        found = audit(connection, path)
        seconds = time.perf_counter() - started
        connection.close()
        assert not found.findings
        assert found.rows["events"] == _EVENTS
        size_bytes = path.stat().st_size
    return [
        Goal(
            name="ledger: measurements appended, durable",
            measured=max(rates),
            limit=10_000.0,
            unit="/s",
            detail=f"{_STEPS} steps of {_PER_STEP}; {min(rates):,.0f} to {max(rates):,.0f}; "
            f"{working:.2f} s of a processor for each {_STEPS * _PER_STEP:,}",
            at_least=True,
        ),
        Goal(
            name="ledger: verify 10,000 events",
            measured=seconds,
            limit=5.0,
            unit="s",
            detail=f"{found.rows['measurements']:,} measurements, {size_bytes / 2**20:.1f} MiB",
        ),
    ]
