from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivate.checklist.language import CriterionError, examine, parse_criterion, render
from reactivate.checklist.model import (
    Arithmetic,
    Comparator,
    Comparison,
    Expression,
    MetricName,
    Number,
    Operator,
    Percent,
    PercentOf,
    ReferenceValue,
)
from reactivate.errors import ChecklistError, ExitCode
from reactivate.evidence import Check, Dimension, Role
from reactivate.metrics import METRICS

BYTES, NS, COUNT, RATIO = (
    Dimension.BYTES,
    Dimension.NANOSECONDS,
    Dimension.COUNT,
    Dimension.RATIO,
)


def comparison(left: Expression, comparator: str, right: Expression) -> Comparison:
    return Comparison(left=left, comparator=Comparator(comparator), right=right)


def metric(name: str, *operations: str) -> MetricName:
    return MetricName(name=name, operations=operations)


def test_reads_a_share_of_a_metric() -> None:
    assert parse_criterion("stack.peak <= 25% of stack.limit") == comparison(
        metric("stack.peak"), "<=", PercentOf(percent=25, whole=metric("stack.limit"))
    )


def test_reads_a_reference_with_a_percentage_and_operations() -> None:
    assert parse_criterion("latency.p50(read, getattr) <= previous + 20%") == comparison(
        metric("latency.p50", "read", "getattr"),
        "<=",
        Arithmetic(
            left=ReferenceValue(role=Role.PREVIOUS),
            operator=Operator.ADD,
            right=Percent(value=20),
        ),
    )


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("rss.peak < 64 KiB", 65536, BYTES),
        ("rss.peak < 1.5MiB", 1572864, BYTES),
        ("latency.p99 < 250 ms", 250_000_000, NS),
        ("latency.p99 < 3 µs", 3_000, NS),
        ("growth.alerts == 0", 0, COUNT),
        ("stack.attributed >= 99%", 0.99, RATIO),
    ],
)
def test_literals_are_in_base_units(text: str, value: float, dimension: Dimension) -> None:
    assert parse_criterion(text).right == Number(value=value, dimension=dimension)


def test_products_bind_tighter_than_sums_and_both_group_from_the_left() -> None:
    one, two = Number(value=1, dimension=BYTES), Number(value=2, dimension=COUNT)
    read = parse_criterion("rss.peak <= rss.idle - 1 B * 2 - 1 B").right
    product = Arithmetic(left=one, operator=Operator.MULTIPLY, right=two)
    first = Arithmetic(left=metric("rss.idle"), operator=Operator.SUBTRACT, right=product)
    assert read == Arithmetic(left=first, operator=Operator.SUBTRACT, right=one)


def test_parentheses_change_the_grouping() -> None:
    read = parse_criterion("rss.peak <= 2 * (rss.idle + 1 MiB)").right
    assert isinstance(read, Arithmetic)
    assert read.operator is Operator.MULTIPLY


def test_of_takes_the_next_factor_only() -> None:
    read = parse_criterion("stack.peak <= 50% of stack.limit / 2").right
    assert isinstance(read, Arithmetic)
    assert isinstance(read.left, PercentOf)


# What is wrong, in which column it stands (1-based), and what is suggested.
FAULTS = [
    ("stack.peek <= 1 KiB", 1, "unknown metric `stack.peek`", "`stack.peak`"),
    ("stack.peak <= 25% of stack.limt", 22, "unknown metric `stack.limt`", "`stack.limit`"),
    ("rss.peak <= basline + 5%", 13, "unknown metric `basline`", "`baseline`"),
    ("rss.peak <= 5 MB", 15, "unknown unit `MB`", "`MiB`"),
    ("rss.peak <= 5 parsec", 15, "unknown unit `parsec`", "known: B KiB"),
    ("rss.peak <= 5 ms", 13, "a size is compared with a duration", ""),
    ("rss.peak <= 5", 13, "a size is compared with a plain number", "B, KiB, MiB or GiB"),
    ("latency.p50 <= 5", 16, "a duration is compared with a plain number", "ns, us, ms or s"),
    ("growth.alerts <= 5 B", 18, "a count is compared with a size", ""),
    ("stack.attributed >= 0.99", 21, "a share is compared with a plain number", "percentage"),
    ("stack.peak <= 25%", 15, "a percentage of what?", "25% of stack.limit"),
    ("growth.alerts + 5% <= 25%", 23, "a percentage of what?", ""),
    ("rss.peak <= 50% + baseline", 13, "after what it is added to", "baseline + 20%"),
    ("rss.peak <= baseline * 120%", 24, "a percentage is no factor", "120% of baseline"),
    ("rss.peak <= baseline - 101%", 24, "more than 100 %", ""),
    ("rss.peak <= 10% of 5", 20, "expected what the percentage is of", ""),
    ("rss.peak <= rss.idle + 5 ms", 24, "a duration cannot be added to a size", ""),
    ("rss.peak <= rss.idle - 5", 24, "a plain number cannot be subtracted from", "unit"),
    ("rss.peak <= rss.idle * rss.idle", 24, "only a plain number can multiply", ""),
    ("rss.peak / rss.idle <= 2", 12, "only a plain number can divide", "25% of"),
    ("rss.peak <= rss.idle / (2 - 2)", 24, "division by zero", ""),
    ("baseline <= rss.peak", 1, "`baseline` stands on the right", "rss.peak <= baseline"),
    ("rss.peak - rss.idle <= baseline", 24, "one metric alone on the left", ""),
    ("1 KiB <= rss.peak", 1, "names no metric", "write the metric first"),
    ("1 < 2", 1, "names no metric", ""),
    ("rss.peak <= rss.peak * 2", 13, "held against itself", ""),
    ("stack.limit >= stack.peak", 16, "must stand on the left", "turn the comparison"),
    ("stack.peak - stack.operation <= 1 KiB", 1, "only one metric with a value for each", ""),
    ("growth.alerts >= 0", 18, "always true", ""),
    ("growth.alerts < 0", 17, "never true", ""),
    ("growth.depth(read) <= 1 KiB", 14, "has no value for each operation", "alone"),
    ("stack.peak(read, read) <= 1 B", 18, "named twice", ""),
    ("stack.peak() <= 1 B", 12, "expected the name of an operation", "`read`"),
    ("stack.peak(read write) <= 1 B", 17, "expected `,` or `)`", ""),
    ("stack.peak =< 1 B", 12, "`=<` is not an operator", "`<=`"),
    ("stack.peak ≤ 1 B", 12, "`≤` is not an operator", "`<=`"),
    ("stack.peak = 1 B", 12, "`=` is not an operator", "`==`"),
    ("stack.peak != 1 B", 12, "`!=` is not an operator", "no comparison for difference"),
    ("rss.peak <= 2 × rss.idle", 15, "`×` is not an operator", "`*`"),
    ("stack.peak", 11, "expected a comparison, found the end", "`<=`"),
    ("stack.peak <=", 14, "expected a metric or a number, found the end", ""),
    ("stack.peak <= (1 KiB", 21, "`)` for the `(` in column 15", ""),
    ("stack.peak <= 1 KiB)", 20, "expected the end, found `)`", ""),
    ("stack.peak <= 1 KiB <= 2 KiB", 21, "compares once", "second item"),
    ("stack.peak <= -1 KiB", 15, "no negative numbers", ""),
    ("stack.peak <= 2 stack.limit", 17, "expected an operator between", ""),
    ("stack.peak <= 1,024 B", 16, "expected the end, found `,`", ""),
    ("stack.peak <= of stack.limit", 15, "`of` follows a percentage", "25% of"),
    ("rss.peak <= $HOME", 13, "`$` has no meaning", ""),
    ("rss.peak <= 9999999999 GiB", 13, "larger than anything", ""),
    ("rss.peak <= 1.0000000000001% of rss.idle", 13, "at most 12 digits", ""),
    ("", 1, "expected a metric or a number", ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "column", "message", "suggestion"), FAULTS)
def test_each_fault_has_its_column_and_its_advice(
    source: str, column: int, message: str, suggestion: str
) -> None:
    read, problems = examine(source)
    assert read is None
    assert [(p.start + 1, message in p.message) for p in problems] == [(column, True)], problems
    assert suggestion in problems[0].suggestion
    assert problems[0].end > problems[0].start


def test_all_faults_of_meaning_come_at_once_in_order() -> None:
    _, problems = examine("stack.peek <= 5 MB + 25% of stack.limt")
    assert [p.start + 1 for p in problems] == [1, 17, 29]


def test_a_metric_is_refused_where_no_instrument_produces_it() -> None:
    _, problems = examine("stack.recursion <= 100", check=Check.BASELINE)
    assert problems[0].message == "`stack.recursion` is not measured in the baseline gate"
    assert problems[0].suggestion == "it is measured in the trace gate"
    assert examine("stack.recursion <= 100", check=Check.TRACE)[0] is not None


def test_a_reference_is_refused_where_it_means_nothing() -> None:
    source = "rss.peak <= previous + 5%"
    _, problems = examine(source, forbidden={Role.PREVIOUS: "it is the same build"})
    assert (problems[0].start, problems[0].suggestion) == (12, "it is the same build")
    assert examine(source, forbidden={Role.BASELINE: "…"})[0] is not None


def test_the_error_is_a_usage_error_that_lists_every_problem() -> None:
    with pytest.raises(ChecklistError) as refused:
        parse_criterion("stack.peek <= 5 MB")
    assert refused.value.exit_code is ExitCode.USAGE
    assert "column 1: unknown metric" in refused.value.why
    assert "column 17: unknown unit" in refused.value.why


@pytest.mark.parametrize(
    "source",
    ["(" * 250, "1%of " * 50, "rss.peak <= " + "(" * 140 + "1 B" + ")" * 140, "a" * 301],
)
def test_depth_and_length_are_bounded(source: str) -> None:
    assert examine(source)[0] is None


def test_a_long_criterion_is_refused_whatever_it_says() -> None:
    source = "rss.peak <= 1 MiB" + " " * 300
    _, problems = examine(source)
    assert problems[0].message == "a criterion has at most 300 characters, this one 317"
    assert examine(source.strip())[0] is not None


# Round trips

COUNTS = st.one_of(
    st.integers(0, 10**9), st.decimals(0, 1000, places=3, allow_nan=False).map(float)
)
PERCENTS = st.one_of(st.integers(0, 100), st.decimals(0, 100, places=6, allow_nan=False).map(float))


def plain_numbers() -> st.SearchStrategy[Expression]:
    return st.builds(Number, value=st.integers(1, 1000), dimension=st.just(COUNT))


def atoms(dimension: Dimension) -> st.SearchStrategy[Expression]:
    choices: list[st.SearchStrategy[Expression]] = [
        st.builds(ReferenceValue, role=st.sampled_from([Role.BASELINE, Role.PREVIOUS]))
    ]
    if dimension is not RATIO:
        choices.append(st.builds(Number, value=COUNTS, dimension=st.just(dimension)))
    return st.one_of(choices)


def joined(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    additive = st.sampled_from([Operator.ADD, Operator.SUBTRACT])
    scaling = st.sampled_from([Operator.MULTIPLY, Operator.DIVIDE])
    percents = st.builds(Percent, value=PERCENTS)
    return st.one_of(
        st.builds(Arithmetic, left=inner, operator=additive, right=st.one_of(inner, percents)),
        st.builds(Arithmetic, left=inner, operator=scaling, right=plain_numbers()),
        st.builds(
            Arithmetic, left=plain_numbers(), operator=st.just(Operator.MULTIPLY), right=inner
        ),
        # A share of a plain number is refused, so what it is of always holds a reference.
        st.builds(
            PercentOf,
            percent=PERCENTS,
            whole=st.builds(
                Arithmetic,
                left=st.builds(ReferenceValue, role=st.just(Role.BASELINE)),
                operator=additive,
                right=inner,
            ),
        ),
    )


# Built once: a strategy that is built anew for each example costs more than all the parsing.
BODIES = {d: st.recursive(atoms(d), joined, max_leaves=5) for d in Dimension}
OPERATIONS = st.lists(
    st.sampled_from(["read", "getattr", "of", "baseline", "x_9"]), max_size=3, unique=True
).map(tuple)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    name = draw(st.sampled_from(sorted(METRICS)))
    # The reference in front keeps the limit from being a constant that is always or never met.
    right = Arithmetic(
        left=ReferenceValue(role=Role.BASELINE),
        operator=Operator.ADD,
        right=draw(BODIES[METRICS[name].dimension]),
    )
    return Comparison(
        left=MetricName(
            name=name, operations=draw(OPERATIONS) if METRICS[name].per_operation else ()
        ),
        comparator=draw(st.sampled_from(list(Comparator))),
        right=right,
    )


@settings(max_examples=150)
@given(comparisons())
def test_a_rendered_criterion_is_read_as_it_was(comparison: Comparison) -> None:
    text = render(comparison)
    if len(text) <= 300:
        assert parse_criterion(text) == comparison


@given(st.integers(0, 10**12).map(lambda n: n / 10**10))
def test_shares_survive_the_way_through_text(percent: float) -> None:
    first = parse_criterion(f"stack.attributed > {percent:.10f}%")
    assert parse_criterion(render(first)) == first


WORDS = st.sampled_from(
    [*sorted(METRICS), "baseline", "previous", "of", "%", "(", ")", ",", "+", "-", "*", "/", "<=",
     "<", ">=", "==", "0", "1", "25", "64", "1.5", "KiB", "ms", "MB", "read", "999999999999"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_is_a_criterion_or_a_criterion_error_within_the_text(text: str) -> None:
    try:
        again = render(parse_criterion(text))
    except CriterionError as refused:
        assert refused.problems
        for problem in refused.problems:
            assert 0 <= problem.start < problem.end <= len(text) + 1
            assert problem.message
    else:
        assert render(parse_criterion(again)) == again
