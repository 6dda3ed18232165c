"""Growth: which stack pages the workload touches for the first time, and how deep they lie.

The first touch of a page is a page fault, and the kernel tells its address. Pages that were
touched before the workload fault no more; how deep those reach is read from the page table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Bound, Measurement, NotMeasured, Pid
from reactivate.instrument import alerts
from reactivate.instrument.alerts import DEFAULT_SHARES, AlertShares
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.live_alerts import LiveAlerts, RaisedAlert
from reactivate.instrument.stack_areas import StackArea, former_stacks, stack_areas
from reactivate.instrument.touch import Touch
from reactivate.instrument.touches import (
    Recording,
    choose_tracer,
    recording,
    touches_availability,
)
from reactivate.instrument.workout import Progress, perform
from reactivate.procfs import (
    PAGE_BYTES,
    MemoryMapping,
    mapping_containing,
    memory_mappings,
)
from reactivate.workload.drive import drive

_EVIDENCE = "growth.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackGrowth:
    """What happened to one stack.

    Attributes:
        area: the stack as it was before the workload; after it for a new thread's.
        touches: the first touch of each page, in order of time.
        fresh: whether the thread is newer than the workload's start.
        shares: of its limit: what an alert is.
    """

    area: StackArea
    touches: tuple[Touch, ...]
    fresh: bool
    shares: AlertShares = DEFAULT_SHARES

    def depth_bytes(self, touch: Touch) -> int:
        """Depth of a touch, from the top of the mapping."""
        return self.area.end - touch.address

    @property
    def deepest_bytes(self) -> int:
        """Depth that was surely reached: by a touch, or by what is resident."""
        touched = max((self.depth_bytes(t) for t in self.touches), default=0)
        return max(touched, self.area.resident_bytes)

    @property
    def reach_bytes(self) -> int:
        """How deep an operation can have gone at most, below where the thread sleeps.

        To the lower end of the deepest page that was touched or resident: a deeper byte would
        have been a first touch of another page.
        """
        page_end = -(-self.deepest_bytes // PAGE_BYTES) * PAGE_BYTES
        return max(0, page_end - self.area.idle_bytes)

    @property
    def pages(self) -> int:
        """Pages that were touched for the first time."""
        return len(self.touches)

    @property
    def kernel_pages(self) -> int:
        """Of those, the ones that the kernel touched for the thread, in a system call."""
        return sum(touch.kernel for touch in self.touches)

    @property
    def alerts(self) -> tuple[Touch, ...]:
        """First touches beyond the warning share of the limit."""
        return self._beyond(self.shares.warning)

    @property
    def critical(self) -> tuple[Touch, ...]:
        """First touches beyond the critical share of the limit."""
        return self._beyond(self.shares.critical)

    def _beyond(self, share: float) -> tuple[Touch, ...]:
        limit = share * self.area.limit_bytes
        return tuple(t for t in self.touches if self.depth_bytes(t) > limit)


def attribute(
    touches: Sequence[Touch],
    before: Sequence[StackArea],
    after: Sequence[StackArea],
    shares: AlertShares = DEFAULT_SHARES,
) -> tuple[StackGrowth, ...]:
    """Put each touch into the stack it lies in; touches of other memory fall away."""
    known = {(area.start if not area.main else area.end) for area in before}
    fresh = [a for a in after if (a.start if not a.main else a.end) not in known]
    grown = []
    for area, new in [*((a, False) for a in before), *((a, True) for a in fresh)]:
        pages: dict[int, Touch] = {}
        for touch in touches:
            if area.contains(touch.address):
                pages.setdefault(touch.address // PAGE_BYTES, touch)
        grown.append(
            StackGrowth(area=area, touches=tuple(pages.values()), fresh=new, shares=shares)
        )
    return tuple(grown)


class Growth:
    """Traces the growth of the daemon's stacks. Settings: `repeats`, `tracer`, deadlines."""

    name: ClassVar[str] = "growth"
    measures: ClassVar[tuple[str, ...]] = (
        "growth.depth",
        "growth.pages",
        "growth.kernel_pages",
        "growth.alerts",
        "growth.reach",
        "stack.limit",
    )
    bound: ClassVar[Bound] = Bound.LOWER
    needs: ClassVar[tuple[str, ...]] = ("bpftrace with tracefs and root, or perf",)
    cost: ClassVar[str] = "about a microsecond for each first touch of a page"

    def __init__(self) -> None:
        """Alerts are the defaults until `configure`."""
        self._shares = DEFAULT_SHARES

    def configure(self, configs: Path) -> None:
        """See `Configurable.configure`; reads the alerts of ebpf.toml."""
        self._shares = alerts.load(configs)

    def availability(self) -> Availability:
        """bpftrace, or perf with fewer touches seen."""
        return touches_availability()

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """One fresh mount, all operations `repeats` times, every first touch recorded."""
        repeats = int(bench.settings.get("repeats", 3)) * bench.times
        deadline = float(bench.settings.get("deadline_seconds", 120.0))
        tracer = choose_tracer(str(bench.settings.get("tracer", "auto")))
        total = len(bench.operations)
        bench.reporter.advance(0, total, "attaching the tracer")
        async with bench.subject.mounted() as daemon:
            pid = daemon.pid
            before = await areas_of(pid)
            progress = Progress()
            watching = LiveAlerts(
                pid, before, self._shares, where=progress.where_at, say=bench.reporter.alert
            )
            async with recording(
                pid, before, bench.folder, tracer, live=watching.touched
            ) as recorded:
                await drive(
                    daemon,
                    perform,
                    daemon.mountpoint,
                    bench.operations,
                    repeats,
                    progress,
                    deadline_seconds=deadline,
                    doing="the workload under the tracer",
                )
                after = await areas_of(pid)
                after += former_stacks(pid, (*before, *after))
                mappings = memory_mappings(pid)
        bench.reporter.advance(total, total, "reading the trace")
        grown = attribute(recorded.touches, before, after, self._shares)
        write_evidence(bench.folder / _EVIDENCE, recorded, grown, mappings, watching.raised)
        return measurements(self.name, grown, recorded, bench.evidence_prefix + _EVIDENCE)


async def areas_of(pid: Pid) -> tuple[StackArea, ...]:
    """`stack_areas` in a thread of its own: it waits for the process to be idle."""
    areas = await trio.to_thread.run_sync(stack_areas, pid)
    if not any(area.main for area in areas):
        raise MeasurementError(
            f"the main thread of process {pid} does not sleep on its own stack",
            why="it has ended, or the program switches stacks",
            hint="growth cannot be measured for such a program",
        )
    return areas


def measurements(
    instrument: str, grown: Sequence[StackGrowth], recorded: Recording, evidence: str
) -> tuple[Measurement, ...]:
    """The deepest main and the deepest worker stack; counts are sums over the threads."""
    found: list[Measurement] = []
    for thread in ("main", "worker"):
        stacks = [g for g in grown if g.area.thread == thread]
        if not stacks:
            continue
        worst = max(stacks, key=lambda g: g.deepest_bytes / g.area.limit_bytes)
        values: dict[str, tuple[int | NotMeasured, Bound, str]] = {
            "growth.depth": (worst.deepest_bytes, Bound.LOWER, _note(worst, recorded)),
            "growth.pages": (
                sum(g.pages for g in stacks),
                Bound.LOWER,
                "pages touched again, or before the tracer was attached, are not counted",
            ),
            "growth.kernel_pages": (
                _if_seen(sum(g.kernel_pages for g in stacks), recorded),
                Bound.LOWER,
                "in system calls of the thread",
            ),
            "growth.reach": (
                _if_seen(max(g.reach_bytes for g in stacks), recorded),
                Bound.UPPER,
                "to the page; start-up may have touched it",
            ),
            "growth.alerts": (
                sum(len(g.alerts) for g in stacks),
                Bound.LOWER,
                f"a first touch beyond {worst.shares.warning:.0%} of the limit of "
                f"{worst.area.limit_bytes:,} bytes; beyond {worst.shares.critical:.0%}: "
                f"{sum(len(g.critical) for g in stacks)}",
            ),
        }
        for metric, (value, bound, note) in values.items():
            found.append(
                Measurement(
                    metric=metric,
                    value=_unless_lost(value, recorded),
                    bound=bound,
                    thread=thread,
                    instrument=instrument,
                    samples=() if recorded.lost or isinstance(value, NotMeasured) else (value,),
                    evidence=evidence,
                    note=note,
                )
            )
        found.append(
            Measurement(
                metric="stack.limit",
                value=worst.area.limit_bytes,
                thread=thread,
                instrument=instrument,
                samples=(worst.area.limit_bytes,),
                evidence=evidence,
                note="RLIMIT_STACK or the room below the stack, whichever is less"
                if worst.area.main
                else "size of the thread's stack mapping",
            )
        )
    return tuple(found)


def _if_seen(value: int, recorded: Recording) -> int | NotMeasured:
    """A value that needs the kernel's own touches."""
    if recorded.sees_kernel:
        return value
    return NotMeasured(reason=f"{recorded.tracer} does not see what the kernel touches")


def _unless_lost(value: int | NotMeasured, recorded: Recording) -> int | NotMeasured:
    if recorded.lost:
        return NotMeasured(
            reason=f"{recorded.tracer} lost {recorded.lost} events; the deepest may be among them"
        )
    return value


def _note(worst: StackGrowth, recorded: Recording) -> str:
    if worst.deepest_bytes > worst.area.resident_bytes:
        text = "depth of the deepest first touch; the stack may reach deeper within that page"
    else:
        text = (
            "nothing deeper than what was resident before the workload was touched; "
            "this is the resident depth from the page table, to the page"
        )
    if not recorded.sees_kernel:
        text += "; perf does not see pages that the kernel touches for the thread"
    return text


def write_evidence(
    path: Path,
    recorded: Recording,
    grown: Sequence[StackGrowth],
    mappings: tuple[MemoryMapping, ...],
    raised: Sequence[RaisedAlert] = (),
) -> None:
    """Every first touch with thread, depth, place and callers, in order of time."""
    first_ns = recorded.touches[0].time_ns if recorded.touches else 0
    data = {
        "tracer": recorded.tracer,
        "sees_kernel_touches": recorded.sees_kernel,
        "lost_events": recorded.lost,
        "page_bytes": PAGE_BYTES,
        "alerts_raised": [asdict(alert) for alert in raised],
        "stacks": [
            {
                "thread": g.area.thread,
                "tid": g.area.tid,
                "fresh": g.fresh,
                "start": f"{g.area.start:#x}",
                "end": f"{g.area.end:#x}",
                "limit_bytes": g.area.limit_bytes,
                "resident_before_bytes": g.area.resident_bytes,
                "deepest_bytes": g.deepest_bytes,
                "alerts": len(g.alerts),
                "critical_alerts": len(g.critical),
                "user_pages": g.pages - g.kernel_pages,
                "kernel_pages": g.kernel_pages,
                "touches": [
                    {
                        "depth_bytes": g.depth_bytes(t),
                        "by": "kernel" if t.kernel else "user",
                        "tid": t.tid,
                        "place": place_of(t, mappings),
                        "chain": chain_of(t, mappings),
                        "time_ns": t.time_ns - first_ns,
                    }
                    for t in g.touches
                ],
            }
            for g in grown
        ],
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def place_of(touch: Touch, mappings: tuple[MemoryMapping, ...]) -> str:
    """`module+0xoffset` of the instruction, "kernel" for the kernel's."""
    return "kernel" if touch.kernel else _in_module(touch.instruction, mappings)


def chain_of(touch: Touch, mappings: tuple[MemoryMapping, ...]) -> list[str]:
    """The callers, innermost first: `function (module+0xoffset)`, or the place alone.

    It ends where frame pointers lead out of code: the rest would be invented.
    """
    chain = []
    for caller in touch.chain:
        mapping = mapping_containing(mappings, caller.address)
        if mapping is None or "x" not in mapping.permissions:
            break
        function, place = caller.symbol.rpartition("+")[0], _in_module(caller.address, mappings)
        chain.append(f"{function} ({place})" if function else place)
    return chain


def _in_module(address: Address, mappings: tuple[MemoryMapping, ...]) -> str:
    mapping = mapping_containing(mappings, address)
    if mapping is None or not mapping.path:
        return f"{address:#x}"
    return f"{Path(mapping.path).name}+{address - mapping.start + mapping.offset:#x}"
