"""Criteria back to text, in one canonical spelling."""

from __future__ import annotations

from decimal import Decimal

from reactivate.checklist.model import (
    Arithmetic,
    Comparison,
    Expression,
    MetricName,
    Number,
    Operator,
    Percent,
    PercentOf,
    ReferenceValue,
)
from reactivate.evidence import Dimension
from reactivate.units import UNITS

_SUM, _PRODUCT, _FACTOR = 1, 2, 3
_PRECEDENCE = {
    Operator.ADD: _SUM,
    Operator.SUBTRACT: _SUM,
    Operator.MULTIPLY: _PRODUCT,
    Operator.DIVIDE: _PRODUCT,
}


def render(comparison: Comparison) -> str:
    """The text of a criterion; reading it again gives an equal comparison."""
    left, right = render_expression(comparison.left), render_expression(comparison.right)
    return f"{left} {comparison.comparator} {right}"


def render_expression(expression: Expression) -> str:
    """The text of a part of a criterion, with no more parentheses than needed."""
    return _written(expression, _SUM)


def _written(expression: Expression, least: int) -> str:
    """Text that binds at least as tightly as `least`."""
    match expression:
        case Number():
            return _number(expression)
        case Percent(value=value):
            return f"{_decimal(value)}%"
        case MetricName(name=name, operations=operations):
            return f"{name}({', '.join(operations)})" if operations else name
        case ReferenceValue(role=role):
            return role.value
        case PercentOf(percent=percent, whole=whole):
            return f"{_decimal(percent)}% of {_written(whole, _FACTOR)}"
        case Arithmetic(left=left, operator=operator, right=right):
            own = _PRECEDENCE[operator]
            # Operators of one precedence group from the left, so only the right side needs more.
            text = f"{_written(left, own)} {operator} {_written(right, own + 1)}"
            return f"({text})" if own < least else text


def _number(number: Number) -> str:
    if number.dimension is Dimension.RATIO:
        return f"{_decimal(Decimal(repr(number.value)) * 100)}%"
    if number.dimension is Dimension.COUNT:
        return _decimal(number.value)
    units = [u for u in UNITS.values() if u.dimension is number.dimension and u.name.isascii()]
    unit, value = units[0], number.value
    for larger in units[1:]:
        # A whole number of the larger unit, so that nothing is lost on the way back.
        if value and value == int(value) and int(value) % larger.factor == 0:
            unit = larger
    shown = _decimal(int(value) // unit.factor if unit is not units[0] else value)
    return f"{shown} {unit.name}"


def _decimal(value: float | Decimal) -> str:
    """Digits without an exponent, which the language does not have."""
    text = format(value if isinstance(value, Decimal) else Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
