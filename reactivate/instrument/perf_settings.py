"""configs/perf.toml: what is counted beside the metrics, and how finely is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.instrument.perf_tool import refused_event
from reactivate.tomlfile import TomlFile

FILE = "perf.toml"
_KEYS = ("repeats", "deadline_seconds", "sample_hertz", "top", "counters", "bandwidth")


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfSettings:
    """The table `perf`.

    Attributes:
        repeats: of each operation, in each of the two mounts.
        deadline_seconds: for the workload of one mount.
        sample_hertz: samples of the processor clock in a second of the daemon's time.
        top: functions kept in the evidence for each kind of sample.
        counters: events of the process counted besides those that the metrics need.
        bandwidth: events of memory controllers, counted for the whole machine and summed up.
    """

    repeats: int = 3
    deadline_seconds: float = 120.0
    sample_hertz: int = 999
    top: int = 20
    counters: tuple[str, ...] = ()
    bandwidth: tuple[str, ...] = ("uncore_imc/data_reads/", "uncore_imc/data_writes/")


def load(configs: Path, defaults: PerfSettings) -> PerfSettings:
    """The settings, checked; the defaults if there is no such file.

    Raises:
        ConfigurationError: with every fault and its line.
        MissingToolError: perf is not installed.
    """
    path = configs / FILE
    if not path.exists():
        return defaults
    file = TomlFile(path)
    file.known({"perf"})
    file.known(_KEYS, "perf")
    numbers = {
        key: file.value(kind, getattr(defaults, key), "perf", key) or 0
        for key, kind in (
            ("repeats", int), ("deadline_seconds", float), ("sample_hertz", int), ("top", int),
        )
    }  # fmt: skip
    for key, number in numbers.items():
        if not 0 < number < 1e6:
            file.fault(f"`perf.{key}` must be more than 0", "perf", key)
    counters = file.texts(defaults.counters, "perf", "counters")
    bandwidth = file.texts(defaults.bandwidth, "perf", "bandwidth")
    _known_events(file, counters)
    for event in bandwidth:
        if "/" not in event:
            file.fault(
                f"`{event}` must name a memory controller: `PMU/EVENT/`", "perf", "bandwidth"
            )
    file.finish("perf list")
    return PerfSettings(
        repeats=int(numbers["repeats"]),
        deadline_seconds=float(numbers["deadline_seconds"]),
        sample_hertz=int(numbers["sample_hertz"]),
        top=int(numbers["top"]),
        counters=counters,
        bandwidth=bandwidth,
    )


def _known_events(file: TomlFile, events: Sequence[str]) -> None:
    """Note the events whose name the installed perf does not understand."""
    for event in events:
        if refusal := refused_event(event):
            file.fault(f"perf refuses the event `{event}`: {refusal}", "perf", "counters")
