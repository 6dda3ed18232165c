"""Every way a checklist can be wrong: file, line, column, what is marked, what is suggested."""

from __future__ import annotations

import pytest
from small_passage import GOOD, changed, line_of, section

from reactivate.checklist.faults import Fault, FaultyChecklistError
from reactivate.checklist.parse import parse
from reactivate.errors import ChecklistError, ExitCode
from reactivate.evidence import Check


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(FaultyChecklistError) as refused:
        parse(text, "list.md")
    return refused.value.faults


def only_fault(old: str, new: str, at: str, text: str = GOOD) -> Fault:
    """The one fault of the good checklist with `old` made `new`; it must mark the text `at`."""
    broken = changed(old, new, text)
    faults = faults_of(broken)
    assert len(faults) == 1, [str(fault) for fault in faults]
    fault = faults[0]
    line = broken.split("\n")[fault.line - 1]
    assert fault.source_line == line
    assert line[fault.column - 1 : fault.column - 1 + fault.length] == at
    return fault


# Faults: how they are told


def test_a_fault_shows_place_line_carets_and_suggestion() -> None:
    text = changed("`stack.peak <= 1 MiB`", "`stack.peek <= 1 MiB`")
    with pytest.raises(ChecklistError) as refused:
        parse(text, "checklists/small.md")
    line = line_of(text, "stack.peek")
    assert refused.value.why == (
        f"checklists/small.md:{line}:15: unknown metric `stack.peek` in a criterion\n"
        f"   {line} | - [ ] Small: `stack.peek <= 1 MiB` on every thread\n"
        "                      ^^^^^^^^^^ did you mean `stack.peak`?"
    )
    assert refused.value.exit_code is ExitCode.USAGE
    assert refused.value.hint == "Nothing was run. See `reactivate checklist metrics`."


def test_all_faults_are_told_at_once_in_the_order_of_the_document() -> None:
    text = changed("stack.peak <= 25% of", "stack.peek <= 25 of")
    text = changed('risk = "medium"', 'risk = "middling"', text)
    text = changed("overflow.crashes == 0", "overflow.crashs == 0 B", text)
    text = changed('needs = ["storage"]', 'needs = ["storge"]', text)
    faults = faults_of(text)
    assert [f.line for f in faults] == sorted(f.line for f in faults)
    assert {line_of(text, part) for part in ("peek", "middling", "crashs", "storge")} == {
        f.line for f in faults
    }


def test_carets_stand_under_wide_characters_and_tabs() -> None:
    fault = Fault(path="x", line=1, column=4, length=2, message="m", source_line="日\tx漢y")
    assert str(fault).split("\n")[2] == "        " + "  \t " + "^^^"


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    fault = Fault(path="x", line=1, column=1, message="m", source_line="\x1b[2J")
    assert "\x1b" not in str(fault)


# Faults: the blocks


@pytest.mark.parametrize(
    ("old", "new", "at", "message", "suggestion"),
    [
        ('risk = "medium"', 'risk = "middling"', '"middling"', "unknown risk", "low, medium"),
        ('risk = "medium"', 'risk = "hihg"', '"hihg"', "unknown risk", "`high`"),
        ('risk = "medium"', "risk = 3", "risk", "`risk` must be a text", ""),
        ('risk = "medium"', 'rsik = "medium"', "rsik", "unknown key `rsik`", "`risk`"),
        ('risk = "medium"', "[table]", "```toml component", "unknown key `table`", "known: id"),
        ('needs = ["storage"]', 'needs = "storage"', "needs", "must be a list", ""),
        ('needs = ["storage"]', 'needs = ["storage", "storage"]', '"storage"', "twice", ""),
        ('needs = ["storage"]', 'needs = ["storag"]', '"storag"', "unknown component", "`storage`"),
        ('needs = ["storage"]', 'needs = ["search"]', '"search"', "needs itself", ""),
        ('id = "storage"\nrisk = "medium"', 'id = "storage"\nneeds = ["search"]', '"search"',
         "needs go in a circle: `storage` needs `search` needs `storage`", ""),
        ('id = "search"', 'id = "storage"', '"storage"', "the id `storage` is taken", "line"),
        ('id = "search"', 'id = "Search"', '"Search"', "is not an id", "lower-case"),
        ('id = "search"', 'id = "setup"', '"setup"', "is the id of the setup phase", ""),
        ('id = "search"\n', "", "```toml component", "has no `id`", 'id = "'),
        ('workload = ["search"]', "workload = []", "workload", "has no workload", ""),
        ('workload = ["search"]', "", "```toml component", "has no workload", ""),
        ('kind = "integration"', 'kind = "integraton"', '"integraton"', "unknown kind",
         "`integration`"),
        ('kind = "baseline"', 'kind = "baseline"\nid = "base"', '"base"', "always called", ""),
        ('kind = "setup"', 'risk = "low"', "```toml phase", "has no `kind`", "one of setup"),
        ("```toml phase\nkind = \"setup\"", "```toml fase\nkind = \"setup\"", "```toml fase",
         "unknown kind of block", "`toml phase`"),
        ("```toml component", "```toml comp", "```toml comp", "unknown kind of block", "`toml"),
        ('id = "search"', "id = ", "", "broken TOML in the component block: Invalid value", ""),
    ],
)  # fmt: skip
def test_faults_of_blocks(old: str, new: str, at: str, message: str, suggestion: str) -> None:
    broken = changed(old, new)
    faults = [fault for fault in faults_of(broken) if message in fault.message]
    assert len(faults) == 1, [str(fault) for fault in faults_of(broken)]
    (fault,) = faults
    marked = fault.source_line[fault.column - 1 : fault.column - 1 + fault.length]
    assert marked == at
    assert suggestion in fault.suggestion


def test_broken_toml_is_placed_in_the_file() -> None:
    broken = changed('risk = "medium"', 'risk = "medium')
    (fault,) = faults_of(broken)
    assert fault.line == line_of(broken, 'risk = "medium')
    assert fault.column == len('risk = "medium') + 1
    assert "at line" not in fault.message


def test_deeply_nested_toml_is_a_fault() -> None:
    (fault,) = faults_of(changed('risk = "medium"', f"risk = {'[' * 5000}"))
    assert "broken TOML" in fault.message


def test_a_later_need_is_a_fault_with_its_place() -> None:
    text = changed('needs = ["storage"]\n', "")
    fault = only_fault('id = "storage"', 'id = "storage"\nneeds = ["search"]', '"search"', text)
    assert fault.message == "`storage` needs `search`, which comes later"


def test_a_second_block_is_a_fault() -> None:
    fault = only_fault(
        "### Before", '```toml component\nid = "other"\n```\n\n### Before', "```toml component"
    )
    assert "a phase has one block" in fault.message


def test_a_block_in_a_list_or_before_the_phases_is_a_fault() -> None:
    inner = '  ```toml component\n  id = "x"\n  ```\n'
    fault = only_fault("Nothing to run here.", f"- a\n\n{inner}", "```toml component")
    assert "in a list or a quotation" in fault.message
    fault = only_fault("Some prose.", '```toml phase\nkind = "setup"\n```', "```toml phase")
    assert "belongs to no phase" in fault.message


def test_an_open_block_is_the_only_fault_of_what_it_hides() -> None:
    broken = GOOD[: GOOD.index('kind = "integration"') + 22]
    (fault,) = faults_of(broken)
    assert fault.message == "the block that is opened here is never closed"
    assert fault.source_line == "```toml phase"
    assert fault.line == len(broken[: broken.rindex("```")].split("\n"))
    assert "```" in fault.suggestion


def test_a_block_closed_by_the_fence_of_another_is_open() -> None:
    broken = changed('workload = ["posix", "vector"]\n```', 'workload = ["posix", "vector"]')
    fault = next(f for f in faults_of(broken) if "never closed" in f.message)
    assert fault.line == line_of(broken, "```toml component")


# Faults: items and criteria


@pytest.mark.parametrize(
    ("old", "new", "at", "message", "suggestion"),
    [
        ("- [ ] Written down", "- [-] Written down", "[-]", "`[-]` is no box", "`[ ]` or `[x]`"),
        ("- [ ] Written down", "- [] Written down", "[]", "`[]` is no box", ""),
        ("- [ ] Written down", "- [v] Written down", "[v]", "`[v]` is no box", ""),
        ("- [ ] Written down", "- [ ]Written down", "[ ]", "`[ ]` is no box", "a sentence"),
        ("- [ ] Written down", "- [ ]", "[ ]", "an item without text", "a sentence"),
        ("- [ ] Written down", "-[ ] Written down", "-[ ] Written down", "is plain text", "space"),
        ("- [ ] Written down", "> - [ ] Quoted", "> - [ ] Quoted", "in a quotation", "`>`"),
        ("- [ ] Written down", "- [ ] Written\n  - [ ] Inner", "- [ ] Inner", "within another", ""),
        ("- [ ] Written down", "- plain\n  - [ ] Inner", "- [ ] Inner", "within another", ""),
        ("- [ ] Written down", "- [ ] # Heading", "- [ ] # Heading", "must be a sentence", ""),
        ("- [ ] Written down", "- [ ] Same words\n- [ ] Same, words!", "- [ ] Same, words!",
         "the same words", "tell them apart"),
        ("- [ ] Written down", "- [ ] Deep: `stack.peak <= 1 MiB`", "stack.peak <= 1 MiB",
         "a criterion outside a gate", "### Gate"),
        ("- [ ] Written down", "- [ ] Deep: `stack.peek =< 1`", "stack.peek =< 1",
         "a criterion outside a gate", ""),
        ("Some prose.", "- [ ] Early", "- [ ] Early", "belongs to no phase", "`##`"),
        ("### Before", "- [ ] Loose\n\n### Before", "- [ ] Loose", "under no heading", "Before"),
        ("### Before", "### Befor", "### Befor", "items under `Befor` belong to nothing",
         "`Before`"),
        ("Look at the arrays.", "- [ ] Look", "- [ ] Look", "is never asked for", "plain list"),
        ("Nothing to run here.", "- [ ] Run me", "## Words", "no block that says which phase",
         "`toml component`"),
        ("- [ ] Small: `stack.peak <= 1 MiB` on every thread", "- [ ] Small on every thread",
         "- [ ] Small on every thread", "needs a criterion in backticks", "### Before"),
        ("Small: `stack.peak", "`Small`: `stack.peak", "stack.peak <= 1 MiB",
         "one criterion and no other code", "second item"),
        ("`stack.peak <= 1 MiB`", "`stack.peak <=\n  1 MiB`", "stack.peak <=", "in one line", ""),
        ("`stack.peak <= 1 MiB`", "`stack.peak <= 25%  of stack.limit`",
         "stack.peak <= 25%  of stack.limit", "the same criterion stands in line", ""),
        ("`stack.peak <= 1 MiB`", "`stack.peak <= 1 MB`", "MB", "unknown unit", "`MiB`"),
        ("`stack.peak <= 1 MiB`", "`stack.peak <= 1 ms`", "1 ms", "is compared with", ""),
        ("`stack.peak <= 1 MiB`", "`stack.frame <= 1 MiB`", "stack.frame",
         "is not measured in the baseline gate", "in the trace gate"),
        ("`stack.peak <= 1 MiB`", "`` stack.peak <= 1 `` `", "1", "plain number", "unit"),
        ("`stack.peak <= 25% of stack.limit`", "`rss.peak <= baseline + 5%`", "baseline",
         "`baseline` means nothing here", "baseline itself"),
        ("`rss.peak <= baseline + 50%`", "`rss.peak <= previous + 50%`", "previous",
         "`previous` means nothing here", "use `baseline`"),
    ],
)  # fmt: skip
def test_faults_of_items(old: str, new: str, at: str, message: str, suggestion: str) -> None:
    fault = only_fault(old, new, at)
    assert message in fault.message
    assert suggestion in fault.suggestion


# Faults: gates and phases


@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("phase", ["Storage", "Together"])
def test_a_missing_gate_is_a_fault_of_its_phase(check: Check, phase: str) -> None:
    head, tail = GOOD.split(f"## {phase}\n")
    gate = tail[tail.index(f"### Gate: {check}") :]
    end = gate.find("\n#", 1)
    gate = gate[: end + 1] if end > 0 else gate
    faults = faults_of(f"{head}## {phase}\n{tail.replace(gate, '', 1)}")
    assert [(f.source_line, f"has no {check} gate" in f.message) for f in faults] == [
        (f"## {phase}", True)
    ]
    assert f"### Gate: {check}" in faults[0].suggestion


def test_an_empty_gate_is_a_fault() -> None:
    fault = only_fault(
        "- [ ] No deep recursion: `stack.recursion <= 100`", "Nothing.", "### Gate: trace"
    )
    assert "the trace gate is empty" in fault.message


def test_an_unknown_gate_names_the_nearest() -> None:
    faults = faults_of(changed("### Gate: trace", "### Gate: trase"))
    assert faults[0].source_line == "## Storage"
    assert (faults[1].message, faults[1].suggestion) == (
        "unknown gate `trase`",
        "did you mean `trace`?",
    )


def test_a_heading_twice_is_a_fault() -> None:
    fault = only_fault(
        "### When a gate refuses", "### After\n\n### When a gate refuses", "### After"
    )
    assert "has this heading once" in fault.message
    assert str(line_of(GOOD, "### After")) in fault.suggestion


def test_setup_has_no_gates() -> None:
    fault = only_fault("- [x] Backups exist", "### Gate: baseline\n\n- [ ] x", "### Gate: baseline")
    assert "the setup phase has no gates" in fault.message


def test_no_phases_and_no_title() -> None:
    faults = faults_of("")
    assert {fault.message for fault in faults} == {
        "the checklist has no phases",
        "the checklist has no title",
    }
    assert {(fault.line, fault.column) for fault in faults} == {(1, 1)}


def test_two_titles_are_a_fault() -> None:
    fault = only_fault("Some prose.", "# Another", "# Another")
    assert fault.message == "a checklist has one title"


def test_no_baseline_phase() -> None:
    (fault,) = faults_of(GOOD.replace(section("Minimal build"), ""))
    assert fault.message == "the checklist has no baseline phase"
    assert 'kind = "baseline"' in fault.suggestion


def test_no_component() -> None:
    (fault,) = faults_of(GOOD.replace(section("Storage"), "").replace(section("Search"), ""))
    assert "has no component" in fault.message


def test_an_unreadable_component_is_not_also_an_unknown_one() -> None:
    faults = faults_of(changed('id = "storage"', 'id = "Storage"'))
    assert ["is not an id" in fault.message for fault in faults] == [True]


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        ("Search", "a component phase cannot come after the integration phase"),
        ("Minimal build", "a baseline phase cannot come after the integration phase"),
        ("Prerequisites", "a setup phase cannot come after the integration phase"),
    ],
)
def test_a_phase_after_the_integration(moved: str, message: str) -> None:
    (fault,) = faults_of(GOOD.replace(section(moved), "") + "\n" + section(moved))
    assert (fault.message, fault.source_line) == (message, f"## {moved}")


@pytest.mark.parametrize("title", ["Prerequisites", "Minimal build", "Together"])
def test_a_second_phase_of_its_kind(title: str) -> None:
    again = section(title)
    (fault,) = faults_of((GOOD + "\n").replace(again, f"{again}\n{again}"))
    assert fault.message.startswith("a second ")
    assert str(line_of(GOOD, f"## {title}")) in fault.suggestion


# Places that Markdown makes hard to find


def test_places_are_right_after_code_that_holds_a_backtick() -> None:
    fault = only_fault(
        "Small: `stack.peak <= 1 MiB`", "Small: ``a ` b``, `stack.peak <= 1`", "stack.peak <= 1"
    )
    assert "one criterion and no other code" in fault.message


def test_backticks_in_raw_html_leave_the_line_as_the_place() -> None:
    broken = changed("Small: `stack.peak <= 1 MiB`", 'Small <b title="`x`">: `stack.peek <= 1 B`')
    (fault,) = faults_of(broken)
    assert (fault.line, fault.column) == (line_of(broken, "stack.peek"), 1)
    assert "`stack.peek`" in fault.message


def test_an_indented_block_has_its_faults_where_they_stand() -> None:
    block = '```toml component\nid = "storage"\nrisk = "medium"\n'
    broken = changed(block, '  ```toml component\n  id = "storage"\n  risk = medium"\n')
    fault = faults_of(broken)[0]
    assert fault.source_line == '  risk = medium"'
    assert fault.column == len("  risk = ") + 1


def test_what_an_open_block_hides_is_not_missing() -> None:
    broken = GOOD[: GOOD.index('kind = "baseline"')]
    (fault,) = faults_of(broken)
    assert "never closed" in fault.message
