"""What is known of one phase, and the guards that let events through.

A guard that says no leaves the reason in `why`, because a trigger only answers True or False.
The table that uses them is in `phase_machine`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from transitions import EventData, MachineError

from reactivate.campaign.basis import Basis, basis_of, differences
from reactivate.campaign.criteria import checks_of, components_of, gate_criteria
from reactivate.campaign.events import (
    UNDECIDED,
    RecordedEvent,
    check_of,
    impossible,
    proof,
    text,
    texts,
    verdict_of,
    verdicts,
)
from reactivate.campaign.states import CHECK_STATES, STATE_CHECKS, PhaseState, Refusal, Waiver
from reactivate.campaign.waivers import Waivers
from reactivate.checklist.model import Checklist, Item, Phase, PhaseKind
from reactivate.evidence import Check, Verdict
from reactivate.gate.opening import verdicts_open

_BUILT = frozenset({PhaseKind.BASELINE, PhaseKind.COMPONENT, PhaseKind.INTEGRATION})
_SWITCHED = frozenset({PhaseKind.COMPONENT, PhaseKind.INTEGRATION})


def path_of(phase: Phase) -> tuple[PhaseState, ...]:
    """The states a phase passes when nothing is refused, after `pending`."""
    if phase.kind in _BUILT:
        middle = (PhaseState.ACTIVATING, *(CHECK_STATES[check] for check in checks_of(phase)))
        return (PhaseState.PREPARING, *middle, PhaseState.DOCUMENTING, PhaseState.ACTIVE)
    documenting = (PhaseState.DOCUMENTING,) if phase.after else ()
    return (PhaseState.PREPARING, *documenting, PhaseState.ACTIVE)


class PhaseModel:
    """What is known of one phase; `transitions` moves its `state`."""

    state: PhaseState
    trigger: Callable[..., bool]  # put here by the machine

    def __init__(
        self,
        checklist: Checklist,
        phase: Phase,
        *,
        why_not_its_turn: Callable[[str], str],
        waivers: Waivers,
    ) -> None:
        """A phase nothing has happened in.

        Args:
            why_not_its_turn: gives the reason why a phase may not begin, "" if it may.
            waivers: those of the whole campaign: the integration inherits them.
        """
        self.phase = phase
        self.why = ""
        self.promised: dict[tuple[str, str], None] = {}
        self.recorded: Mapping[str, Verdict] | None = None
        self.refusal: Refusal | None = None
        self.attempts: Counter[Check] = Counter()
        self.artifact_sha256 = ""
        self.is_off = False
        self.waivers: Mapping[str, Waiver] = waivers.in_force
        self._waivers = waivers
        self.basis = basis_of(checklist, phase)
        self.proven_on: Basis | None = None
        self._why_not_its_turn = why_not_its_turn
        self._components = components_of(checklist, phase)
        self._path = path_of(phase)
        self._gates = {
            check: tuple(c.id for c in gate_criteria(checklist, phase, check))
            for check in checks_of(phase)
        }

    def fire(self, trigger: str, event: RecordedEvent) -> None:
        """Let an event through the machine.

        Raises:
            LedgerCorruptError: no transition of this trigger begins here, or a guard said no.
        """
        self.why = ""
        try:
            moved = self.trigger(trigger, event=event)
        except MachineError:
            raise impossible(event, f"`{self.phase.id}` is {self.state.value} then") from None
        if not moved:
            why = self.why or f"`{self.phase.id}` is {self.state.value} then"
            raise impossible(event, why)

    def take_over(self, earlier: PhaseModel) -> None:
        """Go on from what was known under an earlier edition of the checklist."""
        self.promised = dict(earlier.promised)
        self.recorded, self.refusal = earlier.recorded, earlier.refusal
        self.attempts = Counter(earlier.attempts)
        self.artifact_sha256 = earlier.artifact_sha256
        self.is_off = earlier.is_off
        self.proven_on = earlier.proven_on

    def go_back(self) -> None:
        """Go back as far as the checklist of now demands; where no line of the table leads back,
        the phase stays where it is.
        """
        with suppress(MachineError):
            self.trigger("revise")

    # Guards: each returns a real bool, and says why not

    def is_its_turn(self, fired: EventData) -> bool:
        """Every phase before it and everything it needs is active."""
        why = self._why_not_its_turn(self.phase.id)
        if not why and self.is_off:
            why = f"`{self.phase.id}` is rolled back; only a retry begins it again"
        return self._allow(not why, why)

    def items_are_open(self, fired: EventData) -> bool:
        """Each item belongs to the present state and is not confirmed yet."""
        event = _event(fired)
        text(event, "who")
        named = texts(event, "items")
        known = {item.id for item in self.open_items()}
        odd = ", ".join(f"`{name}`" for name in named if name not in known) or "nothing"
        return self._allow(
            bool(named) and known.issuperset(named), f"{odd} is no open item at this point"
        )

    def items_are_confirmed(self, fired: EventData) -> bool:
        """No item of the present state is open."""
        items = ", ".join(f"`{item.id}`" for item in self.open_items())
        return self._allow(not items, f"not confirmed: {items}")

    def enablement_is_proven(self, fired: EventData) -> bool:
        """The build holds exactly the components of this phase, and its witness answered."""
        event = _event(fired)
        text(event, "artifact_sha256")
        components = texts(event, "components")
        if self.phase.kind in _SWITCHED:
            proof(event, "witness")
        expected = ", ".join(self._components) or "none"
        return self._allow(
            set(components) == set(self._components),
            f"on were {', '.join(components) or 'none'}, but it must be {expected}",
        )

    def verdicts_are_whole(self, fired: EventData) -> bool:
        """There is one verdict for every criterion of the gate, and for nothing else."""
        event = _event(fired)
        if not self._is_present_check(event):
            return False
        found, asked = set(verdicts(event)), set(self._gate())
        odd = ", ".join(f"`{c}`" for c in sorted(found ^ asked))
        return self._allow(not odd, f"criteria without a verdict, or verdicts without one: {odd}")

    def gate_is_open(self, fired: EventData) -> bool:
        """Every recorded verdict is a pass or waived."""
        if not self._is_present_check(_event(fired)) or not self._is_judged():
            return False
        shut = [c for c, v in self._verdicts() if not verdicts_open([(c, v)], self.waivers)]
        names = ", ".join(f"`{c}`" for c in shut)
        return self._allow(verdicts_open(self._verdicts(), self.waivers), f"shut by {names}")

    def refusal_is_whole(self, fired: EventData) -> bool:
        """It names every criterion that failed and is not waived, and none that did not fail."""
        event = _event(fired)
        if not self._is_present_check(event) or not self._is_judged():
            return False
        named, standing = set(texts(event, "failed")), set(self._standing(self.waivers))
        if not standing:
            return self._allow(False, "no criterion failed that is not waived")
        return self._allow(
            standing <= named <= set(self._failed()),
            f"failed are {', '.join(self._failed())}, named are {', '.join(sorted(named))}",
        )

    def failure_can_be_waived(self, fired: EventData) -> bool:
        """The criterion failed in this refusal and is not waived yet; reason and name are given."""
        event = _event(fired)
        criterion = text(event, "criterion")
        text(event, "reason")
        text(event, "who")
        return self._allow(
            self.refusal is not None and criterion in self.refusal.standing,
            f"`{criterion}` did not fail in this refusal, or is waived already",
        )

    def failures_still_stand(self, fired: EventData) -> bool:
        """Another failed criterion is not waived."""
        return bool(self._standing(self._waived_with(fired)))

    def waiver_opens_gate(self, fired: EventData) -> bool:
        """With this waiver every recorded verdict is a pass or waived."""
        return verdicts_open(self._verdicts(), self._waived_with(fired))

    def step_is_undecided(self, fired: EventData) -> bool:
        """The present step ended without a decision, and no recorded verdict decides it."""
        event = _event(fired)
        outcome = verdict_of(event, "outcome")
        if outcome not in UNDECIDED:
            return self._allow(False, f"`{outcome.value}` is a decision")
        step = text(event, "check" if "check" in event.data else "step")
        present = STATE_CHECKS.get(self.state)
        expected = present.value if present else "activate"
        if step != expected:
            return self._allow(False, f"`{self.phase.id}` is at {expected}, not at {step}")
        if self._standing(self.waivers):
            return self._allow(False, "a criterion failed, so it is a refusal")
        return True

    def somebody_decided(self, fired: EventData) -> bool:
        """The event names who decided."""
        return bool(text(_event(fired), "who"))

    def can_be_switched_off(self, fired: EventData) -> bool:
        """The phase switches something on, so that it can be taken back; a reason is given."""
        text(_event(fired), "reason")
        return self._allow(
            self.phase.kind in _SWITCHED, f"`{self.phase.id}` switches no component on"
        ) and bool(text(_event(fired), "who"))

    def was_rolled_back(self, fired: EventData) -> bool:
        """It is pending because a person took it back."""
        return self._allow(self.is_off, f"`{self.phase.id}` was not begun")

    def has_changed(self, fired: EventData) -> bool:
        """What its evidence stands on in the checklist is another than it was."""
        return bool(self.stale())

    def holds_others(self, fired: EventData) -> bool:
        """It is the integration of other components than are there now."""
        then = self.proven_on
        return (
            self.phase.kind is PhaseKind.INTEGRATION
            and then is not None
            and then.components != self.basis.components
        )

    def begins_with_promises(self, fired: EventData) -> bool:
        """Items before it wait for a person, or items are all it has."""
        return bool(self._unconfirmed(self.phase.before)) or self.phase.kind not in _BUILT

    # What changes with a transition, before the state does

    def note_items(self, fired: EventData) -> None:
        """Remember confirmed items by their words: other words are another promise."""
        words = {item.id: item.text for item in self.open_items()}
        self.promised.update(((name, words[name]), None) for name in texts(_event(fired), "items"))

    def note_basis(self, fired: EventData) -> None:
        """Remember what was asked of it."""
        self.proven_on = self.basis

    def note_activation(self, fired: EventData) -> None:
        """Remember which artifact was proven, and what was asked of it."""
        self.artifact_sha256 = text(_event(fired), "artifact_sha256")
        self.proven_on = self.basis

    def note_verdicts(self, fired: EventData) -> None:
        """Remember what was judged."""
        event = _event(fired)
        self.attempts[check_of(event)] += 1
        found = verdicts(event)
        self.recorded = {criterion: found[criterion] for criterion in self._gate()}

    def note_refusal(self, fired: EventData) -> None:
        """Remember every failed criterion."""
        event = _event(fired)
        self.refusal = Refusal(
            phase=self.phase.id,
            check=check_of(event),
            failed=self._failed(),
            standing=self._standing(self.waivers),
            seq=event.seq,
        )

    def note_waiver(self, fired: EventData) -> None:
        """Remember the risk taken; the refusal keeps what still stands."""
        event = _event(fired)
        criterion = text(event, "criterion")
        self._waivers.give(
            Waiver(
                criterion=criterion,
                phase=self.phase.id,
                reason=text(event, "reason"),
                who=text(event, "who"),
                seq=event.seq,
            )
        )
        if self.refusal is not None:
            self.refusal = Refusal(
                phase=self.refusal.phase,
                check=self.refusal.check,
                failed=self.refusal.failed,
                standing=self._standing(self.waivers),
                seq=self.refusal.seq,
            )

    def note_undecided(self, fired: EventData) -> None:
        """Count a check that broke before it was judged; forget verdicts that decide nothing."""
        present = STATE_CHECKS.get(self.state)
        if present is not None and self.recorded is None:
            self.attempts[present] += 1
        self.recorded = None

    def forget_judgement(self, fired: EventData) -> None:
        """Verdicts and a refusal belong to the gate that is left."""
        self.recorded = None
        self.refusal = None

    def forget_all(self, fired: EventData) -> None:
        """A phase that was rolled back begins from nothing: new promises, new risks."""
        self.forget_judgement(fired)
        self.is_off = True
        self.artifact_sha256 = ""
        self.proven_on = None
        self.promised.clear()
        self._waivers.forget({self.phase.id})

    def switch_on_again(self, fired: EventData) -> None:
        """It is no longer waiting for a person."""
        self.is_off = False

    # Looking things up

    def successor(self) -> PhaseState | None:
        """The state after the present one; after a refusal, the one after its check."""
        state = CHECK_STATES[self.refusal.check] if self.refusal is not None else self.state
        if state not in self._path[:-1]:
            return None
        return self._path[self._path.index(state) + 1]

    def stale(self) -> tuple[str, ...]:
        """What changed in the checklist since the evidence was begun; () if there is none."""
        return () if self.proven_on is None else differences(self.proven_on, self.basis)

    def open_items(self) -> tuple[Item, ...]:
        """Items that wait for a person in the present state."""
        items: tuple[Item, ...] = ()
        if self.state in {PhaseState.PENDING, PhaseState.PREPARING} and not self.is_off:
            items = self.phase.before
        elif self.state is PhaseState.DOCUMENTING:
            items = self.phase.after
        return self._unconfirmed(items)

    def confirmed(self) -> tuple[str, ...]:
        """Ids of the items that are confirmed as they read now, in the order of confirming."""
        items = {(item.id, item.text) for item in (*self.phase.before, *self.phase.after)}
        return tuple(promise[0] for promise in self.promised if promise in items)

    def _unconfirmed(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(item for item in items if (item.id, item.text) not in self.promised)

    def _allow(self, allowed: bool, why: str) -> bool:
        """The guard's answer; the first reason that is given counts."""
        if not allowed and not self.why:
            self.why = why
        return allowed

    def _is_present_check(self, event: RecordedEvent) -> bool:
        check, present = check_of(event), STATE_CHECKS.get(self.state)
        at = present.value if present else "none"
        return self._allow(check is present, f"the check at this point is {at}, not {check.value}")

    def _is_judged(self) -> bool:
        return self._allow(self.recorded is not None, "no verdicts were recorded for this check")

    def _gate(self) -> tuple[str, ...]:
        present = STATE_CHECKS.get(self.state)
        return self._gates[present] if present is not None else ()

    def _verdicts(self) -> tuple[tuple[str, Verdict], ...]:
        return tuple((self.recorded or {}).items())

    def _failed(self) -> tuple[str, ...]:
        return tuple(c for c, verdict in self._verdicts() if verdict is Verdict.FAIL)

    def _standing(self, waived: Collection[str]) -> tuple[str, ...]:
        return tuple(c for c in self._failed() if c not in waived)

    def _waived_with(self, fired: EventData) -> set[str]:
        return {*self.waivers, text(_event(fired), "criterion")}


def _event(fired: EventData) -> RecordedEvent:
    event: RecordedEvent = fired.kwargs["event"]
    return event
