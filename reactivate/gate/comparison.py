"""Two sets of measurements held against each other: what changed, and whether it is noise.

Nothing here is a verdict on a budget. Depths are exact, so any difference beyond what the place
of a stack explains is a change. Durations are samples: they differ when the interval of their
ratio leaves 1 out. A number that was measured once, and is not the same each time, decides
nothing. What cannot be told is `UNDECIDED`, never "no change".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.evidence import Bound, Measurement, NotMeasured, Role
from reactivate.gate.difference import Change, Difference, Terms, difference
from reactivate.gate.durations import FALSE_ALARM, Sides, compare_durations
from reactivate.gate.findings import QUANTILES
from reactivate.gate.statistics import samples_to_bound
from reactivate.metrics import METRICS

ALIGNMENT_BYTES = 64
"""A function that aligns its frame pads it by what its caller's address asks for. The kernel
places the first frame at a multiple of 16, so frames of 64-byte alignment differ by less than
this between runs of the same build, and nothing else below the idle stack pointer does."""

PAGE_BYTES = 4096
OFFSET_BYTES = 8192
"""The kernel moves the first frame of a main thread by up to 8 KiB at each exec
(arch_align_stack). Arguments, environment and auxiliary vector lie above it."""

TOLERANCES: Mapping[str, int] = {
    "stack.operation": ALIGNMENT_BYTES,
    "stack.painted": ALIGNMENT_BYTES,
    "stack.unwound": ALIGNMENT_BYTES,
    "stack.frame": ALIGNMENT_BYTES,
    "stack.peak": OFFSET_BYTES + PAGE_BYTES,
    "stack.idle": OFFSET_BYTES + PAGE_BYTES,
    "stack.massif": OFFSET_BYTES + PAGE_BYTES,
    "stack.massif_operation": PAGE_BYTES,
    "growth.depth": OFFSET_BYTES + PAGE_BYTES,
    "growth.reach": PAGE_BYTES,
    "stack.disagreement": PAGE_BYTES,
    "stack.minimum": OFFSET_BYTES + PAGE_BYTES,
    "stack.limit": 0,
    "stack.recursion": 0,
    "growth.alerts": 0,
    "overflow.crashes": 0,
    "overflow.hangs": 0,
    "overflow.lost": 0,
    "memory.leaked": 0,
    "memory.errors": 0,
    "requests.unanswered": 0,
    "requests.errors": 0,
}
"""By how much each exact metric may differ between two runs of the same build."""

_FROM_TOP = "stack.peak"
"""Counted from the top of the mapping, where stacks begin at another place each time; corrected by
the `stack.idle` of the same run, so that only what the operation took is compared."""

_IDLE = "stack.idle"

_Key = tuple[str, str, str, str]


def compare(
    before: Sequence[Measurement], after: Sequence[Measurement], terms: Terms
) -> tuple[Difference, ...]:
    """Every number of the builds under test that either side has, by metric and place.

    Args:
        before: all that one run measured, references included; each number once.
        after: likewise of the other.
        terms: how the two runs stand to each other.
    """
    then, now = _by_key(before, Role.SUBJECT), _by_key(after, Role.SUBJECT)
    compared = terms.durations or durations(before, after)
    sides = Sides(before, after)
    found = []
    for key in sorted(then.keys() | now.keys()):
        one, other = then.get(key), now.get(key)
        if one is None or other is None:
            found.append(_one_sided(one, other))
        elif isinstance(one.value, NotMeasured) or isinstance(other.value, NotMeasured):
            found.append(_unmeasured(one, other))
        elif key[0] in QUANTILES:
            found.append(compare_durations(one, other, sides, terms, compared))
        else:
            found.append(_valued(one, other, then, now, terms))
    return tuple(found)


def durations(before: Sequence[Measurement], after: Sequence[Measurement]) -> int:
    """How many durations both sides have with samples enough that they could be called changed."""
    then, now = _by_key(before, Role.SUBJECT), _by_key(after, Role.SUBJECT)
    return sum(
        min(len(then[key].samples), len(now[key].samples))
        >= samples_to_bound(QUANTILES[key[0]], FALSE_ALARM / 2)
        for key in then.keys() & now.keys()
        if key[0] in QUANTILES
    )


def _by_key(found: Sequence[Measurement], role: Role) -> dict[_Key, Measurement]:
    return {(m.metric, m.operation, m.thread, m.instrument): m for m in found if m.role is role}


def _one_sided(before: Measurement | None, after: Measurement | None) -> Difference:
    known = before or after
    assert known is not None
    missing = NotMeasured(reason=f"{known.metric} was not measured there")
    return difference(
        known,
        missing if before is None else before.value,
        missing if after is None else after.value,
        Change.APPEARED if before is None else Change.GONE,
        "measured on one side only, so there is nothing to compare",
    )


def _unmeasured(before: Measurement, after: Measurement) -> Difference:
    reasons = [m.value.reason for m in (before, after) if isinstance(m.value, NotMeasured)]
    both = len(reasons) == 2 and reasons[0] == reasons[1]
    return difference(
        after,
        before.value,
        after.value,
        Change.UNDECIDED,
        f"not measured{' on either side' if both else ''}: {'; '.join(dict.fromkeys(reasons))}",
    )


# -- exact numbers -----------------------------------------------------------------------------


def _valued(
    before: Measurement,
    after: Measurement,
    then: Mapping[_Key, Measurement],
    now: Mapping[_Key, Measurement],
    terms: Terms,
) -> Difference:
    assert not isinstance(before.value, NotMeasured)
    assert not isinstance(after.value, NotMeasured)
    by = after.value - before.value
    tolerance = TOLERANCES.get(after.metric)
    if tolerance is None:
        change, reason = _unknown_noise(by, terms)
    else:
        corrected = _moved(after, then, now) if after.metric == _FROM_TOP else None
        if corrected is not None:
            by, tolerance = by - corrected, ALIGNMENT_BYTES
        change, reason = _exact(before, after, by, tolerance)
        if corrected is not None:
            reason += "; the place where the stack begins is taken out"
    return difference(
        after,
        before.value,
        after.value,
        change,
        reason,
        by=by,
        tolerance=tolerance,
        samples=(len(before.samples), len(after.samples)),
    )


def _moved(
    peak: Measurement, then: Mapping[_Key, Measurement], now: Mapping[_Key, Measurement]
) -> float | None:
    """By how much the sleeping stack pointer of the same thread lies elsewhere; None: unknown."""
    key = (_IDLE, "", peak.thread, peak.instrument)
    one, other = then.get(key), now.get(key)
    if one is None or other is None:
        return None
    if isinstance(one.value, NotMeasured) or isinstance(other.value, NotMeasured):
        return None
    return other.value - one.value


def _exact(
    before: Measurement, after: Measurement, by: float, tolerance: int
) -> tuple[Change, str]:
    if by == 0 and before.bound is after.bound:
        return Change.SAME, "the same number"
    if abs(by) <= tolerance:
        return Change.NOISE, f"runs of the same build differ by up to {tolerance:,}"
    more = by > 0
    # A lower bound that grew is more only if the other side could not have been more still.
    low, high = (before, after) if more else (after, before)
    if _may_be(low, Bound.LOWER) or _may_be(high, Bound.UPPER):
        return Change.UNDECIDED, "one of them is a bound, and the truth may lie beyond the other"
    return (Change.MORE if more else Change.LESS), f"beyond the tolerance of {tolerance:,}"


def _may_be(measurement: Measurement, bound: Bound) -> bool:
    """Whether the truth may lie on this side of the value."""
    metric = METRICS.get(measurement.metric)
    asked = metric is not None and measurement.bound is metric.asks
    return measurement.bound is bound and not asked


def _unknown_noise(by: float, terms: Terms) -> tuple[Change, str]:
    if by == 0:
        return Change.SAME, "the same number"
    if not terms.same_machine:
        return Change.UNDECIDED, "measured on different machines"
    return (
        Change.UNDECIDED,
        "one run on each side: how far two runs of one build are apart is not known",
    )
