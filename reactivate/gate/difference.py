"""One number before and after, in the words of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reactivate.evidence import Measurement, NotMeasured, Role
from reactivate.gate.statistics import RatioInterval


class Change(StrEnum):
    """What became of one number."""

    SAME = "same"
    """No difference at all."""
    NOISE = "noise"
    """A difference that two runs of the same build have."""
    MORE = "more"
    """More than before, and not by noise."""
    LESS = "less"
    """Less than before, and not by noise."""
    UNDECIDED = "undecided"
    """A difference that may be noise or not; the reason says why that cannot be told."""
    APPEARED = "appeared"
    """Measured only after."""
    GONE = "gone"
    """Measured only before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One number before and after.

    Attributes:
        metric: its name.
        operation: the operation, "" where the metric has none.
        thread: the thread, "" where it has none.
        instrument: who measured it.
        before: the value in the metric's base unit, or why there is none.
        after: likewise.
        change: see `Change`.
        reason: one sentence: why this and no other.
        by: after - before in the metric's base unit, without what only the place of the stack
            makes; None where one of them is missing.
        tolerance: how far two runs of one build may be apart, same unit; None where sampled.
        ratio: after / before where durations are compared, else None.
        interval: of that ratio; infinity where an end is open.
        samples: number of samples before and after.
    """

    metric: str
    operation: str
    thread: str
    instrument: str
    before: float | int | NotMeasured
    after: float | int | NotMeasured
    change: Change
    reason: str
    by: float | None = None
    tolerance: int | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    samples: tuple[int, int] = (0, 0)

    @property
    def decided(self) -> bool:
        """Whether it is a change, one way or the other."""
        return self.change in CHANGED


CHANGED = frozenset({Change.MORE, Change.LESS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How two runs stand to each other.

    Attributes:
        same_machine: whether kernel, processor and C library are the same.
        in_turn: the roles in the later run that are the build of the earlier one, measured in
            turn with the later build.
        shared: the roles that name the same build in both runs, as far as the campaign goes.
        durations: among how many durations the chance of a false alarm is shared out; 0 for as
            many as are compared here, see `durations`.
    """

    same_machine: bool
    in_turn: tuple[Role, ...] = ()
    shared: tuple[Role, ...] = (Role.BASELINE, Role.PREVIOUS)
    durations: int = 0


def difference(
    known: Measurement,
    before: float | int | NotMeasured,
    after: float | int | NotMeasured,
    change: Change,
    reason: str,
    *,
    by: float | None = None,
    tolerance: int | None = None,
    interval: RatioInterval | None = None,
    samples: tuple[int, int] = (0, 0),
) -> Difference:
    """The fields of a measurement and of what became of it, put together."""
    return Difference(
        metric=known.metric,
        operation=known.operation,
        thread=known.thread,
        instrument=known.instrument,
        before=before,
        after=after,
        change=change,
        reason=reason,
        by=by,
        tolerance=tolerance,
        ratio=None if interval is None else interval.ratio,
        interval=None if interval is None else (interval.low, interval.high),
        samples=samples,
    )
