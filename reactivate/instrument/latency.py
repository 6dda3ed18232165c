"""How long each operation takes as its caller sees it, on several builds side by side.

All builds are mounted at once and take turns within each repetition, in alternating order
(A B, B A, …), so a machine that becomes slower meanwhile becomes slower for all of them. Caller
and daemons share one processor, so that none of them is favoured by where it runs. What the step
before left behind is served before the clock starts: see `settle`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from reactivate.errors import ConfigurationError
from reactivate.evidence import Bound, Measurement, Pid, Role
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.workout import ready_folder
from reactivate.procfs import thread_ids
from reactivate.target.model import Daemon, Fault
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation

EVIDENCE = "latency.json"

_PORTION = 5
"""Repetitions of one operation before the next one has its turn."""

Samples = dict[tuple[str, Role], list[int]]
"""Nanoseconds in the order they were taken, by operation and build."""


@dataclass(slots=True, kw_only=True)
class Arm:
    """One mounted build in its turn on one operation."""

    role: Role
    folder: Path
    samples: list[int] = field(default_factory=list)


class SideBySide:
    """Several daemons that live and die together, for `drive`. Satisfies `Daemon`."""

    def __init__(self, daemons: Mapping[Role, Daemon]) -> None:
        self._daemons = daemons

    def _foremost(self) -> Daemon:
        """The one that an error should speak of: a dead one, else the subject."""
        dead = (daemon for daemon in self._daemons.values() if not daemon.alive())
        return next(dead, self._daemons[Role.SUBJECT])

    @property
    def pid(self) -> Pid:
        """Process id of the foremost."""
        return self._foremost().pid

    @property
    def mountpoint(self) -> Path:
        """Where the foremost is mounted."""
        return self._foremost().mountpoint

    @property
    def connection(self) -> int:
        """FUSE connection of the foremost."""
        return self._foremost().connection

    @property
    def command(self) -> tuple[str, ...]:
        """Command line of the foremost."""
        return self._foremost().command

    @property
    def log(self) -> Path:
        """Log of the foremost."""
        return self._foremost().log

    def alive(self) -> bool:
        """Whether all of them run."""
        return all(daemon.alive() for daemon in self._daemons.values())

    def kill(self) -> None:
        """Kill all: whichever of them blocks the caller, it returns."""
        for daemon in self._daemons.values():
            daemon.kill()

    def returncode(self) -> int | None:
        """Exit status of the foremost."""
        return self._foremost().returncode()

    def faults(self) -> tuple[Fault, ...]:
        """Fatal signals of the foremost, if it is traced."""
        return self._foremost().faults()


class Latency:
    """p50 and p99 per operation and build.

    Args:
        undecided: asked with all measurements after each round which operations need more
            samples; their number of samples is doubled, and theirs alone, until it names none
            or `max_repeats` is reached. None: one round.
    """

    name: ClassVar[str] = "latency"
    measures: ClassVar[tuple[str, ...]] = ("latency.p50", "latency.p99")
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = ()
    cost: ClassVar[str] = "two readings of the clock, about 0.1 µs; one statfs before, not timed"

    def __init__(
        self, *, undecided: Callable[[Sequence[Measurement]], Collection[str]] | None = None
    ) -> None:
        self._undecided = undecided

    def availability(self) -> Availability:
        """A monotonic clock is everywhere; its resolution must be worth the name."""
        resolution = time.get_clock_info("perf_counter").resolution
        if resolution > 1e-6:
            return Availability(
                ready=False, detail=f"the monotonic clock counts only every {resolution:g} s"
            )
        return Availability(ready=True, detail="ready")

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """Mount all builds at once and let them take turns.

        Settings: `repeats` (100) to begin with, `max_repeats` (400), `warmup` (10) repetitions
        that are not counted, `deadline_seconds` for one operation in one round (120).

        Raises:
            ConfigurationError: `repeats` below 1.
        """
        repeats = int(bench.settings.get("repeats", 100))
        most = max(repeats, int(bench.settings.get("max_repeats", 400)))
        warmup = int(bench.settings.get("warmup", 10))
        if repeats < 1 or warmup < 0:
            raise ConfigurationError(
                f"latency cannot be measured with repeats = {repeats}, warmup = {warmup}",
                hint="set them in configs/instruments.toml, table [latency]",
            )
        samples: Samples = {}
        done = rounds = 0
        async with AsyncExitStack() as stack:
            daemons: dict[Role, Daemon] = {}
            for role, launcher in ((Role.SUBJECT, bench.subject), *bench.references.items()):
                daemons[role] = await stack.enter_async_context(launcher.mounted())
            arms: dict[str, tuple[Arm, ...]] = {}
            wanted = list(bench.operations)
            while True:
                count = min(done or repeats, most - done)  # doubled in every round
                await _round(bench, daemons, arms, wanted, range(done, done + count), warmup)
                done, rounds = done + count, rounds + 1
                samples = {
                    (name, arm.role): arm.samples for name, group in arms.items() for arm in group
                }
                result = measurements(samples, evidence=bench.evidence_prefix + EVIDENCE)
                if self._undecided is None or done >= most:
                    break
                names = self._undecided(result)
                wanted = [operation for operation in wanted if operation.name in names]
                if not wanted:
                    break
            commands = {role.value: list(daemon.command) for role, daemon in daemons.items()}
        bench.reporter.advance(1, 1, "done")
        _write_evidence(bench.folder / EVIDENCE, commands, samples, warmup, rounds)
        return result


async def _round(
    bench: Bench,
    daemons: Mapping[Role, Daemon],
    arms: dict[str, tuple[Arm, ...]],
    wanted: Sequence[Operation],
    repetitions: range,
    warmup: int,
) -> None:
    """Each wanted operation `len(repetitions)` times more on each arm.

    The operations take turns in small portions, so that the samples of each are spread over the
    whole round: a disturbance of some milliseconds touches a few samples of all instead of all
    samples of one.
    """
    deadline_seconds = float(bench.settings.get("deadline_seconds", 120.0))
    together = SideBySide(daemons)
    for first in range(0, len(repetitions), _PORTION):
        portion = repetitions[first : first + _PORTION]
        bench.reporter.advance(first, len(repetitions), f"{len(wanted)} operations, in turn")
        for operation in wanted:
            new = operation.name not in arms
            if new:
                arms[operation.name] = await drive(
                    together,
                    _arms,
                    daemons,
                    operation,
                    deadline_seconds=deadline_seconds,
                    doing=f"preparing `{operation.name}`",
                )
            await drive(
                together,
                _on_one_processor,
                list(daemons.values()),
                operation,
                arms[operation.name],
                portion,
                warmup if new else 0,
                deadline_seconds=deadline_seconds,
                doing=f"timing `{operation.name}`",
            )


def _on_one_processor(
    daemons: Sequence[Daemon],
    operation: Operation,
    arms: Sequence[Arm],
    repetitions: range,
    warmup: int,
) -> None:
    """`take_turns` with the caller and all daemons on the same processor.

    Where the scheduler puts two processes that wake each other decides more about the duration
    of a request than most code does, and it puts each build elsewhere. Between identical builds
    the ratio of medians over 60 repetitions spread by 18 % without this, and by 3 % with it.
    """
    usable = os.sched_getaffinity(0)
    processor = {max(usable)}
    for daemon in daemons:
        for tid in thread_ids(daemon.pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(tid, processor)
    os.sched_setaffinity(0, processor)
    try:
        take_turns(operation, arms, repetitions, warmup, [one.mountpoint for one in daemons])
    finally:
        os.sched_setaffinity(0, usable)  # this thread serves others afterwards


def _arms(daemons: Mapping[Role, Daemon], operation: Operation) -> tuple[Arm, ...]:
    """The builds on which this operation exists, with its folder ready in each."""
    return tuple(
        Arm(role=role, folder=ready_folder(daemon.mountpoint, operation))
        for role, daemon in daemons.items()
        if role is Role.SUBJECT or operation.paired
    )


def take_turns(
    operation: Operation,
    arms: Sequence[Arm],
    repetitions: range,
    warmup: int,
    mounts: Sequence[Path],
) -> None:
    """Time one operation on all arms; blocking, for a worker thread.

    Adds one sample per repetition to every arm. Warm-up repetitions come before and have
    negative numbers. All `mounts` are settled before each sample, not only the one to be timed:
    their daemons share its processor. That one comes last: the daemon that answered last finds its
    memory in the processor's caches, which made whichever build was asked first a fifth slower.
    """
    collecting = gc.isenabled()
    gc.disable()
    last = {arm.role: sorted(mounts, key=arm.folder.is_relative_to) for arm in arms}
    try:
        for repetition in range(-warmup, 0):
            for arm in arms:
                _timed(operation, arm.folder, repetition, last[arm.role])
        for repetition in repetitions:
            for arm in arms if repetition % 2 == 0 else reversed(arms):
                arm.samples.append(_timed(operation, arm.folder, repetition, last[arm.role]))
    finally:
        if collecting:
            gc.enable()


def _timed(operation: Operation, folder: Path, repetition: int, mounts: Sequence[Path]) -> int:
    run, clock = operation.run, time.perf_counter_ns
    operation.prepare(folder, repetition)
    settle(mounts)
    begun = clock()
    run(folder, repetition)
    ended = clock()
    operation.tidy(folder, repetition)
    return ended - begun


def settle(mounts: Sequence[Path]) -> None:
    """Ask each daemon for its statfs, which it alone can answer, and wait for that.

    The kernel does not wait for the answers to RELEASE, RELEASEDIR and FORGET: close(2) returns
    before the daemon has seen them, and the request that comes next waits behind them.

    A daemon that serves one request after the other has then served whatever was queued before,
    but for some FORGETs where there are many: the kernel hands out requests between them. One
    that serves several at once has only begun with it: another of its threads may still be at
    work. Neither is kept from what it does after an answer, or in threads of its own.
    """
    for mount in mounts:
        with contextlib.suppress(OSError):  # ENOSYS is an answer, too
            os.statvfs(mount)


# -- reduction -----------------------------------------------------------------------------


def percentile(samples: Iterable[int], percent: float) -> int:
    """Nearest rank: the smallest sample that at least `percent` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def measurements(samples: Samples, *, evidence: str) -> tuple[Measurement, ...]:
    """p50 and p99 of every operation on every build; the raw samples go along."""
    result = []
    for (operation, role), taken in samples.items():
        frozen = tuple(taken)
        few = "" if len(frozen) >= 100 else f"of {len(frozen)} samples: the largest"
        for metric, value, note in (
            ("latency.p50", statistics.median(frozen), ""),
            ("latency.p99", percentile(frozen, 99), few),
        ):
            result.append(
                Measurement(
                    metric=metric,
                    value=value,
                    instrument=Latency.name,
                    role=role,
                    operation=operation,
                    samples=frozen,
                    evidence=evidence,
                    note=note,
                )
            )
    return tuple(result)


def _write_evidence(
    path: Path,
    commands: Mapping[str, list[str]],
    samples: Samples,
    warmup: int,
    rounds: int,
) -> None:
    operations: dict[str, dict[str, list[int]]] = {}
    for (operation, role), taken in samples.items():
        operations.setdefault(operation, {})[role.value] = taken
    document = {
        "schema": 1,
        "instrument": Latency.name,
        "unit": "ns",
        "commands": commands,
        "warmup": warmup,
        "rounds": rounds,
        "order": "even repetitions as in commands, odd ones reversed",
        "processors": "caller and daemons on one and the same",
        "operations": operations,
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")
