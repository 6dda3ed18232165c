"""Every state is reached, every guard refuses something, and each refusal says which event."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pytest

from checklists import Part, checklist_of, started_with
from reactivate.campaign.commands import (
    items_to_confirm,
    require_retry,
    require_rollback,
    require_waive,
)
from reactivate.campaign.criteria import integration_criteria, left_out
from reactivate.campaign.machine import Passage, replay
from reactivate.campaign.phase_machine import _require_names, _table
from reactivate.campaign.states import (
    CampaignState,
    Complete,
    PhaseState,
    Step,
    StepKind,
    Waiting,
)
from reactivate.checklist.model import Checklist, Phase, PhaseKind
from reactivate.errors import ChecklistError, ExitCode, LedgerCorruptError, UsageError
from reactivate.evidence import Check

BASELINE, TRACE, OVERFLOW = Check.BASELINE, Check.TRACE, Check.OVERFLOW


def component(name: str, *needs: str) -> Part:
    return Part(
        kind="component",
        id=name,
        needs=needs,
        before=("Listed",),
        gates={
            "baseline": (
                "stack.peak <= 1 MiB",
                "stack.peak <= 25% of stack.limit",
                "stack.peak <= previous + 20%",
            ),
            "trace": ("growth.depth <= 1 MiB",),
            "overflow": ("stack.minimum <= 1 MiB",),
        },
        after=("Written",),
    )


SETUP = Part(kind="setup", before=("Reports", "Doctor"), after=("Told",))
MINIMAL = Part(
    kind="baseline",
    gates={"baseline": ("stack.peak <= 1 MiB",), "overflow": ("stack.minimum <= 1 MiB",)},
)
STORAGE, SEARCH = component("storage"), component("search", "storage")
ALL = Part(
    kind="integration",
    id="all",
    gates={
        "baseline": ("stack.peak <= 1 MiB",),
        "trace": ("growth.depth <= 1 MiB",),
        "overflow": ("stack.minimum <= 1 MiB",),
    },
)
CHECKLIST = checklist_of(SETUP, MINIMAL, STORAGE, SEARCH, ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    seq: int
    kind: str
    phase: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


class History:
    """Events as a ledger would hold them; `does` must be possible, `cannot` must not be."""

    def __init__(self, checklist: Checklist = CHECKLIST) -> None:
        self.checklist = checklist
        self.events: list[Event] = []
        self.passage = replay((), now=checklist)
        self.seen: set[tuple[PhaseKind, PhaseState]] = set()
        self.campaign_seen: set[CampaignState] = set()
        self._look()

    def event(self, kind: str, phase: str, data: Mapping[str, object]) -> Event:
        return Event(seq=len(self.events) + 1, kind=kind, phase=phase, data=data)

    def does(self, kind: str, phase: str = "", **data: object) -> Passage:
        self.events.append(self.event(kind, phase, data))
        self.passage = replay(self.events)
        self._look()
        return self.passage

    def starts(self) -> Passage:
        return self.does("campaign_started", **started_with(self.checklist))

    def cannot(self, kind: str, phase: str = "", why: str = "", **data: object) -> None:
        event = self.event(kind, phase, data)
        with pytest.raises(LedgerCorruptError) as caught:
            replay([*self.events, event])
        said = f"{caught.value.what}\n{caught.value.why}"
        assert f"event {event.seq} (`{kind}`" in said
        assert caught.value.why
        assert why in said
        assert caught.value.exit_code is ExitCode.LEDGER

    def _look(self) -> None:
        for phase in self.checklist.phases:
            self.seen.add((phase.kind, self.passage.states[phase.id]))
        self.campaign_seen.add(self.passage.campaign)

    # What a runner does

    def verdicts(self, verdict: str = "pass", **others: str) -> dict[str, str]:
        step = self.passage.next_step()
        assert isinstance(step, Step) and step.check
        phase = self.checklist.phase(step.phase)
        gate = integration_criteria(self.checklist, phase, step.check)
        found = dict.fromkeys((c.id for c in gate), verdict)
        for number, other in others.items():
            found[gate[int(number[1:])].id] = other
        return found

    def judged(self, verdict: str = "pass", **others: str) -> Passage:
        """The present check ran: `_1="fail"` is the verdict of its second criterion."""
        step = self.passage.next_step()
        assert isinstance(step, Step) and step.check
        return self.does(
            "checked",
            step.phase,
            check=step.check.value,
            verdicts=self.verdicts(verdict, **others),
        )

    def refused(self, *failing: str) -> Passage:
        step = self.passage.next_step()
        assert isinstance(step, Step) and step.check
        self.judged("pass", **dict.fromkeys(failing, "fail"))
        failed = [c for c, v in self.passage.verdicts.items() if v == "fail"]
        return self.does("refused", step.phase, check=step.check.value, failed=failed)

    def advance(self) -> Passage:
        """Whatever comes next, as if all went well."""
        step = self.passage.next_step()
        match step:
            case Waiting(items=items) if items:
                for one in items:
                    self.does("items_confirmed", step.phase, items=[one.id], who="ada")
            case Step(kind=StepKind.PREPARE):
                self.does("prepared", step.phase)
            case Step(kind=StepKind.ACTIVATE):
                self.activated(step.phase)
            case Step(kind=StepKind.CHECK, check=check):
                assert check
                self.judged()
                self.does("gate_passed", step.phase, check=check.value)
            case Step(kind=StepKind.DOCUMENT):
                self.does("documented", step.phase)
            case Step(kind=StepKind.COMPLETE):
                self.does("campaign_completed")
            case _:
                raise AssertionError(f"stuck at {step}")
        return self.passage

    def activated(self, phase: str) -> Passage:
        found = self.checklist.phase(phase)
        names = self.checklist.components
        on = {
            PhaseKind.BASELINE: (),
            PhaseKind.COMPONENT: names[: names.index(phase) + 1] if phase in names else (),
            PhaseKind.INTEGRATION: names,
        }[found.kind]
        return self.does(
            "activated", phase, artifact_sha256=phase, witness="answered", components=list(on)
        )

    def until(self, phase: str, state: PhaseState) -> History:
        for _ in range(100):
            if self.passage.states[phase] is state:
                return self
            self.advance()
        raise AssertionError(f"{phase} never became {state}")


@pytest.fixture
def history() -> History:
    started = History()
    started.starts()
    return started


@lru_cache(maxsize=64)
def _events_until(phase: str, state: PhaseState) -> tuple[Event, ...]:
    started = History()
    started.starts()
    return tuple(started.until(phase, state).events)


def at(phase: str, state: PhaseState) -> History:
    """A history that went well until a phase came to a state."""
    history = History()
    history.events = list(_events_until(phase, state))
    history.passage = replay(history.events)
    history._look()
    return history


def test_straight_passage_visits_every_state_in_order(history: History) -> None:
    steps = []
    while not isinstance(history.passage.next_step(), Complete):
        step = history.passage.next_step()
        if isinstance(step, Step):
            check = step.check.value if step.check else step.kind.value
            steps.append((step.phase, check, step.number, step.total))
        history.advance()
    assert steps[:2] == [("setup", "prepare", 1, 2), ("setup", "document", 2, 2)]
    assert [s[1:] for s in steps if s[0] == "baseline"] == [
        ("prepare", 1, 5),
        ("activate", 2, 5),
        ("baseline", 3, 5),
        ("overflow", 4, 5),
        ("document", 5, 5),
    ]
    for phase in ("storage", "search", "all"):
        assert [s[1:] for s in steps if s[0] == phase] == [
            ("prepare", 1, 6),
            ("activate", 2, 6),
            ("baseline", 3, 6),
            ("trace", 4, 6),
            ("overflow", 5, 6),
            ("document", 6, 6),
        ]
    assert steps[-1] == ("", "complete", 1, 1)
    assert history.passage.campaign is CampaignState.COMPLETE
    assert history.passage.active_components == ("storage", "search")
    assert history.passage.phase is None


def test_every_state_of_every_kind_of_phase_is_reachable() -> None:
    seen: set[tuple[PhaseKind, PhaseState]] = set()
    campaign: set[CampaignState] = set()
    straight = History()
    straight.starts()
    straight.until("baseline", PhaseState.BASELINE_CHECK)
    straight.refused("_0")
    straight.does("retried", "baseline", who="ada")
    for phase in ("storage", "all"):
        straight.until(phase, PhaseState.TRACE_CHECK)
        straight.refused("_0")
        straight.does("rolled_back", phase, who="ada", reason="redesign")
        straight.does("retried", phase, who="ada")
    while not isinstance(straight.passage.next_step(), Complete):
        straight.advance()
    seen |= straight.seen
    campaign |= straight.campaign_seen
    kinds = PhaseKind
    ordinary = {PhaseState.PENDING, PhaseState.PREPARING, PhaseState.DOCUMENTING, PhaseState.ACTIVE}
    unreachable = {(kinds.SETUP, s) for s in set(PhaseState) - ordinary}
    unreachable.add((kinds.BASELINE, PhaseState.TRACE_CHECK))  # its checklist has no such gate
    everything = {(kind, state) for kind in kinds for state in PhaseState}
    # A phase without items for people passes `preparing` within one event.
    silent = {(kinds.BASELINE, PhaseState.PREPARING)}
    assert everything - unreachable - silent == seen
    assert campaign == set(CampaignState)


def test_nothing_happens_before_the_campaign_started() -> None:
    history = History()
    history.cannot("items_confirmed", "setup", "not started", items=["setup.reports"], who="ada")
    history.starts()
    history.cannot("campaign_started", why="started already", **started_with(CHECKLIST))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("items_confirmed", {"items": ["storage.listed"], "who": "ada"}),
        ("prepared", {}),
        ("activated", {"artifact_sha256": "a", "witness": "w", "components": ["storage"]}),
        ("checked", {"check": "baseline", "verdicts": {}}),
        ("gate_passed", {"check": "baseline"}),
        ("refused", {"check": "baseline", "failed": []}),
        ("waived", {"criterion": "storage.baseline.stack.peak", "reason": "r", "who": "ada"}),
        ("retried", {"who": "ada"}),
        ("rolled_back", {"who": "ada", "reason": "r"}),
        ("documented", {}),
        ("inconclusive", {"check": "baseline", "outcome": "error", "reason": "r"}),
        ("unheard_of", {}),
    ],
)
def test_component_cannot_move_before_its_turn(
    history: History, kind: str, data: dict[str, object]
) -> None:
    history.until("baseline", PhaseState.DOCUMENTING)
    history.cannot(kind, "storage", **data)
    history.cannot(kind, "nobody", **data)


def test_component_begins_only_after_all_before_it(history: History) -> None:
    history.until("baseline", PhaseState.ACTIVE)
    history.cannot("items_confirmed", "search", "`storage`", items=["search.listed"], who="ada")
    history.cannot("prepared", "all", "`storage`, `search`")
    history.cannot("campaign_completed", why="`storage` is pending")


def test_prepared_needs_every_item(history: History) -> None:
    history.cannot("prepared", "setup", "`setup.reports`, `setup.doctor`")
    history.does("items_confirmed", "setup", items=["setup.reports"], who="ada")
    history.cannot("prepared", "setup", "not confirmed: `setup.doctor`")
    history.cannot("items_confirmed", "setup", "no open item", items=["setup.reports"], who="ada")
    history.cannot("items_confirmed", "setup", "`who`", items=["setup.doctor"])
    history.cannot("items_confirmed", "setup", "no open item", items=["setup.told"], who="ada")


def test_documented_needs_every_item() -> None:
    history = at("storage", PhaseState.DOCUMENTING)
    history.cannot("documented", "storage", "`storage.written`")
    history.does("items_confirmed", "storage", items=["storage.written"], who="ada")
    assert history.does("documented", "storage").active_components == ("storage",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"components": []}, "on were none, but it must be storage"),
        ({"components": ["storage", "search"]}, "must be storage"),
        ({"components": ["storage", "storage"]}, "twice"),
        ({"components": "storage"}, "no list"),
        ({"artifact_sha256": ""}, "`artifact_sha256`"),
        ({"witness": "  "}, "proves nothing"),
        ({"witness": {}}, "proves nothing"),
        ({"witness": None}, "proves nothing"),
    ],
)
def test_activation_must_be_proven(change: dict[str, object], why: str) -> None:
    history = at("storage", PhaseState.ACTIVATING)
    data: dict[str, object] = {
        "artifact_sha256": "abc",
        "witness": "answered",
        "components": ["storage"],
    }
    history.cannot("activated", "storage", why, **{**data, **change})
    passage = history.does("activated", "storage", **data)
    assert passage.artifacts["storage"] == "abc"


def test_activated_only_after_prepared() -> None:
    history = at("storage", PhaseState.PREPARING)
    history.cannot("activated", "storage", artifact_sha256="a", witness="w", components=["storage"])


def test_minimal_build_needs_no_witness(history: History) -> None:
    history.until("baseline", PhaseState.ACTIVATING)
    history.does("activated", "baseline", artifact_sha256="a", witness="", components=[])


def test_gate_passes_only_on_recorded_passes() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.cannot("gate_passed", "storage", "no verdicts", check="baseline")
    for verdict in ("fail", "inconclusive", "invalid", "error"):
        judged = at("storage", PhaseState.BASELINE_CHECK)
        judged.judged(_1=verdict)
        judged.cannot("gate_passed", "storage", "shut by `storage.base", check="baseline")
    history.judged()
    history.cannot("gate_passed", "storage", "is baseline, not trace", check="trace")
    history.cannot("gate_passed", "storage", "no check `speed`", check="speed")
    passage = history.does("gate_passed", "storage", check="baseline")
    assert passage.state is PhaseState.TRACE_CHECK
    assert not passage.verdicts
    history.cannot("gate_passed", "storage", "no verdicts", check="trace")


def test_verdicts_must_be_whole_and_known() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    whole = history.verdicts()
    for verdicts in (
        {},
        dict(list(whole.items())[1:]),
        {**whole, "storage.baseline.extra": "pass"},
        {**whole, next(iter(whole)): "green"},
        {**whole, next(iter(whole)): None},
    ):
        history.cannot("checked", "storage", check="baseline", verdicts=verdicts)
    history.cannot("checked", "storage", check="baseline", verdicts=list(whole))
    history.cannot("checked", "storage", check="trace", verdicts=whole)


def test_refusal_carries_every_failed_criterion() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.cannot("refused", "storage", "no verdicts", check="baseline", failed=["x"])
    history.judged(_0="fail", _2="fail", _1="inconclusive")
    failed = [c for c, v in history.passage.verdicts.items() if v == "fail"]
    assert len(failed) == 2
    history.cannot("refused", "storage", "failed are", check="baseline", failed=failed[:1])
    history.cannot("refused", "storage", check="baseline", failed=[*failed, "storage.other"])
    history.cannot("refused", "storage", check="baseline", failed=[])
    history.cannot("inconclusive", "storage", "refusal", check="baseline", outcome="inconclusive")
    refusal = history.does("refused", "storage", check="baseline", failed=failed).refusal
    assert refusal is not None
    assert (refusal.failed, refusal.standing) == (tuple(failed), tuple(failed))
    step = history.passage.next_step()
    assert isinstance(step, Waiting)
    assert (step.number, step.total) == (3, 6)
    assert step.commands[0] == "reactivate retry"
    assert all(any(name in command for command in step.commands) for name in failed)


def test_refusal_needs_a_failure() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.judged(_0="inconclusive")
    history.cannot("refused", "storage", "no criterion failed", check="baseline", failed=[])


@pytest.mark.parametrize("outcome", ["inconclusive", "invalid", "error"])
def test_undecided_outcomes_do_not_move(outcome: str) -> None:
    history = at("storage", PhaseState.ACTIVATING)
    before = history.passage.next_step()
    history.does("inconclusive", "storage", step="activate", outcome=outcome, reason="r")
    assert history.passage.next_step() == before
    history.cannot("inconclusive", "storage", "at activate", check="baseline", outcome=outcome)
    history.until("storage", PhaseState.TRACE_CHECK)
    before = history.passage.next_step()
    history.judged(_0=outcome)
    history.does("inconclusive", "storage", check="trace", outcome=outcome, reason="r")
    assert history.passage.next_step() == before
    assert history.passage.attempts["storage", TRACE] == 1
    history.cannot("gate_passed", "storage", "no verdicts", check="trace")
    history.does("inconclusive", "storage", check="trace", outcome="error", reason="crash")
    assert history.passage.attempts["storage", TRACE] == 2
    history.cannot("inconclusive", "storage", "decision", check="trace", outcome="pass")


def test_retry_builds_and_proves_again_and_runs_every_check() -> None:
    history = at("storage", PhaseState.OVERFLOW_CHECK)
    history.refused("_0")
    history.cannot("retried", "storage", "`who`")
    history.cannot("checked", "storage", check="overflow", verdicts={})
    passage = history.does("retried", "storage", who="ada")
    assert passage.state is PhaseState.ACTIVATING
    assert passage.refusal is None
    history.activated("storage")
    assert history.passage.state is PhaseState.BASELINE_CHECK


def test_waiver_opens_what_it_names_and_no_more() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0", "_1")
    first, second = history.passage.refusal.failed  # type: ignore[union-attr]
    passing = next(c for c, v in history.passage.verdicts.items() if v == "pass")
    known = {"reason": "known", "who": "ada"}
    history.cannot("waived", "storage", "did not fail", criterion=passing, **known)
    history.cannot("waived", "storage", "`reason`", criterion=first, who="ada", reason=" ")
    history.cannot("waived", "storage", "`who`", criterion=first, reason="known")
    passage = history.does("waived", "storage", criterion=first, **known)
    assert passage.state is PhaseState.REFUSED
    assert passage.refusal and passage.refusal.standing == (second,)
    assert passage.refusal.failed == (first, second)
    history.cannot("waived", "storage", "waived already", criterion=first, **known)
    passage = history.does("waived", "storage", criterion=second, **known)
    assert passage.state is PhaseState.TRACE_CHECK
    assert passage.refusal is None
    assert list(passage.waivers) == [first, second]


def test_waiver_leads_back_to_the_check_when_others_are_undecided() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.judged(_0="fail", _1="inconclusive")
    failed = next(c for c, v in history.passage.verdicts.items() if v == "fail")
    history.does("refused", "storage", check="baseline", failed=[failed])
    passage = history.does("waived", "storage", criterion=failed, reason="known", who="ada")
    assert passage.state is PhaseState.BASELINE_CHECK
    history.cannot("gate_passed", "storage", "no verdicts", check="baseline")
    history.judged(_0="fail")
    history.cannot("refused", "storage", "not waived", check="baseline", failed=[failed])
    assert history.does("gate_passed", "storage", check="baseline").waivers


def test_waiver_does_not_open_what_was_not_measured() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    assert history.passage.refusal
    (failed,) = history.passage.refusal.failed
    history.does("waived", "storage", criterion=failed, reason="known", who="ada")
    history.does("retried", "storage", who="ada")
    history.activated("storage")
    history.judged(_0="error")
    history.cannot("gate_passed", "storage", "shut by", check="baseline")


def test_rollback_waits_for_a_person_and_begins_from_nothing() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0", "_1")
    first = history.passage.refusal.failed[0]  # type: ignore[union-attr]
    history.does("waived", "storage", criterion=first, reason="known", who="ada")
    history.cannot("rolled_back", "storage", "`reason`", who="ada")
    passage = history.does("rolled_back", "storage", who="ada", reason="redesign")
    assert passage.state is PhaseState.PENDING
    assert passage.rolled_back
    assert not passage.waivers
    assert "storage.listed" not in passage.confirmed
    assert "setup.reports" in passage.confirmed
    assert not passage.open_items
    step = passage.next_step()
    assert isinstance(step, Waiting)
    assert step.commands == ("reactivate retry",)
    history.cannot("items_confirmed", "storage", "rolled back", items=["storage.listed"], who="ada")
    history.cannot("prepared", "storage", "rolled back")
    passage = history.does("retried", "storage", who="ada")
    assert passage.state is PhaseState.PREPARING
    history.until("all", PhaseState.ACTIVE)


def test_phase_that_switches_nothing_on_cannot_be_rolled_back(history: History) -> None:
    history.until("baseline", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    history.cannot("rolled_back", "baseline", "no component", who="ada", reason="r")
    step = history.passage.next_step()
    assert isinstance(step, Waiting)
    assert not any("rollback" in command for command in step.commands)


def test_pending_phase_cannot_be_retried() -> None:
    history = at("baseline", PhaseState.ACTIVE)
    history.cannot("retried", "storage", "was not begun", who="ada")


def test_active_phase_does_not_move_again() -> None:
    history = at("storage", PhaseState.ACTIVE)
    for kind in ("prepared", "documented", "retried", "rolled_back"):
        history.cannot(kind, "storage", "active", who="ada", reason="r")


def test_integration_judges_earlier_criteria_again() -> None:
    phase = CHECKLIST.phase("all")
    assert [c.id for c in integration_criteria(CHECKLIST, phase, BASELINE)] == [
        "all.baseline.stack.peak",
        "storage.baseline.stack.peak",
        "storage.baseline.stack.peak-2",
        "search.baseline.stack.peak",
        "search.baseline.stack.peak-2",
    ]
    assert [c.id for c in left_out(CHECKLIST, phase, BASELINE)] == [
        "storage.baseline.stack.peak-3",
        "search.baseline.stack.peak-3",
    ]
    storage = CHECKLIST.phase("storage")
    assert integration_criteria(CHECKLIST, storage, BASELINE) == storage.gate(BASELINE)
    assert left_out(CHECKLIST, storage, BASELINE) == ()


def test_waivers_carry_over_to_the_integration_and_outlive_its_rollback() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    history.refused("_0")
    history.does(
        "waived", "storage", criterion="storage.baseline.stack.peak", reason="known", who="ada"
    )
    history.until("all", PhaseState.BASELINE_CHECK)
    history.judged(_1="fail")
    assert history.does("gate_passed", "all", check="baseline").state is PhaseState.TRACE_CHECK
    history.refused("_1")
    inherited = "storage.trace.growth.depth"
    history.does("waived", "all", criterion=inherited, reason="known", who="ada")
    history.does("rolled_back", "all", reason="redesign", who="ada")
    assert list(history.passage.waivers) == ["storage.baseline.stack.peak"]


def test_history_of_attempts_moves_nothing(history: History) -> None:
    before = history.passage
    for kind in ("attempt_started", "attempt_interrupted", "attempt_finished", "note"):
        after = history.does(kind, "storage", anything=1)
        assert replace(after, seq=before.seq) == before


def test_events_out_of_order_are_refused(history: History) -> None:
    events = [*history.events, Event(seq=1, kind="note")]
    with pytest.raises(LedgerCorruptError, match="event 1 "):
        replay(events)


def test_checklist_without_setup_or_integration_can_be_passed() -> None:
    only = checklist_of(MINIMAL, STORAGE)
    history = History(only)
    assert history.passage.campaign is CampaignState.BASELINE
    history.starts()
    history.until("storage", PhaseState.ACTIVE)
    assert isinstance(history.advance().next_step(), Complete)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: (), "no phases"),
        (lambda p: (p[0], p[2], p[1]), "comes after component"),
        (lambda p: (*p[:2], p[3], p[2]), "needs `storage`"),
        (lambda p: (*p[:3], p[2]), "there twice"),
        (lambda p: (replace(p[2], criteria=p[2].gate(BASELINE)),), "trace gate"),
    ],
)
def test_checklist_without_a_way_through_is_refused(
    change: Callable[[tuple[Phase, ...]], tuple[Phase, ...]], why: str
) -> None:
    with pytest.raises(ChecklistError) as caught:
        replay((), now=replace(CHECKLIST, phases=change(CHECKLIST.phases)))
    assert why in caught.value.why


def test_names_in_the_table_are_looked_up_at_once() -> None:
    class Model:
        def go(self) -> None: ...

    row = {"trigger": "start", "conditions": ["no_such_guard"], "before": []}
    with pytest.raises(TypeError, match="no_such_guard"):
        _require_names([row], Model)
    with pytest.raises(TypeError, match="shadow"):
        _require_names([{"trigger": "go", "conditions": [], "before": []}], Model)


def test_diagram_in_the_documentation_is_the_table() -> None:
    document = Path(__file__).parents[2] / "docs" / "state-machine.md"
    arrow = re.compile(r"^ +(\w+) --> (\w+) : (.+)$", re.MULTILINE)
    drawn = {
        (source, dest, trigger)
        for source, dest, triggers in arrow.findall(document.read_text(encoding="utf-8"))
        for trigger in triggers.split(", ")
    }
    table = {
        (str(source), str(row["dest"] or source), row["trigger"])
        for row in _table()
        for source in row["source"]
    }
    assert drawn == table


# What a person may type


def test_confirm_names_open_items_only(history: History) -> None:
    passage = history.passage
    assert items_to_confirm(passage, [], everything=True) == ("setup.reports", "setup.doctor")
    assert items_to_confirm(passage, ["setup.doctor", "setup.doctor"]) == ("setup.doctor",)
    for names, why in (
        (["setup.docto"], "did you mean `setup.doctor`?"),
        (["storage.listed"], "its turn has not come, or is over"),
        (["x" * 20], "the checklist has no such item"),
    ):
        with pytest.raises(UsageError) as caught:
            items_to_confirm(passage, names)
        assert caught.value.why == why
        assert "reactivate confirm setup.reports" in caught.value.hint
    with pytest.raises(UsageError):
        items_to_confirm(passage, [])
    with pytest.raises(UsageError):
        items_to_confirm(passage, ["setup.doctor"], everything=True)
    passage = history.does("items_confirmed", "setup", items=["setup.reports"], who="ada")
    with pytest.raises(UsageError) as caught:
        items_to_confirm(passage, ["setup.reports"])
    assert caught.value.why == "it is confirmed already"


def test_confirm_without_open_items_says_what_is_allowed() -> None:
    passage = at("storage", PhaseState.BASELINE_CHECK).passage
    with pytest.raises(UsageError) as caught:
        items_to_confirm(passage, [], everything=True)
    assert caught.value.hint == "reactivate next"
    assert caught.value.why == "storage is baseline_check"


def test_retry_waive_and_rollback_are_refused_before_anything_is_built(history: History) -> None:
    passage = history.passage
    for ask in (
        lambda: require_retry(passage),
        lambda: require_waive(passage, "stack.peak", "known"),
        lambda: require_rollback(passage, "redesign"),
    ):
        with pytest.raises(UsageError) as caught:
            ask()
        assert "reactivate confirm" in caught.value.hint


def test_waive_takes_the_end_of_an_id() -> None:
    history = at("storage", PhaseState.BASELINE_CHECK)
    passage = history.refused("_0", "_1")
    full = ("storage", "storage.baseline.stack.peak")
    assert require_waive(passage, "stack.peak", "known") == full
    assert require_waive(passage, full[1], "known") == full
    for name in ("peak-3", "stack", ""):
        with pytest.raises(UsageError, match="not among the failed"):
            require_waive(passage, name, "known")
    with pytest.raises(UsageError, match="reason"):
        require_waive(passage, "stack.peak", "  ")


def test_waive_of_an_ambiguous_name_lists_what_it_may_mean() -> None:
    history = at("all", PhaseState.BASELINE_CHECK)
    passage = history.refused("_0", "_1")
    with pytest.raises(UsageError, match="several") as caught:
        require_waive(passage, "stack.peak", "known")
    assert "all.baseline.stack.peak, storage.baseline.stack.peak" in caught.value.why


@pytest.mark.parametrize(
    ("state", "retry", "rollback"),
    [
        (PhaseState.PREPARING, False, False),
        (PhaseState.ACTIVATING, False, True),
        (PhaseState.BASELINE_CHECK, True, True),
        (PhaseState.OVERFLOW_CHECK, True, True),
        (PhaseState.DOCUMENTING, True, True),
    ],
)
def test_commands_agree_with_the_machine(state: PhaseState, retry: bool, rollback: bool) -> None:
    history = at("storage", state)
    for allowed, ask, kind in (
        (retry, lambda: require_retry(history.passage), "retried"),
        (rollback, lambda: require_rollback(history.passage, "redesign"), "rolled_back"),
    ):
        if allowed:
            assert ask() == "storage"
            copy = History()
            copy.events = list(history.events)
            copy.does(kind, "storage", who="ada", reason="redesign")
        else:
            with pytest.raises(UsageError):
                ask()
            history.cannot(kind, "storage", who="ada", reason="redesign")


def test_nothing_is_retried_when_all_is_done() -> None:
    passage = at("all", PhaseState.ACTIVE).passage
    with pytest.raises(UsageError) as caught:
        require_retry(passage)
    assert caught.value.why == "every phase is active"
