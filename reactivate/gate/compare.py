"""How an observed value stands to its limit: by value and bound, or by interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reactivate.checklist.model import Comparator
from reactivate.evidence import Bound, Verdict
from reactivate.gate.statistics import RatioInterval, samples_to_bound

FAIL_RISK = 0.005
"""Largest chance that a criterion is refused although every operation is just within its limit.
It is shared out among the operations (Bonferroni), because one bad operation is enough to fail,
and among `LOOKS`."""

LOOKS = 6
"""How often the samples may be looked at, doubled each time while a verdict is open: from 60 to
1,920. Each look is another chance to refuse what is within its limit."""

PASS_RISK = 0.025
"""Largest chance that a criterion passes although an operation is just beyond its limit. It is not
shared out: to pass, every operation must be within (intersection-union test, Berger 1982,
Technometrics 24)."""

_AT_MOST = frozenset({Comparator.LE, Comparator.LT})
_AT_LEAST = frozenset({Comparator.GE, Comparator.GT})
_MOST_MORE = 4.0
_LEAST_MORE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks:
    """How wrong each end of an interval may be."""

    low: float
    high: float


def holds(observed: float, comparator: Comparator, limit: float) -> bool:
    """Whether the comparison is true of two numbers; false of NaN."""
    match comparator:
        case Comparator.LE:
            return observed <= limit
        case Comparator.LT:
            return observed < limit
        case Comparator.GE:
            return observed >= limit
        case Comparator.GT:
            return observed > limit
        case Comparator.EQ:
            return observed == limit


def verdict_of_value(
    observed: float, comparator: Comparator, limit: float, bound: Bound
) -> Verdict:
    """The verdict on a value whose truth lies on the side that `bound` says."""
    good = holds(observed, comparator, limit)
    if bound is Bound.EXACT:
        return Verdict.PASS if good else Verdict.FAIL
    more = bound is Bound.LOWER
    if comparator is Comparator.EQ:
        certain = observed > limit if more else observed < limit
        return Verdict.FAIL if certain else Verdict.INCONCLUSIVE
    # More is worse for `<=`, and better for `>=`.
    if more == (comparator in _AT_MOST):
        return Verdict.INCONCLUSIVE if good else Verdict.FAIL
    return Verdict.PASS if good else Verdict.INCONCLUSIVE


def verdict_of_interval(interval: RatioInterval, comparator: Comparator, limit: float) -> Verdict:
    """PASS if the whole interval is within, FAIL if the whole of it is beyond."""
    low_good = holds(interval.low, comparator, limit)
    high_good = holds(interval.high, comparator, limit)
    if comparator is Comparator.EQ:
        inside = interval.low <= limit <= interval.high
        return Verdict.INCONCLUSIVE if inside else Verdict.FAIL
    if low_good and high_good:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if low_good or high_good else Verdict.FAIL


def risks(comparator: Comparator, operations: int) -> Risks:
    """The risks at the ends of each operation's interval, when so many are compared at once."""
    fail = FAIL_RISK / LOOKS / operations
    if comparator in _AT_MOST:
        return Risks(low=fail, high=PASS_RISK)
    if comparator in _AT_LEAST:
        return Risks(low=PASS_RISK, high=fail)
    return Risks(low=fail / 2, high=fail / 2)


def severity(observed: float, comparator: Comparator, limit: float) -> float:
    """How bad a value is; only for choosing the worst of several with the same verdict."""
    if math.isnan(observed) or math.isnan(limit):
        return math.inf
    if comparator is Comparator.EQ:
        return abs(observed - limit)
    if comparator in _AT_LEAST:
        observed, limit = limit, observed
    if limit > 0:
        return observed / limit
    return math.inf if observed > limit else 1.0


def samples_wanted(
    interval: RatioInterval,
    comparator: Comparator,
    limit: float,
    *,
    quantile: float,
    risks: Risks,
    samples: int,
) -> int:
    """An estimate of the samples per build with which an undecided interval will decide.

    An interval narrows with the square root of the samples. At least half as many again are
    asked for, and at most four times as many at once, since the estimate itself is uncertain.
    """
    upwards = interval.ratio <= limit
    edge = interval.high if upwards else interval.low
    if edge in (0.0, math.inf):
        least = samples_to_bound(quantile, risks.high if upwards else risks.low)
        return max(least, math.ceil(samples * _LEAST_MORE))
    width, gap = abs(math.log(edge / interval.ratio)), _log_distance(interval.ratio, limit)
    more = (width / gap) ** 2 if gap > 0 else _MOST_MORE
    return math.ceil(samples * min(max(more, _LEAST_MORE), _MOST_MORE))


def _log_distance(first: float, second: float) -> float:
    return abs(math.log(first / second)) if second > 0 else math.inf
