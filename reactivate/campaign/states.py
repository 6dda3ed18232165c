"""The words for where a campaign stands: states, steps, refusals, waivers. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reactivate.checklist.model import Item
from reactivate.evidence import Check


class PhaseState(StrEnum):
    """Where one phase stands."""

    PENDING = "pending"
    """Not begun, or rolled back."""
    PREPARING = "preparing"
    """Its items for people are being confirmed; nothing is switched on."""
    ACTIVATING = "activating"
    """Prepared; the build with it must be made, mounted, and proven to contain it."""
    BASELINE_CHECK = "baseline_check"
    TRACE_CHECK = "trace_check"
    OVERFLOW_CHECK = "overflow_check"
    DOCUMENTING = "documenting"
    """Every gate is passed; what is to be written down must be."""
    ACTIVE = "active"
    REFUSED = "refused"
    """A gate found a limit exceeded; a person must retry, waive or roll back."""


CHECK_STATES: dict[Check, PhaseState] = {
    Check.BASELINE: PhaseState.BASELINE_CHECK,
    Check.TRACE: PhaseState.TRACE_CHECK,
    Check.OVERFLOW: PhaseState.OVERFLOW_CHECK,
}
"""The state in which a check is run; in the order of the checks."""

STATE_CHECKS: dict[PhaseState, Check] = {state: check for check, state in CHECK_STATES.items()}
"""The check that is run in a state."""


class CampaignState(StrEnum):
    """Where the campaign stands: the kind of its current phase."""

    SETUP = "setup"
    BASELINE = "baseline"
    COMPONENT = "component"
    INTEGRATION = "integration"
    COMPLETE = "complete"


class StepKind(StrEnum):
    """What one call of `next` does."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    CHECK = "check"
    DOCUMENT = "document"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next thing that the tool can do by itself.

    Attributes:
        kind: what it is.
        phase: id of the phase, "" for COMPLETE.
        check: the check to run, None unless `kind` is CHECK.
        number: which step of the phase it is, from 1.
        total: how many steps the phase has.
    """

    kind: StepKind
    phase: str
    check: Check | None
    number: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing goes on until a person acts.

    Attributes:
        phase: id of the phase.
        items: items to confirm, empty if it waits for a decision.
        reason: one sentence.
        commands: what can be typed, the likeliest first.
        number: which step of the phase is held up, from 1.
        total: how many steps the phase has.
    """

    phase: str
    items: tuple[Item, ...]
    reason: str
    commands: tuple[str, ...]
    number: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The campaign is over; there is no next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A gate that refused.

    Attributes:
        phase: id of the phase.
        check: the gate.
        failed: every criterion that failed, in the order of the gate.
        standing: those of them that are not waived; at least one.
        seq: the event that recorded it.
    """

    phase: str
    check: Check
    failed: tuple[str, ...]
    standing: tuple[str, ...]
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A risk taken on record.

    Attributes:
        criterion: id of the criterion it opens, and no other.
        phase: the phase in which it was given; it ends when that phase is rolled back.
        reason: why.
        who: by whom.
        seq: the event that recorded it.
    """

    criterion: str
    phase: str
    reason: str
    who: str
    seq: int
