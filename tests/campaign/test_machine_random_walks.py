"""Random walks of possible and impossible events: what must hold wherever they lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from checklists import CHECKS, Part, checklist_of, started_with
from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.machine import Passage, replay
from reactivate.campaign.states import (
    CampaignState,
    Complete,
    PhaseState,
    Step,
    StepKind,
    Waiting,
)
from reactivate.checklist.model import PhaseKind
from reactivate.errors import LedgerCorruptError
from reactivate.evidence import Check

VERDICTS = st.sampled_from(["pass", "pass", "pass", "fail", "inconclusive", "invalid", "error"])
KINDS = (
    "campaign_started",
    "checklist_changed",
    "items_confirmed",
    "prepared",
    "activated",
    "checked",
    "gate_passed",
    "refused",
    "waived",
    "retried",
    "rolled_back",
    "documented",
    "inconclusive",
    "attempt_started",
    "campaign_completed",
    "invented",
)


def _phase(name: str, kind: str) -> Part:
    component = kind == "component"
    checks = {"setup": (), "baseline": CHECKS[:1]}.get(kind, CHECKS)
    limits = ("1 MiB", "2 MiB") if component else ("1 MiB",)
    return Part(
        kind=kind,
        id=name if component or kind == "integration" else "",
        before=("Before",) if component or kind == "setup" else (),
        gates={
            check: tuple(f"{METRICS[check]} <= {limit}" for limit in limits) for check in checks
        },
    )


METRICS = {"baseline": "stack.peak", "trace": "growth.depth", "overflow": "stack.minimum"}
CHECKLIST = checklist_of(
    _phase("setup", "setup"),
    _phase("baseline", "baseline"),
    _phase("one", "component"),
    _phase("two", "component"),
    _phase("all", "integration"),
)
PHASES = [phase.id for phase in CHECKLIST.phases]
CRITERIA = [c.id for phase in CHECKLIST.phases for c in phase.criteria]
COMPONENTS = {"baseline": [], "one": ["one"], "two": ["one", "two"], "all": ["one", "two"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    seq: int
    kind: str
    phase: str
    data: Mapping[str, object] = field(default_factory=dict)


class Walk(RuleBasedStateMachine):
    """A campaign into which anything may be written, and from which only sense comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.passage: Passage = replay((), now=CHECKLIST)
        self.passages = [self.passage]
        # Kept apart from the machine: which criteria failed when a gate was left.
        self.latest: dict[tuple[str, str], dict[str, str]] = {}

    def write(self, kind: str, phase: str, data: Mapping[str, object], *, must: bool) -> bool:
        event = Event(seq=len(self.events) + 1, kind=kind, phase=phase, data=data)
        try:
            after = replay([*self.events, event])
        except LedgerCorruptError as error:
            assert not must, f"{error.what}: {error.why}"
            assert f"event {event.seq} (`{kind}`" in error.what
            assert error.why
            return False
        self.events.append(event)
        self.passage = after
        self.passages.append(after)
        if kind == "checked":
            verdicts = data["verdicts"]
            assert isinstance(verdicts, dict)
            self.latest[phase, str(data["check"])] = verdicts
        return True

    @initialize()
    def start(self) -> None:
        self.write("campaign_started", "", started_with(CHECKLIST), must=True)

    @rule(times=st.integers(min_value=1, max_value=8))
    def goes_well(self, times: int) -> None:
        """What comes next, as the tool would record it; must always be possible."""
        for _ in range(times):
            self._one_step()

    def _one_step(self) -> None:
        step = self.passage.next_step()
        match step:
            case Waiting(items=items) if items:
                for item in items:
                    data = {"items": [item.id], "who": "ada"}
                    self.write("items_confirmed", step.phase, data, must=True)
            case Step(kind=StepKind.PREPARE):
                self.write("prepared", step.phase, {}, must=True)
            case Step(kind=StepKind.ACTIVATE):
                self.write("activated", step.phase, _activation(step.phase), must=True)
            case Step(kind=StepKind.CHECK):
                self._judge(step, dict.fromkeys(self._gate(step), "pass"))
            case Step(kind=StepKind.DOCUMENT):
                self.write("documented", step.phase, {}, must=True)
            case Step(kind=StepKind.COMPLETE):
                self.write("campaign_completed", "", {}, must=True)

    @precondition(lambda self: _is_check(self.passage))
    @rule(data=st.data())
    def check_says_anything(self, data: st.DataObject) -> None:
        step = self.passage.next_step()
        assert isinstance(step, Step)
        self._judge(step, {c: data.draw(VERDICTS) for c in self._gate(step)})

    def _judge(self, step: Step, verdicts: dict[str, str]) -> None:
        assert step.check
        check = step.check.value
        self.write("checked", step.phase, {"check": check, "verdicts": verdicts}, must=True)
        standing = [c for c, v in verdicts.items() if v == "fail" and c not in self.passage.waivers]
        opened = all(
            v == "pass" or (v in {"fail", "inconclusive"} and c in self.passage.waivers)
            for c, v in verdicts.items()
        )
        undecided = {"check": check, "outcome": "inconclusive", "reason": "noise"}
        refused = {"check": check, "failed": standing}
        # Exactly one of the three is possible after a judgement; the two others must be refused.
        answers = (
            ("refused", refused, bool(standing)),
            ("gate_passed", {"check": check}, opened),
            ("inconclusive", undecided, not standing and not opened),
        )
        for kind, data, right in sorted(answers, key=lambda answer: answer[2]):
            if kind == "inconclusive" and opened:
                continue  # a gate may stay shut although it could open; that is safe
            assert self.write(kind, step.phase, data, must=right) is right

    @precondition(lambda self: self.passage.refusal is not None)
    @rule(data=st.data())
    def waive_one(self, data: st.DataObject) -> None:
        refusal = self.passage.refusal
        assert refusal
        criterion = data.draw(st.sampled_from(refusal.standing))
        waiver = {"criterion": criterion, "reason": "known", "who": "ada"}
        self.write("waived", refusal.phase, waiver, must=True)

    @precondition(lambda self: self.passage.refusal is not None or self.passage.rolled_back)
    @rule()
    def retry(self) -> None:
        self.write("retried", self.passage.current, {"who": "ada"}, must=True)

    @precondition(lambda self: self.passage.refusal is not None)
    @rule()
    def roll_back(self) -> None:
        data = {"who": "ada", "reason": "redesign"}
        self.write(
            "rolled_back", self.passage.current, data, must=self.passage.current != "baseline"
        )

    @rule(
        kind=st.sampled_from(KINDS),
        phase=st.sampled_from([*PHASES, "", "nobody"]),
        check=st.sampled_from([*(c.value for c in Check), "speed"]),
        criterion=st.sampled_from(CRITERIA),
        verdict=VERDICTS,
        components=st.sampled_from([[], ["one"], ["two"], ["one", "two"]]),
    )
    def anything(
        self,
        kind: str,
        phase: str,
        check: str,
        criterion: str,
        verdict: str,
        components: list[str],
    ) -> None:
        """An event out of nowhere; if it is taken, the invariants must hold all the same."""
        data = {
            "check": check,
            "verdicts": {c: verdict for c in CRITERIA if f".{check}." in c and c[:3] == phase[:3]},
            "failed": [criterion],
            "criterion": criterion,
            "components": components,
            "items": [f"{phase}.before"],
            "artifact_sha256": "a",
            "witness": "w",
            "outcome": verdict,
            "who": "ada",
            "reason": "r",
        }
        self.write(kind, phase, data, must=False)

    # What must hold

    @invariant()
    def one_phase_at_a_time(self) -> None:
        states = [self.passage.states[phase] for phase in PHASES]
        quiet = {PhaseState.ACTIVE, PhaseState.PENDING}
        assert sum(state not in quiet for state in states) <= 1
        first = next((i for i, s in enumerate(states) if s is not PhaseState.ACTIVE), len(states))
        assert all(state is PhaseState.PENDING for state in states[first + 1 :])
        assert len(set(self.passages[-1].active_components) - set(self._before())) <= 1

    @invariant()
    def no_active_phase_with_a_failure_that_is_not_waived(self) -> None:
        for phase in CHECKLIST.phases:
            if self.passage.states[phase.id] is not PhaseState.ACTIVE:
                continue
            for check in Check if phase.kind is not PhaseKind.SETUP else ():
                gate = {c.id for c in gate_criteria(CHECKLIST, phase, check)}
                if not gate:
                    continue
                latest = self.latest[phase.id, check.value]
                assert set(latest) == gate
                shut = {c for c, v in latest.items() if v != "pass"}
                assert shut <= set(self.passage.waivers)
                assert not {"invalid", "error"} & {latest[c] for c in shut}

    @invariant()
    def refusal_carries_every_failure(self) -> None:
        refusal = self.passage.refusal
        assert (refusal is not None) == (self.passage.state is PhaseState.REFUSED)
        if refusal is None:
            return
        latest = self.latest[refusal.phase, refusal.check.value]
        failed = [c for c, v in latest.items() if v == "fail"]
        assert sorted(refusal.failed) == sorted(failed)
        assert refusal.standing
        assert set(refusal.standing) == set(failed) - set(self.passage.waivers)

    @invariant()
    def there_is_always_a_next_step(self) -> None:
        step = self.passage.next_step()
        over = self.passage.campaign is CampaignState.COMPLETE
        assert isinstance(step, Complete) is over
        if isinstance(step, Waiting):
            assert step.items or step.commands
        if over:
            assert set(self.passage.states.values()) == {PhaseState.ACTIVE}

    def teardown(self) -> None:
        """Replay is deterministic, and agrees with what it said of every prefix."""
        assert replay(tuple(self.events), now=CHECKLIST) == self.passage
        for length in range(0, len(self.events), 5):
            assert replay(self.events[:length], now=CHECKLIST) == self.passages[length]

    def _before(self) -> tuple[str, ...]:
        return self.passages[-2].active_components if len(self.passages) > 1 else ()

    def _gate(self, step: Step) -> list[str]:
        assert step.check
        phase = CHECKLIST.phase(step.phase)
        return [c.id for c in gate_criteria(CHECKLIST, phase, step.check)]


def _activation(phase: str) -> dict[str, object]:
    return {"artifact_sha256": "a", "witness": "answered", "components": COMPONENTS[phase]}


def _is_check(passage: Passage) -> bool:
    step = passage.next_step()
    return isinstance(step, Step) and step.kind is StepKind.CHECK


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
