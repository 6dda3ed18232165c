"""The intervals hold what they promise, shown by simulation with fixed seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from reactivate.checklist.model import Comparator
from reactivate.gate.compare import risks
from reactivate.gate.statistics import MOUNT_SCATTER, ratio_interval, samples_to_bound

OPERATIONS = 14
RISKS = risks(Comparator.LE, OPERATIONS)
Source = Callable[[random.Random, int], list[float]]


def lognormal(dice: random.Random, count: int) -> list[float]:
    return [dice.lognormvariate(10, 0.2) for _ in range(count)]


def heavy_tailed(dice: random.Random, count: int) -> list[float]:
    return [1e5 * dice.paretovariate(2) for _ in range(count)]


def neighbours_alike(dice: random.Random, count: int) -> list[float]:
    state, found = 0.0, []
    for _ in range(count):
        state = 0.5 * state + dice.gauss(0, 0.1)
        found.append(math.exp(10 + state + dice.gauss(0, 0.1)))
    return found


def verdicts(
    source: Source,
    *,
    seed: int,
    samples: int,
    slower: float,
    limit: float,
    trials: int,
    quantile: float = 0.5,
) -> tuple[float, float]:
    """Shares of trials with a FAIL and with a PASS, each of 14 operations at once."""
    dice = random.Random(seed)
    failed = passed = 0
    for _ in range(trials):
        intervals = [
            ratio_interval(
                [slower * x for x in source(dice, samples)],
                source(dice, samples),
                quantile=quantile,
                low_risk=RISKS.low,
                high_risk=RISKS.high,
            )
            for _ in range(OPERATIONS)
        ]
        failed += any(i.low > limit for i in intervals)
        passed += all(i.high <= limit for i in intervals)
    return failed / trials, passed / trials


@pytest.mark.parametrize("source", [lognormal, heavy_tailed, neighbours_alike])
def test_identical_builds_are_not_refused_even_at_a_limit_of_nothing(source: Source) -> None:
    """The hardest case: `latency.p50 <= baseline`, true ratio exactly at the limit."""
    failed, _ = verdicts(source, seed=1, samples=200, slower=1, limit=1.0, trials=150)
    assert failed <= 0.01


@pytest.mark.parametrize("source", [lognormal, heavy_tailed])
def test_identical_builds_are_never_refused_at_a_fifth(source: Source) -> None:
    failed, _ = verdicts(source, seed=2, samples=100, slower=1, limit=1.2, trials=100)
    assert failed == 0


@pytest.mark.parametrize("source", [lognormal, heavy_tailed])
def test_planted_slowdown_of_half_is_refused(source: Source) -> None:
    failed, passed = verdicts(source, seed=3, samples=200, slower=1.5, limit=1.2, trials=40)
    assert failed == 1
    assert passed == 0


def test_five_percent_passes_a_limit_of_a_fifth() -> None:
    failed, passed = verdicts(lognormal, seed=4, samples=400, slower=1.05, limit=1.2, trials=40)
    assert failed == 0
    assert passed >= 0.95


def test_true_excess_seldom_passes() -> None:
    """Every operation a hair beyond the limit: the chance of green is far below one in forty."""
    _, passed = verdicts(lognormal, seed=5, samples=200, slower=1.2, limit=1.2, trials=60)
    assert passed == 0


def test_percentile_in_the_tail_needs_many_samples_and_then_decides() -> None:
    few, enough = 400, samples_to_bound(0.99, RISKS.low)
    assert enough == 969
    for samples, expected in ((few, 0), (enough + 10, 1)):
        failed, _ = verdicts(
            lognormal, seed=6, samples=samples, slower=1.5, limit=1.2, trials=5, quantile=0.99
        )
        assert failed == expected
    failed, _ = verdicts(
        lognormal, seed=7, samples=800, slower=1, limit=1.0, trials=20, quantile=0.99
    )
    assert failed == 0


def test_coverage_of_the_median_interval() -> None:
    dice = random.Random(8)
    missed_low = missed_high = 0
    for _ in range(2000):
        found = ratio_interval(
            lognormal(dice, 40), lognormal(dice, 40), quantile=0.5, low_risk=0.05, high_risk=0.05
        )
        missed_low += found.low > 1
        missed_high += found.high < 1
    # Three standard errors of a share of 5 % in 2,000 trials are 1.5 %.
    assert 0.015 <= missed_low / 2000 <= 0.065
    assert 0.015 <= missed_high / 2000 <= 0.065


def test_coverage_of_the_tail_interval() -> None:
    dice = random.Random(9)
    missed = 0
    for _ in range(400):
        found = ratio_interval(
            lognormal(dice, 500), lognormal(dice, 500), quantile=0.99, low_risk=0.05, high_risk=0.05
        )
        missed += not found.low <= 1 <= found.high
    assert missed / 400 <= 0.12


def test_drifting_machine_cancels_out() -> None:
    """Both builds become three times slower during the run; in pairs nothing is seen of it."""
    dice = random.Random(10)
    drift = [1 + 2 * i / 400 for i in range(400)]
    ours = [1.05 * d * x for d, x in zip(drift, lognormal(dice, 400), strict=True)]
    theirs = [d * x for d, x in zip(drift, lognormal(dice, 400), strict=True)]
    found = ratio_interval(ours, theirs, quantile=0.5, low_risk=0.005, high_risk=0.005)
    assert 1 < found.low < 1.05 < found.high < 1.15


def test_one_wild_batch_does_not_decide() -> None:
    dice = random.Random(11)
    ours, theirs = lognormal(dice, 200), lognormal(dice, 200)
    ours[:10] = [50 * x for x in ours[:10]]
    found = ratio_interval(ours, theirs, quantile=0.5, low_risk=0.005, high_risk=0.025)
    assert found.low < 1 < found.high < 1.2


def test_too_few_samples_leave_the_ends_open() -> None:
    for samples, quantile in ((1, 0.5), (4, 0.5), (20, 0.99)):
        found = ratio_interval(
            [3.0] * samples, [1.0] * samples, quantile=quantile, low_risk=0.01, high_risk=0.01
        )
        assert found.ratio == pytest.approx(3)
        assert (found.low, found.high) == (0.0, math.inf)


@pytest.mark.parametrize("quantile", [0.5, 0.99])
@pytest.mark.parametrize("risk", [0.025, 0.005, 0.0003])
def test_samples_to_bound_is_the_least_number(quantile: float, risk: float) -> None:
    least = samples_to_bound(quantile, risk)
    for samples, closed in ((least, True), (least - 1, False)):
        found = ratio_interval(
            [2.0] * samples, [1.0] * samples, quantile=quantile, low_risk=risk, high_risk=risk
        )
        assert (found.low > 0 and found.high < math.inf) is closed


def test_constant_samples_leave_the_scatter_of_mounts() -> None:
    """However exactly two mounts were sampled, they are still two mounts."""
    for risk, deviations in ((0.5, 0), (0.1587, 1), (0.0228, 2)):
        found = ratio_interval([7] * 100, [7] * 100, quantile=0.5, low_risk=risk, high_risk=risk)
        assert found.ratio == 1
        assert math.log(found.high) == pytest.approx(deviations * MOUNT_SCATTER, rel=0.01)
        assert math.log(found.low) == pytest.approx(-deviations * MOUNT_SCATTER, rel=0.01)


def test_swapped_builds_give_the_reciprocal() -> None:
    dice = random.Random(12)
    a, b = lognormal(dice, 300), lognormal(dice, 260)
    one = ratio_interval(a, b, quantile=0.5, low_risk=0.01, high_risk=0.01)
    other = ratio_interval(b, a, quantile=0.5, low_risk=0.01, high_risk=0.01)
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))


@pytest.mark.parametrize("bad", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_samples_that_are_no_durations_are_refused(bad: list[float]) -> None:
    for ours, theirs in ((bad, [1.0]), ([1.0], bad)):
        with pytest.raises(ValueError, match="positive finite"):
            ratio_interval(ours, theirs, quantile=0.5, low_risk=0.01, high_risk=0.01)
