"""The machine of all phases: one table of transitions, one model per phase.

`transitions` reads the table from top to bottom and takes the first transition whose guards all
say yes; no state is entered but through it (`auto_transitions` is off).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from transitions import EventData, Machine

from reactivate.campaign.phase_model import PhaseModel
from reactivate.campaign.states import CHECK_STATES, PhaseState

_CHECKING = tuple(CHECK_STATES.values())
_BUILT = (*_CHECKING, PhaseState.DOCUMENTING)
_ON = (PhaseState.ACTIVATING, *_BUILT, PhaseState.REFUSED)

Row = dict[str, Any]


def under_the_table(models: Sequence[PhaseModel], states: Mapping[str, PhaseState]) -> None:
    """Put models under the table.

    Args:
        states: where phases stood under an earlier edition of the checklist; the others are
            pending.

    Raises:
        TypeError: the table names a guard or callback that the model does not have, or a trigger
            that a member of the model would shadow.
    """
    machine = _machine()
    for model in models:
        machine.add_model(model, initial=states.get(model.phase.id, PhaseState.PENDING))
    # Each has its triggers now; the machine, which stays, is not to keep them.
    machine.models.clear()


@cache
def _machine() -> Machine:
    """One for all campaigns: it holds nothing but the table, and is slow to build."""
    table = _table()
    _require_names(table, PhaseModel)
    return Machine(
        model=None,
        states=list(PhaseState),
        initial=PhaseState.PENDING,
        transitions=table,
        auto_transitions=False,
        send_event=True,
    )


def _table() -> list[Row]:
    pending, preparing, activating = (
        PhaseState.PENDING,
        PhaseState.PREPARING,
        PhaseState.ACTIVATING,
    )
    documenting, active, refused = PhaseState.DOCUMENTING, PhaseState.ACTIVE, PhaseState.REFUSED
    return [
        _row("begin", pending, preparing, ["is_its_turn"]),
        _row("confirm", (preparing, documenting), None, ["items_are_open"], "note_items"),
        *_onward(
            "prepare",
            preparing,
            (activating, documenting, active),
            ["items_are_confirmed"],
            "note_basis",
        ),
        *_onward("activate", activating, _BUILT, ["enablement_is_proven"], "note_activation"),
        _row("check", _CHECKING, None, ["verdicts_are_whole"], "note_verdicts"),
        *(
            row
            for number, state in enumerate(_CHECKING, start=1)
            for row in _onward(
                "pass_gate", state, _BUILT[number:], ["gate_is_open"], "forget_judgement"
            )
        ),
        _row("refuse", _CHECKING, refused, ["refusal_is_whole"], "note_refusal"),
        *_waive_rows(),
        _row("hold", (activating, *_CHECKING), None, ["step_is_undecided"], "note_undecided"),
        _row("retry", (*_BUILT, refused), activating, ["somebody_decided"], "forget_judgement"),
        _row(
            "retry", pending, preparing, ["was_rolled_back", "somebody_decided"], "switch_on_again"
        ),
        _row("roll_back", _ON, pending, ["can_be_switched_off"], "forget_all"),
        _row("document", documenting, active, ["items_are_confirmed"]),
        *_revise_rows(),
    ]


def _waive_rows() -> list[Row]:
    """A waiver leaves the refusal when no failure stands; then onward if that opens the gate,
    else back to the same check, whose other criteria are still undecided.
    """
    refused, guard, note = PhaseState.REFUSED, "failure_can_be_waived", "note_waiver"
    return [
        _row("waive", refused, None, [guard, "failures_still_stand"], note),
        *_onward(
            "waive", refused, _BUILT[1:], [guard, "waiver_opens_gate"], note, "forget_judgement"
        ),
        *(
            _row("waive", refused, state, [guard, _refused_in(state)], note, "forget_judgement")
            for state in _CHECKING
        ),
    ]


def _revise_rows() -> list[Row]:
    """Another edition of the checklist: measured anew where something else is asked, promised
    anew where there are new promises to make. What is active stays so, but for an integration of
    other components; that its evidence is stale is shown.
    """
    preparing, activating, refused = (
        PhaseState.PREPARING,
        PhaseState.ACTIVATING,
        PhaseState.REFUSED,
    )
    active, forget = PhaseState.ACTIVE, "forget_judgement"
    return [
        _row("revise", _ON, preparing, ["has_changed", "begins_with_promises"], forget),
        _row("revise", (*_BUILT, refused), activating, ["has_changed"], forget),
        _row("revise", active, preparing, ["holds_others", "begins_with_promises"], forget),
        _row("revise", active, activating, ["holds_others"], forget),
    ]


def _row(
    trigger: str,
    source: str | Sequence[str],
    dest: str | None,
    conditions: list[str | Callable[[EventData], bool]],
    *before: str,
) -> Row:
    """One line of the table; without a destination the state stays, and nothing is left."""
    return {
        "trigger": trigger,
        "source": [source] if isinstance(source, str) else list(source),
        "dest": dest,
        "conditions": conditions,
        "before": list(before),
    }


def _onward(
    trigger: str,
    source: str | Sequence[str],
    dests: Sequence[PhaseState],
    conditions: list[str | Callable[[EventData], bool]],
    *before: str,
) -> list[Row]:
    """Lines for a trigger that goes to whatever state comes next in the phase's own path."""
    return [_row(trigger, source, dest, [*conditions, _goes_to(dest)], *before) for dest in dests]


def _goes_to(state: PhaseState) -> Callable[[EventData], bool]:
    def is_next(fired: EventData) -> bool:
        model = cast(PhaseModel, fired.model)
        return model.successor() is state

    return is_next


def _refused_in(state: PhaseState) -> Callable[[EventData], bool]:
    def is_refused_there(fired: EventData) -> bool:
        model = cast(PhaseModel, fired.model)
        return model.refusal is not None and CHECK_STATES[model.refusal.check] is state

    return is_refused_there


def _require_names(table: Sequence[Row], model: type) -> None:
    """Names in the table are only looked up when a trigger fires; look them all up now."""
    for row in table:
        trigger = row["trigger"]
        # `transitions` gives the model a method for the trigger and one that asks for it.
        for name in (trigger, f"may_{trigger}"):
            if hasattr(model, name):
                raise TypeError(f"{model.__name__}.{name} would shadow the trigger")
        for name in [*row["conditions"], *row["before"]]:
            if not callable(name) and not callable(getattr(model, name, None)):
                raise TypeError(f"{model.__name__} has no method `{name}`")
