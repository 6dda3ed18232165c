"""Verdicts: the worst decides, and nothing unknown is ever green."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from reactivate.checklist.model import (
    Arithmetic,
    Comparator,
    Comparison,
    Criterion,
    Expression,
    MetricName,
    Number,
    Operator,
    Percent,
    PercentOf,
    ReferenceValue,
)
from reactivate.evidence import (
    Bound,
    Check,
    Dimension,
    Measurement,
    NotMeasured,
    Role,
    Verdict,
)
from reactivate.gate.judge import judge, judge_all, needs_more_samples
from reactivate.gate.judgement import Judgement
from reactivate.gate.opening import gate_open
from reactivate.metrics import METRICS

LE, LT, GE, GT, EQ = Comparator.LE, Comparator.LT, Comparator.GE, Comparator.GT, Comparator.EQ
MIB = 1 << 20
UNKNOWN = NotMeasured(reason="the daemon was busy")


def asks(left: Expression | str, comparator: Comparator, right: Expression) -> Criterion:
    name = MetricName(name=left) if isinstance(left, str) else left
    return Criterion(
        id="search.baseline.it",
        text="",
        source="it",
        comparison=Comparison(left=name, comparator=comparator, right=right),
        check=Check.BASELINE,
        line=1,
        column=1,
    )


def size(value: float) -> Number:
    return Number(value=value, dimension=Dimension.BYTES)


def count(value: float) -> Number:
    return Number(value=value, dimension=Dimension.COUNT)


def slack(percent: float, role: Role = Role.BASELINE) -> Arithmetic:
    return Arithmetic(
        left=ReferenceValue(role=role), operator=Operator.ADD, right=Percent(value=percent)
    )


QUARTER = PercentOf(percent=25, whole=MetricName(name="stack.limit"))
STACK = asks("stack.peak", LE, QUARTER)
SLOWER = asks("latency.p50", LE, slack(20))


def peak(value: float | NotMeasured, operation: str = "read", thread: str = "main") -> Measurement:
    samples = () if isinstance(value, NotMeasured) else (value,)
    return Measurement(
        metric="stack.peak",
        value=value,
        instrument="watermark",
        operation=operation,
        thread=thread,
        samples=samples,
        evidence=f"watermark/{operation}.json",
    )


def limit(value: float | NotMeasured = 8 * MIB, thread: str = "main") -> Measurement:
    return Measurement(metric="stack.limit", value=value, instrument="procfs", thread=thread)


def once(metric: str, value: float | NotMeasured, bound: Bound = Bound.EXACT) -> Measurement:
    return Measurement(metric=metric, value=value, instrument="memory", bound=bound)


def timed(
    role: Role, operation: str = "read", factor: float = 1.0, n: int = 200, seed: int = 1
) -> Measurement:
    dice = random.Random(f"{role}{operation}{seed}")
    samples = tuple(factor * 1e5 * dice.lognormvariate(0, 0.1) for _ in range(n))
    return Measurement(
        metric="latency.p50",
        value=sorted(samples)[n // 2],
        instrument="latency",
        role=role,
        operation=operation,
        samples=samples,
    )


def test_deepest_operation_decides_and_is_named() -> None:
    found = judge(STACK, [peak(MIB), peak(3 * MIB, "search"), peak(5, "mkdir"), limit()], {})
    assert found.verdict is Verdict.FAIL
    assert (found.operation, found.thread, found.instrument) == ("search", "main", "watermark")
    assert (found.observed, found.limit) == (3 * MIB, 2 * MIB)
    assert (found.samples, found.evidence) == (1, "watermark/search.json")
    assert found.reason == (
        "stack.peak of `search` on thread main is 3.00 MiB, above the limit of 2.00 MiB; "
        "1 of 3 compared fail"
    )


def test_pass_names_the_operation_nearest_to_the_limit() -> None:
    found = judge(STACK, [peak(MIB), peak(2 * MIB, "search"), limit()], {})
    assert (found.verdict, found.operation) == (Verdict.PASS, "search")
    assert "within the limit of 2.00 MiB" in found.reason


def test_each_thread_is_held_against_its_own_limit() -> None:
    run = [peak(MIB), peak(MIB, thread="worker"), limit(), limit(2 * MIB, thread="worker")]
    found = judge(STACK, run, {})
    assert (found.verdict, found.thread, found.limit) == (Verdict.FAIL, "worker", MIB / 2)


def test_values_that_look_alike_are_shown_to_the_byte() -> None:
    found = judge(STACK, [peak(2 * MIB + 1), limit()], {})
    assert "2,097,153 B, above the limit of 2,097,152 B" in found.reason


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ([peak(1)], "stack.limit was not measured"),
        ([peak(1), limit(UNKNOWN)], "busy"),
        ([peak(1), limit(1, "a"), limit(2, "b")], "ambiguous"),
        ([peak(1), limit(1), limit(2)], "ambiguous"),
        ([limit()], "stack.peak was not measured"),
        ([], "stack.peak was not measured"),
        ([peak(UNKNOWN), limit()], "busy"),
        ([peak(1), peak(UNKNOWN, "search"), limit()], "busy"),
        ([peak(math.nan), limit()], "not a number"),
        ([peak(math.inf), limit()], "not a number"),
        ([peak(-1), limit()], "negative"),
        ([replace(peak(1), samples=()), limit()], "not one sample"),
        ([replace(peak(1), samples=(1, math.nan)), limit()], "not a number"),
        ([replace(peak(1), role=Role.BASELINE), limit()], "stack.peak was not measured"),
    ],
)
def test_missing_and_odd_values_are_errors(run: list[Measurement], why: str) -> None:
    found = judge(STACK, run, {})
    assert found.verdict is Verdict.ERROR
    assert why in found.reason
    assert isinstance(found.limit, NotMeasured)


def test_excess_is_an_excess_whatever_else_is_unknown() -> None:
    run = [peak(3 * MIB), peak(UNKNOWN, "search"), limit()]
    assert judge(STACK, run, {}).verdict is Verdict.FAIL


def test_only_limit_there_is_serves_all_threads() -> None:
    run = [peak(1, thread="worker"), limit(), replace(limit(), instrument="watermark")]
    assert judge(STACK, run, {}).verdict is Verdict.PASS


def test_named_operations_only() -> None:
    named = asks(MetricName(name="stack.peak", operations=("read", "write")), LE, size(100))
    run = [peak(10), peak(20, "write"), peak(900, "search")]
    assert judge(named, run, {}).operation == "write"
    missing = judge(named, run[:1], {})
    assert (missing.verdict, missing.operation) == (Verdict.ERROR, "write")


@pytest.mark.parametrize(
    ("comparator", "value", "bound", "verdict"),
    [
        (LE, 99, Bound.EXACT, Verdict.PASS),
        (LE, 100, Bound.EXACT, Verdict.PASS),
        (LT, 100, Bound.EXACT, Verdict.FAIL),
        (LE, 101, Bound.EXACT, Verdict.FAIL),
        (GE, 100, Bound.EXACT, Verdict.PASS),
        (GT, 100, Bound.EXACT, Verdict.FAIL),
        (EQ, 100, Bound.EXACT, Verdict.PASS),
        (EQ, 101, Bound.EXACT, Verdict.FAIL),
        (LE, 101, Bound.LOWER, Verdict.FAIL),
        (LE, 99, Bound.LOWER, Verdict.INCONCLUSIVE),
        (LE, 101, Bound.UPPER, Verdict.INCONCLUSIVE),
        (LE, 99, Bound.UPPER, Verdict.PASS),
        (GE, 101, Bound.LOWER, Verdict.PASS),
        (GE, 99, Bound.LOWER, Verdict.INCONCLUSIVE),
        (GE, 101, Bound.UPPER, Verdict.INCONCLUSIVE),
        (GE, 99, Bound.UPPER, Verdict.FAIL),
        (EQ, 100, Bound.LOWER, Verdict.INCONCLUSIVE),
        (EQ, 101, Bound.LOWER, Verdict.FAIL),
        (EQ, 99, Bound.UPPER, Verdict.FAIL),
    ],
)
def test_bounds(comparator: Comparator, value: int, bound: Bound, verdict: Verdict) -> None:
    found = judge(asks("rss.peak", comparator, size(100)), [once("rss.peak", value, bound)], {})
    assert found.verdict is verdict
    assert found.reason


@pytest.mark.parametrize(
    ("metric", "asked"), [("growth.depth", Bound.LOWER), ("stack.minimum", Bound.UPPER)]
)
def test_bound_that_is_asked_for_is_the_answer(metric: str, asked: Bound) -> None:
    criterion = asks(metric, LE, size(100))
    assert judge(criterion, [once(metric, 99, asked)], {}).verdict is Verdict.PASS
    assert judge(criterion, [once(metric, 101, asked)], {}).verdict is Verdict.FAIL
    other = Bound.UPPER if asked is Bound.LOWER else Bound.LOWER
    value = 101 if other is Bound.UPPER else 99
    assert judge(criterion, [once(metric, value, other)], {}).verdict is Verdict.INCONCLUSIVE


def test_uncertain_limit_makes_the_verdict_uncertain() -> None:
    half = PercentOf(percent=50, whole=MetricName(name="rss.idle"))
    run = [once("rss.peak", 49), once("rss.idle", 100, Bound.UPPER)]
    assert judge(asks("rss.peak", LE, half), run, {}).verdict is Verdict.INCONCLUSIVE
    assert judge(asks("rss.peak", GT, half), run, {}).verdict is Verdict.INCONCLUSIVE
    at_least = [run[0], once("rss.idle", 100, Bound.LOWER)]
    assert judge(asks("rss.peak", LE, half), at_least, {}).verdict is Verdict.PASS
    assert judge(asks("rss.peak", GT, half), at_least, {}).verdict is Verdict.FAIL


def test_arithmetic_on_the_left() -> None:
    grown = Arithmetic(
        left=MetricName(name="rss.peak"),
        operator=Operator.SUBTRACT,
        right=MetricName(name="rss.idle"),
    )
    run = [once("rss.peak", 150), once("rss.idle", 100)]
    found = judge(asks(grown, LE, size(49)), run, {})
    assert (found.verdict, found.observed) == (Verdict.FAIL, 50)
    with_operations = Arithmetic(
        left=MetricName(name="stack.idle"),
        operator=Operator.ADD,
        right=MetricName(name="stack.peak"),
    )
    idle = Measurement(metric="stack.idle", value=7, instrument="watermark", thread="main")
    found = judge(asks(with_operations, LE, size(20)), [idle, peak(10), peak(14, "search")], {})
    assert (found.verdict, found.observed, found.operation) == (Verdict.FAIL, 21, "search")


@pytest.mark.parametrize(
    "right",
    [
        Percent(value=25),
        count(3),
        ReferenceValue(role=Role.SUBJECT),
        Arithmetic(left=size(1), operator=Operator.DIVIDE, right=count(0)),
        Arithmetic(left=size(1), operator=Operator.ADD, right=count(1)),
        Arithmetic(left=size(1), operator=Operator.MULTIPLY, right=size(1)),
        MetricName(name="no.such"),
    ],
)
def test_expressions_without_a_meaning_are_errors(right: Expression) -> None:
    found = judge(asks("rss.peak", LE, right), [once("rss.peak", 1)], {})
    assert found.verdict not in (Verdict.PASS, Verdict.FAIL)
    assert found.reason


# Relative to another build


def test_memory_is_compared_by_value() -> None:
    criterion = asks("rss.peak", LE, slack(50))
    before = {Role.BASELINE: [once("rss.peak", 30 * MIB)]}
    found = judge(criterion, [once("rss.peak", 45 * MIB)], before)
    assert (found.verdict, found.observed, found.limit) == (Verdict.PASS, 1.5, 1.5)
    assert (found.dimension, found.interval, found.samples) == (Dimension.RATIO, None, 1)
    found = judge(criterion, [once("rss.peak", 46 * MIB)], before)
    assert found.verdict is Verdict.FAIL
    assert found.reason == "rss.peak is 1.53× the baseline build's, above the limit of 1.50×"


def test_reference_of_nothing_is_compared_in_base_units() -> None:
    criterion = asks("faults.major", LE, slack(50))
    before = {Role.BASELINE: [once("faults.major", 0)]}
    assert judge(criterion, [once("faults.major", 0)], before).verdict is Verdict.PASS
    found = judge(criterion, [once("faults.major", 3)], before)
    assert (found.verdict, found.observed, found.dimension) == (Verdict.FAIL, 3, Dimension.COUNT)


def test_missing_reference_is_invalid() -> None:
    found = judge(asks("rss.peak", LE, slack(50)), [once("rss.peak", 1)], {})
    assert found.verdict is Verdict.INVALID
    assert "not measured on the baseline build" in found.reason
    for recorded in (UNKNOWN, math.nan):
        before = {Role.BASELINE: [once("rss.peak", recorded)]}
        found = judge(asks("rss.peak", LE, slack(50)), [once("rss.peak", 1)], before)
        assert found.verdict is Verdict.ERROR


def test_only_operations_of_both_builds_are_compared() -> None:
    run = [timed(Role.SUBJECT), timed(Role.SUBJECT, "search", 9), timed(Role.BASELINE)]
    found = judge(SLOWER, run, {})
    assert (found.verdict, found.operation) == (Verdict.PASS, "read")
    assert found.interval is not None
    assert 0.9 < found.interval[0] < found.interval[1] < 1.1
    found = judge(SLOWER, run[1:], {})
    assert found.verdict is Verdict.INVALID
    named = MetricName(name="latency.p50", operations=("read", "search"))
    found = judge(asks(named, LE, slack(20)), run, {})
    assert (found.verdict, found.operation) == (Verdict.INVALID, "search")


def test_worst_ratio_decides() -> None:
    run = [
        m
        for operation, factor in (("read", 1.0), ("write", 1.6), ("mkdir", 1.4))
        for m in (timed(Role.SUBJECT, operation, factor), timed(Role.BASELINE, operation))
    ]
    found = judge(SLOWER, run, {})
    assert (found.verdict, found.operation, found.samples) == (Verdict.FAIL, "write", 200)
    assert found.limit == pytest.approx(1.2)
    assert found.observed == pytest.approx(1.6, rel=0.05)
    assert needs_more_samples([found]) == ()


def test_same_run_wins_over_recorded() -> None:
    run = [timed(Role.SUBJECT, factor=1.5), timed(Role.BASELINE, factor=1.5)]
    recorded = {Role.BASELINE: [timed(Role.SUBJECT, factor=1.0), timed(Role.SUBJECT, "search")]}
    found = judge(SLOWER, run, recorded)
    assert found.verdict is Verdict.PASS
    assert "another run" not in found.reason
    found = judge(SLOWER, run[:1], recorded)
    assert found.verdict is Verdict.FAIL
    assert "measured in another run" in found.reason


def test_interval_across_the_limit_asks_for_more_samples() -> None:
    run = [
        m
        for operation, factor in (("read", 1.0), ("write", 1.19))
        for m in (timed(Role.SUBJECT, operation, factor), timed(Role.BASELINE, operation))
    ]
    found = judge(SLOWER, run, {})
    assert (found.verdict, found.operation) == (Verdict.INCONCLUSIVE, "write")
    (need,) = needs_more_samples([found, found])
    assert (need.metric, need.operation, need.samples) == ("latency.p50", "write", 200)
    assert 300 <= need.wanted <= 800
    assert f"about {need.wanted:,} are needed" in found.reason


@pytest.mark.parametrize("factor", [1.0, 1.19, 1.6])
def test_a_verdict_by_interval_says_what_it_assumes_of_mounts(factor: float) -> None:
    run = [
        m
        for operation in ("read", "write")
        for m in (timed(Role.SUBJECT, operation, factor), timed(Role.BASELINE, operation))
    ]
    found = judge(SLOWER, run, {})
    assert found.reason.count("assumes that two mounts of one build differ by 0.6 %") == 1
    limit = Number(value=1e9, dimension=Dimension.NANOSECONDS)
    alone = judge(asks("latency.p50", LE, limit), run, {})
    assert "assumes" not in alone.reason


def test_few_samples_are_inconclusive_and_say_how_many_are_needed() -> None:
    run = [timed(Role.SUBJECT, factor=3, n=5), timed(Role.BASELINE, n=5)]
    found = judge(SLOWER, run, {})
    assert (found.verdict, found.interval) == (Verdict.INCONCLUSIVE, None)
    (need,) = needs_more_samples([found])
    enough = [timed(Role.SUBJECT, factor=3, n=need.wanted), timed(Role.BASELINE, n=need.wanted)]
    assert judge(SLOWER, enough, {}).verdict is Verdict.FAIL


@pytest.mark.parametrize("change", [{"samples": ()}, {"samples": (0.0,) * 200}, {"value": 0.0}])
def test_latency_without_proper_samples_never_passes(change: dict[str, object]) -> None:
    ours, theirs = timed(Role.SUBJECT), timed(Role.BASELINE)
    for run in ([ours, replace(theirs, **change)], [replace(ours, **change), theirs]):  # type: ignore[arg-type]
        if "value" in change and run[1] is theirs:
            continue  # the value of the build under test is not used, its samples are
        assert judge(SLOWER, run, {}).verdict in (Verdict.ERROR, Verdict.INVALID)


def test_combined_latencies_cannot_be_compared_with_another_build() -> None:
    both = Arithmetic(
        left=MetricName(name="latency.p50"),
        operator=Operator.ADD,
        right=MetricName(name="latency.p99"),
    )
    run = [timed(Role.SUBJECT), timed(Role.BASELINE)]
    assert judge(asks(both, LE, slack(20)), run, {}).verdict is Verdict.ERROR
    left = ReferenceValue(role=Role.BASELINE)
    assert judge(asks(left, LE, count(1)), run, {}).verdict is Verdict.ERROR


def test_at_least_as_slow_is_judged_from_the_other_end() -> None:
    criterion = asks("latency.p50", GE, slack(20))
    for factor, verdict in ((1.5, Verdict.PASS), (1.0, Verdict.FAIL), (1.2, Verdict.INCONCLUSIVE)):
        run = [timed(Role.SUBJECT, factor=factor), timed(Role.BASELINE)]
        assert judge(criterion, run, {}).verdict is verdict


# The gate


def judged(name: str, verdict: Verdict) -> Judgement:
    blank = judge(STACK, [], {})
    return replace(blank, criterion=name, verdict=verdict)


def test_empty_gate_is_shut() -> None:
    assert not gate_open([], set())
    assert not gate_open([], {"a"})


@given(
    verdicts=st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(list(Verdict))),
    waived=st.sets(st.sampled_from("abcdefg")),
)
def test_waivers_open_only_what_they_name(verdicts: dict[str, Verdict], waived: set[str]) -> None:
    judgements = [judged(name, verdict) for name, verdict in verdicts.items()]
    opened = gate_open(judgements, waived)
    shut = {name for name, verdict in verdicts.items() if verdict is not Verdict.PASS}
    if not verdicts or not shut <= waived:
        assert not opened
    elif not {Verdict.ERROR, Verdict.INVALID} & {verdicts[name] for name in shut}:
        assert opened
    else:
        assert not opened


def test_judge_all_keeps_the_order() -> None:
    criteria = [replace(STACK, id=name) for name in "cab"]
    assert [j.criterion for j in judge_all(criteria, [], {})] == ["c", "a", "b"]


# Properties

COMPARATORS = st.sampled_from(list(Comparator))
ODD = st.sampled_from([UNKNOWN, math.nan, math.inf, -math.inf, -1, -0.5])
SIZES = st.integers(min_value=0, max_value=1 << 40)
ABSOLUTE = st.one_of(
    SIZES.map(size),
    st.integers(min_value=0, max_value=300).map(
        lambda p: PercentOf(percent=p, whole=MetricName(name="stack.limit"))
    ),
)
RELATIVE = st.integers(min_value=0, max_value=500).map(slack)


@given(
    comparator=COMPARATORS,
    right=st.one_of(ABSOLUTE, RELATIVE),
    good=st.lists(SIZES, max_size=3),
    odd=ODD,
    recorded=st.one_of(SIZES, ODD),
)
def test_nothing_unknown_ever_passes(
    comparator: Comparator,
    right: Expression,
    good: list[int],
    odd: float | NotMeasured,
    recorded: float | NotMeasured,
) -> None:
    names = [f"op{i}" for i in range(len(good) + 1)]
    values: list[float | NotMeasured] = [*good, odd]
    run = [peak(value, name) for value, name in zip(values, names, strict=True)]
    before = {Role.BASELINE: [peak(recorded, name) for name in names]}
    found = judge(asks("stack.peak", comparator, right), [*run, limit()], before)
    assert found.verdict is not Verdict.PASS
    assert found.reason


@given(comparator=COMPARATORS, right=st.one_of(ABSOLUTE, RELATIVE), value=SIZES, broken=ODD)
def test_no_limit_no_pass(
    comparator: Comparator, right: Expression, value: int, broken: float | NotMeasured
) -> None:
    """The run is whole, but what it is held against is missing or odd."""
    before = {Role.BASELINE: [peak(broken)]}
    found = judge(asks("stack.peak", comparator, right), [peak(value), limit(broken)], before)
    needs = not isinstance(right, Number)
    assert not (needs and found.verdict is Verdict.PASS)
    assert judge(asks("stack.peak", comparator, right), [limit()], before).verdict is Verdict.ERROR


@given(
    comparator=st.sampled_from([LE, LT, GE, GT]),
    right=st.one_of(ABSOLUTE, RELATIVE),
    values=st.lists(SIZES, min_size=1, max_size=4),
    index=st.integers(min_value=0, max_value=3),
    worse=st.integers(min_value=0, max_value=1 << 40),
    bound=st.sampled_from(list(Bound)),
)
def test_worse_value_never_turns_red_green(
    comparator: Comparator,
    right: Expression,
    values: list[int],
    index: int,
    worse: int,
    bound: Bound,
) -> None:
    index %= len(values)
    up = comparator in (LE, LT)
    changed = list(values)
    changed[index] = changed[index] + worse if up else max(0, changed[index] - worse)
    before = {Role.BASELINE: [peak(1000, f"op{i}") for i in range(len(values))]}

    def verdict(sizes: list[int]) -> Verdict:
        run = [replace(peak(v, f"op{i}"), bound=bound) for i, v in enumerate(sizes)]
        return judge(asks("stack.peak", comparator, right), [*run, limit()], before).verdict

    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert order.index(verdict(values)) <= order.index(verdict(changed))


@settings(max_examples=40)
@given(
    factor=st.floats(min_value=0.5, max_value=3),
    worse=st.floats(min_value=1, max_value=3),
    seed=st.integers(min_value=0, max_value=50),
    percent=st.integers(min_value=0, max_value=150),
)
def test_slower_build_never_turns_red_green(
    factor: float, worse: float, seed: int, percent: int
) -> None:
    def verdict(times: float) -> Verdict:
        run = [timed(Role.SUBJECT, factor=times, n=80, seed=seed), timed(Role.BASELINE, n=80)]
        return judge(asks("latency.p50", LE, slack(percent)), run, {}).verdict

    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert order.index(verdict(factor)) <= order.index(verdict(factor * worse))


@given(metric=st.sampled_from(sorted(METRICS)), comparator=COMPARATORS, n=SIZES)
def test_judging_is_deterministic_and_empty_runs_are_errors(
    metric: str, comparator: Comparator, n: int
) -> None:
    criterion = asks(metric, comparator, Number(value=n, dimension=METRICS[metric].dimension))
    assert judge(criterion, [], {}).verdict is Verdict.ERROR
    run = [Measurement(metric=metric, value=n, instrument="x", samples=(n,))]
    assert judge(criterion, run, {}) == judge(criterion, run, {})
