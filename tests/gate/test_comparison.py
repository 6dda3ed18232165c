"""What is called a change and what noise: known answers, by simulation with printed seeds."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from reactivate.evidence import Bound, Measurement, NotMeasured, Role
from reactivate.gate.comparison import ALIGNMENT_BYTES, TOLERANCES, compare
from reactivate.gate.difference import Change, Difference, Terms
from reactivate.metrics import METRICS

HERE = Terms(same_machine=True)
IN_TURN = Terms(same_machine=True, in_turn=(Role.PREVIOUS,))
OPERATIONS = 6


def value(
    metric: str, number: float | NotMeasured, operation: str = "read", **more: object
) -> Measurement:
    return Measurement(
        metric=metric, value=number, instrument="i", operation=operation, thread="main", **more
    )  # type: ignore[arg-type]


def duration(
    samples: Sequence[float], operation: str = "read", role: Role = Role.SUBJECT
) -> Measurement:
    return Measurement(
        metric="latency.p50", value=statistics.median(samples), instrument="latency",
        operation=operation, samples=tuple(samples), role=role,
    )  # fmt: skip


def only(before: Measurement, after: Measurement, terms: Terms = HERE) -> Difference:
    (found,) = compare([before], [after], terms)
    return found


# -- exact numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "by", "change"),
    [
        ("stack.operation", 0, Change.SAME),
        ("stack.operation", ALIGNMENT_BYTES, Change.NOISE),
        ("stack.operation", ALIGNMENT_BYTES + 1, Change.MORE),
        ("stack.operation", -ALIGNMENT_BYTES - 1, Change.LESS),
        ("stack.operation", 4_096, Change.MORE),
        ("growth.reach", 4_096, Change.NOISE),
        ("growth.reach", 4_097, Change.MORE),
        ("stack.recursion", 1, Change.MORE),
        ("overflow.crashes", -1, Change.LESS),
        ("rss.peak", 1, Change.UNDECIDED),
        ("rss.peak", 0, Change.SAME),
    ],
)
def test_exact_numbers_change_beyond_their_tolerance(metric: str, by: int, change: Change) -> None:
    found = only(value(metric, 10_000), value(metric, 10_000 + by))
    assert (found.change, found.by) == (change, by)


def test_every_tolerance_is_of_a_metric_that_is_no_percentile() -> None:
    assert TOLERANCES.keys() <= METRICS.keys()
    assert not any(name.startswith("latency") for name in TOLERANCES)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_page_of_stack_is_caught_in_every_trial_and_none_is_invented(seed: int) -> None:
    """Stacks begin elsewhere in each run, and frames are padded; a page is still a page."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    trials = 2_000
    caught = alarms = 0
    for _ in range(trials):
        own = dice.randrange(500, 100_000)

        def run(planted: int, own: int = own) -> list[Measurement]:
            idle = 5_000 + 16 * dice.randrange(512)
            depth = own + planted + 16 * dice.randrange(4)
            return [
                value("stack.idle", idle, ""),
                value("stack.peak", idle + depth),
                value("stack.operation", depth),
            ]

        for planted in (0, 4_096):
            found = {d.metric: d.change for d in compare(run(0), run(planted), HERE)}
            assert found["stack.idle"] in (Change.NOISE, Change.SAME)
            changes = {found["stack.peak"], found["stack.operation"]}
            if planted:
                caught += changes == {Change.MORE}
            else:
                alarms += bool(changes & {Change.MORE, Change.LESS})
    assert (caught, alarms) == (trials, 0)


def test_without_the_idle_depth_the_offset_of_the_kernel_is_noise() -> None:
    found = only(value("stack.peak", 10_000), value("stack.peak", 18_000))
    assert found.change is Change.NOISE
    assert only(value("stack.peak", 10_000), value("stack.peak", 30_000)).change is Change.MORE


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (Bound.EXACT, Bound.EXACT, Change.MORE),
        (Bound.LOWER, Bound.EXACT, Change.UNDECIDED),
        (Bound.EXACT, Bound.UPPER, Change.UNDECIDED),
        (Bound.UPPER, Bound.LOWER, Change.MORE),
    ],
)
def test_bounds_decide_only_where_the_truth_cannot_be_elsewhere(
    before: Bound, after: Bound, change: Change
) -> None:
    found = only(
        value("stack.operation", 1_000, bound=before), value("stack.operation", 9_000, bound=after)
    )
    assert found.change is change


def test_what_is_missing_is_no_change_and_no_zero() -> None:
    missing = NotMeasured(reason="it never slept")
    assert only(value("stack.operation", missing), value("stack.operation", 1)).reason.endswith(
        "it never slept"
    )
    found = compare([value("stack.operation", 1, "a")], [value("stack.operation", 1, "b")], HERE)
    assert [(d.operation, d.change) for d in found] == [("a", Change.GONE), ("b", Change.APPEARED)]
    assert all(d.by is None for d in found)


# -- durations ---------------------------------------------------------------------------------

Source = Callable[[random.Random, int], list[float]]


def lognormal(scatter: float) -> Source:
    return lambda dice, count: [dice.lognormvariate(13, scatter) for _ in range(count)]


def heavy_tailed(dice: random.Random, count: int) -> list[float]:
    return [1e5 * dice.paretovariate(3) for _ in range(count)]


def trial(
    source: Source, dice: random.Random, samples: int, slower: float
) -> tuple[Difference, ...]:
    """Operations measured in turn with another build; one of them slower by a factor.

    Two mounts of one build differ as they do on real daemons.
    """
    after = []
    before = []
    for index in range(OPERATIONS):
        factor = (slower if index == 0 else 1.0) * dice.lognormvariate(0, 0.006)
        name = f"operation_{index:02}"
        before.append(duration(source(dice, samples), name))
        after.append(duration([factor * x for x in source(dice, samples)], name))
        after.append(duration(source(dice, samples), name, Role.PREVIOUS))
    return compare(before, after, IN_TURN)


@pytest.mark.parametrize(
    ("source", "seed"), [(lognormal(0.1), 99), (lognormal(0.2), 22), (heavy_tailed, 99)]
)
def test_identical_builds_are_called_changed_in_at_most_one_of_a_hundred(
    source: Source, seed: int
) -> None:
    print(f"seed {seed}")
    dice, trials = random.Random(seed), 100
    alarms = sum(any(d.decided for d in trial(source, dice, 120, 1.0)) for _ in range(trials))
    assert alarms <= 0.01 * trials


def test_five_percent_slower_is_caught_in_95_of_100() -> None:
    """A scatter of a tenth, as on a quiet machine, and the samples of a whole gate."""
    print("seed 24")
    dice, trials = random.Random(24), 40
    caught = 0
    for _ in range(trials):
        first, *others = trial(lognormal(0.1), dice, 480, 1.05)
        caught += first.change is Change.MORE
        assert not any(d.change is Change.LESS for d in (first, *others))
    assert caught >= 0.95 * trials


def test_too_few_samples_are_undecided_and_say_how_many_it_takes() -> None:
    dice = random.Random(25)
    found = trial(lognormal(0.1), dice, 20, 1.0)
    # With so few, nothing can be called changed, so the risk need not be shared out.
    assert {d.change for d in found} == {Change.UNDECIDED}
    assert "at least" in found[0].reason


def test_a_slower_day_is_not_a_slower_build() -> None:
    dice = random.Random(26)
    source = lognormal(0.05)

    def run(day: float, build: float) -> list[Measurement]:
        return [
            duration([day * build * x for x in source(dice, 200)]),
            duration([day * x for x in source(dice, 200)], role=Role.BASELINE),
        ]

    (slower_day,) = compare(run(1, 1), run(1.5, 1), HERE)
    assert slower_day.change is Change.UNDECIDED
    assert "not against the baseline build" in slower_day.reason
    (slower_build,) = compare(run(1, 1), run(1.1, 1.4), HERE)
    assert slower_build.change is Change.MORE
    (unshared,) = compare(run(1, 1), run(1.1, 1.4), Terms(same_machine=True, shared=()))
    assert unshared.change is Change.UNDECIDED
    (alone,) = compare(run(1, 1)[:1], run(1.5, 1)[:1], HERE)
    assert alone.change is Change.UNDECIDED
    assert "different times" in alone.reason
    elsewhere = Terms(same_machine=False)
    (other,) = compare(run(1, 1), run(1, 2), elsewhere)
    assert other.change is Change.UNDECIDED


def test_the_same_samples_are_the_same_and_no_samples_are_undecided() -> None:
    same = duration([1.0, 2.0])
    assert only(same, same).change is Change.SAME
    assert only(duration([0.0] * 100), duration([1.0] * 100)).change is Change.UNDECIDED
    found = only(duration([1.0] * 100), duration([2.0] * 100))
    assert found.ratio == pytest.approx(2)
    assert found.interval is not None
    assert math.isfinite(found.interval[1])
