"""Which instruments there are and which check arms which. Loaded only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib import import_module

from reactivate.evidence import Check, Measurement
from reactivate.extensions import extensions
from reactivate.instrument.contract import Instrument
from reactivate.metrics import BUILT_IN_METRICS, METRICS

_CLASSES = {
    "watermark": ("reactivate.instrument.watermark", "Watermark"),
    "memory": ("reactivate.instrument.memory", "Memory"),
    "latency": ("reactivate.instrument.latency", "Latency"),
    "growth": ("reactivate.instrument.growth", "Growth"),
    "lifecycle": ("reactivate.instrument.lifecycle", "Lifecycle"),
    "deepest": ("reactivate.instrument.deepest", "Deepest"),
    "massif": ("reactivate.instrument.valgrind", "Massif"),
    "memcheck": ("reactivate.instrument.valgrind", "Memcheck"),
    "perf": ("reactivate.instrument.perf", "Perf"),
    "smallest_stack": ("reactivate.instrument.smallest_stack", "SmallestStack"),
}

_CHECKS: dict[Check, tuple[str, ...]] = {
    Check.BASELINE: ("watermark", "memory", "latency"),
    Check.TRACE: ("growth", "lifecycle", "deepest"),
    Check.OVERFLOW: ("smallest_stack",),
}

_ON_DEMAND: dict[Check, tuple[str, ...]] = {
    Check.TRACE: ("perf", "massif", "memcheck"),
}
"""Slow ones: armed only where a criterion names one of their metrics."""

ON_DEMAND: tuple[str, ...] = tuple(name for names in _ON_DEMAND.values() for name in names)
"""Instruments that a campaign needs only if its checklist asks for their metrics."""

INSTRUMENTS: tuple[str, ...] = tuple(_CLASSES)
"""Names of the instruments of this distribution."""


def instrument_names() -> tuple[str, ...]:
    """Names of all instruments, in the order `doctor` shows them: others' come last."""
    found, _ = extensions()
    return (*INSTRUMENTS, *(extension.name for extension in found))


def instrument(name: str) -> Instrument:
    """A new instrument by its name; KeyError if there is none."""
    if name in _CLASSES:
        module, cls = _CLASSES[name]
        made: Instrument = getattr(import_module(module), cls)()
        return made
    found, _ = extensions()
    brought: Instrument = {extension.name: extension.cls for extension in found}[name]()
    return brought


def instruments_of(
    check: Check,
    *,
    undecided: Callable[[Sequence[Measurement]], Collection[str]] | None = None,
    metrics: Collection[str] = (),
) -> tuple[Instrument, ...]:
    """The instruments of a check, in the order they run.

    Args:
        undecided: given to the latency instrument: the operations that need more samples.
        metrics: names of the metrics that the criteria of the check ask for; the slow
            instruments, and those of other distributions, are armed only for them.
    """
    known = [METRICS[metric] for metric in metrics if metric in METRICS]
    asked = {metric.instrument for metric in known if check in metric.checks}
    on_demand = [name for name in _ON_DEMAND.get(check, ()) if name in asked]
    if any(metric.name not in BUILT_IN_METRICS for metric in known):
        on_demand += [name for name in instrument_names() if name in asked - {*INSTRUMENTS}]
    found: list[Instrument] = []
    for name in (*_CHECKS[check], *on_demand):
        if name == "latency":
            from reactivate.instrument.latency import Latency

            found.append(Latency(undecided=undecided))
        else:
            found.append(instrument(name))
    return tuple(found)
