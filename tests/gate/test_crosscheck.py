"""Instruments that agree, and planted contradictions between them."""

from __future__ import annotations

import json
import math

import pytest

from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import Criterion
from reactivate.evidence import Bound, Check, Dimension, Measurement, NotMeasured, Verdict
from reactivate.gate.crosscheck import (
    METRIC,
    as_json,
    compare,
    dispute,
    measurements,
)
from reactivate.gate.judge import judge_all
from reactivate.gate.judgement import Judgement
from reactivate.gate.opening import gate_open

DEPTH = 2_813_984
PAGE = 4096


def m(metric: str, value: float | NotMeasured, **changes: object) -> Measurement:
    values: dict[str, object] = {
        "instrument": "deepest",
        "operation": "search",
        "thread": "main",
        "samples": () if isinstance(value, NotMeasured) else (value,),
    }
    return Measurement(metric=metric, value=value, **{**values, **changes})  # type: ignore[arg-type]


def run(
    *,
    painted: float | NotMeasured = DEPTH,
    unwound: float | NotMeasured = DEPTH,
    reach: float | NotMeasured = DEPTH + 1000,
) -> list[Measurement]:
    return [
        m("stack.painted", painted),
        m("stack.unwound", unwound),
        m("growth.reach", reach, instrument="growth", operation="", bound=Bound.UPPER),
    ]


def watermark(*samples: int, bound: Bound = Bound.EXACT) -> Measurement:
    return m("stack.operation", max(samples), samples=samples, instrument="watermark", bound=bound)


def gap(*args: object, **kwargs: object) -> float:
    (compared,) = compare(*args, **kwargs)  # type: ignore[arg-type]
    assert compared.missing == ""
    return compared.gap_bytes


def test_what_agrees_is_no_disagreement() -> None:
    assert gap(run(), [watermark(DEPTH + 40, DEPTH - 8, DEPTH)]) == 0


@pytest.mark.parametrize(
    ("measured", "recorded", "expected"),
    [
        # A frame that the unwinder took for smaller than it is.
        (run(unwound=DEPTH - 8192), [], 8192),
        # Touches that the tracer did not see.
        (run(reach=DEPTH - 12288), [], 12288),
        # Growth deeper than any operation is start-up: no contradiction.
        (run(reach=DEPTH * 2), [], 0),
        # The watermark's repetitions: outside of all of them, on either side.
        (run(), [watermark(DEPTH + 5000, DEPTH + 9000)], 5000),
        (run(), [watermark(DEPTH - 9000, DEPTH - 7000)], 7000),
        # The worst pair counts.
        (run(unwound=DEPTH - 3000), [watermark(DEPTH + 4000)], 7000),
    ],
)
def test_the_widest_gap_is_the_disagreement(
    measured: list[Measurement], recorded: list[Measurement], expected: int
) -> None:
    assert gap(measured, recorded) == expected


def test_a_bound_says_less_than_a_value() -> None:
    deeper = [watermark(DEPTH + 50_000, bound=Bound.UPPER)]
    assert gap(run(), deeper) == 0
    shallower = [watermark(DEPTH - 50_000, bound=Bound.LOWER)]
    assert gap(run(), shallower) == 0
    assert gap(run(), [watermark(DEPTH - 50_000, bound=Bound.UPPER)]) == 50_000
    assert gap(run(), [watermark(DEPTH + 50_000, bound=Bound.LOWER)]) == 50_000


def test_of_the_watermark_only_the_same_operation_and_thread_count() -> None:
    other = [
        m("stack.operation", 5, operation="read", instrument="watermark"),
        m("stack.operation", 5, thread="worker", instrument="watermark"),
        m("stack.peak", 5, instrument="watermark"),
    ]
    assert gap(run(), other) == 0


def test_massif_speaks_for_the_deepest_operation_of_a_single_thread() -> None:
    massif = m("stack.massif_operation", DEPTH + 9000, instrument="massif", operation="", thread="")
    shallow = [m("stack.painted", 900, operation="read"), m("stack.unwound", 900, operation="read")]
    found = {c.operation: c.gap_bytes for c in compare([*run(), *shallow, massif])}
    assert found == {"search": 9000, "read": 0}
    worker = [m("stack.painted", 10, thread="worker"), m("stack.unwound", 10, thread="worker")]
    assert {c.gap_bytes for c in compare([*run(), *worker, massif])} == {0}
    between_snapshots = m(
        "stack.massif_operation", 100, instrument="massif", operation="", thread=""
    )
    assert gap([*run(), between_snapshots]) == 0


def test_one_instrument_alone_is_not_compared() -> None:
    (alone,) = measurements(compare([m("stack.painted", DEPTH)]), evidence="e")
    assert isinstance(alone.value, NotMeasured)
    missed = NotMeasured(reason="two repetitions did not come near")
    (nothing,) = measurements(compare(run(painted=missed, unwound=missed)), evidence="e")
    assert nothing.value == missed
    assert as_json(compare(run(painted=missed)))[0]["disagreement_bytes"] is None


def test_the_evidence_is_whole_and_json() -> None:
    massif = m("stack.massif_operation", 100, instrument="massif", operation="", thread="")
    (entry,) = json.loads(json.dumps(as_json(compare([*run(), massif], [watermark(DEPTH)]))))
    assert [s["witness"] for s in entry["statements"]] == [
        "paint", "unwound frames", "watermark", "growth", "massif",
    ]  # fmt: skip
    assert all(s["correction"] for s in entry["statements"])
    assert entry["statements"][-1]["most_bytes"] is None


# -- what becomes of the gate ----------------------------------------------------------------


def judged(measured: list[Measurement]) -> dict[str, Judgement]:
    found = [
        *measured,
        m("stack.frame", 2048),
        m("requests.unanswered", 0, instrument="lifecycle", operation="", thread=""),
        *measurements(compare(measured), evidence="crosscheck.json"),
    ]
    sources = [
        "stack.frame <= 64 KiB",
        "stack.frame <= 1 KiB",
        "requests.unanswered == 0",
        "stack.disagreement <= 4 KiB",
    ]
    criteria = [criterion(source) for source in sources]
    return {j.source: j for j in judge_all(criteria, found, {})}


def criterion(source: str) -> Criterion:
    return Criterion(
        id=source, text="", source=source, comparison=parse_criterion(source), check=Check.TRACE,
        line=1, column=1,
    )  # fmt: skip


def test_agreement_leaves_verdicts_as_they_are() -> None:
    found = judged(run(unwound=DEPTH - PAGE))
    assert found["stack.frame <= 64 KiB"].verdict is Verdict.PASS
    assert found["stack.disagreement <= 4 KiB"].verdict is Verdict.PASS


def test_a_planted_disagreement_shuts_the_gate() -> None:
    found = judged(run(unwound=DEPTH - PAGE - 1))
    frame = found["stack.frame <= 64 KiB"]
    assert frame.verdict is Verdict.INCONCLUSIVE
    assert "4,097 bytes" in frame.reason
    assert "unwound frames 2,809,887" in frame.reason
    assert found["stack.disagreement <= 4 KiB"].verdict is Verdict.INCONCLUSIVE
    assert not gate_open([frame], set())


def test_what_does_not_rest_on_depths_is_untouched_and_a_fail_stays() -> None:
    found = judged(run(unwound=0))
    assert found["requests.unanswered == 0"].verdict is Verdict.PASS
    assert found["stack.frame <= 1 KiB"].verdict is Verdict.FAIL


def test_a_dispute_on_one_thread_leaves_the_other_alone() -> None:
    beyond = m(METRIC, 9000, thread="worker", instrument="crosscheck")
    passed = Judgement(
        criterion="c", source="s", check=Check.TRACE, verdict=Verdict.PASS, observed=1, limit=2,
        dimension=Dimension.BYTES, samples=1, thread="main", instrument="growth",
    )  # fmt: skip
    assert dispute([passed], [beyond]) == (passed,)
    unsure = m(METRIC, math.nan, instrument="crosscheck")
    assert dispute([passed], [unsure])[0].verdict is Verdict.INCONCLUSIVE
