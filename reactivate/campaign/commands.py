"""Whether a person's command means something now. Asked before anything is recorded."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from reactivate.campaign.passage import Passage
from reactivate.campaign.states import CHECK_STATES, PhaseState, Waiting
from reactivate.checklist.model import PhaseKind
from reactivate.errors import UsageError

_RETRIED = frozenset({*CHECK_STATES.values(), PhaseState.DOCUMENTING, PhaseState.REFUSED})
_TAKEN_BACK = _RETRIED | {PhaseState.ACTIVATING}
_SWITCHED = frozenset({PhaseKind.COMPONENT, PhaseKind.INTEGRATION})


def items_to_confirm(
    passage: Passage, items: Sequence[str], *, everything: bool = False
) -> tuple[str, ...]:
    """The ids of the items that a `confirm` is about.

    Args:
        items: ids, each of an item that is open now.
        everything: all items that are open now; `items` is empty then.

    Raises:
        UsageError: nothing is open, or one of them is unknown, confirmed, or not open yet.
    """
    if not passage.open_items:
        raise _not_now(passage, "No item waits to be confirmed")
    if everything and items:
        raise UsageError("Items and --all together", hint="reactivate confirm --all")
    if everything:
        return tuple(item.id for item in passage.open_items)
    if not items:
        raise UsageError("Nothing was named to confirm", hint=_hint_items(passage))
    known = {item.id for item in passage.open_items}
    for name in items:
        if name not in known:
            raise UsageError(
                f"`{name}` is no item that is open now",
                why=_why_not_open(passage, name),
                hint=_hint_items(passage),
            )
    return tuple(dict.fromkeys(items))


def require_retry(passage: Passage) -> str:
    """The id of the phase that a `retry` is about: the current one, if there is anything to repeat.

    Raises:
        UsageError: nothing was built that could be built again.
    """
    phase = passage.phase
    if phase is None or not (passage.rolled_back or passage.state in _RETRIED):
        raise _not_now(passage, "There is nothing to retry")
    return phase.id


def require_waive(passage: Passage, criterion: str, reason: str) -> tuple[str, str]:
    """The ids of the phase and of the failed criterion that a `waive` is about.

    Args:
        criterion: its id, or the end of it after a dot where only one failed criterion has it:
            `stack.peak` for `search_engine.baseline.stack.peak`.
        reason: why the risk is taken.

    Raises:
        UsageError: no refusal, not one of its failures, several of that name, or no reason.
    """
    if passage.refusal is None:
        raise _not_now(passage, "Only a criterion that failed can be waived, and none has")
    standing = passage.refusal.standing
    wanted = [c for c in standing if c == criterion]
    wanted = wanted or [c for c in standing if c.endswith(f".{criterion}")]
    if len(wanted) != 1:
        what = "means several failed criteria" if wanted else "is not among the failed criteria"
        raise UsageError(
            f"`{criterion}` {what}",
            why="failed: " + ", ".join(wanted or standing),
            hint=f'reactivate waive {(wanted or standing)[0]} --reason "…"',
        )
    if not reason.strip():
        raise UsageError(
            "A waiver needs a reason", hint=f'reactivate waive {wanted[0]} --reason "…"'
        )
    return passage.refusal.phase, wanted[0]


def require_rollback(passage: Passage, reason: str) -> str:
    """The id of the phase that a `rollback` is about: the current one, if it switches something on.

    Raises:
        UsageError: the current phase switches nothing on, or has not begun to; or no reason.
    """
    phase = passage.phase
    if phase is None or phase.kind not in _SWITCHED or passage.state not in _TAKEN_BACK:
        raise _not_now(passage, "There is no component to switch off")
    if not reason.strip():
        raise UsageError("A rollback needs a reason", hint='reactivate rollback --reason "…"')
    return phase.id


def _not_now(passage: Passage, what: str) -> UsageError:
    """An error that says where the campaign stands and what is allowed there."""
    step = passage.next_step()
    allowed = step.commands if isinstance(step, Waiting) else ("reactivate next",)
    if passage.phase is None:
        return UsageError(what, why="every phase is active", hint="reactivate status")
    why = f"{passage.phase.id} is {passage.state.value}"
    if isinstance(step, Waiting):
        why = step.reason
    return UsageError(what, why=why, hint=" or ".join(allowed))


def _why_not_open(passage: Passage, name: str) -> str:
    if name in passage.confirmed:
        return "it is confirmed already"
    items = [item for phase in passage.checklist.phases for item in (*phase.before, *phase.after)]
    if name in {item.id for item in items}:
        return "its turn has not come, or is over"
    near = difflib.get_close_matches(name, [item.id for item in items], n=1)
    return f"did you mean `{near[0]}`?" if near else "the checklist has no such item"


def _hint_items(passage: Passage) -> str:
    return " or ".join(f"reactivate confirm {item.id}" for item in passage.open_items)
