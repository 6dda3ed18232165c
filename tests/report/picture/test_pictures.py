"""Pictures show what they are given, byte for byte, and are well-formed whatever the names are."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivate.report.picture.bars import Bar, bars
from reactivate.report.picture.curve import Series, curve
from reactivate.report.picture.icicle import Chain, Frame, comparison, icicle, merged
from reactivate.report.picture.svg import WIDTH, Picture

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "title", "desc", "style", "g", "rect", "text", "path", "polyline"}
FRAMES = st.lists(
    st.builds(
        Frame,
        function=st.text(max_size=8),
        place=st.text(max_size=8),
        size_bytes=st.integers(0, 1 << 24),
        count=st.integers(1, 5000),
    ),
    max_size=60,
).map(tuple)


def parsed(picture: Picture) -> ElementTree.Element:
    root = ElementTree.fromstring(picture.file)
    found = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert found <= ELEMENTS
    assert not [name for e in root.iter() for name in e.attrib if name.startswith(("on", "xlink"))]
    return root


def frames_of(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [g for g in root.iter(f"{SVG}g") if "data-bytes" in g.attrib]


@given(FRAMES)
def test_merging_frames_loses_no_byte_and_no_frame(frames: tuple[Frame, ...]) -> None:
    kept = merged(frames, most=10)
    assert sum(f.size_bytes for f in kept) == sum(f.size_bytes for f in frames)
    assert sum(f.count for f in kept) == sum(f.count for f in frames if f.size_bytes)
    assert len(kept) <= 10


@given(FRAMES)
def test_an_icicle_of_anything_is_well_formed_and_as_wide_as_its_bytes(
    frames: tuple[Frame, ...],
) -> None:
    chain = Chain(title="t", frames=frames, limit_bytes=1 << 20)
    root = parsed(icicle(chain))
    rows = frames_of(root)
    assert sum(int(row.attrib["data-bytes"]) for row in rows) == chain.total_bytes
    own = sum(float(row.findall(f"{SVG}rect")[1].attrib["width"]) for row in rows)
    assert own == pytest.approx(WIDTH if chain.total_bytes else 0, abs=2)


def test_hovering_tells_function_place_bytes_and_share() -> None:
    frame = Frame(function="walk", place="walk.c:7", size_bytes=262_144, count=100)
    root = parsed(icicle(Chain(title="t", frames=(frame,), limit_bytes=1 << 20)))
    (row,) = frames_of(root)
    title = row.findtext(f"{SVG}title")
    assert title == "walk × 100 256 KiB, 25.0 % of the limit 1.00 MiB\nwalk.c:7"


def test_growth_and_shrinkage_are_marked_by_colour_and_sign() -> None:
    one, two = Frame(function="one", place="", size_bytes=100), "two"
    before = Chain(title="before", frames=(one, Frame(function=two, place="", size_bytes=300)))
    after = Chain(title="after", frames=(one, Frame(function="three", place="", size_bytes=200)))
    marked = {
        (row.findall(f"{SVG}rect")[1].attrib["class"], (row.findtext(f"{SVG}title") or "")[:7])
        for row in frames_of(parsed(comparison(before, after)))
    }
    assert marked == {("own", "one 100"), ("shrank", "− two 3"), ("grew", "+ three")}


def test_chains_of_a_different_order_of_size_say_that_their_scales_differ() -> None:
    small = Chain(title="s", frames=(Frame(function="f", place="", size_bytes=100),))
    large = Chain(title="l", frames=(Frame(function="f", place="", size_bytes=40_000),))
    assert "drawn 400 times as wide as the other" in comparison(large, small).file
    assert "times as wide" not in comparison(large, large).file


def test_a_bar_over_its_budget_is_red_and_says_so() -> None:
    found = [
        Bar(name="good", value_bytes=50, budget_bytes=100),
        Bar(name="bad", value_bytes=200, budget_bytes=100),
        Bar(name="free", value_bytes=10),
        Bar(name="gone", value_bytes=None, missing="no probe"),
    ]
    root = parsed(bars("t", found))
    assert [r.attrib["class"] for r in root.iter(f"{SVG}rect")] == ["ok", "over", "own"]
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert "200 B, over budget" in texts
    assert texts.count("not measured") == 1
    titles = ["".join(t.itertext()) for t in root.iter(f"{SVG}title")]
    assert "gone: not measured: no probe" in titles


def test_a_budget_far_away_is_named_instead_of_drawn() -> None:
    picture = bars("t", [Bar(name="a", value_bytes=10, budget_bytes=1000)])
    assert "budget 1,000 B, 100 times the longest bar: not drawn" in picture.file
    assert 'class="budget"' not in picture.file


@given(
    st.lists(st.tuples(st.floats(), st.floats(0)), max_size=6).map(tuple),
    st.lists(st.floats(), max_size=3).map(tuple),
)
def test_a_curve_of_anything_is_well_formed(
    points: tuple[tuple[float, float], ...], deaths: tuple[float, ...]
) -> None:
    series = Series(name="n", points=points, deaths=deaths, limit_bytes=4096)
    text = curve("t", [series], parameter="p")
    parsed(text)
    assert "nan" not in "".join(text.parts)


def test_deaths_are_crosses_and_the_limit_is_a_line() -> None:
    series = Series(name="n", points=((1, 100), (2, 200)), deaths=(3,), limit_bytes=400)
    root = parsed(curve("t", [series], parameter="ef"))
    kinds = [path.attrib["class"] for path in root.iter(f"{SVG}path")]
    assert (kinds.count("point"), kinds.count("dead"), kinds.count("limit")) == (3, 1, 1)
