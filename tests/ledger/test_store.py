"""Writing: one transaction per result, times, decisions, attempts that end once."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from reactivate.errors import ExitCode, LedgerError
from reactivate.evidence import (
    Bound,
    Check,
    Dimension,
    Measurement,
    NotMeasured,
    Role,
    Verdict,
)
from reactivate.gate.judgement import Judgement
from reactivate.ledger import (
    ArtifactRecord,
    AttemptStatus,
    Counts,
    DecisionDraft,
    Ledger,
)

MEASUREMENTS = (
    Measurement(metric="stack.peak", value=2_841_728, instrument="watermark", operation="search"),
    Measurement(
        metric="latency.p50",
        value=1.0,  # a float without a fraction stays a float
        instrument="latency",
        bound=Bound.UPPER,
        role=Role.PREVIOUS,
        operation="read",
        thread="main",
        samples=(1, 1.0, 2.5, 2**63 - 1),
        evidence="latency/read.json",
        note="µs, “quoted”, ≥ and \x00",
    ),
)
MISSING = Measurement(
    metric="stack.recursion", value=NotMeasured(reason="gdb is missing"), instrument="deepest"
)
JUDGEMENTS = (
    Judgement(
        criterion="search_engine.baseline.latency.p99",
        source="latency.p99 <= baseline + 20%",
        check=Check.BASELINE,
        verdict=Verdict.PASS,
        observed=1.08,
        limit=1.2,
        dimension=Dimension.RATIO,
        interval=(1.03, 1.12),
        samples=250,
        operation="read",
        thread="main",
        instrument="latency",
        evidence="latency/read.json",
        reason="the whole interval is within",
    ),
    Judgement(
        criterion="search_engine.trace.stack.recursion",
        source="stack.recursion <= 100",
        check=Check.TRACE,
        verdict=Verdict.ERROR,
        observed=NotMeasured(reason="gdb is missing"),
        limit=100,
        dimension=Dimension.COUNT,
        samples=0,
    ),
)
ARTIFACTS = (ArtifactRecord(path="latency/read.json", sha256="0" * 64, size_bytes=7, note="raw"),)


def typed(value: object) -> str:
    """A rendering in which 1 and 1.0, and a list and a tuple, differ."""
    return repr(value)


def test_a_whole_result_comes_back_as_it_was_given(ledger: Ledger, path: Path) -> None:
    attempt = ledger.begin_attempt("search_engine", "baseline", {"kernel": "6.1"})
    measurements = (*MEASUREMENTS, MISSING)
    ended = ledger.finish(
        attempt,
        "refused",
        events=[("checked", {"check": "baseline", "n": (1, 2.0, None)})],
        measurements=measurements,
        judgements=JUDGEMENTS,
        artifacts=ARTIFACTS,
    )
    assert ended.status is AttemptStatus.FINISHED
    assert ended.outcome == "refused"
    with Ledger.open(path, writer=False) as reader:
        assert typed(reader.measurements(attempt.id)) == typed(measurements)
        assert typed(reader.judgements(attempt.id)) == typed(JUDGEMENTS)
        assert reader.artifacts(attempt.id) == ARTIFACTS
        assert reader.attempt(attempt.id) == ended
        kinds = [(event.kind, event.attempt) for event in reader.events()]
        assert kinds == [
            ("attempt_started", attempt.id),
            ("checked", attempt.id),
            ("attempt_finished", attempt.id),
        ]
        assert reader.events(kind="checked")[0].data == {"check": "baseline", "n": [1, 2.0, None]}


def test_attempts_are_numbered_within_their_phase(ledger: Ledger) -> None:
    first = ledger.begin_attempt("a", "baseline", {})
    other = ledger.begin_attempt("b", "baseline", {})
    ledger.interrupt_open_attempts("killed")
    second = ledger.begin_attempt("a", "trace", {})
    assert [(x.phase, x.number, x.folder) for x in (first, other, second)] == [
        ("a", 1, "a/attempt-001"),
        ("b", 1, "b/attempt-001"),
        ("a", 2, "a/attempt-002"),
    ]
    assert ledger.begin_attempt("a", "trace", {}, folder="elsewhere").folder == "elsewhere"


@pytest.mark.parametrize("phase", ["", "..", "a/b", "/etc", "a\nb", ".hidden"])
def test_a_phase_that_could_leave_the_results_folder_is_refused(ledger: Ledger, phase: str) -> None:
    with pytest.raises(LedgerError, match="cannot be the phase"):
        ledger.begin_attempt(phase, "baseline", {})
    assert ledger.counts().attempts == 0


def test_times_are_utc_with_microseconds(path: Path) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 1, 1, 2, 0, 0, tzinfo=east)
    with Ledger.open(path, writer=True, clock=lambda: moment) as ledger:
        assert ledger.append("noted", "", {}).at == "2025-12-31T20:30:00.000000Z"
    with Ledger.open(path, writer=True) as ledger:
        before = datetime.now(UTC)
        at = datetime.fromisoformat(ledger.append("noted", "", {}).at)
        assert before <= at <= datetime.now(UTC)


def test_an_environment_is_stored_once(ledger: Ledger, path: Path) -> None:
    first = ledger.begin_attempt("a", "baseline", {"kernel": "6.1", "tools": {"gdb": "13", "b": 1}})
    second = ledger.begin_attempt(
        "a", "baseline", {"tools": {"b": 1, "gdb": "13"}, "kernel": "6.1"}
    )
    third = ledger.begin_attempt("a", "baseline", {"kernel": "6.2"})
    assert first.environment_sha256 == second.environment_sha256 != third.environment_sha256
    assert ledger.environment(first.environment_sha256) == {
        "kernel": "6.1",
        "tools": {"gdb": "13", "b": 1},
    }
    with pytest.raises(LedgerError, match="no environment"):
        ledger.environment("f" * 64)


def test_the_environment_may_be_completed_when_finishing(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
    ended = ledger.finish(attempt, "passed", environment={"kernel": "6.1", "artifact": "9f31"})
    assert ledger.environment(ended.environment_sha256)["artifact"] == "9f31"
    assert ledger.environment(attempt.environment_sha256) == {"kernel": "6.1"}


def test_an_attempt_ends_once(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(attempt, "passed")
    before = ledger.counts()
    for again in ({}, {"measurements": MEASUREMENTS}, {"events": [("checked", {})]}):
        with pytest.raises(LedgerError, match="cannot record the result"):
            ledger.finish(attempt, "refused", **again)  # type: ignore[arg-type]
    assert ledger.counts() == before
    assert ledger.attempt(attempt.id).outcome == "passed"


def test_interrupted_attempts_are_on_record(ledger: Ledger, path: Path) -> None:
    running = ledger.begin_attempt("a", "baseline", {})
    done = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(done, "passed")
    (found,) = ledger.interrupt_open_attempts("process 4812 is gone")
    assert (found.id, found.status, found.outcome) == (running.id, AttemptStatus.INTERRUPTED, "")
    assert found.ended_at is not None
    (event,) = ledger.events(kind="attempt_interrupted")
    assert event.attempt == running.id
    assert event.data == {"reason": "process 4812 is gone", "step": "baseline"}
    assert ledger.interrupt_open_attempts("again") == ()
    with pytest.raises(LedgerError):
        ledger.finish(running, "passed", measurements=MEASUREMENTS)
    assert ledger.measurements(running.id) == ()


def test_a_decision_and_its_event_are_recorded_together(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(attempt, "refused")
    draft = DecisionDraft(
        kind="waived",
        phase="a",
        reason="accepted until the walk is iterative",
        who="Ada",
        attempt=attempt.id,
        criterion="a.baseline.stack.peak",
        context={"limit": 2097152, "verdicts": [["stack.peak", "fail"]]},
    )
    decision = ledger.decide(draft)
    assert decision.number == 1
    (event,) = ledger.events(kind="waived")
    assert event.seq == decision.seq
    assert event.data == {
        "decision": 1,
        "criterion": "a.baseline.stack.peak",
        "reason": "accepted until the walk is iterative",
        "who": "Ada",
        "unattended": False,
    }
    assert ledger.decisions() == (decision,)
    assert decision.context == draft.context
    later = ledger.decide(
        DecisionDraft(
            kind="confirmed",
            phase="b",
            reason="",
            who="CI",
            unattended=True,
            supersedes=1,
            event=("item_confirmed", {"item": "b.before"}),
        )
    )
    assert (later.number, later.supersedes, later.unattended) == (2, 1, True)
    assert ledger.events()[-1].kind == "item_confirmed"
    assert ledger.decisions("b") == (later,)


def test_decisions_of_a_result_stand_with_it(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    plain = DecisionDraft(kind="advanced", phase="a", reason="every criterion holds", who="gate")
    own = DecisionDraft(kind="noted", phase="a", reason="r", who="gate", event=("noted", {"x": 1}))
    ledger.finish(attempt, "passed", events=[("gate_passed", {})], decisions=[plain, own])
    kinds = [event.kind for event in ledger.events()]
    assert kinds == ["attempt_started", "gate_passed", "noted", "attempt_finished"]
    by_kind = {decision.kind: decision for decision in ledger.decisions(attempt=attempt.id)}
    assert by_kind["noted"].seq == 3
    assert by_kind["advanced"].seq == 4


def test_nothing_of_a_decision_stays_when_a_part_is_refused(ledger: Ledger) -> None:
    before = ledger.counts()
    for draft in (
        DecisionDraft(kind="waived", phase="a", reason="r", who=""),
        DecisionDraft(kind="waived", phase="a", reason="r", who="x", attempt=77),
        DecisionDraft(kind="waived", phase="a", reason="r", who="x", supersedes=9),
        DecisionDraft(kind="waived", phase="a", reason="r", who="x", context={"x": math.nan}),
    ):
        with pytest.raises(LedgerError):
            ledger.decide(draft)
    assert ledger.counts() == before
    assert ledger.decide(DecisionDraft(kind="k", phase="a", reason="", who="x")).number == 1


NAN, INFINITY = math.nan, math.inf


def measured(value: Any, **fields: Any) -> Measurement:
    return Measurement(metric="stack.peak", value=value, instrument="watermark", **fields)


@pytest.mark.parametrize(
    "bad",
    [
        measured(NAN),
        measured(INFINITY),
        measured(-INFINITY),
        measured(1, samples=(1, NAN)),
        measured(1, samples=(INFINITY,)),
        measured(2**63),
        measured(10**400),
        measured(True),
        measured(None),
        measured("7"),
        measured(NotMeasured(reason="")),
        measured(1, note="\udcff"),
    ],
    ids=lambda m: (repr(m.value) + repr(m.samples) + ascii(m.note))[:40],
)
def test_what_cannot_be_told_truly_is_refused_whole(ledger: Ledger, bad: Measurement) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    before = ledger.counts()
    with pytest.raises(LedgerError) as caught:
        ledger.finish(attempt, "passed", events=[("e", {})], measurements=[*MEASUREMENTS, bad])
    assert caught.value.exit_code is ExitCode.LEDGER
    assert ledger.counts() == before
    assert ledger.attempt(attempt.id).status is AttemptStatus.RUNNING
    ledger.finish(attempt, "passed", measurements=MEASUREMENTS)  # and it can still be finished
    assert ledger.counts().measurements == len(MEASUREMENTS)


@pytest.mark.parametrize(
    "part",
    [
        {"events": [("", {})]},
        {"events": [("e", {"x": NAN})]},
        {"events": [("e", {1: "key"})]},
        {"events": [("e", {"x": b"bytes"})]},
        {"artifacts": [ArtifactRecord(path="x", sha256="short", size_bytes=1)]},
        {"artifacts": [*ARTIFACTS, *ARTIFACTS]},
        {"artifacts": [ArtifactRecord(path="x", sha256="0" * 64, size_bytes=-1)]},
        {"decisions": [DecisionDraft(kind="", phase="a", reason="", who="x")]},
        {"decisions": [DecisionDraft(kind="k", phase="a", reason="", who="x", supersedes=1)]},
        {"environment": {"x": INFINITY}},
    ],
    ids=repr,
)
def test_any_part_that_fails_takes_all_with_it(ledger: Ledger, part: dict[str, Any]) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    before = ledger.counts()
    whole: dict[str, Any] = {"measurements": MEASUREMENTS, "judgements": JUDGEMENTS, **part}
    with pytest.raises(LedgerError):
        ledger.finish(attempt, "passed", **whole)
    assert ledger.counts() == before
    assert ledger.judgements(attempt.id) == ()
    assert ledger.artifacts(attempt.id) == ()
    assert ledger.attempt(attempt.id) == attempt


def test_an_empty_outcome_is_no_outcome(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    with pytest.raises(LedgerError):
        ledger.finish(attempt, "")
    assert ledger.attempt(attempt.id) == attempt


def test_a_reader_cannot_write(ledger: Ledger, path: Path) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    with Ledger.open(path, writer=False) as reader:
        before = reader.counts()
        with pytest.raises(LedgerError) as caught:
            reader.append("e", "a", {})
        assert "opened for reading" in caught.value.why
        with pytest.raises(LedgerError):
            reader.finish(attempt, "passed")
        assert reader.counts() == before


def test_an_interrupt_in_the_middle_leaves_nothing(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt("a", "baseline", {})
    before = ledger.counts()

    class Interrupting(tuple):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            yield ("first", {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.finish(attempt, "passed", measurements=MEASUREMENTS, events=Interrupting())
    assert ledger.counts() == before
    assert ledger.append("after", "a", {}).seq == before.events + 1


def test_reading_loads_no_heavy_library(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reactivate.ledger import Ledger; "
        f"ledger = Ledger.open(Path({str(path)!r}), writer=False); ledger.counts(); "
        "ledger.close(); "
        "print([m for m in ('sqlite_utils', 'click', 'trio', 'rich') if m in sys.modules])"
    )
    Ledger.open(path, writer=True).close()
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ.copy(),
    )
    assert result.stdout.strip() == "[]"


def test_counts_count(ledger: Ledger) -> None:
    assert ledger.counts() == Counts(events=0, attempts=0, measurements=0, decisions=0)
    attempt = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(attempt, "passed", measurements=MEASUREMENTS)
    ledger.decide(DecisionDraft(kind="retried", phase="a", reason="", who="x"))
    assert ledger.counts() == Counts(events=3, attempts=1, measurements=2, decisions=1)
