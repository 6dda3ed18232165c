"""What the parts of a criterion count, and which of them may meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from reactivate.checklist.lexer import Problem
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
)
from reactivate.evidence import Dimension
from reactivate.metrics import METRICS


class Kind(StrEnum):
    """What an expression counts: a dimension, or one of three things that have none."""

    BYTES = Dimension.BYTES.value
    NANOSECONDS = Dimension.NANOSECONDS.value
    COUNT = Dimension.COUNT.value
    RATIO = Dimension.RATIO.value
    PLAIN = "plain"
    """A number without a unit: a factor, or a count when compared with one."""
    PERCENT = "percent"
    """Relative to whatever it is added to."""
    UNKNOWN = "unknown"
    """Something in it is wrong and has been said; nothing more is complained of."""

    @property
    def dimension(self) -> Dimension:
        """The dimension of a number of this kind."""
        return Dimension.COUNT if self is Kind.PLAIN else Dimension(self.value)

    @property
    def shown(self) -> str:
        """How a message names it."""
        return _SHOWN[self]


_SHOWN = {
    Kind.BYTES: "a size",
    Kind.NANOSECONDS: "a duration",
    Kind.COUNT: "a count",
    Kind.RATIO: "a share",
    Kind.PLAIN: "a plain number",
    Kind.PERCENT: "a percentage",
    Kind.UNKNOWN: "something unknown",
}

_NUMBERS = frozenset({Kind.PLAIN, Kind.COUNT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """An expression, what it counts, and where it stands (0-based)."""

    expression: Expression
    kind: Kind
    start: int
    end: int

    @classmethod
    def unknown(cls, start: int, end: int) -> Typed:
        """A place where something wrong was written; its expression is never used."""
        nothing = Number(value=0, dimension=Dimension.COUNT)
        return cls(expression=nothing, kind=Kind.UNKNOWN, start=start, end=end)

    def within(self, start: int, end: int) -> Typed:
        """The same, seen with the parentheses around it."""
        return replace(self, start=start, end=end)

    def problem(self, message: str, suggestion: str = "") -> Problem:
        """Something wrong with the whole of it."""
        return Problem(start=self.start, end=self.end, message=message, suggestion=suggestion)


def walk(expression: Expression) -> Iterator[Expression]:
    """An expression and all that is in it, from left to right."""
    yield expression
    match expression:
        case Arithmetic(left=left, right=right):
            yield from walk(left)
            yield from walk(right)
        case PercentOf(whole=whole):
            yield from walk(whole)


def metric_names(expression: Expression) -> tuple[str, ...]:
    """The metrics an expression names, from left to right."""
    return tuple(part.name for part in walk(expression) if isinstance(part, MetricName))


def combine(left: Typed, operator: Operator, right: Typed) -> tuple[Typed, list[Problem]]:
    """Join two expressions by an operator; the kind is UNKNOWN if there is a problem."""
    joined = Typed(
        expression=Arithmetic(left=left.expression, operator=operator, right=right.expression),
        kind=Kind.UNKNOWN,
        start=left.start,
        end=right.end,
    )
    if Kind.UNKNOWN in {left.kind, right.kind}:
        return joined, []
    additive = operator in {Operator.ADD, Operator.SUBTRACT}
    found = _sum_kind(left, operator, right) if additive else _product_kind(left, operator, right)
    if isinstance(found, Problem):
        return joined, [found]
    return replace(joined, kind=found), []


def _sum_kind(left: Typed, operator: Operator, right: Typed) -> Kind | Problem:
    if left.kind is Kind.PERCENT:
        return left.problem(
            "a percentage stands after what it is added to", "e.g. `baseline + 20%`"
        )
    taken = right.expression if operator is Operator.SUBTRACT else None
    if isinstance(taken, Percent) and taken.value > 100:
        return right.problem("more than 100 % cannot be subtracted")
    if right.kind is Kind.PERCENT or left.kind is right.kind:
        return left.kind
    if {left.kind, right.kind} <= _NUMBERS:
        return Kind.COUNT
    verb = "added to" if operator is Operator.ADD else "subtracted from"
    return right.problem(
        f"{right.kind.shown} cannot be {verb} {left.kind.shown}", _unit_advice(right, left)
    )


def _product_kind(left: Typed, operator: Operator, right: Typed) -> Kind | Problem:
    for side in (left, right):
        if side.kind is Kind.PERCENT:
            return side.problem(
                "a percentage is no factor", "write `120% of baseline` or `baseline + 20%`"
            )
    if operator is Operator.DIVIDE:
        if right.kind is not Kind.PLAIN:
            return right.problem(
                f"only a plain number can divide, not {right.kind.shown}",
                "to compare with a share, write `25% of …`",
            )
        if constant(right.expression) == 0:
            return right.problem("division by zero")
        return left.kind
    if right.kind is Kind.PLAIN:
        return left.kind
    if left.kind is Kind.PLAIN:
        return right.kind
    return right.problem(
        f"only a plain number can multiply, not {right.kind.shown} with {left.kind.shown}"
    )


def constant(expression: Expression) -> float | None:
    """The value of an expression of literals, None if it depends on anything measured."""
    match expression:
        case Number(value=value):
            return value
        case PercentOf(percent=percent, whole=whole):
            of = constant(whole)
            return None if of is None else of * percent / 100
        case Arithmetic(left=left, operator=operator, right=right):
            first = constant(left)
            if isinstance(right, Percent):
                second = None if first is None else first * right.value / 100
            else:
                second = constant(right)
            if first is None or second is None:
                return None
            return _arithmetic(first, operator, second)
    return None


def _arithmetic(left: float, operator: Operator, right: float) -> float:
    match operator:
        case Operator.ADD:
            return left + right
        case Operator.SUBTRACT:
            return left - right
        case Operator.MULTIPLY:
            return left * right
        case Operator.DIVIDE:
            return left / right if right else 0.0


def compare(left: Typed, comparator: Comparator, right: Typed) -> tuple[Comparison, list[Problem]]:
    """Put two expressions into a comparison, with all that is wrong about it."""
    left, right = _share(left, right), _share(right, left)
    comparison = Comparison(left=left.expression, comparator=comparator, right=right.expression)
    problems = [*_about_sides(left, right), *_about_kinds(left, right)]
    if not problems:
        problems += _about_meaning(left, comparator, right)
    return comparison, problems


def _share(side: Typed, other: Typed) -> Typed:
    """Where a share is compared with a percentage, the percentage is a number."""
    if not isinstance(side.expression, Percent) or other.kind is not Kind.RATIO:
        return side
    value = float(Decimal(repr(side.expression.value)) / 100)
    number = Number(value=value, dimension=Dimension.RATIO)
    return replace(side, expression=number, kind=Kind.RATIO)


def _about_sides(left: Typed, right: Typed) -> Iterator[Problem]:
    if left.kind is Kind.UNKNOWN:
        return
    named = metric_names(left.expression)
    if not named:
        advice = "write the metric first" if metric_names(right.expression) else ""
        yield left.problem("the left side names no metric, so nothing is observed", advice)
    if sum(METRICS[name].per_operation for name in named) > 1:
        yield left.problem("only one metric with a value for each operation can be observed")


def _about_kinds(left: Typed, right: Typed) -> Iterator[Problem]:
    kinds = {left.kind, right.kind}
    if Kind.UNKNOWN in kinds or len(kinds) == 1 or kinds <= _NUMBERS:
        return
    if Kind.PERCENT in kinds:
        side = left if left.kind is Kind.PERCENT else right
        yield side.problem("a percentage of what?", "e.g. `25% of stack.limit` or `baseline + 20%`")
        return
    yield right.problem(
        f"{left.kind.shown} is compared with {right.kind.shown}", _unit_advice(right, left)
    )


def _about_meaning(left: Typed, comparator: Comparator, right: Typed) -> Iterator[Problem]:
    """What could never be red, or never be green, is no criterion."""
    both = set(metric_names(left.expression)) & set(metric_names(right.expression))
    if both:
        yield right.problem(f"`{sorted(both)[0]}` is held against itself")
    limit = constant(right.expression)
    if limit is None or not isinstance(left.expression, MetricName):
        return
    if (comparator is Comparator.GE and limit <= 0) or (comparator is Comparator.GT and limit < 0):
        yield right.problem("always true: nothing measured is negative")
    if (comparator is Comparator.LT and limit <= 0) or (
        comparator in {Comparator.LE, Comparator.EQ} and limit < 0
    ):
        yield right.problem("never true: nothing measured is negative")


def _unit_advice(side: Typed, other: Typed) -> str:
    if side.kind is not Kind.PLAIN:
        return ""
    match other.kind:
        case Kind.BYTES:
            return "give it a unit: B, KiB, MiB or GiB"
        case Kind.NANOSECONDS:
            return "give it a unit: ns, us, ms or s"
        case Kind.RATIO:
            return "write it as a percentage"
        case _:
            return ""
