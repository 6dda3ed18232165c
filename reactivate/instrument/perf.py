"""perf: what the workload costs in memory and processor, and which functions cause it.

Two fresh mounts: one where events are only counted, one where page faults and the processor clock
are sampled with their function, so that sampling does not disturb the counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.instrument import memory, perf_settings
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.perf_settings import PerfSettings
from reactivate.instrument.perf_tool import (
    PARANOID_HINT,
    Count,
    Samples,
    attached,
    kernel_side_visible,
    parse_script,
    parse_stat,
    perf,
)
from reactivate.instrument.touches import perf_availability
from reactivate.instrument.workout import Progress, perform
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive

EVIDENCE = "perf.json"
_STAT, _BANDWIDTH, _DATA, _LOG = "perf-stat.csv", "perf-bandwidth.csv", "perf.data", "perf.log"
_ALWAYS = ("page-faults", "context-switches", "task-clock", "cache-misses")
_PMUS = Path("/sys/bus/event_source/devices")
_UNITS = {"msec": 1e6, "MiB": float(1 << 20), "": 1.0}
_KERNEL_TOO = "what happens in the kernel may not be counted by this user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The first mount.

    Attributes:
        counts: by name of the event, without modifiers.
        bandwidth: of the whole machine; empty if it has no such counters.
        before: memory before the first operation.
        after: memory after the last.
    """

    counts: Mapping[str, Count]
    bandwidth: tuple[Count, ...]
    before: memory.Baseline
    after: memory.Reading


class Perf:
    """Memory profile by perf: counts of the kernel and the processor, and their functions."""

    name: ClassVar[str] = "perf"
    measures: ClassVar[tuple[str, ...]] = (
        "perf.faults",
        "perf.context_switches",
        "perf.cpu",
        "perf.rss_growth",
        "perf.cache_misses",
        "perf.bandwidth",
        "perf.attributed",
    )
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = ("perf", "kernel.perf_event_paranoid below 2, or root")
    cost: ClassVar[str] = "counting: nothing; sampling: some microseconds for each page fault"

    def __init__(self) -> None:
        """Settings are the defaults until `configure`."""
        self._settings = PerfSettings()

    def availability(self) -> Availability:
        """Whether perf counts here, and whether it sees the kernel's side."""
        found = perf_availability()
        if not found.ready:
            return Availability(ready=False, detail=found.detail, hint=PARANOID_HINT
                                if "may not" in found.detail else found.hint)  # fmt: skip
        if kernel_side_visible():
            return Availability(ready=True, detail="ready")
        return Availability(ready=True, detail=f"ready; {_KERNEL_TOO}", hint=PARANOID_HINT)

    def configure(self, configs: Path) -> None:
        """See `Configurable.configure`; reads perf.toml."""
        self._settings = perf_settings.load(configs, self._settings)

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """Count in one mount, sample in another.

        Raises:
            PrivilegeError: the kernel allows this user no events at all.
            MeasurementError: perf did not finish.
        """
        counted = await self._count(bench)
        sampled, lost = await self._sample(bench)
        data = {
            "schema": 1,
            "instrument": self.name,
            "operations": [operation.name for operation in bench.operations],
            "settings": asdict(self._settings),
            "counts": {name: asdict(count) for name, count in counted.counts.items()},
            "bandwidth": [asdict(count) for count in counted.bandwidth],
            "memory": {"before": asdict(counted.before), "after": asdict(counted.after)},
            "lost_samples": lost,
            "functions": {
                event: _table(samples, self._settings.top) for event, samples in sampled.items()
            },
        }
        text = json.dumps(data, indent=1)
        (bench.folder / EVIDENCE).write_text(text + "\n", encoding="utf-8")
        evidence = bench.evidence_prefix + EVIDENCE
        missing = missing_controllers(self._settings.bandwidth)
        return measurements(counted, sampled.get("page-faults"), lost, missing, evidence=evidence)

    async def _count(self, bench: Bench) -> Counted:
        settings, folder = self._settings, bench.folder
        events = tuple(dict.fromkeys((*_ALWAYS, *settings.counters)))
        whole = settings.bandwidth if not missing_controllers(settings.bandwidth) else ()
        bench.reporter.advance(0, 2, "counting")
        async with bench.subject.mounted() as daemon:
            before = await drive(
                daemon, memory.begin, daemon.pid,
                deadline_seconds=settings.deadline_seconds, doing="the start",
            )  # fmt: skip
            async with AsyncExitStack() as stack:
                if whole:
                    machine = ("stat", "-x,", "-a", "-e", ",".join(whole))
                    out = ("-o", str(folder / _BANDWIDTH))
                    await stack.enter_async_context(attached((*machine, *out), folder / _LOG))
                own = ("stat", "-x,", "-e", ",".join(events), "-p", str(daemon.pid))
                out = ("-o", str(folder / _STAT))
                await stack.enter_async_context(attached((*own, *out), folder / _LOG))
                await self._drive(bench, daemon)
            after = await drive(
                daemon, memory.read_counters, daemon.pid,
                deadline_seconds=settings.deadline_seconds, doing="the end of the workload",
            )  # fmt: skip
        counts = _read(folder / _STAT)
        return Counted(
            counts={_bare(count.event): count for count in counts},
            bandwidth=_read(folder / _BANDWIDTH) if whole else (),
            before=before,
            after=after,
        )

    async def _sample(self, bench: Bench) -> tuple[Mapping[str, Samples], int]:
        data, hertz = bench.folder / _DATA, self._settings.sample_hertz
        side = "" if kernel_side_visible() else "u"
        bench.reporter.advance(1, 2, "sampling")
        async with bench.subject.mounted() as daemon:
            record = (
                "record", "-q", "-e", f"page-faults/period=1/{side}",
                "-e", f"cpu-clock/freq={hertz}/{side}", "-p", str(daemon.pid), "-o", str(data),
            )  # fmt: skip
            async with attached(record, bench.folder / _LOG):
                await self._drive(bench, daemon)
            # While the daemon lives: its objects can still be found by perf.
            found = await trio.run_process(
                [perf(), "script", "-i", str(data), "-F", "event,ip,sym,dso", "-G",
                 "--show-lost-events"],
                capture_stdout=True, capture_stderr=True, check=False,
            )  # fmt: skip
        if found.returncode != 0:
            raise MeasurementError(
                "perf cannot read its own recording",
                why=found.stderr.decode(errors="replace")[-500:],
            )
        bench.reporter.advance(2, 2, "done")
        return parse_script(found.stdout.decode(errors="replace").splitlines())

    async def _drive(self, bench: Bench, daemon: Daemon) -> None:
        await drive(
            daemon,
            perform,
            daemon.mountpoint,
            bench.operations,
            self._settings.repeats * bench.times,
            Progress(),
            deadline_seconds=self._settings.deadline_seconds * bench.times,
            doing="the workload under perf",
        )


def missing_controllers(events: Sequence[str]) -> tuple[str, ...]:
    """The memory controllers of these events that the kernel does not offer here."""
    names = dict.fromkeys(event.partition("/")[0] for event in events)
    # A controller has several channels: `uncore_imc` means uncore_imc_0, uncore_imc_1 and so on.
    return tuple(name for name in names if not any(_PMUS.glob(f"{name}*")))


def measurements(
    counted: Counted,
    faults: Samples | None,
    lost: int,
    missing: Sequence[str],
    *,
    evidence: str,
) -> tuple[Measurement, ...]:
    """One measurement for each metric.

    Args:
        counted: the first mount.
        faults: page faults sampled in the second; None if there was none.
        lost: samples that came too fast to be kept.
        missing: memory controllers that this machine does not show.
        evidence: file that all of them point to.
    """

    def made(
        metric: str, value: float | int | NotMeasured, bound: Bound = Bound.EXACT, note: str = ""
    ) -> Measurement:
        return Measurement(
            metric=metric,
            value=value,
            bound=bound,
            instrument=Perf.name,
            samples=() if isinstance(value, NotMeasured) else (value,),
            evidence=evidence,
            note=note,
        )

    return (
        made("perf.faults", *_value(counted.counts["page-faults"]), _hottest(faults)),
        made("perf.context_switches", *_switches(counted.counts["context-switches"])),
        made("perf.cpu", *_value(counted.counts["task-clock"])),
        made("perf.rss_growth", *_growth(counted)),
        made("perf.cache_misses", *_value(counted.counts["cache-misses"])),
        made("perf.bandwidth", *_bandwidth(counted.bandwidth, missing)),
        made("perf.attributed", *_attributed(faults, lost)),
    )


def _value(count: Count) -> tuple[int | NotMeasured, Bound]:
    """A count in base units; a scaled one was not measured."""
    if count.value is None:
        return NotMeasured(reason=count.absent), Bound.EXACT
    if count.share < 1:
        reason = f"on a counter only {count.share:.0%} of the time; name fewer in configs/perf.toml"
        return NotMeasured(reason=reason), Bound.EXACT
    if count.unit not in _UNITS:
        return NotMeasured(reason=f"perf gave it in an unknown unit, {count.unit}"), Bound.EXACT
    bound = Bound.LOWER if count.user_only else Bound.EXACT
    return round(count.value * _UNITS[count.unit]), bound


def _switches(count: Count) -> tuple[int | NotMeasured, Bound]:
    """Switches happen in the kernel, so without its side perf's count is 0 and means nothing."""
    if count.user_only:
        return NotMeasured(reason=f"{_KERNEL_TOO}; {PARANOID_HINT}"), Bound.EXACT
    return _value(count)


def _growth(counted: Counted) -> tuple[int, Bound, str]:
    first, last = counted.before.reading, counted.after
    surely = counted.before.reset or last.peak_rss_bytes > first.peak_rss_bytes
    return (
        # The kernel sums resident pages up lazily: the peak can lag a few pages behind.
        max(0, last.peak_rss_bytes - first.rss_bytes),
        Bound.EXACT if surely else Bound.UPPER,
        "" if surely else "the high-water mark could not be set back: it may be the start's",
    )


def _bandwidth(
    counts: Sequence[Count], missing: Sequence[str]
) -> tuple[int | NotMeasured, Bound, str]:
    if missing:
        reason = f"not supported here: the kernel shows no counters of {', '.join(missing)}"
        return NotMeasured(reason=reason), Bound.UPPER, ""
    total = 0
    for count in counts:
        value, _ = _value(count)
        if isinstance(value, NotMeasured):
            return value, Bound.UPPER, ""
        if count.unit != "MiB":
            return NotMeasured(reason=f"{count.event} does not count bytes"), Bound.UPPER, ""
        total += value
    if not counts:
        return NotMeasured(reason="configs/perf.toml names no events for it"), Bound.UPPER, ""
    return total, Bound.UPPER, "the whole machine, other processes included"


def _attributed(faults: Samples | None, lost: int) -> tuple[float | NotMeasured, Bound]:
    if lost:
        return NotMeasured(reason=f"perf lost {lost} samples"), Bound.EXACT
    if faults is None or not faults.total:
        return NotMeasured(reason="no page fault was sampled"), Bound.EXACT
    return faults.known / faults.total, Bound.EXACT


def _hottest(faults: Samples | None) -> str:
    if faults is None or not faults.functions:
        return ""
    (function, file), times = max(faults.functions.items(), key=lambda item: item[1])
    return f"most of those sampled in {function} ({Path(file).name}): {times / faults.total:.0%}"


def _table(samples: Samples, top: int) -> dict[str, object]:
    ranked = sorted(samples.functions.items(), key=lambda item: -item[1])
    return {
        "samples": samples.total,
        "known": samples.known,
        "top": [
            {"function": function, "object": file, "samples": times}
            for (function, file), times in ranked[:top]
        ],
    }


def _read(path: Path) -> tuple[Count, ...]:
    return parse_stat(path.read_text(encoding="utf-8", errors="replace").splitlines())


def _bare(event: str) -> str:
    """Without a modifier: `page-faults:u` → `page-faults`."""
    return event.partition(":")[0]
