"""Where a campaign stands, what comes next, and what a person may do about it. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reactivate.campaign.criteria import checks_of
from reactivate.campaign.states import (
    STATE_CHECKS,
    CampaignState,
    Complete,
    PhaseState,
    Refusal,
    Step,
    StepKind,
    Waiting,
    Waiver,
)
from reactivate.checklist.model import Checklist, Item, Phase, PhaseKind
from reactivate.evidence import Check, Verdict

StepPlace = tuple[StepKind, Check | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A campaign at one point of its ledger.

    Attributes:
        checklist: the checklist it passes through.
        campaign: where the campaign stands.
        started: whether `campaign_started` is on record.
        seq: the last event that was read, 0 if none.
        phase: the current phase: the first that is not active; None when all are.
        states: the state of every phase.
        attempts: how often each check of each phase was run to an end, decided or not.
        artifacts: the artifact that was proven, by phase.
        refusal: the refusal that waits for a decision, None if none does.
        verdicts: the verdicts of the current phase's latest check, until the gate is left.
        waivers: all in force, by criterion, in the order they were given.
        confirmed: ids of the items confirmed, phase by phase.
        open_items: items of the current phase that wait for a person now.
        rolled_back: whether the current phase was taken back and waits for `retry`.
        stale: what changed in the checklist since the evidence of a phase was begun, by phase;
            only phases for which something did.
    """

    checklist: Checklist
    campaign: CampaignState
    started: bool
    seq: int
    phase: Phase | None
    states: Mapping[str, PhaseState]
    attempts: Mapping[tuple[str, Check], int]
    artifacts: Mapping[str, str]
    refusal: Refusal | None
    verdicts: Mapping[str, Verdict]
    waivers: Mapping[str, Waiver]
    confirmed: tuple[str, ...]
    open_items: tuple[Item, ...]
    rolled_back: bool
    stale: Mapping[str, tuple[str, ...]]

    @property
    def state(self) -> PhaseState:
        """The current phase's state; ACTIVE when there is no current phase."""
        return self.states[self.phase.id] if self.phase else PhaseState.ACTIVE

    @property
    def active_components(self) -> tuple[str, ...]:
        """The components that passed all their gates, in the checklist's order."""
        return tuple(c for c in self.checklist.components if self.states[c] is PhaseState.ACTIVE)

    @property
    def current(self) -> str:
        """Id of the current phase, "" when there is none."""
        return self.phase.id if self.phase else ""

    def next_step(self) -> Step | Waiting | Complete:
        """What comes next. The same until another event is recorded."""
        if self.campaign is CampaignState.COMPLETE:
            return Complete()
        if self.phase is None:
            return Step(kind=StepKind.COMPLETE, phase="", check=None, number=1, total=1)
        kind, check = self._place()
        places = steps_of(self.phase)
        number, total = places.index((kind, check)) + 1, len(places)
        held = self._held_up()
        if held is None:
            return Step(kind=kind, phase=self.phase.id, check=check, number=number, total=total)
        reason, commands = held
        return Waiting(
            phase=self.phase.id,
            items=self.open_items,
            reason=reason,
            commands=commands,
            number=number,
            total=total,
        )

    def _place(self) -> StepPlace:
        """The step that the current phase is at."""
        if self.refusal is not None:
            return StepKind.CHECK, self.refusal.check
        if self.state in STATE_CHECKS:
            return StepKind.CHECK, STATE_CHECKS[self.state]
        if self.state is PhaseState.ACTIVATING:
            return StepKind.ACTIVATE, None
        if self.state is PhaseState.DOCUMENTING:
            return StepKind.DOCUMENT, None
        return StepKind.PREPARE, None

    def _held_up(self) -> tuple[str, tuple[str, ...]] | None:
        """Why a person must act, and with which commands; None if nobody must."""
        assert self.phase is not None
        if self.rolled_back:
            return f"{self.phase.id} is rolled back", ("reactivate retry",)
        if self.refusal is not None:
            count = _counted(len(self.refusal.standing), "criterion fails", "criteria fail")
            reason = f"the {self.refusal.check.value} gate refused {self.phase.id}: {count}"
            return reason, _after_refusal(self.phase, self.refusal)
        if self.open_items:
            count = _counted(len(self.open_items), "item waits", "items wait")
            return f"{count} for a person", (
                f"reactivate confirm {self.open_items[0].id}",
                "reactivate confirm --all",
            )
        return None


def steps_of(phase: Phase) -> tuple[StepPlace, ...]:
    """The steps of a phase, in order."""
    prepare: StepPlace = (StepKind.PREPARE, None)
    document: StepPlace = (StepKind.DOCUMENT, None)
    if phase.kind is PhaseKind.SETUP:
        return (prepare, document) if phase.after else (prepare,)
    checks = tuple((StepKind.CHECK, check) for check in checks_of(phase))
    return (prepare, (StepKind.ACTIVATE, None), *checks, document)


def _after_refusal(phase: Phase, refusal: Refusal) -> tuple[str, ...]:
    waivers = tuple(f'reactivate waive {c} --reason "…"' for c in refusal.standing)
    if phase.kind is PhaseKind.BASELINE:
        return ("reactivate retry", *waivers)
    return ("reactivate retry", *waivers, 'reactivate rollback --reason "…"')


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
