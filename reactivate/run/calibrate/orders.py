"""Orders to the obedient daemon as operations, which remember what became of them."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import Criterion
from reactivate.errors import MeasurementError
from reactivate.evidence import Check, Measurement, NotMeasured
from reactivate.gate.judge import judge
from reactivate.gate.judgement import Judgement
from reactivate.run.calibrate.record import Plant
from reactivate.units import format_quantity
from reactivate.workload.operation import Operation

_ORDER = "user.do"
_TURNS = 200


@dataclass(slots=True, kw_only=True)
class Order:
    """One thing that the daemon is told to do, again and again.

    Attributes:
        name: of the operation.
        text: the order itself.
        attribute: "depth" or "below": what is asked of it after each repetition; "" for nothing.
        refused: whether it is to answer with an error.
        times: how often it is given in one repetition.
        truths: its answers.
        durations_ns: how long it took to obey, each time.
        twin: a folder of a second daemon that gets every order in turn with the first one.
        twin_durations_ns: how long it took that one.
    """

    name: str
    text: str
    attribute: str = ""
    refused: bool = False
    times: int = 1
    truths: list[int] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)
    twin: Path | None = None
    twin_durations_ns: list[int] = field(default_factory=list)

    @property
    def operation(self) -> Operation:
        """For an instrument."""
        return Operation(
            name=self.name, suite="calibration", opcodes=("SETXATTR",), run=self._run,
            tidy=self._tidy,
        )  # fmt: skip

    @property
    def median_ns(self) -> float:
        """Of the durations."""
        return statistics.median(self.durations_ns)

    @property
    def ratio(self) -> float:
        """How long it took, to how long it took the twin."""
        return self.median_ns / statistics.median(self.twin_durations_ns)

    def _run(self, folder: Path, repetition: int) -> None:
        for turn in range(self.times):
            if self.twin is not None and turn % 2:
                self.twin_durations_ns.append(self._timed(self.twin))
            self.durations_ns.append(self._timed(folder))
            if self.twin is not None and not turn % 2:
                self.twin_durations_ns.append(self._timed(self.twin))

    def _timed(self, folder: Path) -> int:
        started = time.perf_counter_ns()
        with contextlib.suppress(*((OSError,) if self.refused else ())):
            os.setxattr(folder, _ORDER, self.text.encode())
        return time.perf_counter_ns() - started

    def _tidy(self, folder: Path, repetition: int) -> None:
        if self.attribute:
            self.truths.append(int(os.getxattr(folder, f"user.{self.attribute}")))


def release_unanswered() -> Operation:
    """Opens and closes a folder; the daemon is told not to answer that it was closed."""

    def run(folder: Path, repetition: int) -> None:
        os.setxattr(folder, _ORDER, b"mute")
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))

    return Operation(name="release", suite="calibration", opcodes=("RELEASEDIR",), run=run)


def calm(name: str = "calm", *, twin: Path | None = None) -> Order:
    """A request of which nothing comes; with a twin, often enough for a median."""
    return Order(name=name, text="calm", twin=twin, times=1 if twin is None else _TURNS)


# -- the gate's own judgement --------------------------------------------------------------


def of_operation(found: Sequence[Measurement], operation: str) -> tuple[Measurement, ...]:
    """What was measured of one operation, and of none."""
    return tuple(m for m in found if m.operation in ("", operation))


def value_of(found: Sequence[Measurement], metric: str) -> int | None:
    """The one value of a metric; None if there is none."""
    values = [m.value for m in found if m.metric == metric]
    if len(values) != 1 or isinstance(values[0], NotMeasured):
        return None
    return round(values[0])


def required(found: Sequence[Measurement], metric: str) -> int:
    """The one value of a metric that every machine has.

    Raises:
        MeasurementError: there is none.
    """
    value = value_of(found, metric)
    if value is None:
        raise MeasurementError(f"`{metric}` was not measured on a daemon of known behaviour")
    return value


def judged(check: Check, source: str, found: Sequence[Measurement]) -> Judgement:
    """A criterion of a checklist, on measurements of a calibration."""
    criterion = Criterion(
        id=source,
        text="",
        source=source,
        comparison=parse_criterion(source, check=check),
        check=check,
        line=1,
        column=1,
    )
    return judge(criterion, found, {})


def plant(
    check: Check,
    fault: str,
    criterion: str,
    *,
    without: Sequence[Measurement],
    planted: Sequence[Measurement],
) -> Plant:
    """Judge the same criterion without and with a planted fault."""
    green, red = judged(check, criterion, without), judged(check, criterion, planted)
    observed = (
        red.observed.reason
        if isinstance(red.observed, NotMeasured)
        else format_quantity(red.observed, red.dimension)
    )
    return Plant(
        fault=fault,
        criterion=criterion,
        without=green.verdict,
        planted=red.verdict,
        observed=observed,
    )
