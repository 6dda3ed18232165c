from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_passage import GOOD, changed, line_of

from reactivate.checklist.faults import FaultyChecklistError
from reactivate.checklist.model import Checklist, PhaseKind
from reactivate.checklist.parse import load, parse
from reactivate.errors import ChecklistError, ExitCode
from reactivate.evidence import Check


@pytest.fixture
def good() -> Checklist:
    return parse(GOOD, "list.md")


# What a good checklist says


def test_phases_have_their_kinds_ids_and_order(good: Checklist) -> None:
    assert good.title == "Small passage"
    assert [(p.id, p.kind) for p in good.phases] == [
        ("setup", PhaseKind.SETUP),
        ("baseline", PhaseKind.BASELINE),
        ("storage", PhaseKind.COMPONENT),
        ("search", PhaseKind.COMPONENT),
        ("all_components", PhaseKind.INTEGRATION),
    ]
    assert good.components == ("storage", "search")
    assert good.phase("search").needs == ("storage",)
    assert good.phase("search").risk == "very high"
    assert good.phase("storage").workload == ("posix", "vector")
    assert good.phase("storage").line == line_of(GOOD, "## Storage")


def test_items_have_stable_ids_and_their_whole_text(good: Checklist) -> None:
    storage = good.phase("storage")
    assert [(item.id, item.text) for item in storage.before] == [
        ("storage.large-arrays-are-listed-in", "Large arrays are listed in `src/`"),
        ("storage.somebody-else-has-read-the", "Somebody else has read the change"),
    ]
    assert [item.id for item in storage.after] == ["storage.written-down"]
    (setup,) = good.phase("setup").before
    assert setup.checked
    assert setup.line == line_of(GOOD, "Backups")


def test_criteria_have_ids_places_and_text(good: Checklist) -> None:
    first, second = good.phase("storage").gate(Check.BASELINE)
    assert (first.id, second.id) == ("storage.baseline.stack.peak", "storage.baseline.stack.peak-2")
    assert first.text == "Leaves room"
    assert second.text == "Small on every thread"
    assert second.source == "stack.peak <= 1 MiB"
    line = GOOD.split("\n")[second.line - 1]
    assert line[second.column - 1 :].startswith("stack.peak <= 1 MiB`")


def test_guidance_is_the_prose_of_its_heading(good: Checklist) -> None:
    assert good.phase("storage").guidance == "Look at the arrays.\n\nThen look again."
    assert good.phase("search").guidance == ""


def test_items_with_the_same_first_words_get_more_of_them() -> None:
    text = changed(
        "- [ ] Written down\n",
        "- [ ] Written down in the book of rules\n- [ ] Written down in the book of users\n",
    )
    after = parse(text, "list.md").phase("storage").after
    assert [item.id for item in after] == [
        "storage.written-down-in-the-book",
        "storage.written-down-in-the-book-of",
    ]


def test_ordered_and_starred_items_are_items() -> None:
    text = changed("- [ ] Written down\n", "1. [ ] First\n2. [x] Second\n\n* [ ] Third\n")
    after = parse(text, "list.md").phase("storage").after
    assert [(item.text, item.checked) for item in after] == [
        ("First", False),
        ("Second", True),
        ("Third", False),
    ]


def test_code_blocks_and_links_are_no_items() -> None:
    text = changed(
        "Nothing to run here.",
        "```\n- [ ] not an item\n```\n\n- [x](https://example.org) is a link\n- [1] is a note",
    )
    assert parse(text, "list.md").components == ("storage", "search")


# What the hashes depend on


def test_ticking_a_box_changes_no_hash_but_a_threshold_changes_its_phase_only(
    good: Checklist,
) -> None:
    ticked = parse(GOOD.replace("[ ]", "[X]"), "list.md")
    assert ticked.sha256 == good.sha256
    assert [p.sha256 for p in ticked.phases] == [p.sha256 for p in good.phases]
    assert ticked.phase("storage").before[0].checked

    stricter = parse(changed("1 MiB", "2 MiB"), "list.md")
    differing = [a.id for a, b in zip(stricter.phases, good.phases, strict=True)
                 if a.sha256 != b.sha256]  # fmt: skip
    assert differing == ["storage"]
    assert stricter.sha256 != good.sha256


def test_line_ends_and_trailing_blanks_change_nothing(good: Checklist) -> None:
    windows = parse("\ufeff" + GOOD.replace("\n", "\r\n"), "list.md")
    trailing = parse(GOOD.replace("\n", "  \n").replace("```  ", "```"), "list.md")
    for other in (windows, trailing):
        assert [p.sha256 for p in other.phases] == [p.sha256 for p in good.phases]
    assert windows == good


def test_a_box_in_an_items_text_is_not_its_tick() -> None:
    one = parse(changed("- [ ] Written down", "- [ ] Written [x] down"), "list.md")
    two = parse(changed("- [ ] Written down", "- [ ] Written [ ] down"), "list.md")
    assert one.phase("storage").sha256 != two.phase("storage").sha256


# Files


def test_load_gives_what_parse_gives(tmp_path: Path, good: Checklist) -> None:
    file = tmp_path / "list.md"
    file.write_text(GOOD, encoding="utf-8")
    assert load(file).phases == good.phases
    assert load(file).path == str(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.md", "there is no such file"), (".", "this is a folder"), ("a\0b", "cannot be read")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ChecklistError) as refused:
        load(f"{tmp_path}/{name}")
    assert refused.value.exit_code is ExitCode.USAGE
    assert message in refused.value.why
    assert "Nothing was run." in refused.value.hint


def test_a_file_that_is_not_utf8_is_placed_to_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "list.md"
    file.write_bytes("# Título\n\nEl niño: ".encode() + b"\xe9t\xe9\n")
    with pytest.raises(FaultyChecklistError) as refused:
        load(file)
    (fault,) = refused.value.faults
    assert (fault.line, fault.column) == (3, 10)
    assert "byte 0xe9" in fault.message


# Anything at all

LINES = st.sampled_from(
    [*GOOD.split("\n"), "```", "~~~", "> - [ ] q", "- [-] x", "- [ ]", "  - [ ] n", "1. [ ] o",
     "- [ ] a: `b", "- [ ] `` ` ``: `c <= d`", "====", "---", "\t- [ ] t", "<pre>`</pre>",
     "- [ ] <b a=`x`> `stack.peak <= 1`", "### Gate:", "[ ]: x", "- [ ] \\`x` `y`"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.lists(LINES, max_size=40).map("\n".join)))
@example("- [ ] <a b='`'> `rss.peak < 1`\n")
def test_any_text_is_a_checklist_or_a_checklist_error_within_the_text(text: str) -> None:
    try:
        checklist = parse(text, "any.md")
    except FaultyChecklistError as refused:
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for fault in refused.faults:
            assert 1 <= fault.line <= len(lines)
            assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
            assert fault.source_line == lines[fault.line - 1]
            assert str(fault).startswith(f"any.md:{fault.line}:{fault.column}: ")
    else:
        assert checklist.components


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_checklist_never_passes_with_a_gate_lost(data: st.DataObject) -> None:
    """Whatever single line is lost, what is accepted still has every gate of every phase."""
    lines = GOOD.split("\n")
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    try:
        checklist = parse("\n".join(lines), "list.md")
    except FaultyChecklistError:
        return
    for phase in checklist.phases:
        if phase.kind in {PhaseKind.COMPONENT, PhaseKind.INTEGRATION}:
            assert all(phase.gate(check) for check in Check)


# The checklist that is delivered


def test_the_checklist_of_vexfs_has_the_whole_passage(project_root: Path) -> None:
    checklist = load(project_root / "checklists" / "vexfs.md")
    assert [phase.id for phase in checklist.phases] == [
        "setup",
        "baseline",
        "vector_storage",
        "search_engine",
        "metadata_manager",
        "cache_manager",
        "transaction_manager",
        "all_components",
    ]
    risks = [phase.risk for phase in checklist.phases[2:]]
    assert risks == ["medium", "high", "low", "medium", "high", "very high"]
    assert checklist.phase("search_engine").needs == ("vector_storage",)
    for phase in checklist.phases[2:]:
        assert phase.before
        assert phase.after
        assert phase.guidance


def test_every_component_of_vexfs_is_held_to_the_same_core(project_root: Path) -> None:
    checklist = load(project_root / "checklists" / "vexfs.md")
    core = {
        "stack.peak <= 25% of stack.limit",
        "rss.peak <= baseline + 50%",
        "growth.alerts == 0",
        "growth.depth <= 75% of stack.limit",
        "stack.recursion <= 100",
        "requests.unanswered == 0",
        "overflow.crashes == 0",
        "overflow.reproduced >= 1",
        "stack.minimum <= 25% of stack.limit",
    }
    for phase in checklist.phases[2:]:
        assert core <= {criterion.source for criterion in phase.criteria}, phase.id


def test_the_minimal_build_of_vexfs_is_traced_too(project_root: Path) -> None:
    """What the kernel asks of it: the requests of later builds are held against these."""
    baseline = load(project_root / "checklists" / "vexfs.md").phase("baseline")
    traced = {criterion.source for criterion in baseline.gate(Check.TRACE)}
    assert {"requests.unanswered == 0", "requests.errors == 0", "growth.alerts == 0"} <= traced


def test_the_example_of_the_documentation_can_be_run(project_root: Path) -> None:
    page = project_root / "docs" / "COMPONENT_REACTIVATION_CHECKLIST.md"
    text = page.read_text(encoding="utf-8")
    example_text = text.split("````markdown\n")[1].split("````")[0]
    assert parse(example_text, page).components == ("vector_storage",)
