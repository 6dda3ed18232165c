"""How stack depth grows with a swept parameter, and where that would meet a limit.

Three laws are told apart: constant, logarithmic (base 2: what each doubling costs) and linear, by
least squares. What two of them explain equally well, or none of them, is `unclear`, with the
reason: an extrapolation from a guessed law is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reactivate.units import format_bytes

LEAST_VALUES = 3
"""Two points lie on a line whatever the truth is."""

PAGE_BYTES = 4096
"""Depths that were read from whole pages are this far from the truth."""

_FITS_WITHIN = 0.05
"""A law fits if no point is farther from it than this part of the spread (and the tolerance)."""

_CLEARLY = 3.0
"""A law is preferred to another that fits, too, if its largest residual is so many times less."""

_LARGEST_EXPONENT = 1000.0
"""Beyond 2 to this no parameter exists."""


class LawKind(StrEnum):
    """The laws that are told apart."""

    CONSTANT = "constant"
    LOGARITHMIC = "logarithmic"
    LINEAR = "linear"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A fitted law. The numbers are None where the law is unclear.

    Attributes:
        kind: which law.
        formula: `28,412 B + 2,160 B × ef`; "" if unclear.
        slope: bytes for each unit of the parameter (linear) or each doubling (logarithmic);
            0 if constant.
        intercept: depth in bytes at parameter 0 (linear) or 1 (logarithmic); the constant.
        error: the largest residual as a part of the depth measured there.
        r2: share of the variance that is explained; None for a constant, where there is none.
        n: how many points.
        lowest: the smallest parameter measured; None without points.
        highest: the largest parameter measured; None without points.
        reason: why it is unclear; "" if it is not.
    """

    kind: LawKind
    formula: str
    slope: float | None
    intercept: float | None
    error: float | None
    r2: float | None
    n: int
    lowest: float | None
    highest: float | None
    reason: str = ""

    def at(self, parameter: float) -> float | None:
        """Depth in bytes by this law; None if it is unclear or has no value there."""
        if self.slope is None or self.intercept is None:
            return None
        if self.kind is LawKind.CONSTANT:
            return self.intercept
        if self.kind is LawKind.LOGARITHMIC:
            return None if parameter <= 0 else self.intercept + self.slope * math.log2(parameter)
        return self.intercept + self.slope * parameter

    def reaches(self, limit_bytes: float) -> float | None:
        """The parameter at which the depth would be the limit.

        None if that never comes (constant, or beyond every number) or the law is unclear; see
        `kind` for which. 0.0 if the depth is at the limit whatever the parameter.
        """
        if self.slope is None or self.intercept is None:
            return None
        over = limit_bytes - self.intercept
        if self.kind is LawKind.CONSTANT:
            return None if over > 0 else 0.0
        steps = over / self.slope
        if self.kind is LawKind.LINEAR:
            return steps if math.isfinite(steps) else None
        return 2.0**steps if steps < _LARGEST_EXPONENT else None


def fit(
    points: Sequence[tuple[float, float]],
    *,
    parameter: str = "n",
    tolerance_bytes: float = PAGE_BYTES,
) -> Law:
    """Fit the three laws and say which one holds.

    Args:
        points: pairs of parameter and depth in bytes, of steps that were measured to the end; a
            step that died says only "more than the limit" and belongs to no fit.
        parameter: the parameter's name, for the formula.
        tolerance_bytes: how far a measured depth may be from the truth; differences that are
            not larger are not growth.

    Raises:
        ValueError: a number that is not finite, or a negative depth or tolerance.
    """
    if tolerance_bytes < 0 or any(not math.isfinite(x) or not 0 <= y < math.inf for x, y in points):
        raise ValueError("parameters must be finite, depths and the tolerance finite and positive")
    distinct = len({x for x, _ in points})
    if distinct < LEAST_VALUES:
        return _unclear(points, f"{distinct} of at least {LEAST_VALUES} values were measured")
    depths = [y for _, y in points]
    spread = max(depths) - min(depths)
    if spread <= tolerance_bytes:
        return _constant(points)
    return _growing(points, parameter, tolerance_bytes, spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    kind: LawKind
    slope: float
    intercept: float
    worst: float
    """The largest residual, in bytes."""
    error: float
    r2: float


def _constant(points: Sequence[tuple[float, float]]) -> Law:
    mean = math.fsum(y for _, y in points) / len(points)
    return Law(
        kind=LawKind.CONSTANT,
        formula=format_bytes(mean),
        slope=0.0,
        intercept=mean,
        error=max(_relative(y, y - mean) for _, y in points),
        r2=None,
        n=len(points),
        lowest=min(x for x, _ in points),
        highest=max(x for x, _ in points),
    )


def _growing(
    points: Sequence[tuple[float, float]], parameter: str, tolerance: float, spread: float
) -> Law:
    lines = [_least_squares(points, LawKind.LINEAR, float)]
    if min(x for x, _ in points) > 0:
        lines.append(_least_squares(points, LawKind.LOGARITHMIC, math.log2))
    lines.sort(key=lambda line: line.worst)
    best = lines[0]
    if best.worst > max(tolerance, _FITS_WITHIN * spread):
        return _unclear(
            points,
            f"none of the laws fits: the best, {best.kind}, is off by {format_bytes(best.worst)}",
        )
    # Differences below the tolerance decide nothing.
    if len(lines) > 1 and lines[1].worst <= _CLEARLY * max(best.worst, tolerance / _CLEARLY):
        return _unclear(points, f"{best.kind} and {lines[1].kind} fit about equally well")
    if best.slope <= 0:
        return _unclear(points, f"the depth falls as {parameter} grows")
    argument = parameter if best.kind is LawKind.LINEAR else f"log2({parameter})"
    sign = "-" if best.intercept < 0 else ""
    return Law(
        kind=best.kind,
        formula=(
            f"{sign}{format_bytes(abs(best.intercept))} + {format_bytes(best.slope)} × {argument}"
        ),
        slope=best.slope,
        intercept=best.intercept,
        error=best.error,
        r2=best.r2,
        n=len(points),
        lowest=min(x for x, _ in points),
        highest=max(x for x, _ in points),
    )


def _least_squares(
    points: Sequence[tuple[float, float]], kind: LawKind, scale: Callable[[float], float]
) -> _Line:
    xs = [scale(x) for x, _ in points]
    ys = [y for _, y in points]
    middle_x, middle_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    across = math.fsum((x - middle_x) ** 2 for x in xs)
    both = math.fsum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    slope = both / across if across > 0 else 0.0
    intercept = middle_y - slope * middle_x
    residuals = [y - (intercept + slope * x) for x, y in zip(xs, ys, strict=True)]
    total = math.fsum((y - middle_y) ** 2 for y in ys)
    return _Line(
        kind=kind,
        slope=slope,
        intercept=intercept,
        worst=max(abs(residual) for residual in residuals),
        error=max(_relative(y, r) for y, r in zip(ys, residuals, strict=True)),
        r2=1.0 - math.fsum(r * r for r in residuals) / total,
    )


def _relative(depth: float, residual: float) -> float:
    if residual == 0:
        return 0.0
    return abs(residual) / depth if depth > 0 else math.inf


def _unclear(points: Sequence[tuple[float, float]], reason: str) -> Law:
    return Law(
        kind=LawKind.UNCLEAR,
        formula="",
        slope=None,
        intercept=None,
        error=None,
        r2=None,
        n=len(points),
        lowest=min((x for x, _ in points), default=None),
        highest=max((x for x, _ in points), default=None),
        reason=reason,
    )
