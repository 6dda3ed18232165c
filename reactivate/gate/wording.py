"""The sentences of the gate: why a verdict is what it is, with numbers formatted once."""

from __future__ import annotations

from reactivate.checklist.model import Comparator
from reactivate.evidence import Bound, Dimension, Role, Verdict
from reactivate.gate.evaluate import Quantity
from reactivate.units import format_percent, format_quantity, format_ratio

_BEYOND = {
    Comparator.LE: "above",
    Comparator.LT: "not below",
    Comparator.GE: "below",
    Comparator.GT: "not above",
    Comparator.EQ: "not equal to",
}
_WITHIN = {
    Comparator.LE: "within",
    Comparator.LT: "below",
    Comparator.GE: "at least",
    Comparator.GT: "above",
    Comparator.EQ: "equal to",
}
_BOUNDS = {Bound.LOWER: "at least ", Bound.UPPER: "at most ", Bound.EXACT: ""}
_BASE_UNITS = {
    Dimension.BYTES: " B",
    Dimension.NANOSECONDS: " ns",
    Dimension.COUNT: "",
    Dimension.RATIO: "",
}


def pair(observed: float, limit: float, dimension: Dimension) -> tuple[str, str]:
    """Two values as text; in base units where rounding would make different ones look alike."""
    first, second = shown(observed, dimension), shown(limit, dimension)
    if first != second or observed == limit:
        return first, second
    unit = _BASE_UNITS[dimension]
    return f"{_digits(observed)}{unit}", f"{_digits(limit)}{unit}"


def shown(value: float, dimension: Dimension) -> str:
    """A value; a share as a percentage."""
    if dimension is Dimension.RATIO:
        return format_percent(value)
    return format_quantity(value, dimension)


def sentence_of_value(
    what: str, observed: Quantity, comparator: Comparator, limit: Quantity, verdict: Verdict
) -> str:
    """Why a value has its verdict."""
    first, second = pair(observed.value, limit.value, observed.dimension)
    if verdict is Verdict.INCONCLUSIVE:
        side = "more" if observed.bound is Bound.LOWER else "less"
        if observed.bound is Bound.EXACT:
            return f"{what} is {first}, but the limit of {second} is itself only a bound"
        return f"{what} is {_BOUNDS[observed.bound]}{first}, may be {side}: {second} is undecided"
    stands = (_WITHIN if verdict is Verdict.PASS else _BEYOND)[comparator]
    return f"{what} is {_BOUNDS[observed.bound]}{first}, {stands} the limit of {second}"


def sentence_of_ratio(
    what: str,
    role: Role,
    *,
    ratio: float,
    interval: tuple[float, float] | None,
    comparator: Comparator,
    limit: float,
    verdict: Verdict,
) -> str:
    """Why a comparison with another build has its verdict."""
    observed, bound = format_ratio(ratio), format_ratio(limit)
    if observed == bound and ratio != limit:
        observed, bound = f"{ratio:.6g}×", f"{limit:.6g}×"
    sure = ""
    if interval is not None:
        sure = f" (between {format_ratio(interval[0])} and {format_ratio(interval[1])})"
    start = f"{what} is {observed} the {role.value} build's{sure}"
    if verdict is Verdict.INCONCLUSIVE:
        return f"{start}, which does not decide about {bound}"
    stands = (_WITHIN if verdict is Verdict.PASS else _BEYOND)[comparator]
    return f"{start}, {stands} the limit of {bound}"


def _digits(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"
