"""How far two builds' latencies are apart, and how sure that is. No randomness, no resampling.

Both intervals here are computed from ranks, so they assume no distribution and cost microseconds:

- The median (`p50`) is compared in pairs. Samples of both builds, in the order in which they were
  taken, are cut into batches; batch i of one build was measured next to batch i of the other, so
  a machine that drifts moves both, and their ratio stays. The interval is the signed-rank one of
  Hodges and Lehmann over the batches' log ratios (Hollander, Wolfe, Chicken: Nonparametric
  Statistical Methods, 3rd ed., section 3.3; batches as in Schmeiser 1982, Operations Research 30).
- A high percentile (`p99`) lives in the few largest samples, of which a batch has none to spare.
  Each build gets the order-statistic interval of its own percentile (binomial ranks: David and
  Nagaraja, Order Statistics, 3rd ed., section 7.1), and the two are joined on the log scale by
  MOVER (Zou and Donner 2008, Statistics in Medicine 27).

Both see only the samples of one mount of each build. Where the pages of a process come to lie
makes it a little faster or slower for all its life, so both are widened by `MOUNT_SCATTER`.

Where there are too few samples for a rank to exist, that end of the interval is open (0 or
infinity): more samples are needed, and nothing is decided on the open side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist, median

from reactivate.units import format_percent

BATCHES = 40
"""At most this many paired batches, unless a smaller risk asks for more. Each is a median, which
wastes little of its samples only if it has some; the more of them, the narrower the interval."""

FEWEST_BATCHES = 16
"""As many as there are samples for, before batches become larger than `BATCH_SAMPLES`."""

ROOMY_SAMPLES = 10
"""Where there are samples enough, a batch has this many: neighbours resemble each other."""

BATCH_SAMPLES = 4
"""At least this many samples in a batch."""

MOUNT_SCATTER = 0.006
"""Standard deviation of the logarithm of the ratio between two mounts of one and the same build,
however long they are sampled. Measured on two daemons, three operations and at least 16 pairs of
mounts each: 0.0000 to 0.0069. `make bench` holds the verdicts that follow against real builds.
It was not measured on the daemon that is judged, so every verdict says what it assumes."""

ASSUMES = (
    f"assumes that two mounts of one build differ by {format_percent(MOUNT_SCATTER, decimals=1)}, "
    "as measured on two other daemons (docs/gates.md#the-intervals)"
)
"""Part of the reason of every verdict that rests on an interval of this module."""

_PAIRED_QUANTILE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioInterval:
    """A ratio of two builds' percentiles.

    Attributes:
        ratio: the estimate; 1.2 means a fifth more than the reference.
        low: the truth is below this with at most the risk asked for; 0.0 if unknown.
        high: the truth is above this with at most the risk asked for; infinity if unknown.
    """

    ratio: float
    low: float
    high: float


def ratio_interval(
    subject: Sequence[float],
    reference: Sequence[float],
    *,
    quantile: float,
    low_risk: float,
    high_risk: float,
) -> RatioInterval:
    """The ratio subject / reference of a percentile, with its interval.

    Args:
        subject: positive samples of the build under test, in the order they were taken.
        reference: the same of the other build, taken in turn with them.
        quantile: 0.5 for the median, 0.99 for p99.
        low_risk: largest chance that the truth is below `low`.
        high_risk: largest chance that the truth is above `high`.

    Raises:
        ValueError: no samples, or one that is not a positive finite number.
    """
    for samples in (subject, reference):
        if not samples or not all(math.isfinite(x) and x > 0 for x in samples):
            raise ValueError("samples must be positive finite numbers, at least one")
    if quantile == _PAIRED_QUANTILE:
        found = _paired_medians(subject, reference, low_risk=low_risk, high_risk=high_risk)
    else:
        found = _joined_percentiles(
            subject, reference, quantile=quantile, low_risk=low_risk, high_risk=high_risk
        )
    return _of_one_mount(found, low_risk=low_risk, high_risk=high_risk)


def _of_one_mount(found: RatioInterval, *, low_risk: float, high_risk: float) -> RatioInterval:
    """The interval with the scatter of mounts in it; an open end stays open."""
    centre = math.log(found.ratio)
    low = high = 0.0
    if found.low:
        low = math.hypot(centre - math.log(found.low), _mounts(low_risk))
    if found.high != math.inf:
        high = math.hypot(math.log(found.high) - centre, _mounts(high_risk))
    return RatioInterval(
        ratio=found.ratio,
        low=math.exp(centre - low) if found.low else 0.0,
        high=math.exp(centre + high) if found.high != math.inf else math.inf,
    )


def _mounts(risk: float) -> float:
    """How far mounts alone take the logarithm of a ratio with at most this chance."""
    return MOUNT_SCATTER * max(0.0, NormalDist().inv_cdf(1.0 - risk))


def samples_to_bound(quantile: float, risk: float) -> int:
    """Least number of samples per build with which both ends of an interval can exist."""
    if quantile == _PAIRED_QUANTILE:
        return BATCH_SAMPLES * _batches_for(risk)
    rarer = max(quantile, 1.0 - quantile)
    return math.ceil(math.log(risk) / math.log(rarer))


def _paired_medians(
    subject: Sequence[float], reference: Sequence[float], *, low_risk: float, high_risk: float
) -> RatioInterval:
    count = _batches(min(len(subject), len(reference)), min(low_risk, high_risk))
    logs = [
        math.log(ours / theirs)
        for ours, theirs in zip(
            _batch_medians(subject, count), _batch_medians(reference, count), strict=True
        )
    ]
    walsh = sorted((logs[i] + logs[j]) / 2 for i in range(count) for j in range(i, count))
    low_rank = _signed_rank(count, low_risk)
    high_rank = _signed_rank(count, high_risk)
    return RatioInterval(
        ratio=math.exp(median(walsh)),
        low=math.exp(walsh[low_rank - 1]) if low_rank else 0.0,
        high=math.exp(walsh[-high_rank]) if high_rank else math.inf,
    )


def _batches(samples: int, risk: float) -> int:
    """How many batches a number of samples is cut into; at least one."""
    wanted = max(FEWEST_BATCHES, min(BATCHES, samples // ROOMY_SAMPLES), _batches_for(risk))
    return max(1, min(wanted, samples // BATCH_SAMPLES))


def _batches_for(risk: float) -> int:
    """The fewest symmetric differences that are all on one side with at most this chance."""
    return math.ceil(-math.log2(risk))


def _batch_medians(samples: Sequence[float], count: int) -> list[float]:
    """Medians of `count` batches of neighbours whose sizes differ by at most one."""
    edges = [len(samples) * i // count for i in range(count + 1)]
    return [median(samples[start:end]) for start, end in pairwise(edges)]


@lru_cache(maxsize=256)
def _signed_rank(count: int, risk: float) -> int:
    """Rank of the Walsh average that is a confidence limit; 0 if none is sure enough.

    The largest k for which Wilcoxon's statistic of `count` symmetric differences is below k
    with a chance of at most `risk`.
    """
    ways = [1]
    for rank in range(1, count + 1):
        grown = [*ways, *[0] * rank]
        for total, number in enumerate(ways):
            grown[total + rank] += number
        ways = grown
    chance, rank = 0.0, 0
    for number in ways:
        chance += number / 2**count
        if chance > risk:
            break
        rank += 1
    return rank


def _joined_percentiles(
    subject: Sequence[float],
    reference: Sequence[float],
    *,
    quantile: float,
    low_risk: float,
    high_risk: float,
) -> RatioInterval:
    ours, our_low, our_high = _log_percentile(subject, quantile, low_risk, high_risk)
    # The reference's upper limit belongs to the ratio's lower one, so its risks are swapped.
    theirs, their_low, their_high = _log_percentile(reference, quantile, high_risk, low_risk)
    ratio = ours - theirs
    low = ratio - math.hypot(ours - our_low, their_high - theirs)
    high = ratio + math.hypot(our_high - ours, theirs - their_low)
    return RatioInterval(ratio=math.exp(ratio), low=math.exp(low), high=math.exp(high))


def _log_percentile(
    samples: Sequence[float], quantile: float, low_risk: float, high_risk: float
) -> tuple[float, float, float]:
    """Logarithms of a percentile and of its order-statistic limits; ±infinity for none."""
    ordered = sorted(samples)
    count = len(ordered)
    point = math.log(ordered[max(0, math.ceil(quantile * count) - 1)])
    low_rank = _lower_rank(count, quantile, low_risk)
    # The upper limit is the lower one of the mirrored sample.
    high_rank = _lower_rank(count, 1.0 - quantile, high_risk)
    return (
        point,
        min(point, math.log(ordered[low_rank - 1])) if low_rank else -math.inf,
        max(point, math.log(ordered[count - high_rank])) if high_rank else math.inf,
    )


@lru_cache(maxsize=1024)
def _lower_rank(count: int, quantile: float, risk: float) -> int:
    """Largest k with P(Binomial(count, quantile) < k) <= risk; 0 if there is none."""
    log_odds = math.log(quantile) - math.log1p(-quantile)
    log_chance = count * math.log1p(-quantile)
    below, rank = 0.0, 0
    while rank < count:
        below += math.exp(log_chance)
        if below > risk:
            break
        log_chance += math.log((count - rank) / (rank + 1)) + log_odds
        rank += 1
    return rank
