from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivate.gate.growth_law import PAGE_BYTES, LawKind, fit

MIB = 1 << 20

parameters = st.lists(st.integers(1, 100_000), min_size=4, max_size=12, unique=True).filter(
    lambda xs: max(xs) >= 16 * min(xs)
)
depths = st.floats(8_000, 4 * MIB)
seeds = st.integers(0, 1 << 30)


def noisy(seed: int, bytes_: float) -> list[float]:
    """Up to twelve errors, evenly drawn, none larger than this."""
    source = random.Random(seed)
    return [source.uniform(-bytes_, bytes_) for _ in range(12)]


@settings(max_examples=60, deadline=None)
@given(parameters, depths, seeds)
def test_page_noise_on_a_constant_is_no_growth(xs: list[int], depth: float, seed: int) -> None:
    law = fit([(x, depth + e) for x, e in zip(xs, noisy(seed, PAGE_BYTES / 2), strict=False)])
    assert law.kind is LawKind.CONSTANT
    assert law.at(1e9) == pytest.approx(depth, abs=PAGE_BYTES / 2)
    assert law.reaches(8 * MIB) is None
    assert law.slope == 0
    assert law.r2 is None


@settings(max_examples=60, deadline=None)
@given(parameters, depths, st.floats(1_000, 1e6), seeds)
def test_a_line_with_page_noise_is_never_taken_for_another_law(
    xs: list[int], start: float, slope: float, seed: int
) -> None:
    errors = noisy(seed, PAGE_BYTES / 2)
    law = fit([(x, start + slope * x + e) for x, e in zip(xs, errors, strict=False)])
    assert law.kind in (LawKind.LINEAR, LawKind.UNCLEAR)
    if law.kind is LawKind.LINEAR:
        assert law.slope == pytest.approx(slope, rel=0.3, abs=PAGE_BYTES / min(xs))
        # Where the limit would be reached is where the law says that the depth is the limit.
        limit = start + slope * max(xs) * 10
        reached = law.reaches(limit)
        assert reached is not None
        assert law.at(reached) == pytest.approx(limit)
        assert reached == pytest.approx(max(xs) * 10, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(parameters, depths, st.floats(20_000, 1e6), seeds)
def test_a_logarithm_with_page_noise_is_never_taken_for_another_law(
    xs: list[int], start: float, slope: float, seed: int
) -> None:
    errors = noisy(seed, PAGE_BYTES / 2)
    law = fit([(x, start + slope * math.log2(x) + e) for x, e in zip(xs, errors, strict=False)])
    assert law.kind in (LawKind.LOGARITHMIC, LawKind.UNCLEAR)
    if law.kind is LawKind.LOGARITHMIC:
        assert law.slope == pytest.approx(slope, rel=0.2)
        reached = law.reaches(start + slope * 40)
        assert reached is not None
        assert law.at(reached) == pytest.approx(start + slope * 40)


def test_laws_that_differ_by_far_are_recognised_and_not_only_called_unclear() -> None:
    xs = [50, 200, 800, 2000]
    line = fit([(x, 130_000 + 2_160 * x + 900) for x in xs], parameter="ef")
    assert line.kind is LawKind.LINEAR
    assert line.formula == "128 KiB + 2,160 B × ef"
    assert line.error == pytest.approx(0, abs=1e-9)
    assert line.r2 == pytest.approx(1)
    assert (line.n, line.lowest, line.highest) == (4, 50, 2000)
    logarithm = fit([(x, 10_000 + 50_000 * math.log2(x)) for x in xs], parameter="ef")
    assert logarithm.kind is LawKind.LOGARITHMIC
    assert logarithm.formula == "10,000 B + 48.8 KiB × log2(ef)"
    assert logarithm.at(0) is None


def test_the_worst_residual_is_told_as_a_part_of_its_depth() -> None:
    points = [(1, 100_000), (2, 200_000), (3, 300_000), (4, 400_000 + 20_000)]
    law = fit(points)
    assert law.kind is LawKind.LINEAR
    slope, start = law.slope, law.intercept
    assert slope is not None
    assert start is not None
    assert law.error == pytest.approx(max(abs(y - start - slope * x) / y for x, y in points))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], "0 of at least 3 values"),
        ([(1, 5_000), (2, 90_000)], "2 of at least 3 values"),
        ([(1, 5_000), (2, 90_000), (2, 91_000), (1, 5_500)], "2 of at least 3 values"),
        ([(1, 10_000), (10, 900_000), (100, 20_000), (1000, 800_000)], "none of the laws fits"),
        ([(1, 900_000), (2, 600_000), (3, 300_000)], "falls as n grows"),
        # Three neighbours: a line and a logarithm both pass within a page.
        ([(100, 100_000), (101, 110_000), (102, 120_000)], "fit about equally well"),
        ([(x, 1_000 * x * x) for x in (1, 10, 100, 1000)], "none of the laws fits"),
    ],
)
def test_unclear_says_why_and_extrapolates_nothing(
    points: list[tuple[float, float]], reason: str
) -> None:
    law = fit(points)
    assert law.kind is LawKind.UNCLEAR
    assert reason in law.reason
    assert law.formula == ""
    assert law.at(5) is None
    assert law.reaches(8 * MIB) is None


def test_the_tolerance_decides_what_is_growth() -> None:
    points = [(x, 100_000 + 100.0 * x) for x in (1, 50, 100)]
    assert fit(points, tolerance_bytes=16 * 1024).kind is LawKind.CONSTANT
    assert fit(points, tolerance_bytes=64).kind is LawKind.LINEAR


def test_ends_of_the_extrapolation() -> None:
    constant = fit([(x, 100_000) for x in (1, 2, 3)])
    assert constant.reaches(100_001) is None
    assert constant.reaches(100_000) == 0.0
    slow = fit([(10.0**x, 1_000_000 + 5_000 * math.log2(10) * x) for x in range(9)])
    assert slow.kind is LawKind.LOGARITHMIC
    assert slow.reaches(1 << 40) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_refused(wrong: float) -> None:
    good = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    for bad in ([*good, (wrong, 1.0)], [*good, (4.0, wrong)], [*good, (4.0, -1.0)]):
        with pytest.raises(ValueError, match="finite"):
            fit(bad)
    with pytest.raises(ValueError, match="tolerance"):
        fit(good, tolerance_bytes=-1)
