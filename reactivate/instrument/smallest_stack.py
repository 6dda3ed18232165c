"""Smallest stack: with how little stack does the workload survive, and does less really kill it?

Every run is a fresh mount under a reduced RLIMIT_STACK. The first one, with a quarter of the
stack, must survive; what its page table shows of the stack predicts the least limit. Around that
the limit is halved down to 4 KiB, and every death is classified by signal, fault address and
stack. A gate that has not seen the daemon die of less stack has not been tested itself.
"""

from __future__ import annotations

import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import DaemonHungError, MeasurementError, MountError
from reactivate.evidence import Bound, Measurement, NotMeasured, Pid
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.death import Cause, DeathKind, classify
from reactivate.instrument.search_limit import Attempt, Search
from reactivate.instrument.stack_areas import stack_areas
from reactivate.instrument.workout import Progress, perform
from reactivate.procfs import stack_limit_bytes
from reactivate.target.death import DaemonDeathError, log_tail
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive

STEP_BYTES = 4096
"""How finely the smallest limit is looked for; finer than a page has no meaning."""

_EVIDENCE = "smallest-stack.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One mount under one limit.

    Attributes:
        limit_bytes: its RLIMIT_STACK.
        survived: whether it mounted, did the whole workload and ended in order.
        stage: "start", "workload" or "end": where it died; "" if it survived.
        operation: the operation in flight when it died, "" if none was.
        touched_bytes: resident depth of the main stack after the workload, to the page; 0 if it
            died before.
        cause: why it died; None if it survived.
    """

    limit_bytes: int
    survived: bool
    stage: str = ""
    operation: str = ""
    touched_bytes: int = 0
    cause: Cause | None = None

    @property
    def overflow(self) -> bool:
        """Whether it is proven that the stack was too small."""
        return self.cause is not None and self.cause.kind is DeathKind.OVERFLOW


class SmallestStack:
    """Bisects RLIMIT_STACK. Settings: `repeats`, `quarter_runs`, `most_runs`, deadline."""

    name: ClassVar[str] = "smallest_stack"
    measures: ClassVar[tuple[str, ...]] = (
        "overflow.crashes",
        "overflow.reproduced",
        "stack.minimum",
        "stack.limit",
    )
    bound: ClassVar[Bound] = Bound.UPPER
    needs: ClassVar[tuple[str, ...]] = ("to trace its own child processes (ptrace)",)
    cost: ClassVar[str] = "about seven mounts, each with the whole workload"

    def availability(self) -> Availability:
        """Whether there is a limit to reduce, and children may be traced."""
        soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
        if soft == resource.RLIM_INFINITY:
            return Availability(
                ready=False,
                detail="the stack is unlimited here, so there is no quarter of it",
                hint="ulimit -S -s 8192",
            )
        scope = Path("/proc/sys/kernel/yama/ptrace_scope")
        if scope.exists() and scope.read_text().strip() == "3":
            return Availability(ready=False, detail="ptrace is forbidden on this machine")
        return Availability(ready=True, detail="ready")

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """A quarter of the stack first, then the search for the least limit that survives."""
        full = stack_limit_bytes(Pid(os.getpid()))
        quarter = _whole_steps(full // 4)
        quarter_runs = max(1, int(bench.settings.get("quarter_runs", 1)))
        most_runs = int(bench.settings.get("most_runs", 12))
        runs: list[Run] = []

        async def attempt(limit_bytes: int, why: str) -> Run:
            bench.reporter.advance(len(runs), most_runs, f"{limit_bytes // 1024:,} KiB, {why}")
            # Before anything is reduced below the quarter, an operation that fails on a living
            # daemon is an error of the run; further down it is what too little stack does.
            runs.append(await one_run(bench, limit_bytes, strict=limit_bytes >= quarter))
            return runs[-1]

        for _ in range(quarter_runs):
            await attempt(quarter, "a quarter of the stack")
        crashes = sum(not run.survived for run in runs)
        search = Search(
            step_bytes=STEP_BYTES,
            full_bytes=_whole_steps(full),
            most_attempts=max(0, most_runs - len(runs)),
        )
        for run in runs:
            search.learn(_as_attempt(run))
        while (limit := search.next_limit()) is not None:
            search.learn(_as_attempt(await attempt(limit, "looking for the least")))
        bench.reporter.advance(most_runs, most_runs, "done")
        (bench.folder / _EVIDENCE).write_text(_document(full, runs, search), encoding="utf-8")
        return measurements(
            self.name, full, crashes, runs, search, bench.evidence_prefix + _EVIDENCE
        )


async def one_run(bench: Bench, limit_bytes: int, *, strict: bool) -> Run:
    """Mount under the limit, do the whole workload, and say how it ended.

    Raises:
        MeasurementError: if `strict`, an operation failed although the daemon lives.
    """
    progress = Progress()
    repeats = int(bench.settings.get("repeats", 1)) * bench.times
    deadline = float(bench.settings.get("deadline_seconds", 120.0))
    touched = 0
    stage = "start"
    try:
        async with bench.subject.mounted(stack_limit_bytes=limit_bytes, traced=True) as daemon:
            stage = "workload"
            await drive(
                daemon,
                perform,
                daemon.mountpoint,
                bench.operations,
                repeats,
                progress,
                deadline_seconds=deadline,
                doing=f"the workload under {limit_bytes // 1024:,} KiB of stack",
            )
            touched = await _touched_bytes(daemon)
            stage = "end"
    except DaemonDeathError as death:
        cause = classify(death.returncode, death.faults, death.why)
        return _died(limit_bytes, stage, progress, cause)
    except (MountError, DaemonHungError, MeasurementError) as error:
        if strict and isinstance(error, MeasurementError):
            raise
        cause = Cause(kind=DeathKind.UNKNOWN, text=error.what)
        return _died(limit_bytes, stage, progress, cause)
    faults = daemon.faults()
    if faults:
        cause = classify(daemon.returncode(), faults, log_tail(daemon.log))
        return _died(limit_bytes, stage, Progress(), cause)
    return Run(limit_bytes=limit_bytes, survived=True, touched_bytes=touched)


def _died(limit_bytes: int, stage: str, progress: Progress, cause: Cause) -> Run:
    return Run(
        limit_bytes=limit_bytes,
        survived=False,
        stage=stage,
        operation=progress.where(),
        cause=cause,
    )


async def _touched_bytes(daemon: Daemon) -> int:
    """Depth of the main stack's deepest resident page, rounded up to whole pages."""
    areas = await trio.to_thread.run_sync(stack_areas, daemon.pid)
    deepest = max((area.resident_bytes for area in areas if area.main), default=0)
    return -(-deepest // STEP_BYTES) * STEP_BYTES


def _as_attempt(run: Run) -> Attempt:
    return Attempt(
        limit_bytes=run.limit_bytes, survived=run.survived, touched_bytes=run.touched_bytes
    )


def _whole_steps(size_bytes: int) -> int:
    return size_bytes // STEP_BYTES * STEP_BYTES


def measurements(
    instrument: str, full: int, crashes: int, runs: list[Run], search: Search, evidence: str
) -> tuple[Measurement, ...]:
    """What the runs prove.

    Args:
        full: the stack limit without reduction.
        crashes: runs with a quarter of it that were not survived.
        runs: all runs, those included.
        search: the finished search.
        evidence: name of the evidence file.
    """
    overflows = sum(run.overflow for run in runs)
    first = next((run for run in runs if not run.survived), None)
    first_text = "" if first is None or first.cause is None else first.cause.text
    quarter_note = f"under {_whole_steps(full // 4):,} bytes of stack"
    if crashes:
        quarter_note += f": {first_text}"
    others = len([run for run in runs if not run.survived]) - overflows
    values: dict[str, tuple[int | NotMeasured, Bound, str]] = {
        "overflow.crashes": (crashes, Bound.EXACT, quarter_note),
        "overflow.reproduced": (
            overflows,
            Bound.EXACT,
            f"of {len(runs)} runs; {others} more ended for other reasons"
            if others
            else f"of {len(runs)} runs; each with the fault below the stack",
        ),
        "stack.minimum": _minimum(search, first_text, overflows),
        "stack.limit": (full, Bound.EXACT, "RLIMIT_STACK without reduction"),
    }
    return tuple(
        Measurement(
            metric=metric,
            value=value,
            bound=bound,
            thread="main" if metric.startswith("stack.") else "",
            instrument=instrument,
            samples=() if isinstance(value, NotMeasured) else (value,),
            evidence=evidence,
            note=note,
        )
        for metric, (value, bound, note) in values.items()
    )  # fmt: skip


def _minimum(
    search: Search, first_death: str, overflows: int
) -> tuple[int | NotMeasured, Bound, str]:
    least, dying = search.least_surviving, search.largest_dying
    if least is None:
        reason = f"not even {search.full_bytes:,} bytes of stack were survived: {first_death}"
        return NotMeasured(reason=reason), Bound.UPPER, ""
    if not dying:
        reason = f"no death could be provoked, not even with {least:,} bytes of stack"
        return NotMeasured(reason=reason), Bound.UPPER, ""
    if not overflows:
        reason = f"none of the deaths under less stack is proven to be an overflow: {first_death}"
        return NotMeasured(reason=reason), Bound.UPPER, ""
    edge = "" if search.settled else "; the search ended before the edge was known to 4 KiB"
    return least, Bound.UPPER, f"survived; not survived with {dying:,} bytes{edge}"


def _document(full: int, runs: list[Run], search: Search) -> str:
    """Every run, in order."""
    data = {
        "full_limit_bytes": full,
        "step_bytes": STEP_BYTES,
        "least_surviving_bytes": search.least_surviving,
        "largest_dying_bytes": search.largest_dying or None,
        "settled": search.settled,
        "runs": [
            {
                "limit_bytes": run.limit_bytes,
                "survived": run.survived,
                "stage": run.stage,
                "operation": run.operation,
                "touched_bytes": run.touched_bytes,
                "death": None if run.cause is None else _cause(run.cause),
            }
            for run in runs
        ],
    }
    return json.dumps(data, indent=1) + "\n"


def _cause(cause: Cause) -> dict[str, object]:
    stack = cause.stack
    return {
        "kind": cause.kind,
        "text": cause.text,
        "signal": cause.signal,
        "address": None if cause.address is None else f"{cause.address:#x}",
        "thread": cause.thread,
        "stack": None if stack is None else f"{stack.start:#x}-{stack.end:#x}",
        "distance_bytes": cause.distance_bytes,
    }
