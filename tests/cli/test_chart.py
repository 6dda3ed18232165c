from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from reactivate.cli.chart import HEIGHT, WIDTH, chart

MIB = 1 << 20
POINTS = [(50, 240_000.0), (200, 560_000.0), (800, 1_745_000.0), (2000, 4_333_000.0)]

numbers = st.floats(0, 1e12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), max_size=9),
    st.one_of(st.none(), numbers),
    st.lists(numbers, max_size=3),
    st.text(max_size=80).filter(str.isprintable),
    st.booleans(),
)
def test_it_fits_and_never_fails(
    points: list[tuple[float, float]],
    limit: float | None,
    deaths: list[float],
    parameter: str,
    unicode: bool,
) -> None:
    lines = chart(
        points, parameter=parameter, limit_bytes=limit, deaths=deaths, law=float, unicode=unicode
    )
    assert bool(lines) == bool(points or deaths)
    assert len(lines) <= HEIGHT
    assert all(len(line) <= WIDTH for line in lines)


def test_higher_is_deeper_and_right_is_more() -> None:
    lines = chart(POINTS, parameter="ef")
    places = sorted(
        (column, row)
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if character == "●"
    )
    assert len(places) == len(POINTS)
    assert [row for _, row in places] == sorted((row for _, row in places), reverse=True)
    assert "4.13 MiB" in lines[places[-1][1]]
    assert lines[-1].split()[0] == "50"
    assert lines[-1].split()[-1] == "2,000"
    assert "ef (log)" in lines[-1]


def test_the_limit_is_a_line_or_named_when_it_is_far_above() -> None:
    near = chart(POINTS, parameter="ef", limit_bytes=8 * MIB)
    assert "8.00 MiB" in near[0]
    assert near[1].count("┄") > 40
    far = chart([(1, 1e5), (2, 1e5)], parameter="ef", limit_bytes=8 * MIB)
    assert far[0].strip() == "limit: 8.00 MiB, above this chart"
    assert not any("┄" in line for line in far)


def test_a_death_stands_at_the_top_for_its_depth_is_unknown() -> None:
    lines = chart(POINTS[:3], parameter="ef", limit_bytes=2 * MIB, deaths=[2000])
    assert lines[1].endswith("×")
    assert sum(line.count("×") for line in lines) == 1
    # Even if nothing survived.
    assert any("×" in line for line in chart([], parameter="ef", limit_bytes=MIB, deaths=[5]))


def test_the_law_is_drawn_below_the_points() -> None:
    lines = chart(POINTS, parameter="ef", law=lambda x: 130_000 + 2_100 * x)
    assert sum(line.count("·") for line in lines) > 20
    assert sum(line.count("●") for line in lines) == len(POINTS)


def test_without_unicode_every_character_is_ascii() -> None:
    lines = chart(POINTS, parameter="ef", limit_bytes=8 * MIB, deaths=[900], unicode=False)
    assert all(line.isascii() for line in lines)
    assert "x" in "".join(lines[:2])


def test_nothing_to_draw() -> None:
    assert chart([], parameter="ef", limit_bytes=MIB) == []
    assert chart([(math.nan, 1.0), (1.0, math.inf)], parameter="ef") == []
