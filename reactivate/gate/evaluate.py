"""Values of criterion expressions, looked up among the measurements of one or several builds.

Nothing is guessed: a value that is absent, ambiguous or not a number raises `CannotEvaluate`
with the verdict it amounts to and a sentence that says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reactivate.checklist.model import (
    Arithmetic,
    Expression,
    MetricName,
    Number,
    Operator,
    Percent,
    PercentOf,
    ReferenceValue,
)
from reactivate.evidence import Bound, Dimension, Measurement, NotMeasured, Role, Verdict
from reactivate.metrics import METRICS


class CannotEvaluate(Exception):
    """An expression has no value here.

    Attributes:
        verdict: what that makes of the criterion; never PASS or FAIL.
        reason: one plain sentence.
    """

    def __init__(self, reason: str, *, verdict: Verdict = Verdict.ERROR) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


class AbsentError(CannotEvaluate):
    """There is no measurement of this at all, not even one that says why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with what it counts and on which side of it the truth may lie."""

    value: float
    dimension: Dimension
    bound: Bound = Bound.EXACT


_OPPOSITE = {Bound.EXACT: Bound.EXACT, Bound.LOWER: Bound.UPPER, Bound.UPPER: Bound.LOWER}
_PLAIN = frozenset({Dimension.COUNT, Dimension.RATIO})


def opposite(bound: Bound) -> Bound:
    """The bound of the negated value."""
    return _OPPOSITE[bound]


def joined(first: Bound, second: Bound) -> Bound:
    """The bound of a sum.

    Raises:
        CannotEvaluate: one may be more and the other less, so nothing is known of the sum.
    """
    if first is second or second is Bound.EXACT:
        return first
    if first is Bound.EXACT:
        return second
    raise CannotEvaluate(
        "one value may be more and another less than measured, so their sum is unknown",
        verdict=Verdict.INCONCLUSIVE,
    )


def value_of(measurement: Measurement) -> Quantity:
    """The measured value.

    Raises:
        CannotEvaluate: not measured, not a finite number, negative, or of an unknown metric.
    """
    what = describe(measurement)
    value = measurement.value
    if isinstance(value, NotMeasured):
        raise CannotEvaluate(f"{what} was not measured: {value.reason}")
    metric = METRICS.get(measurement.metric)
    if metric is None:
        raise CannotEvaluate(f"{what} is no known metric")
    if not math.isfinite(value):
        raise CannotEvaluate(f"{what} is not a number")
    if value < 0:
        raise CannotEvaluate(f"{what} is negative, which no measurement can be")
    bound = Bound.EXACT if measurement.bound is metric.asks else measurement.bound
    return Quantity(value=value, dimension=metric.dimension, bound=bound)


def describe(measurement: Measurement) -> str:
    """`stack.peak of search on thread main`."""
    return described(measurement.metric, measurement.operation, measurement.thread)


def described(metric: str, operation: str, thread: str) -> str:
    """The words for a metric at one place."""
    of = f" of `{operation}`" if operation else ""
    on = f" on thread {thread}" if thread else ""
    return f"{metric}{of}{on}"


class Values:
    """The measurements of one build."""

    def __init__(self, measurements: Iterable[Measurement], *, build: str = "") -> None:
        """Index measurements.

        Args:
            measurements: those of this build only.
            build: words for messages, e.g. " on the baseline build"; "" for the build under test.
        """
        self._by_metric: dict[str, list[Measurement]] = {}
        for measurement in measurements:
            self._by_metric.setdefault(measurement.metric, []).append(measurement)
        self.build = build

    def all(self, metric: str) -> Sequence[Measurement]:
        """Every measurement of a metric."""
        return self._by_metric.get(metric, ())

    def nearest(self, name: MetricName, operation: str, thread: str) -> Measurement:
        """The measurement that a name means at one place.

        The one of the same thread and operation, else of the same thread, else the only one.

        Raises:
            CannotEvaluate: there is none, or several that differ.
        """
        found = [
            m for m in self.all(name.name) if not name.operations or m.operation in name.operations
        ]
        same_thread = [m for m in found if m.thread == thread]
        for choice in (
            [m for m in same_thread if m.operation == operation],
            [m for m in same_thread if not m.operation],
            same_thread,
            found,
        ):
            if choice:
                return self._only(choice, described(name.name, operation, thread))
        raise AbsentError(f"{name.name} was not measured{self.build}")

    def same(self, anchor: Measurement) -> Measurement:
        """The measurement of the same metric and operation on this build.

        The same thread's if there is one, else the only one of the operation.

        Raises:
            AbsentError: the operation was not measured on this build.
            CannotEvaluate: several that differ.
        """
        found = [m for m in self.all(anchor.metric) if m.operation == anchor.operation]
        same_thread = [m for m in found if m.thread == anchor.thread]
        if not found:
            raise AbsentError(f"{describe(anchor)} was not measured{self.build}")
        return self._only(same_thread or found, describe(anchor))

    def _only(self, found: Sequence[Measurement], what: str) -> Measurement:
        """One of several measurements that say the same."""
        first = found[0]
        for other in found[1:]:
            # Instruments that agree are no ambiguity; NaN never agrees.
            if (other.value, other.bound) != (first.value, first.bound):
                raise CannotEvaluate(
                    f"{what} is ambiguous{self.build}: {len(found)} measurements that differ"
                )
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an expression is evaluated.

    Attributes:
        values: the build under test.
        operation: the operation that is looked at, "" if none.
        thread: the thread that is looked at, "" if none.
        references: the left side's value on other builds.
    """

    values: Values
    operation: str
    thread: str
    references: Mapping[Role, Quantity]


def evaluate(expression: Expression, place: Place) -> Quantity:
    """The value of an expression at a place.

    Raises:
        CannotEvaluate: it has none.
    """
    match expression:
        case Number(value=value, dimension=dimension):
            return Quantity(value=value, dimension=dimension)
        case MetricName():
            return value_of(place.values.nearest(expression, place.operation, place.thread))
        case ReferenceValue(role=role):
            if role not in place.references:
                raise CannotEvaluate(f"`{role.value}` has no value here")
            return place.references[role]
        case PercentOf(percent=percent, whole=whole):
            return _percent_of(evaluate(whole, place), percent)
        case Arithmetic(left=left, operator=operator, right=Percent(value=percent)):
            return _percent_added(evaluate(left, place), operator, percent)
        case Arithmetic(left=left, operator=operator, right=right):
            return _arithmetic(evaluate(left, place), operator, evaluate(right, place))
        case Percent():
            raise CannotEvaluate("a percentage alone is a percentage of nothing")


def metric_names(expression: Expression) -> tuple[MetricName, ...]:
    """The metrics in an expression, from left to right."""
    match expression:
        case MetricName():
            return (expression,)
        case PercentOf(whole=whole):
            return metric_names(whole)
        case Arithmetic(left=left, right=right):
            return metric_names(left) + metric_names(right)
    return ()


def roles(expression: Expression) -> tuple[Role, ...]:
    """The builds that an expression refers to, from left to right, each once."""
    match expression:
        case ReferenceValue(role=role):
            return (role,)
        case PercentOf(whole=whole):
            return roles(whole)
        case Arithmetic(left=left, right=right):
            return tuple(dict.fromkeys(roles(left) + roles(right)))
    return ()


def _percent_added(quantity: Quantity, operator: Operator, percent: float) -> Quantity:
    if operator is Operator.ADD:
        return _percent_of(quantity, 100 + percent)
    if operator is Operator.SUBTRACT and percent <= 100:
        return _percent_of(quantity, 100 - percent)
    raise CannotEvaluate("a percentage can only be added or, up to 100 %, subtracted")


def _percent_of(quantity: Quantity, percent: float) -> Quantity:
    # Multiplied first: whole numbers stay exact, so a limit that is just met is met.
    return _finite(quantity.value * percent / 100, quantity.dimension, quantity.bound)


def _arithmetic(left: Quantity, operator: Operator, right: Quantity) -> Quantity:
    if operator in {Operator.ADD, Operator.SUBTRACT}:
        if left.dimension is not right.dimension:
            raise CannotEvaluate(
                f"{left.dimension.value} and {right.dimension.value} cannot be added"
            )
        sign = 1 if operator is Operator.ADD else -1
        bound = right.bound if sign > 0 else opposite(right.bound)
        value = left.value + sign * right.value
        return _finite(value, left.dimension, joined(left.bound, bound))
    if {left.bound, right.bound} != {Bound.EXACT} and min(left.value, right.value) < 0:
        raise CannotEvaluate(
            "a negative value with a bound cannot be scaled", verdict=Verdict.INCONCLUSIVE
        )
    if operator is Operator.MULTIPLY:
        dimension = _product_dimension(left.dimension, right.dimension)
        return _finite(left.value * right.value, dimension, joined(left.bound, right.bound))
    if right.value == 0:
        raise CannotEvaluate("division by zero")
    dimension = _quotient_dimension(left.dimension, right.dimension)
    bound = joined(left.bound, opposite(right.bound))
    return _finite(left.value / right.value, dimension, bound)


def _product_dimension(left: Dimension, right: Dimension) -> Dimension:
    if right is Dimension.COUNT or (right in _PLAIN and left is not Dimension.COUNT):
        return left
    if left in _PLAIN:
        return right
    raise CannotEvaluate(f"{left.value} cannot be multiplied by {right.value}")


def _quotient_dimension(left: Dimension, right: Dimension) -> Dimension:
    if right is Dimension.COUNT:
        return left
    if left is right:
        return Dimension.RATIO
    raise CannotEvaluate(f"{left.value} cannot be divided by {right.value}")


def _finite(value: float, dimension: Dimension, bound: Bound) -> Quantity:
    if not math.isfinite(value):
        raise CannotEvaluate("the expression has no finite value")
    return Quantity(value=value, dimension=dimension, bound=bound)
