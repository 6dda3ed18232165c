"""Instruments from other distributions: entry points of the group `reactivate.instruments`.

Loaded only when somebody asks for a name that is not built in, and once per process. What cannot
be loaded, or claims a name that is taken, is left out and told by `doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

    from reactivate.metrics import Metric

GROUP = "reactivate.instruments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An instrument that was found.

    Attributes:
        name: of the entry point and of the class.
        distribution: what brought it, with its version.
        cls: keeps the contract of `reactivate.instrument.contract.Instrument`.
        metrics: what it adds to the language of criteria.
        settings: keys of its table in configs/instruments.toml, each with its kind: int, float,
            or the words to choose from.
    """

    name: str
    distribution: str
    cls: Any
    metrics: tuple[Metric, ...]
    settings: Mapping[str, type[int] | type[float] | tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """An entry point that cannot be used, and why."""

    name: str
    distribution: str
    reason: str


@cache
def extensions() -> tuple[tuple[Extension, ...], tuple[Misfit, ...]]:
    """What can be used, and what cannot."""
    from importlib.metadata import entry_points

    found: list[Extension] = []
    misfits: list[Misfit] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        try:
            found.append(_load(point, distribution, found))
        except Exception as error:  # whatever a stranger's module does when it is imported
            reason = f"{type(error).__name__}: {error}"
            misfits.append(Misfit(name=point.name, distribution=distribution, reason=reason))
    return tuple(found), tuple(misfits)


def _load(point: EntryPoint, distribution: str, others: list[Extension]) -> Extension:
    from reactivate.metrics import BUILT_IN_METRICS

    cls = point.load()
    metrics = tuple(cls.metrics)
    built_in = {metric.instrument for metric in BUILT_IN_METRICS.values()}
    taken = {*BUILT_IN_METRICS, *(m.name for other in others for m in other.metrics)}
    if cls.name != point.name:
        raise ValueError(f"the class calls itself `{cls.name}`, its entry point `{point.name}`")
    if point.name in built_in or point.name in {other.name for other in others}:
        raise ValueError(f"there is an instrument `{point.name}` already")
    for metric in metrics:
        if metric.name in taken:
            raise ValueError(f"there is a metric `{metric.name}` already")
        if metric.instrument != point.name:
            raise ValueError(f"the metric `{metric.name}` names another instrument")
        if not metric.checks:
            raise ValueError(f"the metric `{metric.name}` belongs to no check")
    if not metrics or set(cls.measures) != {metric.name for metric in metrics}:
        raise ValueError("`measures` and `metrics` do not name the same")
    for word in ("availability", "measure", "needs", "cost", "bound"):
        if not hasattr(cls, word):
            raise ValueError(f"the class has no `{word}`")
    return Extension(
        name=point.name,
        distribution=distribution,
        cls=cls,
        metrics=metrics,
        settings=dict(getattr(cls, "settings", {})),
    )
