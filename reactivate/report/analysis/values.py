"""Measured values as cells of a table: the number, its bound, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reactivate.evidence import Bound, Dimension, Measurement, NotMeasured, Role
from reactivate.ledger.records import AttemptRecord
from reactivate.metrics import BUILT_IN_METRICS, METRICS
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose
from reactivate.report.analysis.reader import LedgerReader, Worst
from reactivate.report.analysis.shape import PhaseShape
from reactivate.units import format_percent, format_quantity

NOTHING = "not measured"
_BOUNDS = {Bound.EXACT: "", Bound.LOWER: "≥ ", Bound.UPPER: "≤ "}
_SHARES = frozenset({"stack.attributed", "stack.margin", "perf.attributed"})


def dimension_of(metric: str) -> Dimension | None:
    """What a metric counts; None if nobody knows it any more."""
    known = BUILT_IN_METRICS.get(metric) or METRICS.get(metric)
    return None if known is None else known.dimension


def quantity(metric: str, value: float) -> str:
    """A number of a metric, for people."""
    dimension = dimension_of(metric)
    if metric in _SHARES:
        return format_percent(value)
    return f"{value:,}" if dimension is None else format_quantity(value, dimension)


def cell(found: Measurement | Worst | None, *, why: str = "") -> str:
    """A value, or that there is none and why."""
    measurement = found.measurement if isinstance(found, Worst) else found
    if measurement is None:
        return f"{NOTHING}: {prose(why)}" if why else NOTHING
    if isinstance(measurement.value, NotMeasured):
        return f"{NOTHING}: {prose(measurement.value.reason)}"
    return _BOUNDS[measurement.bound] + quantity(measurement.metric, measurement.value)


def number(found: Measurement | Worst | None) -> float | None:
    """The value as a number; None where nothing was measured."""
    measurement = found.measurement if isinstance(found, Worst) else found
    if measurement is None or isinstance(measurement.value, NotMeasured):
        return None
    return measurement.value


def change(metric: str, now: float | None, then: float | None) -> str:
    """By how much a value differs, with its sign; that it cannot be told where one is missing."""
    if now is None or then is None:
        return "cannot be told"
    difference = now - then
    sign = "+" if difference > 0 else "−" if difference < 0 else "±"
    text = f"{sign}{quantity(metric, abs(difference))}"
    return f"{text} ({sign}{format_percent(abs(difference) / then)})" if then > 0 else text


class Values:
    """What one attempt measured, by metric, operation and thread.

    Args:
        reader: the ledger.
        attempt: the attempt; None if there was none, then nothing was measured.
        missing: why there is no attempt.
    """

    def __init__(
        self, reader: LedgerReader, attempt: AttemptRecord | None, missing: str = ""
    ) -> None:
        self.attempt = attempt
        self.missing = missing
        self._found: dict[tuple[str, Role], list[Worst]] = {}
        for worst in () if attempt is None else reader.worst(attempt.id):
            key = worst.measurement.metric, worst.measurement.role
            self._found.setdefault(key, []).append(worst)

    def all(self, metric: str, role: Role = Role.SUBJECT) -> Sequence[Worst]:
        """The values of a metric, one for each operation and thread."""
        return self._found.get((metric, role), ())

    def one(
        self, metric: str, operation: str = "", thread: str | None = None, role: Role = Role.SUBJECT
    ) -> Worst | None:
        """The largest value of a metric for an operation; None if there is none on record."""
        fitting = [
            each
            for each in self.all(metric, role)
            if each.measurement.operation == operation
            and (thread is None or each.measurement.thread == thread)
        ]
        return _largest(fitting)

    def largest(self, metric: str, role: Role = Role.SUBJECT) -> Worst | None:
        """The largest value of a metric over all operations and threads."""
        return _largest(self.all(metric, role))

    def operations(self, *metrics: str) -> tuple[tuple[str, str], ...]:
        """Operations and threads that have one of these metrics."""
        found = {
            (each.measurement.operation, each.measurement.thread)
            for metric in metrics
            for each in self.all(metric)
        }
        return tuple(sorted(found))

    def cite(self, evidence: Evidence, found: Worst | None) -> str:
        """Where a value comes from."""
        if self.attempt is None or found is None:
            return ""
        return evidence.cite(self.attempt, found.measurement.evidence)


def _largest(found: Iterable[Worst]) -> Worst | None:
    listed = list(found)
    measured = [(value, each) for each in listed if (value := number(each)) is not None]
    if not measured:
        return listed[0] if listed else None
    return max(measured, key=lambda pair: pair[0])[1]


def source_line(
    evidence: Evidence, attempt: AttemptRecord | None, phase: PhaseShape, step: str
) -> str:
    """Which attempt speaks, in a sentence."""
    if attempt is None:
        return f"- {step}: {NOTHING}: {code(phase.id)} has no finished {step} check on record"
    return (
        f"- {step}: attempt {attempt.number} of {code(phase.id)} ({prose(attempt.outcome)}), "
        f"{attempt.started_at[:19].replace('T', ' ')} UTC, {evidence.attempt(attempt)}"
    )


def environment_lines(environment: Mapping[str, object]) -> str:
    """Kernel, processor, library and artifact in one line; each only if it is on record."""
    keys = ("kernel", "architecture", "cpu", "libc", "artifact_sha256", "configuration_sha256")
    parts = [
        f"{key.replace('_', ' ')} {code(str(environment[key]))}"
        for key in keys
        if environment.get(key)
    ]
    return "; ".join(parts) or "not on record"
