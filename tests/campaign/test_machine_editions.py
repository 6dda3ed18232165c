"""A checklist that is edited in the middle of a campaign: what is kept, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_machine import ALL, CHECKLIST, MINIMAL, SEARCH, SETUP, STORAGE, Event, History

from checklists import PATH, Part, checklist_of, started_with
from reactivate.campaign.edition import changes, consequences
from reactivate.campaign.machine import Passage, replay
from reactivate.campaign.states import CampaignState, Complete, PhaseState, Step, StepKind
from reactivate.checklist.parse import parse
from reactivate.errors import ChecklistError, LedgerCorruptError

OWN = ("its part of the checklist",)
METADATA = replace(STORAGE, id="metadata")
PARTS = (SETUP, MINIMAL, STORAGE, SEARCH, ALL)


def gates(part: Part, **changed: tuple[str, ...]) -> Part:
    """The part with other criteria in the gates that are named."""
    return replace(part, gates={**part.gates, **changed})


STRICTER = ("growth.depth <= 64 KiB",)
SMALLER = ("stack.minimum <= 64 KiB",)
KNOWN = {"reason": "known", "who": "ada"}


class Edited(History):
    """A history whose checklist can be edited; each edition is recorded as the tool does."""

    def __init__(self, *parts: Part) -> None:
        super().__init__(checklist_of(*parts))
        self.starts()

    def edit(self, *parts: Part) -> Passage:
        before, self.checklist = self.passage, checklist_of(*parts)
        overlaid = replay(self.events, now=self.checklist)
        after = self.does("checklist_changed", **started_with(self.checklist))
        assert replace(overlaid, seq=after.seq) == after, "status would say something else"
        assert before is not after
        return after


def at(phase: str, state: PhaseState, *parts: Part) -> Edited:
    history = Edited(*(parts or PARTS))
    history.until(phase, state)
    return history


# Nothing more than what depended on it


def test_words_outside_of_the_phases_change_nothing() -> None:
    history = at("storage", PhaseState.TRACE_CHECK)
    before = history.judged(_0="inconclusive")
    text = history.checklist.text.replace("# Small\n", "# Small\n\nRead this first.\n")
    edited = parse(text, PATH)
    after = history.does("checklist_changed", **started_with(edited))
    assert after.checklist == edited
    assert after.phase != before.phase, "its line is another"
    assert replace(after, seq=0, checklist=edited, phase=None) == replace(
        before, seq=0, checklist=edited, phase=None
    )


def test_a_tick_changes_nothing() -> None:
    history = at("storage", PhaseState.TRACE_CHECK)
    ticked = parse(history.checklist.text.replace("- [ ]", "- [x]"), PATH)
    assert ticked.text != history.checklist.text
    history.cannot("checklist_changed", "", "in force already", **started_with(ticked))
    passage = replay(history.events, now=ticked)
    assert passage.checklist is ticked
    assert replace(passage, checklist=CHECKLIST, phase=None) == replace(
        history.passage, checklist=CHECKLIST, phase=None
    )


def test_an_unchanged_checklist_is_not_recorded_again() -> None:
    history = at("storage", PhaseState.TRACE_CHECK)
    history.cannot("checklist_changed", "", "in force already", **started_with(history.checklist))


def test_another_phase_leaves_the_present_one_alone() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    before = history.refused("_0")
    after = history.edit(SETUP, MINIMAL, STORAGE, gates(SEARCH, trace=STRICTER), ALL)
    assert (after.refusal, after.verdicts) == (before.refusal, before.verdicts)
    assert (after.states, after.attempts) == (before.states, before.attempts)
    assert not after.stale


@pytest.mark.parametrize(
    "state",
    [
        PhaseState.BASELINE_CHECK,
        PhaseState.TRACE_CHECK,
        PhaseState.OVERFLOW_CHECK,
        PhaseState.DOCUMENTING,
    ],
)
def test_a_changed_criterion_sends_its_phase_back_to_activating(state: PhaseState) -> None:
    history = at("storage", state)
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, trace=STRICTER), SEARCH, ALL)
    assert after.states["storage"] is PhaseState.ACTIVATING
    assert after.stale == {"storage": OWN}
    assert after.states["baseline"] is PhaseState.ACTIVE
    assert "storage.listed" in after.confirmed
    history.until("storage", PhaseState.ACTIVE)
    assert not history.passage.stale


def test_a_refusal_is_forgotten_with_what_it_refused() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    after = history.edit(
        SETUP, MINIMAL, gates(STORAGE, baseline=("stack.peak <= 2 MiB",)), SEARCH, ALL
    )
    assert after.refusal is None
    assert not after.verdicts
    assert after.state is PhaseState.ACTIVATING
    history.cannot("waived", "storage", criterion="storage.baseline.stack.peak", **KNOWN)


def test_an_active_phase_stays_so_on_stale_evidence_until_the_edit_is_undone() -> None:
    history = at("search", PhaseState.TRACE_CHECK)
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, trace=STRICTER), SEARCH, ALL)
    assert after.states["storage"] is PhaseState.ACTIVE
    assert after.states["search"] is PhaseState.TRACE_CHECK
    assert after.stale == {"storage": OWN}
    assert not history.edit(*PARTS).stale


def test_past_verdicts_are_read_under_the_criteria_of_their_time() -> None:
    history = at("search", PhaseState.ACTIVE)
    fewer = gates(STORAGE, baseline=("stack.peak <= 3 MiB",), trace=STRICTER)
    renamed = replace(SEARCH, before=("Counted", "Named"), after=())
    after = history.edit(SETUP, MINIMAL, fewer, renamed, ALL)
    assert after.active_components == ("storage", "search")
    assert set(after.stale) == {"storage", "search"}
    history.until("all", PhaseState.ACTIVE)


# Promises


def test_a_reworded_promise_is_asked_for_again_and_the_others_are_kept() -> None:
    history = Edited(*PARTS)
    history.does("items_confirmed", "setup", items=["setup.reports"], who="ada")
    history.does("items_confirmed", "setup", items=["setup.doctor"], who="ada")
    after = history.edit(replace(SETUP, before=("Reports", "Doctor says yes")), *PARTS[1:])
    assert after.confirmed == ("setup.reports",)
    assert [item.text for item in after.open_items] == ["Doctor says yes"]


def test_the_same_id_with_another_text_is_another_promise() -> None:
    history = Edited(*PARTS)
    history.does("items_confirmed", "setup", items=["setup.reports"], who="ada")
    after = history.edit(replace(SETUP, before=("Reports!", "Doctor")), *PARTS[1:])
    assert [item.id for item in after.open_items] == ["setup.reports", "setup.doctor"]
    assert after.confirmed == ()


def test_an_edit_that_is_undone_takes_neither_promise_nor_waiver() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    history.does("waived", "storage", criterion="storage.baseline.stack.peak", **KNOWN)
    before = history.until("storage", PhaseState.ACTIVE).passage
    other = gates(replace(STORAGE, before=()), baseline=("stack.peak <= 2 MiB",))
    edited = history.edit(SETUP, MINIMAL, other, SEARCH, ALL)
    assert not edited.waivers
    assert "storage.listed" not in edited.confirmed
    after = history.edit(*PARTS)
    assert replace(after, seq=before.seq) == before


def test_a_waiver_that_was_taken_back_does_not_return_with_the_criterion() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0", "_1")
    history.does("waived", "storage", criterion="storage.baseline.stack.peak", **KNOWN)
    other = gates(STORAGE, baseline=("stack.peak <= 2 MiB",))
    history.edit(SETUP, MINIMAL, other, SEARCH, ALL)
    history.does("rolled_back", "storage", **KNOWN)
    assert not history.edit(*PARTS).waivers


def test_a_waiver_does_not_outlive_the_phase_of_its_criterion() -> None:
    history = at("all", PhaseState.BASELINE_CHECK)
    history.refused("_1")
    history.does("waived", "all", criterion="storage.baseline.stack.peak", **KNOWN)
    history.edit(SETUP, MINIMAL, replace(SEARCH, needs=()), ALL)
    assert not history.edit(*PARTS).waivers


def test_a_moved_promise_is_kept() -> None:
    history = Edited(*PARTS)
    history.does("items_confirmed", "setup", items=["setup.reports"], who="ada")
    after = history.edit(replace(SETUP, before=("Doctor", "Reports")), *PARTS[1:])
    assert after.confirmed == ("setup.reports",)


@pytest.mark.parametrize("state", [PhaseState.ACTIVATING, PhaseState.TRACE_CHECK])
def test_a_new_promise_is_not_skipped_by_a_phase_that_has_begun(state: PhaseState) -> None:
    history = at("storage", state)
    more = replace(STORAGE, before=("Listed", "Counted"))
    after = history.edit(SETUP, MINIMAL, more, SEARCH, ALL)
    assert after.state is PhaseState.PREPARING
    assert [item.text for item in after.open_items] == ["Counted"]
    assert "storage.listed" in after.confirmed
    history.until("storage", PhaseState.ACTIVE)


def test_a_new_promise_takes_the_refusal_with_it() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    more = replace(STORAGE, before=("Listed", "Counted"))
    after = history.edit(SETUP, MINIMAL, more, SEARCH, ALL)
    assert after.state is PhaseState.PREPARING
    assert after.refusal is None
    assert not after.verdicts


def test_a_setup_that_loses_its_last_state_goes_through_the_others_again() -> None:
    history = at("setup", PhaseState.DOCUMENTING)
    after = history.edit(replace(SETUP, after=()), *PARTS[1:])
    step = after.next_step()
    assert isinstance(step, Step)
    assert (step.kind, step.number, step.total) == (StepKind.PREPARE, 1, 1)
    assert history.does("prepared", "setup").current == "baseline"


# Waivers


def test_a_waiver_is_kept_for_the_same_criterion_only() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0", "_1")
    first, second = history.passage.refusal.failed  # type: ignore[union-attr]
    for name in (first, second):
        history.does("waived", "storage", criterion=name, **KNOWN)
    assert history.passage.state is PhaseState.TRACE_CHECK
    other = ("stack.peak <= 1 MiB", "stack.peak <= 20% of stack.limit")
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, baseline=other), SEARCH, ALL)
    assert list(after.waivers) == [first]
    history.activated("storage")
    history.judged(_0="fail", _1="fail")
    history.cannot("gate_passed", "storage", f"shut by `{second}`", check="baseline")
    history.does("refused", "storage", check="baseline", failed=[second])


def test_a_waiver_does_not_move_to_a_criterion_that_inherits_its_id() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    history.does("waived", "storage", criterion="storage.baseline.stack.peak", **KNOWN)
    shifted = ("stack.peak <= 64 KiB", *STORAGE.gates["baseline"])
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, baseline=shifted), SEARCH, ALL)
    assert not after.waivers


def test_a_waiver_ends_with_the_phase_in_which_it_was_given() -> None:
    history = at("all", PhaseState.BASELINE_CHECK)
    history.refused("_1")
    history.does("waived", "all", criterion="storage.baseline.stack.peak", **KNOWN)
    assert history.passage.waivers
    assert not history.edit(SETUP, MINIMAL, STORAGE, SEARCH, replace(ALL, id="both")).waivers


# Phases that come, go and change places


def test_a_new_phase_before_active_ones_comes_next() -> None:
    history = at("search", PhaseState.ACTIVE)
    after = history.edit(SETUP, MINIMAL, METADATA, STORAGE, SEARCH, ALL)
    assert after.current == "metadata"
    assert after.state is PhaseState.PENDING
    assert after.active_components == ("storage", "search")
    assert after.stale == {
        "storage": ("the components before it",),
        "search": ("the components before it",),
    }
    history.until("metadata", PhaseState.ACTIVE)
    assert history.passage.current == "all"


def test_a_phase_that_has_begun_waits_for_one_that_is_put_before_it() -> None:
    history = at("search", PhaseState.TRACE_CHECK)
    after = history.edit(SETUP, MINIMAL, STORAGE, METADATA, SEARCH, ALL)
    assert after.current == "metadata"
    assert after.states["search"] is PhaseState.ACTIVATING, "it was measured without metadata"
    assert not after.stale.get("storage")
    components = ["storage", "metadata", "search"]
    proven = {"artifact_sha256": "a", "witness": "w", "components": components}
    history.cannot("activated", "search", "not active yet: `metadata`", **proven)
    history.cannot("rolled_back", "search", "not active yet: `metadata`", **KNOWN)
    history.until("metadata", PhaseState.ACTIVE)
    assert history.passage.current == "search"
    assert history.passage.state is PhaseState.ACTIVATING
    history.does("activated", "search", **proven)
    history.until("all", PhaseState.ACTIVE)


def test_a_phase_is_not_measured_again_for_a_phase_that_does_not_touch_it() -> None:
    history = at("baseline", PhaseState.OVERFLOW_CHECK, *PARTS[1:])
    before = history.refused("_0")
    after = history.edit(*PARTS)
    assert (after.current, after.campaign) == ("setup", CampaignState.SETUP)
    assert after.refusal is None, "the refusal is not what the setup waits for"
    history.until("setup", PhaseState.ACTIVE)
    assert history.passage.refusal == before.refusal
    assert history.passage.campaign is CampaignState.BASELINE


def test_what_was_recorded_of_a_removed_phase_is_forgotten() -> None:
    history = at("search", PhaseState.TRACE_CHECK)
    alone = replace(SEARCH, needs=())
    after = history.edit(SETUP, MINIMAL, alone, ALL)
    assert "storage" not in after.states
    assert after.current == "search"
    assert after.states["search"] is PhaseState.ACTIVATING
    again = history.edit(*PARTS)
    assert again.states["storage"] is PhaseState.PENDING
    assert again.current == "storage"
    assert "storage.listed" not in again.confirmed


def test_a_removed_phase_in_progress_gives_way_to_the_next() -> None:
    history = at("search", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    after = history.edit(SETUP, MINIMAL, STORAGE, ALL)
    assert (after.current, after.refusal) == ("all", None)
    assert after.campaign is CampaignState.INTEGRATION
    last = history.edit(SETUP, MINIMAL, STORAGE)
    assert last.current == ""
    assert isinstance(last.next_step(), Step)
    assert isinstance(history.advance().next_step(), Complete)


def test_phases_that_change_places_keep_their_states() -> None:
    free = replace(SEARCH, needs=())
    history = at("all", PhaseState.TRACE_CHECK, SETUP, MINIMAL, STORAGE, free, ALL)
    after = history.edit(SETUP, MINIMAL, free, STORAGE, ALL)
    assert after.states["all"] is PhaseState.TRACE_CHECK, "the same components are on"
    before_it = ("the components before it",)
    assert after.stale == {"search": before_it, "storage": before_it}
    assert after.active_components == ("search", "storage")


def test_an_id_of_another_kind_is_another_phase() -> None:
    history = at("all", PhaseState.ACTIVE)
    turned = replace(METADATA, id="all")
    after = history.edit(SETUP, MINIMAL, STORAGE, SEARCH, turned, replace(ALL, id="both"))
    assert after.states["all"] is PhaseState.PENDING
    assert after.states["both"] is PhaseState.PENDING


# What phases get from each other


def test_the_workload_of_an_earlier_component_is_evidence_of_the_later_ones() -> None:
    history = at("search", PhaseState.TRACE_CHECK)
    busier = replace(STORAGE, workload=("posix", "vector"))
    after = history.edit(SETUP, MINIMAL, busier, SEARCH, ALL)
    assert after.states["search"] is PhaseState.ACTIVATING
    assert after.stale["search"] == ("the workload of earlier components",)
    assert "baseline" not in after.stale


def test_the_integration_judges_changed_criteria_again() -> None:
    history = at("all", PhaseState.OVERFLOW_CHECK)
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, trace=STRICTER), SEARCH, ALL)
    assert after.states["all"] is PhaseState.ACTIVATING
    assert after.stale["all"] == ("criteria of earlier components",)
    assert "search" not in after.stale


def test_criteria_that_the_integration_leaves_out_do_not_touch_it() -> None:
    history = at("all", PhaseState.OVERFLOW_CHECK)
    relative = (*STORAGE.gates["baseline"][:2], "stack.peak <= previous + 5%")
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, baseline=relative), SEARCH, ALL)
    assert after.states["all"] is PhaseState.OVERFLOW_CHECK
    assert after.stale == {"storage": OWN}


def test_an_integration_of_other_components_is_not_active() -> None:
    history = at("all", PhaseState.ACTIVE)
    history.does("campaign_completed")
    assert isinstance(history.passage.next_step(), Complete)
    after = history.edit(SETUP, MINIMAL, STORAGE, SEARCH, METADATA, ALL)
    assert after.campaign is CampaignState.COMPONENT
    assert (after.current, after.states["all"]) == ("metadata", PhaseState.ACTIVATING)
    history.until("all", PhaseState.ACTIVE)
    assert isinstance(history.advance().next_step(), Complete)


def test_a_complete_campaign_stays_complete_when_nothing_is_left_to_do() -> None:
    history = at("all", PhaseState.ACTIVE)
    history.does("campaign_completed")
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, trace=STRICTER), SEARCH, ALL)
    assert isinstance(after.next_step(), Complete)
    assert set(after.stale) == {"storage", "all"}


def test_a_rolled_back_phase_still_waits_for_a_person() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.does("rolled_back", "storage", **KNOWN)
    after = history.edit(SETUP, MINIMAL, gates(STORAGE, trace=STRICTER), SEARCH, ALL)
    assert after.rolled_back
    assert not after.stale
    assert history.does("retried", "storage", who="ada").state is PhaseState.PREPARING


# What an edition must be


def test_an_edition_that_cannot_be_read_is_refused() -> None:
    history = at("storage", PhaseState.ACTIVATING)
    data = started_with(checklist_of(*PARTS[1:]))
    for change, why in (
        ({"checklist_text": None}, "`checklist_text` is missing"),
        ({"checklist": ""}, "`checklist` is missing"),
        ({"checklist_sha256": "0" * 64}, "another digest"),
        ({"checklist_text": "# Small\n"}, "its checklist has faults"),
    ):
        history.cannot("checklist_changed", "", why, **{**data, **change})
    before = replay((), now=history.checklist)
    assert not before.started
    event = Event(seq=1, kind="checklist_changed", data=data)
    with pytest.raises(LedgerCorruptError) as caught:
        replay([event])
    assert "had not started" in caught.value.why


def test_a_checklist_of_now_without_a_way_through_is_refused_as_such() -> None:
    history = at("storage", PhaseState.ACTIVATING)
    phases = history.checklist.phases
    with pytest.raises(ChecklistError, match="cannot be passed through"):
        replay(history.events, now=replace(history.checklist, phases=phases[::-1]))


def test_nothing_and_no_checklist_is_no_passage() -> None:
    with pytest.raises(ValueError, match="not started"):
        replay(())


# What a person is told


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            (SETUP, MINIMAL, STORAGE, gates(SEARCH, trace=STRICTER, overflow=SMALLER), ALL),
            ("2 criteria of search",),
        ),
        (
            (replace(SETUP, before=("Reports", "Physician")), MINIMAL, STORAGE, SEARCH, ALL),
            ("1 item of setup",),
        ),
        (
            (SETUP, MINIMAL, replace(STORAGE, workload=("vector",)), METADATA, SEARCH, ALL),
            ("the block of storage", "metadata is new"),
        ),
        (
            (SETUP, MINIMAL, STORAGE, replace(SEARCH, prose="Slow."), ALL),
            ("the wording of search",),
        ),
        ((MINIMAL, STORAGE, SEARCH, ALL), ("setup is gone",)),
        (
            (SETUP, MINIMAL, replace(SEARCH, needs=()), STORAGE, ALL),
            ("the block of search", "the order of the phases"),
        ),
        (PARTS, ("words outside of the phases",)),
    ],
)
def test_edits_are_told_in_few_words(parts: tuple[Part, ...], told: tuple[str, ...]) -> None:
    assert changes(checklist_of(*PARTS), checklist_of(*parts)) == told


def test_consequences_are_told_in_sentences() -> None:
    history = at("storage", PhaseState.ACTIVE)
    history.until("search", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    history.does("waived", "search", criterion="search.baseline.stack.peak", **KNOWN)
    before = history.passage
    after = history.edit(
        SETUP,
        MINIMAL,
        gates(STORAGE, trace=STRICTER),
        gates(replace(SEARCH, before=("Looked up",)), baseline=("stack.peak <= 2 MiB",)),
        ALL,
    )
    assert consequences(before, after) == (
        "storage stays active, on stale evidence: its part of the checklist changed",
        "search goes back from trace check to preparing",
        "the waiver of search.baseline.stack.peak has ended",
        "no longer confirmed: search.listed",
    )
    inserted = history.edit(*PARTS[:3], METADATA, *PARTS[3:])
    assert consequences(after, inserted)[-1] == "metadata comes next"
