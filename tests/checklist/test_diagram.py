from __future__ import annotations

import json
import re
from itertools import pairwise

from small_passage import GOOD, changed

from reactivate.checklist.diagram import describe, mermaid
from reactivate.checklist.language import parse_criterion
from reactivate.checklist.parse import parse

CHECKLIST = parse(GOOD, "list.md")


def edges(diagram: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^ *(\S+) --> (\S+)", diagram, re.MULTILINE))


def test_phases_follow_each_other_from_start_to_end() -> None:
    ids = ["[*]", *(f"phase_{phase.id}" for phase in CHECKLIST.phases), "[*]"]
    assert set(pairwise(ids)) <= edges(mermaid(CHECKLIST))


def test_a_component_passes_its_gates_in_order_and_each_can_refuse() -> None:
    found = edges(mermaid(CHECKLIST))
    states = ["preparing", "activating", "baseline_check", "trace_check", "overflow_check",
              "documenting", "active"]  # fmt: skip
    names = [f"phase_storage_{state}" for state in states]
    assert set(pairwise(names)) <= found
    refusing = {here for here, there in found if there == "phase_storage_refused"}
    leaving = {there for here, there in found if here == "phase_storage_refused"}
    assert refusing == {name for name in names if name.endswith("_check")}
    assert leaving == {
        f"phase_storage_{state}" for state in [*states[3:6], "activating", "pending"]
    }
    assert ("phase_baseline_refused", "phase_baseline_pending") not in found


def test_the_baseline_has_only_the_gates_it_was_given() -> None:
    text = mermaid(CHECKLIST)
    assert "phase_baseline_baseline_check" in text
    assert "phase_baseline_trace_check" not in text
    assert "phase_setup : 1 item to confirm" in text
    assert "phase_storage_baseline_check : baseline check, 2 criteria" in text
    assert "phase_storage_trace_check : trace check, 1 criterion" in text


def test_every_state_has_braces_that_close_and_quotes_that_do_not_break() -> None:
    text = mermaid(parse(changed("## Storage", '## The "Storage" #1'), "list.md"))
    assert text.count("{") == text.count("}") == 4
    assert 'state "The #quot;Storage#quot; #35;1" as phase_storage' in text
    assert all(line.count('"') in {0, 2} for line in text.split("\n"))


def test_the_same_checklist_gives_the_same_text() -> None:
    assert mermaid(CHECKLIST) == mermaid(parse(GOOD, "elsewhere.md"))


def test_the_description_survives_json_and_its_criteria_can_be_read_again() -> None:
    described = describe(CHECKLIST)
    assert json.loads(json.dumps(described)) == described
    phases = described["phases"]
    assert isinstance(phases, list)
    assert [phase["id"] for phase in phases] == [phase.id for phase in CHECKLIST.phases]
    for data, phase in zip(phases, CHECKLIST.phases, strict=True):
        shown = [entry["criterion"] for gate in data["gates"].values() for entry in gate]
        assert [parse_criterion(text) for text in shown] == [c.comparison for c in phase.criteria]
