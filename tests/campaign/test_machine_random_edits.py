"""Random edits between random steps: the ledger is always understood, and nothing stale is hidden.

What is kept and what is not is worked out here from the parts that a document is put together
from, without the digests and comparisons of the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_machine import Event

from checklists import CHECKS, Part, checklist_of, started_with
from reactivate.campaign.criteria import checks_of, gate_criteria
from reactivate.campaign.machine import Passage, replay
from reactivate.campaign.states import CampaignState, Complete, PhaseState, Step, StepKind, Waiting
from reactivate.checklist.model import Checklist

METRICS = {"baseline": "stack.peak", "trace": "growth.depth", "overflow": "stack.minimum"}
NAMES = ("one", "two", "three", "four")
PROMISES = ("Alpha", "Beta", "Gamma", "Alpha!")
LIMITS = ("1 MiB", "2 MiB", "3 MiB", "50% of stack.limit")
SUITES = ("posix", "vector", "search")
BEGUN = frozenset(PhaseState) - {PhaseState.PENDING, PhaseState.PREPARING, PhaseState.ACTIVE}
MEASURED = BEGUN - {PhaseState.ACTIVATING}
VERDICTS = st.sampled_from(["pass", "pass", "pass", "fail", "inconclusive", "error"])


def component(name: str) -> Part:
    return Part(kind="component", id=name, before=("Alpha",), gates=_gates(CHECKS))


def _gates(checks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {check: (f"{METRICS[check]} <= 1 MiB",) for check in checks}


SETUP = Part(kind="setup", before=("Alpha",), after=("Beta",))
MINIMAL = Part(kind="baseline", gates=_gates(CHECKS[:1]))
ALL = Part(kind="integration", id="all", gates=_gates(CHECKS))


def depends_on(parts: Sequence[Part], name: str) -> object:
    """All that the evidence of a phase hangs on."""
    part = next(p for p in parts if p.name == name)
    earlier = parts[: parts.index(part)]
    components = [p for p in earlier if p.kind == "component"]
    if part.kind in ("setup", "baseline"):
        return part
    suites = {suite for p in (*earlier, part) for suite in p.workload if p.kind != "setup"}
    inherited = {
        (p.name, check, number, source)
        for p in components
        for check in CHECKS
        for number, source in enumerate(p.gates[check])
        if "previous" not in source and part.kind == "integration"
    }
    return part, {p.name for p in components}, suites | {"posix"}, inherited


class Edits(RuleBasedStateMachine):
    """A campaign whose document is edited at any moment, and recorded when the tool is called."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: tuple[Part, ...] = (SETUP, MINIMAL, component("one"), component("two"), ALL)
        self.recorded = self.parts
        self.events: list[Event] = []
        self.passage: Passage = replay((), now=self.checklist)
        # Kept apart from the machine, by phase.
        self.proven: dict[str, object] = {}
        self.promised: dict[str, set[str]] = {}
        self.latest: dict[tuple[str, str], Mapping[str, str]] = {}

    # Recording

    @property
    def checklist(self) -> Checklist:
        return checklist_of(*self.recorded)

    def write(self, kind: str, phase: str, data: Mapping[str, object]) -> None:
        self.events.append(Event(seq=len(self.events) + 1, kind=kind, phase=phase, data=data))
        self.passage = replay(self.events)

    @initialize()
    def start(self) -> None:
        self.write("campaign_started", "", started_with(self.checklist))

    def call(self) -> None:
        """What every call begins with."""
        if self.parts == self.recorded:
            return
        before, earlier = self.passage, self.recorded
        self.recorded = self.parts
        self.write("checklist_changed", "", started_with(self.checklist))
        after = self.passage
        now = {part.name: part.kind for part in self.parts}
        gone = [part.name for part in earlier if now.get(part.name) != part.kind]
        for name in gone:
            self.proven.pop(name, None)
            self.promised.pop(name, None)
        for part in earlier:
            if part.name not in gone and depends_on(earlier, part.name) == depends_on(
                self.parts, part.name
            ):
                assert after.states[part.name] is before.states[part.name], "more than was edited"
                assert after.stale.get(part.name) == before.stale.get(part.name)
                mine = [item for item in before.confirmed if item.startswith(f"{part.name}.")]
                assert set(mine) <= set(after.confirmed)
        if before.phase and after.phase and before.current == after.current not in gone:
            name = before.current
            if depends_on(earlier, name) == depends_on(self.parts, name):
                assert (after.refusal, after.verdicts) == (before.refusal, before.verdicts)

    # Steps

    @rule(times=st.integers(min_value=1, max_value=9))
    def goes_well(self, times: int) -> None:
        for _ in range(times):
            self.call()
            self._one_step({})

    @rule(verdicts=st.lists(VERDICTS, min_size=1, max_size=6))
    def says_anything(self, verdicts: list[str]) -> None:
        self.call()
        self._one_step(dict(enumerate(verdicts)))

    def _one_step(self, verdicts: Mapping[int, str]) -> None:
        step = self.passage.next_step()
        match step:
            case Waiting(items=items) if items:
                for item in items:
                    self.promised.setdefault(step.phase, set()).add(item.text)
                    data = {"items": [item.id], "who": "ada"}
                    self.write("items_confirmed", step.phase, data)
            case Step(kind=StepKind.PREPARE):
                self.write("prepared", step.phase, {})
                if step.phase == "setup":
                    self.proven["setup"] = depends_on(self.recorded, "setup")
            case Step(kind=StepKind.ACTIVATE):
                components = [p.name for p in self.recorded if p.kind == "component"]
                if step.phase in components:
                    components = components[: components.index(step.phase) + 1]
                elif step.phase == "baseline":
                    components = []
                data = {"artifact_sha256": "a", "witness": "w", "components": components}
                self.write("activated", step.phase, data)
                self.proven[step.phase] = depends_on(self.recorded, step.phase)
            case Step(kind=StepKind.CHECK, check=check):
                assert check
                phase = self.checklist.phase(step.phase)
                gate = [c.id for c in gate_criteria(self.checklist, phase, check)]
                found = {c: verdicts.get(n, "pass") for n, c in enumerate(gate)}
                self._judge(step.phase, check.value, found)
            case Step(kind=StepKind.DOCUMENT):
                self.write("documented", step.phase, {})
            case Step(kind=StepKind.COMPLETE):
                self.write("campaign_completed", "", {})

    def _judge(self, phase: str, check: str, found: dict[str, str]) -> None:
        self.write("checked", phase, {"check": check, "verdicts": found})
        self.latest[phase, check] = found
        waived = self.passage.waivers
        failed = [c for c, v in found.items() if v == "fail" and c not in waived]
        opened = all(
            v == "pass" or (v in {"fail", "inconclusive"} and c in waived) for c, v in found.items()
        )
        if failed:
            self.write("refused", phase, {"check": check, "failed": failed})
        elif opened:
            self.write("gate_passed", phase, {"check": check})
        else:
            data = {"check": check, "outcome": "inconclusive", "reason": "noise"}
            self.write("inconclusive", phase, data)

    @precondition(lambda self: self.passage.refusal is not None)
    @rule(data=st.data(), what=st.sampled_from(["waived", "waived", "retried", "rolled_back"]))
    def a_person_decides(self, data: st.DataObject, what: str) -> None:
        self.call()
        refusal, phase = self.passage.refusal, self.passage.current
        if refusal is None:
            return  # the edit took it away
        decision = {"who": "ada", "reason": "known"}
        if what == "waived":
            decision["criterion"] = data.draw(st.sampled_from(refusal.standing))
        elif what == "rolled_back":
            if phase == "baseline":
                return
            self.proven.pop(phase, None)
            self.promised.pop(phase, None)
        self.write(what, phase, decision)

    @precondition(lambda self: self.passage.rolled_back)
    @rule()
    def begin_again(self) -> None:
        self.call()
        if self.passage.rolled_back:
            self.write("retried", self.passage.current, {"who": "ada"})

    # Edits

    @rule(data=st.data())
    def edit_promises(self, data: st.DataObject) -> None:
        part = data.draw(st.sampled_from(self.parts))
        one = st.lists(st.sampled_from(PROMISES), max_size=2, unique_by=lambda t: t.strip("!"))
        before = tuple(data.draw(one))
        words = {text.strip("!") for text in before}
        after = tuple(t for t in data.draw(one) if t.strip("!") not in words)
        self._put(part, replace(part, before=before, after=after))

    @rule(data=st.data())
    def edit_criteria(self, data: st.DataObject) -> None:
        part = data.draw(st.sampled_from([p for p in self.parts if p.gates]))
        check = data.draw(st.sampled_from(sorted(part.gates)))
        limits = LIMITS
        if part.kind == "component" and check == "baseline":
            limits += ("previous + 20%", "previous + 30%")
        drawn = data.draw(st.lists(st.sampled_from(limits), min_size=1, max_size=3, unique=True))
        criteria = tuple(f"{METRICS[check]} <= {limit}" for limit in drawn)
        self._put(part, replace(part, gates={**part.gates, check: criteria}))

    @rule(data=st.data(), prose=st.sampled_from(["", "Slow.", "Deep."]))
    def edit_words_and_workload(self, data: st.DataObject, prose: str) -> None:
        part = data.draw(st.sampled_from([p for p in self.parts if p.kind == "component"]))
        workload = data.draw(st.lists(st.sampled_from(SUITES), min_size=1, max_size=2, unique=True))
        self._put(part, replace(part, workload=tuple(workload), prose=prose))

    @rule(name=st.sampled_from(NAMES), place=st.integers(min_value=0, max_value=3))
    def add_remove_or_move_a_component(self, name: str, place: int) -> None:
        components = [p for p in self.parts if p.kind == "component"]
        known = next((p for p in components if p.name == name), None)
        others = [p for p in components if p is not known]
        if known is None or components.index(known) != place:
            others.insert(place, known or component(name))
        if others:
            self._rebuild(components=others)

    @rule(setup=st.booleans(), integration=st.sampled_from(["all", "both", ""]))
    def add_or_remove_the_ends(self, setup: bool, integration: str) -> None:
        self._rebuild(
            setup=[SETUP] if setup else [],
            integration=[replace(ALL, id=integration)] if integration else [],
        )

    def _put(self, part: Part, edited: Part) -> None:
        self.parts = tuple(edited if p is part else p for p in self.parts)

    def _rebuild(self, **kinds: Sequence[Part]) -> None:
        def of(kind: str) -> Sequence[Part]:
            name = "components" if kind == "component" else kind
            return kinds.get(name, [p for p in self.parts if p.kind == kind])

        order = ("setup", "baseline", "component", "integration")
        self.parts = tuple(part for kind in order for part in of(kind))

    # What must hold

    @invariant()
    def status_can_always_be_told(self) -> None:
        edited = checklist_of(*self.parts)
        passage = replay(self.events, now=edited)
        assert passage.checklist is edited
        assert list(passage.states) == [part.name for part in self.parts]
        passage.next_step()

    @invariant()
    def what_changed_under_evidence_is_stale_and_nothing_else(self) -> None:
        passage = self.passage
        for part in self.recorded:
            state, proven = passage.states[part.name], self.proven.get(part.name)
            if state is PhaseState.ACTIVE or state in MEASURED:
                assert proven is not None
                same = proven == depends_on(self.recorded, part.name)
                assert (part.name in passage.stale) is not same
                assert state is PhaseState.ACTIVE or same, "measured on, past a change"

    @invariant()
    def an_active_phase_passed_every_gate_that_it_has_now_or_is_stale(self) -> None:
        passage = self.passage
        for phase in passage.checklist.phases:
            active = passage.states[phase.id] is PhaseState.ACTIVE
            if not active or phase.id in passage.stale or phase.id == "setup":
                continue
            for check in checks_of(phase):
                gate = {c.id for c in gate_criteria(passage.checklist, phase, check)}
                assert gate
                latest = self.latest[phase.id, check.value]
                assert set(latest) == gate
                shut = {c for c, v in latest.items() if v != "pass"}
                assert shut <= set(passage.waivers)

    @invariant()
    def no_promise_is_skipped(self) -> None:
        passage = self.passage
        for part in self.recorded:
            state = passage.states[part.name]
            active = state is PhaseState.ACTIVE and part.name not in passage.stale
            if state in BEGUN or active:
                asked = {*part.before, *(part.after if active else ())}
                assert asked <= self.promised.get(part.name, set())

    @invariant()
    def only_the_first_phase_that_is_not_active_is_current(self) -> None:
        passage = self.passage
        waiting = [n for n, s in passage.states.items() if s is not PhaseState.ACTIVE]
        over = passage.campaign is CampaignState.COMPLETE
        assert isinstance(passage.next_step(), Complete) is over
        assert passage.current == (waiting[0] if waiting else "")
        assert not (over and waiting)

    def teardown(self) -> None:
        """The ledger alone is enough, at every length."""
        for length in range(1, len(self.events), 7):
            replay(self.events[:length])


TestEdits = Edits.TestCase
TestEdits.settings = settings(
    max_examples=8,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
