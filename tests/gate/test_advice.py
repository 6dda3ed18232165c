"""What is advised follows from what was measured, and from nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reactivate.gate.advice import (
    ChainFacts,
    Circumstances,
    Group,
    OverflowClass,
    advice,
    classify,
)

KIB = 1024
MIB = 1024 * KIB
START = Circumstances(initialising=True)


def frame(name: str, size_bytes: int) -> Group:
    return Group(
        functions=(name,), count=1, size_bytes=size_bytes, each_bytes=size_bytes,
        function=name, frame_bytes=size_bytes, file=f"{name}.c", line=7,
    )  # fmt: skip


def ring(count: int, each_bytes: int, *names: str) -> Group:
    return Group(
        functions=names, count=count, size_bytes=count * each_bytes, each_bytes=each_bytes,
        function=names[0], frame_bytes=each_bytes // len(names), file="ring.c", line=3,
    )  # fmt: skip


def facts(*groups: Group, overflow: bool | None = True, **changes: object) -> ChainFacts:
    total = sum(group.size_bytes for group in groups)
    values: dict[str, object] = {"total_bytes": total, "attributed_bytes": total, **changes}
    return ChainFacts(groups=groups, overflow=overflow, **values)  # type: ignore[arg-type]


def kind(found: ChainFacts, around: Circumstances | None = None) -> OverflowClass:
    return classify(found, around or Circumstances()).kind


def test_a_recursion_is_named_with_its_numbers() -> None:
    found = classify(
        facts(frame("leaf", 4096), ring(41_234, 200, "walk"), frame("main", 400)),
        Circumstances(operation="search"),
    )
    assert found.kind is OverflowClass.RECURSION
    assert found.place == "walk at ring.c:3"
    assert "walk × 41,234, 200 B each time" in found.evidence
    assert "during `search`" in found.evidence
    given_advice = advice(found)
    assert [a.applies_to for a in given_advice] == ["walk at ring.c:3"] * 2
    assert all(a.evidence == found.evidence for a in given_advice)


def test_a_recursion_with_a_large_frame_is_told_to_make_it_lean() -> None:
    lean = advice(classify(facts(ring(1000, 100, "walk")), Circumstances()))
    fat = advice(classify(facts(ring(1000, 4096, "walk")), Circumstances()))
    assert len(fat) == len(lean) + 1


def test_a_recursion_without_a_regular_ring() -> None:
    rows = [frame(name, 500) for name in ("walk", "left", "walk", "right", "walk") * 20]
    assert kind(facts(*rows)) is OverflowClass.RECURSION


def test_a_function_that_comes_back_a_few_times_is_no_recursion() -> None:
    rows = [frame("call", 3000), frame("run", 100)] * 5
    assert kind(facts(*rows)) is not OverflowClass.RECURSION


def test_recursion_below_a_larger_frame_is_not_to_blame() -> None:
    found = facts(ring(100, 200, "walk"), frame("table", 3 * MIB))
    assert kind(found) is OverflowClass.LARGE_FRAME


def test_constructors_within_each_other() -> None:
    links = [frame(name, 200 * KIB) for name in ("levels", "links", "index", "storage", "mount")]
    found = classify(facts(*links), START)
    assert found.kind is OverflowClass.INITIALISATION_CHAIN
    assert "mount → storage → index → links → levels" in found.evidence
    assert "before the daemon answered its first request" in found.evidence
    # The same frames in a request are large frames, of which none stands out.
    assert kind(facts(*links)) is OverflowClass.LARGE_FRAME


def test_a_giant_frame_in_a_constructor_is_a_large_frame() -> None:
    found = classify(facts(frame("a", 900 * KIB), frame("b", 1200 * KIB), frame("c", MIB)), START)
    assert (found.kind, found.function) == (OverflowClass.LARGE_FRAME, "b")
    texts = [a.text for a in advice(found)]
    assert any("heap" in text for text in texts)
    assert any("first use" in text for text in texts)


def test_many_layers() -> None:
    layers = [frame(f"layer_{n}", 3000) for n in range(24)]
    assert kind(facts(*layers)) is OverflowClass.MANY_SMALL_FRAMES


def test_the_kernel_fills_a_buffer() -> None:
    found = classify(
        facts(frame("read", 100), frame("load", 256 * KIB)),
        Circumstances(kernel_bytes=250 * KIB),
    )
    assert (found.kind, found.function) == (OverflowClass.KERNEL_TOUCH, "load")
    assert [a.applies_to for a in advice(found)] == ["load at load.c:7"]


def test_no_room_for_a_signal_is_told_beside_the_reason() -> None:
    found = classify(facts(ring(1000, 100, "walk"), kernel=True), Circumstances())
    assert found.kind is OverflowClass.RECURSION
    assert "sigaltstack" in advice(found)[-1].text


def test_nothing_is_advised_where_nothing_is_proven() -> None:
    walk = ring(1000, 100, "walk")
    for unclear in (
        facts(walk, overflow=False),
        facts(),
        facts(walk, attributed_bytes=40_000),
        facts(*(frame(name, 3000) for name in "abcde")),
    ):
        found = classify(unclear, Circumstances())
        assert found.kind is OverflowClass.UNCLEAR
        assert found.evidence
        assert advice(found) == ()


groups = st.lists(
    st.one_of(
        st.builds(frame, st.sampled_from("abcdef"), st.integers(1, 4 * MIB)),
        st.builds(ring, st.integers(2, 50_000), st.integers(16, 4096), st.sampled_from("xyz")),
    ),
    min_size=1,
    max_size=30,
)


@given(groups, st.booleans(), st.booleans())
def test_whatever_is_advised_has_a_place_and_numbers(
    rows: list[Group], start: bool, kernel: bool
) -> None:
    found = classify(facts(*rows, kernel=kernel), Circumstances(initialising=start))
    assert 0 <= found.share <= 1
    assert found.evidence
    for one in advice(found):
        assert one.text and one.applies_to
        assert any(character.isdigit() for character in one.evidence)
    if found.kind is OverflowClass.UNCLEAR:
        assert advice(found) == ()
    else:
        assert found.function in {row.function for row in rows}
