"""What a comparison finds at each operation and thread that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reactivate.checklist.model import Comparator, Comparison, Expression, MetricName
from reactivate.evidence import Check, Dimension, Measurement, NotMeasured, Role, Verdict
from reactivate.gate.compare import (
    risks,
    samples_wanted,
    severity,
    verdict_of_interval,
    verdict_of_value,
)
from reactivate.gate.evaluate import (
    AbsentError,
    CannotEvaluate,
    Place,
    Quantity,
    Values,
    describe,
    described,
    evaluate,
    joined,
    metric_names,
    opposite,
    roles,
    value_of,
)
from reactivate.gate.judgement import SampleNeed
from reactivate.gate.statistics import ASSUMES, ratio_interval
from reactivate.gate.wording import sentence_of_ratio, sentence_of_value
from reactivate.metrics import METRICS

QUANTILES: Mapping[str, float] = {"latency.p50": 0.5, "latency.p99": 0.99}
"""The metrics that are percentiles of their samples; only these are compared by intervals."""

_PLAIN = frozenset({Dimension.COUNT, Dimension.RATIO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One comparison at one operation and thread; the fields are those of `Judgement`."""

    verdict: Verdict
    reason: str
    observed: float | NotMeasured
    limit: float | NotMeasured
    dimension: Dimension
    severity: float = math.inf
    interval: tuple[float, float] | None = None
    samples: int = 0
    operation: str = ""
    thread: str = ""
    instrument: str = ""
    evidence: str = ""
    need: SampleNeed | None = None


class Builds:
    """The measurements at hand, by the build they describe."""

    def __init__(
        self, run: Sequence[Measurement], recorded: Mapping[Role, Sequence[Measurement]]
    ) -> None:
        """Sort measurements.

        Args:
            run: measured in this run, whatever the role.
            recorded: of earlier runs; the key says which build they describe.
        """
        self.subject = Values(m for m in run if m.role is Role.SUBJECT)
        self._same_run: dict[Role, set[str]] = {}
        self._references: dict[Role, Values] = {}
        for role in (Role.BASELINE, Role.PREVIOUS):
            here = [m for m in run if m.role is role]
            own = {m.metric for m in here}
            earlier = [m for m in recorded.get(role, ()) if m.metric not in own]
            self._same_run[role] = own
            self._references[role] = Values([*here, *earlier], build=f" on the {role.value} build")

    def reference(self, role: Role) -> Values:
        """The measurements of another build."""
        return self._references[role]

    def from_this_run(self, role: Role, metric: str) -> bool:
        """Whether the other build was measured in turn with the one under test."""
        return metric in self._same_run.get(role, ())


def find_all(comparison: Comparison, builds: Builds) -> tuple[Finding, ...]:
    """Compare at every place; at least one finding comes back."""
    try:
        return _find_all(comparison, builds)
    except CannotEvaluate as stop:
        return (_blank(comparison, stop),)


def _find_all(comparison: Comparison, builds: Builds) -> tuple[Finding, ...]:
    if roles(comparison.left):
        raise CannotEvaluate("the left side must be measured on the build under test itself")
    anchor = _anchor_name(comparison.left, builds.subject)
    measured = [
        m
        for m in builds.subject.all(anchor.name)
        if not anchor.operations or m.operation in anchor.operations
    ]
    if not measured:
        raise CannotEvaluate(f"{anchor.name} was not measured")
    missing = [op for op in anchor.operations if op not in {m.operation for m in measured}]
    findings = [
        _blank(comparison, CannotEvaluate(f"{described(anchor.name, op, '')} was not measured"), op)
        for op in missing
    ]
    wanted = roles(comparison.right)
    if Role.SUBJECT in wanted:
        raise CannotEvaluate("a build cannot be held against itself")
    if wanted:
        findings += _relative(comparison, anchor, measured, builds, wanted)
    else:
        findings += [_absolute(comparison, m, builds) for m in measured]
    return tuple(findings)


def _anchor_name(left: Expression, values: Values) -> MetricName:
    """The metric of the left side that says where to compare: the one with operations."""
    names = metric_names(left)
    if not names:
        raise CannotEvaluate("the left side names no metric, so nothing is observed")
    for name in names:
        if any(m.operation for m in values.all(name.name)):
            return name
    return names[0]


def _absolute(comparison: Comparison, anchor: Measurement, builds: Builds) -> Finding:
    observed: Quantity | None = None
    try:
        _sampled(anchor)
        place = Place(
            values=builds.subject,
            operation=anchor.operation,
            thread=anchor.thread,
            references={},
        )
        # The anchor speaks for itself even where another instrument measured the same.
        alone = isinstance(comparison.left, MetricName)
        observed = value_of(anchor) if alone else evaluate(comparison.left, place)
        limit = evaluate(comparison.right, place)
        return _by_value(comparison, anchor, observed, limit)
    except CannotEvaluate as stop:
        return _stopped(comparison, anchor, stop, observed)


def _relative(
    comparison: Comparison,
    anchor: MetricName,
    measured: Sequence[Measurement],
    builds: Builds,
    wanted: Sequence[Role],
) -> list[Finding]:
    if not isinstance(comparison.left, MetricName):
        raise CannotEvaluate("only one metric alone can be compared with another build")
    both: list[tuple[Measurement, dict[Role, Measurement]]] = []
    stopped: list[Finding] = []
    absent: AbsentError | None = None
    for m in measured:
        try:
            both.append((m, {role: builds.reference(role).same(m) for role in wanted}))
        except AbsentError as stop:
            absent = stop
            if anchor.operations:
                invalid = CannotEvaluate(stop.reason, verdict=Verdict.INVALID)
                stopped.append(_stopped(comparison, m, invalid, None))
        except CannotEvaluate as stop:
            stopped.append(_stopped(comparison, m, stop, None))
    if not both and not stopped:
        one = f": {absent.reason}" if absent and len(measured) == 1 else ""
        raise CannotEvaluate(
            f"no operation has {anchor.name} on both builds{one}", verdict=Verdict.INVALID
        )
    return stopped + [
        _against(comparison, m, references, builds, len(both)) for m, references in both
    ]


def _against(
    comparison: Comparison,
    anchor: Measurement,
    others: Mapping[Role, Measurement],
    builds: Builds,
    compared: int,
) -> Finding:
    """Compare one operation with other builds; ratios are of the first build that is named."""
    observed: Quantity | None = None
    try:
        _sampled(anchor)
        observed = value_of(anchor)
        for other in others.values():
            _sampled(other)
        references = {role: value_of(other) for role, other in others.items()}
        place = Place(
            values=builds.subject,
            operation=anchor.operation,
            thread=anchor.thread,
            references=references,
        )
        limit = evaluate(comparison.right, place)
        role = next(iter(others))
        if observed.dimension is Dimension.NANOSECONDS:
            recorded = not builds.from_this_run(role, anchor.metric)
            return _by_interval(
                comparison, anchor, others[role], role, limit.value, compared, recorded=recorded
            )
        found = _by_value(comparison, anchor, observed, limit)
        return _as_ratio(
            found,
            comparison.comparator,
            describe(anchor),
            role,
            observed=observed.value,
            limit=limit.value,
            reference=references[role].value,
        )
    except CannotEvaluate as stop:
        return _stopped(comparison, anchor, stop, observed)


def _by_value(
    comparison: Comparison, anchor: Measurement, observed: Quantity, limit: Quantity
) -> Finding:
    same = observed.dimension is limit.dimension
    if not same and not {observed.dimension, limit.dimension} <= _PLAIN:
        raise CannotEvaluate(
            f"{observed.dimension.value} cannot be compared with {limit.dimension.value}"
        )
    # A limit that may be more is as uncertain as an observed value that may be less.
    bound = joined(observed.bound, opposite(limit.bound))
    verdict = verdict_of_value(observed.value, comparison.comparator, limit.value, bound)
    what = (
        describe(anchor)
        if isinstance(comparison.left, MetricName)
        else described("the left side", anchor.operation, anchor.thread)
    )
    return Finding(
        verdict=verdict,
        reason=sentence_of_value(what, observed, comparison.comparator, limit, verdict),
        observed=observed.value,
        limit=limit.value,
        dimension=observed.dimension,
        severity=severity(observed.value, comparison.comparator, limit.value),
        samples=_count(anchor),
        operation=anchor.operation,
        thread=anchor.thread,
        instrument=anchor.instrument,
        evidence=anchor.evidence,
    )


def _as_ratio(
    found: Finding,
    comparator: Comparator,
    what: str,
    role: Role,
    *,
    observed: float,
    limit: float,
    reference: float,
) -> Finding:
    """The same finding in multiples of the reference; as it is where the reference is 0."""
    if reference == 0:
        return found
    ratio, bound = observed / reference, limit / reference
    reason = sentence_of_ratio(
        what,
        role,
        ratio=ratio,
        interval=None,
        comparator=comparator,
        limit=bound,
        verdict=found.verdict,
    )
    return replace(found, observed=ratio, limit=bound, dimension=Dimension.RATIO, reason=reason)


def _by_interval(
    comparison: Comparison,
    anchor: Measurement,
    other: Measurement,
    role: Role,
    limit_ns: float,
    compared: int,
    *,
    recorded: bool,
) -> Finding:
    quantile = QUANTILES.get(anchor.metric)
    reference = value_of(other).value
    if quantile is None or reference <= 0 or min(anchor.samples + other.samples) <= 0:
        raise CannotEvaluate(
            f"{describe(anchor)} cannot be compared: a duration of 0 or no percentile",
            verdict=Verdict.INVALID,
        )
    limit = limit_ns / reference
    risk = risks(comparison.comparator, compared)
    found = ratio_interval(
        anchor.samples, other.samples, quantile=quantile, low_risk=risk.low, high_risk=risk.high
    )
    verdict = verdict_of_interval(found, comparison.comparator, limit)
    interval = (found.low, found.high) if math.isfinite(found.high) else None
    samples = min(len(anchor.samples), len(other.samples))
    need = None
    reason = sentence_of_ratio(
        describe(anchor),
        role,
        ratio=found.ratio,
        interval=interval,
        comparator=comparison.comparator,
        limit=limit,
        verdict=verdict,
    )
    if verdict is Verdict.INCONCLUSIVE:
        wanted = samples_wanted(
            found,
            comparison.comparator,
            limit,
            quantile=quantile,
            risks=risk,
            samples=samples,
        )
        need = SampleNeed(
            metric=anchor.metric, operation=anchor.operation, samples=samples, wanted=wanted
        )
        reason += f"; {samples:,} samples of each build are too few, about {wanted:,} are needed"
    if recorded:
        reason += f"; the {role.value} build was measured in another run, not in turn"
    reason += f"; {ASSUMES}"
    return Finding(
        verdict=verdict,
        reason=reason,
        observed=found.ratio,
        limit=limit,
        dimension=Dimension.RATIO,
        severity=severity(found.ratio, comparison.comparator, limit),
        interval=interval,
        samples=samples,
        operation=anchor.operation,
        thread=anchor.thread,
        instrument=anchor.instrument,
        evidence=anchor.evidence,
        need=need,
    )


def _sampled(measurement: Measurement) -> None:
    """Refuse a value that should come from repeated samples and has none, or has odd ones."""
    metric = METRICS.get(measurement.metric)
    if isinstance(measurement.value, NotMeasured) or metric is None:
        return
    repeated = metric.per_operation and Check.BASELINE in metric.checks
    if repeated and not measurement.samples:
        raise CannotEvaluate(f"{describe(measurement)} has a value but not one sample")
    if not all(math.isfinite(sample) for sample in measurement.samples):
        raise CannotEvaluate(f"{describe(measurement)} has a sample that is not a number")


def _count(measurement: Measurement) -> int:
    """Samples behind a measured value; one that was measured once keeps no list."""
    return len(measurement.samples) or 1


def _stopped(
    comparison: Comparison, anchor: Measurement, stop: CannotEvaluate, observed: Quantity | None
) -> Finding:
    nothing = NotMeasured(reason=stop.reason)
    return Finding(
        verdict=stop.verdict,
        reason=stop.reason,
        observed=nothing if observed is None else observed.value,
        limit=nothing,
        dimension=_dimension(comparison.left) if observed is None else observed.dimension,
        samples=len(anchor.samples),
        operation=anchor.operation,
        thread=anchor.thread,
        instrument=anchor.instrument,
        evidence=anchor.evidence,
    )


def _blank(comparison: Comparison, stop: CannotEvaluate, operation: str = "") -> Finding:
    nothing = NotMeasured(reason=stop.reason)
    return Finding(
        verdict=stop.verdict,
        reason=stop.reason,
        observed=nothing,
        limit=nothing,
        dimension=_dimension(comparison.left),
        operation=operation,
    )


def _dimension(left: Expression) -> Dimension:
    """What the left side counts, as far as that can be said without a value."""
    for name in metric_names(left):
        if name.name in METRICS:
            return METRICS[name.name].dimension
    return Dimension.COUNT
