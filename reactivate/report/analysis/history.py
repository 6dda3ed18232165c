"""How a number moved: its worst value in every attempt, with what each was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reactivate.errors import UsageError
from reactivate.evidence import Measurement, NotMeasured
from reactivate.ledger.records import JSON, AttemptRecord
from reactivate.metrics import METRICS
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import read_shape
from reactivate.tomlfile import nearest

UNICODE_LEVELS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = "_.-:=+*#"
_GAP = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The worst value of a metric in one attempt.

    Attributes:
        attempt: which.
        measurement: the value, or why there is none.
        environment: what it was measured on.
    """

    attempt: AttemptRecord
    measurement: Measurement
    environment: Mapping[str, JSON]

    def digest(self, key: str) -> str:
        """A digest of the environment: `artifact_sha256`, `configuration_sha256`; "" if none."""
        value = self.environment.get(key)
        return value if isinstance(value, str) else ""

    @property
    def commit(self) -> str:
        """Of the target's source, with `+` if it had changes; "" for a target without one."""
        return self.digest("commit")


def history(
    reader: LedgerReader, metric: str, *, component: str = "", operation: str = ""
) -> tuple[Point, ...]:
    """Every attempt that has the metric, oldest first.

    Raises:
        UsageError: there is no such metric or component.
    """
    if metric not in METRICS and metric not in (known := reader.metrics()):
        raise UsageError(
            f"there is no metric `{metric}`{nearest(metric, [*METRICS, *known])}",
            hint="reactivate checklist metrics",
        )
    if component:
        read_shape(reader).phase(component)
    attempts = {attempt.id: attempt for attempt in reader.attempts()}
    environments: dict[str, Mapping[str, JSON]] = {}
    points = []
    moments = reader.moments(metric, phase=component or None, operation=operation or None)
    for moment in moments:
        attempt = attempts[moment.attempt]
        key = attempt.environment_sha256
        if key not in environments:
            environments[key] = reader.environment(key)
        points.append(
            Point(attempt=attempt, measurement=moment.measurement, environment=environments[key])
        )
    return tuple(points)


def sparkline(values: Sequence[float | int | NotMeasured], *, unicode: bool = True) -> str:
    """One character for each value, from the least to the largest; a gap where there is none."""
    levels = UNICODE_LEVELS if unicode else ASCII_LEVELS
    known = [value for value in values if not isinstance(value, NotMeasured)]
    if not known:
        return _GAP * len(values)
    low, high = min(known), max(known)
    # Floats: the difference of two large integers may not fit, and equal values have none.
    span = float(high) - float(low)
    return "".join(
        _GAP
        if isinstance(value, NotMeasured)
        else levels[round((float(value) - low) / span * (len(levels) - 1)) if span > 0 else 0]
        for value in values
    )
