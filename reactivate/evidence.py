"""The words of measuring, shared by instruments, gate, ledger and report.

Integers are in base units: bytes, nanoseconds, counts. Nothing here measures or judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

Pid = NewType("Pid", int)
Tid = NewType("Tid", int)
Address = NewType("Address", int)


class Dimension(StrEnum):
    """What a number counts."""

    BYTES = "bytes"
    NANOSECONDS = "ns"
    COUNT = "count"
    RATIO = "ratio"


class Bound(StrEnum):
    """On which side of the measured value the truth may lie."""

    EXACT = "exact"
    """The value is the truth."""
    LOWER = "lower"
    """The truth is the value or more."""
    UPPER = "upper"
    """The truth is the value or less."""


class Check(StrEnum):
    """The three kinds of gate run, in their order."""

    BASELINE = "baseline"
    TRACE = "trace"
    OVERFLOW = "overflow"


class Role(StrEnum):
    """Which build a measurement describes."""

    SUBJECT = "subject"
    """The build under test."""
    BASELINE = "baseline"
    """The minimal build, without components."""
    PREVIOUS = "previous"
    """The build before the component under test was added."""


class Verdict(StrEnum):
    """What became of one criterion."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """Too few or too noisy samples, or instruments disagree."""
    INVALID = "invalid"
    """The run proves nothing: component not on, wrong binary, stale reference."""
    ERROR = "error"
    """The tool or the target broke, or the value was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A value that does not exist, with the reason. Never 0, never None."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value, measured once or reduced from repeated samples.

    Attributes:
        metric: a name of `reactivate.metrics`.
        value: the value in the metric's base unit, or why there is none.
        bound: on which side the truth may lie.
        role: which build it describes.
        operation: the named operation, or "" where the value is not about one.
        thread: "main", "worker", or "" where the value is not about one.
        instrument: the instrument's name.
        samples: the raw samples the value was reduced from, in base units; length is n.
        evidence: path of the evidence file relative to the attempt's folder, or "".
        note: one sentence that a reader needs to understand the value, or "".
    """

    metric: str
    value: float | int | NotMeasured
    instrument: str
    bound: Bound = Bound.EXACT
    role: Role = Role.SUBJECT
    operation: str = ""
    thread: str = ""
    samples: tuple[float | int, ...] = field(default=())
    evidence: str = ""
    note: str = ""
