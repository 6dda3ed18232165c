"""Durations before and after: a ratio with its interval, and what a slower machine explains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reactivate.evidence import Measurement, NotMeasured, Role
from reactivate.gate.difference import CHANGED, Change, Difference, Terms, difference
from reactivate.gate.findings import QUANTILES
from reactivate.gate.statistics import RatioInterval, ratio_interval, samples_to_bound

FALSE_ALARM = 0.005
"""Largest chance that any of all durations of two identical builds is called changed; shared out
among all that are compared (Bonferroni), half of it to each side."""


class Sides:
    """What both runs measured, by role."""

    def __init__(self, before: Sequence[Measurement], after: Sequence[Measurement]) -> None:
        self._before = {(m.metric, m.operation, m.thread, m.role): m for m in before}
        self._after = {(m.metric, m.operation, m.thread, m.role): m for m in after}

    def of(self, like: Measurement, role: Role, *, later: bool) -> Measurement | None:
        """The same number of another build in one of the runs, if it was measured there."""
        key = (like.metric, like.operation, like.thread, role)
        return (self._after if later else self._before).get(key)


def compare_durations(
    before: Measurement, after: Measurement, sides: Sides, terms: Terms, compared: int
) -> Difference:
    """Durations: in turn where that is on record, else against what both runs measured besides."""
    if before.samples and before.samples == after.samples:
        return _of(before, after, Change.SAME, "the same samples", None)
    risk = FALSE_ALARM / 2 / max(1, compared)
    for role in terms.in_turn:
        beside = sides.of(after, role, later=True)
        if beside is not None:
            return _in_turn(beside, after, risk)
    found = _interval(after, before, risk)
    if found is None:
        return _no_interval(before, after)
    change, reason = _of_interval(found, after.metric, risk)
    if change in CHANGED:
        change, reason = _apart(change, reason, before, after, sides, terms, risk)
    return _of(before, after, change, reason, found)


def _in_turn(before: Measurement, after: Measurement, risk: float) -> Difference:
    found = _interval(after, before, risk)
    if found is None:
        return _no_interval(before, after)
    change, reason = _of_interval(found, after.metric, risk)
    return _of(before, after, change, f"{reason}; both builds took turns in one run", found)


def _apart(
    change: Change,
    reason: str,
    before: Measurement,
    after: Measurement,
    sides: Sides,
    terms: Terms,
    risk: float,
) -> tuple[Change, str]:
    """Runs at different times: a slower machine slows everything that was measured beside, too."""
    if not terms.same_machine:
        return Change.UNDECIDED, f"{reason}, but on different machines"
    for role in terms.shared:
        then = sides.of(before, role, later=False)
        now = sides.of(after, role, later=True)
        if then is None or now is None:
            continue
        # Each ratio with half of the risk: then that of the two is wrong with at most all of it.
        ours, theirs = _interval(after, now, risk / 2), _interval(before, then, risk / 2)
        if ours is None or theirs is None:
            continue
        low = ours.low / theirs.high
        high = ours.high / theirs.low if theirs.low else math.inf
        beside = f"the {role.value} build that took turns in each run"
        if (low > 1) if change is Change.MORE else (high < 1):
            return change, f"{reason}; also against {beside}"
        return (
            Change.UNDECIDED,
            f"{reason}, but not against {beside}: the machine, or a change that both builds share",
        )
    return (
        Change.UNDECIDED,
        f"{reason}, but the runs were at different times and nothing took turns with both builds",
    )


def _of_interval(found: RatioInterval, metric: str, risk: float) -> tuple[Change, str]:
    if found.low > 1:
        return Change.MORE, "the whole interval is above 1"
    if found.high < 1:
        return Change.LESS, "the whole interval is below 1"
    if found.low == 0 or found.high == math.inf:
        needed = samples_to_bound(QUANTILES[metric], risk)
        return Change.UNDECIDED, f"too few samples: at least {needed:,} of each build are needed"
    return Change.NOISE, "the interval holds 1"


def _interval(ours: Measurement, theirs: Measurement, risk: float) -> RatioInterval | None:
    try:
        return ratio_interval(
            ours.samples,
            theirs.samples,
            quantile=QUANTILES[ours.metric],
            low_risk=risk,
            high_risk=risk,
        )
    except ValueError:
        return None


def _no_interval(before: Measurement, after: Measurement) -> Difference:
    return _of(before, after, Change.UNDECIDED, "without samples, or with a duration of 0", None)


def _of(
    before: Measurement,
    after: Measurement,
    change: Change,
    reason: str,
    interval: RatioInterval | None,
) -> Difference:
    known = not isinstance(before.value, NotMeasured) and not isinstance(after.value, NotMeasured)
    return difference(
        after,
        before.value,
        after.value,
        change,
        reason,
        by=after.value - before.value if known else None,  # type: ignore[operator]
        interval=interval,
        samples=(len(before.samples), len(after.samples)),
    )
