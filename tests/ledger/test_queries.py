"""Questions: the right answer, and from an index however much is in the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reactivate.errors import LedgerError
from reactivate.evidence import Measurement, NotMeasured, Role
from reactivate.ledger import AttemptRecord, AttemptStatus, DecisionDraft, Ledger

from .test_store import JUDGEMENTS


def peak(value: Any, *, metric: str = "stack.peak", role: Role = Role.SUBJECT) -> Measurement:
    return Measurement(
        metric=metric, value=value, instrument="watermark", role=role, operation=f"op{value}"
    )


def result(
    ledger: Ledger,
    phase: str,
    measurements: Sequence[Measurement],
    *,
    step: str = "baseline",
    outcome: str = "passed",
) -> AttemptRecord:
    attempt = ledger.begin_attempt(phase, step, {})
    return ledger.finish(attempt, outcome, measurements=measurements)


def test_worst_stack_is_the_deepest_of_the_newest_that_measured_one(ledger: Ledger) -> None:
    assert ledger.worst_stack("a") is None
    result(ledger, "a", [peak(900)])
    deepest = peak(70.5)
    result(
        ledger,
        "a",
        [
            peak(5),
            deepest,
            peak(69),
            peak(800, role=Role.BASELINE),
            peak(801, role=Role.PREVIOUS),
            peak(802, metric="stack.operation"),
            peak(NotMeasured(reason="the thread never slept")),
        ],
        outcome="refused",
    )
    # Newer ones that measured none, or never came to an end, hide nothing.
    result(ledger, "a", [peak(7, metric="growth.depth")], step="trace")
    result(ledger, "a", [peak(NotMeasured(reason="died"))])
    ledger.begin_attempt("a", "baseline", {})
    result(ledger, "b", [peak(3)])
    assert ledger.worst_stack("a") == deepest
    assert ledger.worst_stack("b") == peak(3)
    assert ledger.worst_stack("c") is None
    ledger.interrupt_open_attempts("killed")
    assert ledger.worst_stack("a") == deepest


def test_latest_attempt(ledger: Ledger) -> None:
    assert ledger.latest_attempt("a", "baseline") is None
    passed = result(ledger, "a", [])
    refused = result(ledger, "a", [], outcome="refused")
    traced = result(ledger, "a", [], step="trace")
    running = ledger.begin_attempt("a", "baseline", {})
    assert ledger.latest_attempt("a") == running
    assert ledger.latest_attempt("a", "baseline") == running
    assert ledger.latest_attempt("a", status=AttemptStatus.FINISHED) == traced
    assert ledger.latest_attempt("a", "baseline", status=AttemptStatus.FINISHED) == refused
    assert ledger.latest_attempt("a", "baseline", outcome="passed") == passed
    assert ledger.latest_attempt("a", "overflow") is None


def test_latest_measurements_and_judgements(ledger: Ledger) -> None:
    assert ledger.latest_measurements("a", "baseline") == ()
    result(ledger, "a", [peak(1)])
    attempt = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(
        attempt, "refused", measurements=[peak(2), peak(3, metric="rss.peak")],
        judgements=JUDGEMENTS,
    )  # fmt: skip
    result(ledger, "a", [peak(4)], step="trace")
    ledger.begin_attempt("a", "baseline", {})
    assert ledger.latest_measurements("a", "baseline") == (peak(2), peak(3, metric="rss.peak"))
    assert ledger.latest_measurements("a", "baseline", "rss.peak") == (peak(3, metric="rss.peak"),)
    assert ledger.latest_measurements("a", "baseline", outcome="passed") == (peak(1),)
    assert ledger.latest_measurements("a") == (peak(4),)
    assert ledger.latest_judgements("a", "baseline") == JUDGEMENTS
    assert ledger.latest_judgements("a", "trace") == ()
    assert ledger.latest_judgements("b") == ()


def test_events_can_be_asked_for(ledger: Ledger) -> None:
    first = ledger.append("one", "a", {})
    second = ledger.append("two", "b", {})
    attempt = ledger.begin_attempt("b", "baseline", {})
    assert [event.seq for event in ledger.events()] == [1, 2, 3]
    assert ledger.events(after=1, phase="b", kind="two") == (second,)
    assert ledger.events(phase="a") == (first,)
    assert [event.seq for event in ledger.events(attempt=attempt.id)] == [3]
    assert ledger.events(after=3) == ()


def test_attempts_and_decisions_can_be_asked_for(ledger: Ledger) -> None:
    one, two = result(ledger, "a", []), result(ledger, "b", [])
    running = ledger.begin_attempt("a", "trace", {})
    assert ledger.attempts() == (one, two, running)
    assert ledger.attempts("a") == (one, running)
    assert ledger.attempts(status=AttemptStatus.RUNNING) == (running,)
    waived = ledger.decide(DecisionDraft(kind="waived", phase="a", reason="r", who="x"))
    retried = ledger.decide(
        DecisionDraft(kind="retried", phase="b", reason="r", who="x", attempt=two.id)
    )
    assert ledger.decisions() == (waived, retried)
    assert ledger.decisions("a") == (waived,)
    assert ledger.decisions(kind="retried") == ledger.decisions(attempt=two.id) == (retried,)


def test_what_is_not_there_is_named(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no attempt 7"):
        ledger.attempt(7)
    assert ledger.measurements(7) == ()


def test_no_question_of_status_reads_through_a_table(ledger: Ledger, path: Path) -> None:
    """The plan of every statement is asked of SQLite itself."""
    for phase in "abc":
        for _ in range(3):
            result(ledger, phase, [peak(n) for n in range(200)])
    asked: list[str] = []
    with Ledger.open(path, writer=False) as reader:
        reader._connection.set_trace_callback(asked.append)
        reader.worst_stack("a")
        reader.latest_attempt("a", "baseline", status=AttemptStatus.FINISHED)
        reader.latest_measurements("a", "baseline", "stack.peak")
        reader.latest_judgements("a", "baseline")
        reader.attempts(status=AttemptStatus.RUNNING)
    assert len(asked) >= 6
    connection = sqlite3.connect(path)
    plans = {
        statement: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in asked
    }
    connection.close()
    assert not {s: plan for s, plan in plans.items() if any("SCAN" in line for line in plan)}
    measured = [line for plan in plans.values() for line in plan if "measurements_by" in line]
    assert measured
