"""Where a campaign stands: a fold of the ledger's events through the machines.

`replay` is the only way to a state. It is pure: the same events give the same passage, on any
machine, at any time, whatever the checklist says by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import cast

from transitions import EventData, Machine, MachineError

from reactivate.campaign.criteria import require_passable
from reactivate.campaign.edition import read_edition
from reactivate.campaign.events import IGNORED, EventKind, RecordedEvent, impossible, kind_of
from reactivate.campaign.passage import Passage
from reactivate.campaign.phase_machine import under_the_table
from reactivate.campaign.phase_model import PhaseModel
from reactivate.campaign.states import CampaignState, PhaseState
from reactivate.campaign.waivers import Waivers
from reactivate.checklist.model import Checklist, PhaseKind

__all__ = ["Passage", "replay"]

_TRIGGERS = {
    EventKind.ITEMS_CONFIRMED: "confirm",
    EventKind.PREPARED: "prepare",
    EventKind.ACTIVATED: "activate",
    EventKind.CHECKED: "check",
    EventKind.GATE_PASSED: "pass_gate",
    EventKind.REFUSED: "refuse",
    EventKind.WAIVED: "waive",
    EventKind.RETRIED: "retry",
    EventKind.ROLLED_BACK: "roll_back",
    EventKind.DOCUMENTED: "document",
    EventKind.INCONCLUSIVE: "hold",
}
_BEGINNING = frozenset({EventKind.ITEMS_CONFIRMED, EventKind.PREPARED})
_KINDS = {
    PhaseKind.SETUP: CampaignState.SETUP,
    PhaseKind.BASELINE: CampaignState.BASELINE,
    PhaseKind.COMPONENT: CampaignState.COMPONENT,
    PhaseKind.INTEGRATION: CampaignState.INTEGRATION,
}


def replay(events: Iterable[RecordedEvent], *, now: Checklist | None = None) -> Passage:
    """Rebuild where the campaign stands.

    Each event is read under the edition of the checklist that was in force when it happened; the
    events hold every edition.

    Args:
        events: all events of the ledger, in the order of `seq`.
        now: the checklist as it is now; the passage is as if a change to it were the last event.
            None for the edition that is in force.

    Raises:
        ChecklistError: there is no way through the checklist of now.
        LedgerCorruptError: an event that cannot have happened at its place; says which and why.
        ValueError: nothing has started, and there is no checklist.
    """
    if now is not None:
        require_passable(now)
    course: _Course | None = None
    latest = 0
    for event in events:
        if event.seq <= latest:
            raise impossible(event, f"it comes after event {latest}")
        latest = event.seq
        kind = kind_of(event)
        if kind in IGNORED:
            continue
        if course is None:
            if kind is not EventKind.CAMPAIGN_STARTED:
                raise impossible(event, "the campaign had not started")
            course = _Course(read_edition(event, known=now))
        if kind is EventKind.CHECKLIST_CHANGED:
            course.change(event, read_edition(event, known=now))
        else:
            course.take(kind, event)
    if course is None:
        if now is None:
            raise ValueError("a campaign that has not started has no checklist but the one of now")
        course = _Course(now)
    elif now is not None and now is not course.checklist:
        course.follow(now)
    return course.passage(latest)


class _Course:
    """The campaign's own model, and the models of its phases."""

    state: CampaignState
    trigger: Callable[..., bool]  # put here by the machine

    def __init__(self, checklist: Checklist) -> None:
        self.started = False
        self.why = ""
        self.waivers = Waivers(checklist)
        self.models: Sequence[PhaseModel] = ()
        self.checklist = checklist
        self._set_up(checklist, {})
        _campaign_machine().add_model(self, initial=_KINDS[checklist.phases[0].kind])
        _campaign_machine().models.clear()

    def _set_up(self, checklist: Checklist, earlier: Mapping[str, PhaseModel]) -> None:
        """Models for every phase of a checklist, each going on from its earlier one."""
        self.checklist = checklist
        self.models = [
            PhaseModel(
                checklist, phase, why_not_its_turn=self.why_not_its_turn, waivers=self.waivers
            )
            for phase in checklist.phases
        ]
        for model in self.models:
            if model.phase.id in earlier:
                model.take_over(earlier[model.phase.id])
        under_the_table(self.models, {name: model.state for name, model in earlier.items()})

    def change(self, event: RecordedEvent, checklist: Checklist) -> None:
        """An edition was recorded; one that is in force already never is."""
        if checklist.sha256 == self.checklist.sha256:
            raise impossible(event, "this checklist is in force already")
        self.follow(checklist)

    def follow(self, checklist: Checklist) -> None:
        """Another edition is in force from here on.

        A phase is the same where its id and its kind are. What was recorded of a phase that is
        gone is forgotten.
        """
        kinds = {phase.id: phase.kind for phase in checklist.phases}
        earlier = {m.phase.id: m for m in self.models if kinds.get(m.phase.id) is m.phase.kind}
        self.waivers.follow(checklist, earlier)
        self._set_up(checklist, earlier)
        for model in self.models:
            model.go_back()
        self.trigger("revise")

    # Guards of the campaign

    def is_not_started(self, fired: EventData) -> bool:
        """A campaign starts once."""
        return self._allow(not self.started, "the campaign had started already")

    def all_are_active(self, fired: EventData) -> bool:
        """Nothing is left to do."""
        current = self.current()
        why = "" if current is None else f"`{current.phase.id}` is {current.state.value}"
        return self._allow(self.started and not why, why or "the campaign had not started")

    def note_start(self, fired: EventData) -> None:
        """From here on phases may begin."""
        self.started = True

    # The fold

    def take(self, kind: EventKind, event: RecordedEvent) -> None:
        """Let one event move what it moves."""
        if kind is EventKind.CAMPAIGN_STARTED:
            self._fire("start", event)
        elif kind is EventKind.CAMPAIGN_COMPLETED:
            self._fire("finish", event)
        else:
            self._move_phase(kind, event)

    def _move_phase(self, kind: EventKind, event: RecordedEvent) -> None:
        model = next((m for m in self.models if m.phase.id == event.phase), None)
        if model is None:
            raise impossible(event, f"the checklist has no phase `{event.phase}`")
        if model.state is not PhaseState.ACTIVE and model is not self.current():
            # A phase that has begun may have to wait for one that was put before it.
            raise impossible(event, self.why_not_its_turn(event.phase))
        if kind in _BEGINNING and model.state is PhaseState.PENDING:
            model.fire("begin", event)
        model.fire(_TRIGGERS[kind], event)
        following = self.current()
        if following is not None and _KINDS[following.phase.kind] is not self.state:
            self._fire("advance", event)

    def _fire(self, trigger: str, event: RecordedEvent) -> None:
        self.why = ""
        try:
            moved = self.trigger(trigger, event=event)
        except MachineError:
            moved = False
        if not moved:
            raise impossible(event, self.why or f"the campaign is at {self.state.value}")

    def current(self) -> PhaseModel | None:
        """The first phase that is not active; None when all are."""
        return next((m for m in self.models if m.state is not PhaseState.ACTIVE), None)

    def why_not_its_turn(self, phase_id: str) -> str:
        """Why a phase may not begin; "" if every one before it and all it needs are active."""
        active = {m.phase.id for m in self.models if m.state is PhaseState.ACTIVE}
        phase = self.checklist.phase(phase_id)
        before = [p.id for p in self.checklist.phases]
        required = [*before[: before.index(phase_id)], *phase.needs]
        if phase.kind is PhaseKind.INTEGRATION:
            required += self.checklist.components
        missing = [name for name in dict.fromkeys(required) if name not in active]
        return f"not active yet: {', '.join(f'`{m}`' for m in missing)}" if missing else ""

    def _allow(self, allowed: bool, why: str) -> bool:
        if not allowed and not self.why:
            self.why = why
        return allowed

    def passage(self, seq: int) -> Passage:
        """What the events amount to; nothing in it changes any more."""
        current = self.current()
        over = self.state is CampaignState.COMPLETE
        attempts = {
            (m.phase.id, check): count for m in self.models for check, count in m.attempts.items()
        }
        waivers = sorted(self.waivers.in_force.values(), key=lambda waiver: waiver.seq)
        artifacts = {m.phase.id: m.artifact_sha256 for m in self.models if m.artifact_sha256}
        return Passage(
            checklist=self.checklist,
            campaign=self.state,
            started=self.started,
            seq=seq,
            phase=None if current is None or over else current.phase,
            states=MappingProxyType({m.phase.id: m.state for m in self.models}),
            attempts=MappingProxyType(attempts),
            artifacts=MappingProxyType(artifacts),
            refusal=None if current is None else current.refusal,
            verdicts=MappingProxyType(dict((current.recorded if current else None) or {})),
            waivers=MappingProxyType({w.criterion: w for w in waivers}),
            confirmed=tuple(item for m in self.models for item in m.confirmed()),
            open_items=() if current is None else current.open_items(),
            rolled_back=current is not None and current.is_off,
            stale=MappingProxyType({m.phase.id: m.stale() for m in self.models if m.stale()}),
        )


def _leads_to(state: CampaignState) -> Callable[[EventData], bool]:
    """A guard: every phase before this kind is active, and the first open one is of this kind."""

    def is_current(fired: EventData) -> bool:
        current = cast(_Course, fired.model).current()
        return current is not None and _KINDS[current.phase.kind] is state

    return is_current


@cache
def _campaign_machine() -> Machine:
    """The machine of all campaigns: it follows the kind of the current phase."""
    order = list(_KINDS.values())
    forward = [
        {"trigger": "advance", "source": a, "dest": b, "conditions": _leads_to(b)}
        for a in order
        for b in order
        if order.index(a) < order.index(b)
    ]
    return Machine(
        model=None,
        states=list(CampaignState),
        initial=CampaignState.SETUP,
        transitions=[
            {
                "trigger": "start",
                "source": order,
                "dest": None,
                "conditions": "is_not_started",
                "before": "note_start",
            },
            *forward,
            {
                "trigger": "finish",
                "source": order,
                "dest": CampaignState.COMPLETE,
                "conditions": "all_are_active",
            },
            *(
                {
                    "trigger": "revise",
                    "source": list(CampaignState),
                    "dest": state,
                    "conditions": _leads_to(state),
                }
                for state in order
            ),
            {"trigger": "revise", "source": list(CampaignState), "dest": None},
        ],
        auto_transitions=False,
        send_event=True,
    )
