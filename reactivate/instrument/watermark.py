"""How deep each operation takes each thread's stack: paint, do it once, scan; to the byte.

The painting itself is in `paint.py`, the waiting for sleep in `sleep.py`, one process with all its
threads in `stackwatch.py`. Here operations of a mounted filesystem are driven and the samples are
reduced to measurements.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from reactivate.errors import ReactivateError
from reactivate.evidence import Bound, Measurement, NotMeasured, Pid
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.paint import ThreadStack
from reactivate.instrument.stackwatch import StackWatch, ThreadDepth
from reactivate.instrument.workout import ready_folder
from reactivate.procfs import fusectl_mounted, mount_fusectl
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation

EVIDENCE = "watermark.json"

_WRITTEN = "to the byte, for bytes that were written"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDepths:
    """What one operation did to the stacks of one process.

    Attributes:
        operation: its name.
        repetitions: for each repetition, every thread that was alive at its end.
        disturbed: paintings that were thrown away because a thread woke.
        ended: painted threads that ended before they were scanned.
    """

    operation: str
    repetitions: tuple[tuple[ThreadDepth, ...], ...]
    disturbed: int
    ended: int


class Watermark:
    """Paint and scan, per operation and thread."""

    name: ClassVar[str] = "watermark"
    measures: ClassVar[tuple[str, ...]] = (
        "stack.peak",
        "stack.operation",
        "stack.idle",
        "stack.limit",
    )
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = ("ptrace access to the daemon",)
    cost: ClassVar[str] = "none while the operation runs; about a millisecond before and after it"

    def availability(self) -> Availability:
        """Paint and scan a small process of our own."""
        command = [sys.executable, "-I", "-S", "-c", "import os; os.read(0, 1)"]
        try:
            with (
                subprocess.Popen(command, stdin=subprocess.PIPE) as sleeper,
                StackWatch(Pid(sleeper.pid)) as watch,
            ):
                watch.paint()
                watch.scan()
                holds = watch.holds
        except ReactivateError as error:
            return Availability(ready=False, detail=f"{error.what}: {error.why}", hint=error.hint)
        except OSError as error:
            return Availability(ready=False, detail=f"a trial process failed: {error}")
        if not holds:
            return Availability(
                ready=True,
                detail="ready; without CAP_SYS_NICE, a thread that wakes while its stack is "
                "painted may lose its frames",
            )
        if fusectl_mounted():
            return Availability(ready=True, detail="ready")
        return Availability(
            ready=True,
            detail="ready; fusectl is not mounted, so requests are not counted unless it can be",
            hint="mount -t fusectl fusectl /sys/fs/fuse/connections",
        )

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """Mount once and paint, run and scan every operation `repeats` times.

        Settings: `repeats` (25), `deadline_seconds` for all repetitions of one operation (120),
        `idle_seconds` for the daemon to come to rest (5).
        """
        repeats = int(bench.settings.get("repeats", 25)) * bench.times
        deadline_seconds = float(bench.settings.get("deadline_seconds", 120.0))
        idle_seconds = float(bench.settings.get("idle_seconds", 5.0))
        mount_fusectl()
        found: list[OperationDepths] = []
        async with bench.subject.mounted() as daemon:
            with _watch(daemon, idle_seconds) as watch:
                stacks = await drive(
                    daemon,
                    watch.stacks,
                    deadline_seconds=deadline_seconds,
                    doing="waiting for the daemon to come to rest",
                )
                for done, operation in enumerate(bench.operations):
                    bench.reporter.advance(done, len(bench.operations), operation.name)
                    found.append(
                        await drive(
                            daemon,
                            measure_operation,
                            watch,
                            daemon.mountpoint,
                            operation,
                            repeats,
                            deadline_seconds=deadline_seconds,
                            doing=f"painting and scanning `{operation.name}`",
                        )
                    )
                counted = watch.counts_requests
        bench.reporter.advance(len(bench.operations), len(bench.operations), "done")
        _write_evidence(bench.folder / EVIDENCE, daemon, stacks, found, counted)
        return measurements(stacks, found, evidence=bench.evidence_prefix + EVIDENCE)


def _watch(daemon: Daemon, idle_seconds: float) -> StackWatch:
    return StackWatch(daemon.pid, connection=daemon.connection, deadline_seconds=idle_seconds)


def measure_operation(
    watch: StackWatch, mountpoint: Path, operation: Operation, repeats: int
) -> OperationDepths:
    """Paint, run and scan one operation; blocking, for a worker thread.

    Raises:
        OSError: the operation failed.
        ThreadBusyError: the daemon did not come to rest.
    """
    disturbed, ended = watch.disturbed, watch.ended
    folder = ready_folder(mountpoint, operation)
    repetitions = []
    for repetition in range(repeats):
        operation.prepare(folder, repetition)
        watch.paint()
        operation.run(folder, repetition)
        repetitions.append(watch.scan())
        operation.tidy(folder, repetition)
    return OperationDepths(
        operation=operation.name,
        repetitions=tuple(repetitions),
        disturbed=watch.disturbed - disturbed,
        ended=watch.ended - ended,
    )


# -- reduction -----------------------------------------------------------------------------

Thread = Literal["main", "worker"]
_THREADS: tuple[Thread, ...] = ("main", "worker")


def measurements(
    stacks: Sequence[ThreadStack], found: Sequence[OperationDepths], *, evidence: str
) -> tuple[Measurement, ...]:
    """Reduce samples: workers are pooled, the deepest of them stands for a repetition.

    Args:
        stacks: the threads of the freshly mounted daemon, at rest.
        found: one entry per operation.
        evidence: name of the evidence file.
    """
    result: list[Measurement] = []
    for thread in _THREADS:
        result += _rest(thread, stacks, found, evidence)
    for depths in found:
        touched = [thread for thread in _THREADS if _touched(depths, thread)]
        for thread in touched:
            result += _peaks(depths, thread, evidence)
        if not touched:
            result += _nothing(depths, evidence)
    return tuple(result)


def _name(thread: ThreadStack | ThreadDepth) -> Thread:
    return "main" if thread.main else "worker"


def _touched(depths: OperationDepths, thread: Thread) -> bool:
    """Whether the operation wrote below the sleeping stack pointer of such a thread."""
    return any(
        depth.at_most_bytes > depth.idle_bytes
        for repetition in depths.repetitions
        for depth in repetition
        if _name(depth) == thread
    )


def _rest(
    thread: Thread,
    stacks: Sequence[ThreadStack],
    found: Sequence[OperationDepths],
    evidence: str,
) -> list[Measurement]:
    """stack.idle and stack.limit: the deepest sleeper and the tightest limit of such threads."""
    everything: list[ThreadStack | ThreadDepth] = [s for s in stacks if _name(s) == thread]
    idle = [max(stack.idle_bytes for stack in everything)] if everything else []
    for depths in found:
        own = [d for repetition in depths.repetitions for d in repetition if _name(d) == thread]
        idle += [max(depth.idle_bytes for depth in own)] if own else []
        everything += own
    if not everything:
        return []
    limits = sorted({stack.limit_bytes for stack in everything})
    return [
        Measurement(
            metric="stack.idle",
            value=max(idle),
            instrument=Watermark.name,
            thread=thread,
            samples=tuple(idle),
            evidence=evidence,
            note="with what lies above the first frame: arguments, or the thread control block",
        ),
        Measurement(
            metric="stack.limit",
            value=limits[0],
            instrument=Watermark.name,
            thread=thread,
            samples=tuple(limits),
            evidence=evidence,
            note="RLIMIT_STACK of the process" if thread == "main" else "the thread's mapping",
        ),
    ]


def _peaks(depths: OperationDepths, thread: Thread, evidence: str) -> list[Measurement]:
    samples = []
    for repetition in depths.repetitions:
        own = [depth for depth in repetition if _name(depth) == thread]
        if own:
            samples.append(max(own, key=lambda depth: (depth.at_most_bytes, depth.depth_bytes)))
    bound, note = _trust(samples, depths, thread)
    upper = bound is Bound.UPPER
    peaks = tuple(s.at_most_bytes if upper else s.depth_bytes for s in samples)
    own_use = tuple((s.at_most_bytes if upper else s.depth_bytes) - s.idle_bytes for s in samples)
    return [
        Measurement(
            metric=metric,
            value=max(values),
            bound=bound,
            instrument=Watermark.name,
            operation=depths.operation,
            thread=thread,
            samples=values,
            evidence=evidence,
            note=note,
        )
        for metric, values in (("stack.peak", peaks), ("stack.operation", own_use))
    ]


def _trust(
    samples: Sequence[ThreadDepth], depths: OperationDepths, thread: Thread
) -> tuple[Bound, str]:
    """On which side the truth may lie, and why.

    An inexact sample does no harm if an exact one went at least as deep: the fresh pages of the
    first repetition are painted in the second.
    """
    exact = max((s.depth_bytes for s in samples if s.exact), default=-1)
    doubtful = [s for s in samples if not s.exact and (s.stale or s.depth_bytes > exact)]
    if depths.ended and thread == "worker":
        return Bound.LOWER, f"{depths.ended} threads ended before their stacks could be scanned"
    if not doubtful:
        return Bound.EXACT, _WRITTEN
    reasons = Counter(s.note for s in doubtful)
    return Bound.UPPER, "rounded up to whole pages: " + "; ".join(
        f"{number} of {len(samples)} samples {reason}" for reason, number in reasons.items()
    )


def _nothing(depths: OperationDepths, evidence: str) -> list[Measurement]:
    reason = (
        f"no thread of the daemon did anything in {len(depths.repetitions)} repetitions of "
        f"`{depths.operation}`: the kernel answered from its own cache"
    )
    return [
        Measurement(
            metric=metric,
            value=NotMeasured(reason=reason),
            instrument=Watermark.name,
            operation=depths.operation,
            evidence=evidence,
        )
        for metric in ("stack.peak", "stack.operation")
    ]


# -- evidence ------------------------------------------------------------------------------


def _write_evidence(
    path: Path,
    daemon: Daemon,
    stacks: Sequence[ThreadStack],
    found: Sequence[OperationDepths],
    counted: bool,
) -> None:
    document = {
        "schema": 1,
        "instrument": Watermark.name,
        "command": list(daemon.command),
        "pid": daemon.pid,
        "requests_counted": counted,
        "depths_count_from": "the top of the thread's stack mapping, in bytes",
        "threads": [
            {
                "tid": stack.tid,
                "thread": _name(stack),
                "idle_bytes": stack.idle_bytes,
                "limit_bytes": stack.limit_bytes,
            }
            for stack in stacks
        ],
        "operations": [
            {
                "operation": depths.operation,
                "disturbed": depths.disturbed,
                "ended_threads": depths.ended,
                "repetitions": [
                    [_as_json(depth) for depth in repetition if depth.ran]
                    for repetition in depths.repetitions
                ],
            }
            for depths in found
        ],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _as_json(depth: ThreadDepth) -> Mapping[str, object]:
    entry = asdict(depth)
    del entry["main"], entry["ran"]
    return {"thread": _name(depth), **entry}
