"""Resident memory and page faults of the daemon, in a run where nobody paints its stacks.

The peak is the kernel's own high-water mark (VmHWM), set back to the present value before the
first operation, so nothing is sampled and nothing is missed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import ClassVar

from reactivate.evidence import Bound, Measurement, Pid
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.workout import Progress, perform
from reactivate.procfs import memory_status, process_stat, reset_peak_rss
from reactivate.workload.drive import drive

EVIDENCE = "memory.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counters of a process at one moment.

    Attributes:
        rss_bytes: resident now.
        peak_rss_bytes: the most that was resident since the start or the last reset.
        minor_faults: page faults without input or output, all threads, since the start.
        major_faults: page faults that waited for a disk.
    """

    rss_bytes: int
    peak_rss_bytes: int
    minor_faults: int
    major_faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The first reading, and whether the high-water mark could be set back before it."""

    reading: Reading
    reset: bool


def read_counters(pid: Pid) -> Reading:
    """Read memory and faults of a process; ProcessLookupError when it is gone."""
    memory, stat = memory_status(pid), process_stat(pid)
    return Reading(
        rss_bytes=memory.rss_bytes,
        peak_rss_bytes=memory.peak_rss_bytes,
        minor_faults=stat.minor_faults,
        major_faults=stat.major_faults,
    )


def begin(pid: Pid) -> Baseline:
    """Set the high-water mark back if that is allowed, and read the counters."""
    try:
        reset_peak_rss(pid)
        reset = True
    except PermissionError:
        reset = False
    return Baseline(reading=read_counters(pid), reset=reset)


class Memory:
    """Resident memory, its peak, and page faults."""

    name: ClassVar[str] = "memory"
    measures: ClassVar[tuple[str, ...]] = (
        "rss.idle",
        "rss.peak",
        "faults.minor",
        "faults.major",
    )
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = ("permission to write the daemon's /proc/PID/clear_refs",)
    cost: ClassVar[str] = "none: counters that the kernel keeps anyway"

    def availability(self) -> Availability:
        """Whether the peak can be set back."""
        if os.access("/proc/self/clear_refs", os.W_OK):
            return Availability(ready=True, detail="ready")
        return Availability(
            ready=True,
            detail="ready; /proc/PID/clear_refs cannot be written, so where the workload needs "
            "less than the start did, only an upper bound is known",
        )

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """Mount once and drive every operation `repeats` times.

        Settings: `repeats` (10), `deadline_seconds` for all repetitions of one operation (120).
        """
        repeats = int(bench.settings.get("repeats", 10)) * bench.times
        deadline_seconds = float(bench.settings.get("deadline_seconds", 120.0))
        total = len(bench.operations)
        async with bench.subject.mounted() as daemon:
            # Read under drive(): if the daemon is dead, the error says how it died.
            first = await drive(
                daemon, begin, daemon.pid, deadline_seconds=deadline_seconds, doing="the start"
            )
            for done, operation in enumerate(bench.operations):
                bench.reporter.advance(done, total, operation.name)
                await drive(
                    daemon,
                    perform,
                    daemon.mountpoint,
                    (operation,),
                    repeats,
                    Progress(),
                    deadline_seconds=deadline_seconds,
                    doing=f"`{operation.name}`",
                )
            last = await drive(
                daemon,
                read_counters,
                daemon.pid,
                deadline_seconds=deadline_seconds,
                doing="the end of the workload",
            )
            command = daemon.command
        bench.reporter.advance(total, total, "done")
        document = {
            "schema": 1,
            "instrument": self.name,
            "command": list(command),
            "operations": [operation.name for operation in bench.operations],
            "repeats": repeats,
            "peak_reset": first.reset,
            "before": asdict(first.reading),
            "after": asdict(last),
        }
        path = bench.folder / EVIDENCE
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return measurements(first, last, evidence=bench.evidence_prefix + EVIDENCE)


def measurements(first: Baseline, last: Reading, *, evidence: str) -> tuple[Measurement, ...]:
    """What happened between two readings."""
    before = first.reading
    # Not set back, the mark still holds the start's own peak; if it rose, that was the workload.
    surely = first.reset or last.peak_rss_bytes > before.peak_rss_bytes
    note = "" if surely else "the high-water mark could not be set back: it may be the start's"
    values = (
        ("rss.idle", before.rss_bytes, Bound.EXACT, ""),
        ("rss.peak", last.peak_rss_bytes, Bound.EXACT if surely else Bound.UPPER, note),
        ("faults.minor", last.minor_faults - before.minor_faults, Bound.EXACT, ""),
        ("faults.major", last.major_faults - before.major_faults, Bound.EXACT, ""),
    )
    return tuple(
        Measurement(
            metric=metric,
            value=value,
            bound=bound,
            instrument=Memory.name,
            samples=(value,),
            evidence=evidence,
            note=note,
        )
        for metric, value, bound, note in values
    )
