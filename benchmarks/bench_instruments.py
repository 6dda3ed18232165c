"""What each instrument costs the daemon it looks at, beside the same daemon that none looks at.

Every operation is done on the measured mount and on a second one, in turn, and both are timed.
Other load on the machine is kept out where that is allowed: it adds as much to both, so the ratio
would come out too near to 1. valgrind's tools are there for comparison. Needs /dev/fuse,
bindfs and, each for its own line, bpftrace and valgrind.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from benchmarks.bench_watermark import launcher, undisturbed
from benchmarks.goal import Goal
from reactivate.cli.progress import SilentReporter
from reactivate.errors import ReactivateError
from reactivate.instrument.contract import Bench
from reactivate.instrument.registry import instrument
from reactivate.procfs import mount_fusectl
from reactivate.target.model import Daemon
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX

_LOOKS = 40
_LOOK_SECONDS = 0.1
_DEEPEST = 4
_REQUESTS = ("requests.total", "requests.errors", "requests.unanswered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One instrument under the bench.

    Attributes:
        name: of the instrument.
        repeats: of each operation, as its setting or as `Bench.times`.
        limit: the most that the ratio may be; None: only for comparison.
        measured: what is asked of it; see `Bench.metrics`.
    """

    name: str
    repeats: int
    limit: float | None
    measured: Sequence[str] | None = None
    times: int = 1


ARMS = (
    Arm(name="growth", repeats=120, limit=1.15),
    Arm(name="lifecycle", repeats=120, limit=1.15, measured=_REQUESTS),
    Arm(name="massif", repeats=1, times=20, limit=None),
    Arm(name="memcheck", repeats=1, times=20, limit=None),
)


@dataclass(slots=True, kw_only=True)
class Pair:
    """An operation that is done on two mounts in turn.

    Attributes:
        operation: what is done.
        twin: the mount that no instrument looks at.
        own_ns: how long it took on the measured mount, each time.
        twin_ns: how long it took on the other one.
    """

    operation: Operation
    twin: Path
    own_ns: list[int] = field(default_factory=list)
    twin_ns: list[int] = field(default_factory=list)

    @property
    def both(self) -> Operation:
        """For an instrument."""
        return Operation(
            name=self.operation.name, suite="bench", opcodes=self.operation.opcodes,
            setup=self._setup, run=self._run,
        )  # fmt: skip

    def _setup(self, folder: Path) -> None:
        self.twin.mkdir(exist_ok=True)
        if self.operation.setup is not None:
            self.operation.setup(folder)
            self.operation.setup(self.twin)

    def _run(self, folder: Path, repetition: int) -> None:
        turns = [(folder, self.own_ns), (self.twin, self.twin_ns)]
        for where, durations in turns if repetition % 2 else reversed(turns):
            self.operation.prepare(where, repetition)
            begun = time.perf_counter_ns()
            self.operation.run(where, repetition)
            durations.append(time.perf_counter_ns() - begun)
            self.operation.tidy(where, repetition)


async def _ratio(arm: Arm, root: Path) -> tuple[float, float]:
    """The workload with the instrument to the one without: of medians, and of whole sums."""
    target = launcher(root)
    folder = root / arm.name
    folder.mkdir()
    made = instrument(arm.name)
    found = made.availability()
    if not found.ready:
        raise SystemExit(f"{arm.name}: {found.detail}")
    async with target.mounted() as twin:
        pairs = [Pair(operation=o, twin=twin.mountpoint / f"twin-{o.name}") for o in POSIX]
        await made.measure(
            Bench(
                subject=target,
                operations=[pair.both for pair in pairs],
                folder=folder,
                reporter=SilentReporter(),
                settings={"repeats": arm.repeats, "deadline_seconds": 120.0},
                times=arm.times,
                metrics=arm.measured,
            )
        )
    own = sum(statistics.median(pair.own_ns) for pair in pairs)
    other = sum(statistics.median(pair.twin_ns) for pair in pairs)
    whole = sum(sum(pair.own_ns) for pair in pairs) / sum(sum(pair.twin_ns) for pair in pairs)
    return own / other, whole


async def _deepest_seconds(root: Path) -> tuple[float, list[float]]:
    """The whole run for each operation, mount included; and of that, how long each catch took."""
    folder = root / "deepest"
    folder.mkdir()
    begun = time.perf_counter()
    await instrument("deepest").measure(
        Bench(
            # A single thread: a repetition by another thread would not reach the same byte.
            subject=launcher(root, "-o", "attr_timeout=0"),
            operations=POSIX[:_DEEPEST],
            folder=folder,
            reporter=SilentReporter(),
        )
    )
    seconds = (time.perf_counter() - begun) / _DEEPEST
    documents = [json.loads(file.read_text()) for file in folder.glob("deepest-*.json")
                 if not file.name.endswith(".raw.json")]  # fmt: skip
    return seconds, [d["caught_seconds"] for d in documents if "caught_seconds" in d]


async def _watch_share(root: Path) -> tuple[float, int]:
    """`reactivate watch` at its usual interval, in cores; and the number of threads."""
    async with launcher(root).mounted() as daemon:
        await trio.to_thread.run_sync(_busy_threads, daemon)
        threads = len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))
        seconds = await trio.to_thread.run_sync(_seconds_per_look, daemon)
    return seconds, threads


def _busy_threads(daemon: Daemon) -> None:
    for _ in range(100):
        os.statvfs(daemon.mountpoint)


def _seconds_per_look(daemon: Daemon) -> float:
    """Time on a processor from the end of one look to the end of a much later one."""
    command = [sys.executable, "-m", "reactivate", "watch", str(daemon.pid), "--json",
               "--interval", str(_LOOK_SECONDS)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        schedstat = Path(f"/proc/{process.pid}/schedstat")
        process.stdout.readline()
        begun_ns = int(schedstat.read_text().split()[0])
        for _ in range(_LOOKS):
            process.stdout.readline()
        ended_ns = int(schedstat.read_text().split()[0])
        process.terminate()
    return (ended_ns - begun_ns) / _LOOKS / 1e9


def goals() -> list[Goal]:
    """Each instrument on a bindfs of its own beside an unwatched one."""
    mount_fusectl()
    found: list[Goal] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for arm in ARMS:
            with undisturbed() as how:
                median, whole = trio.run(partial(_ratio, arm, root))
            found.append(
                Goal(
                    name=f"FUSE workload under {arm.name}",
                    measured=median,
                    limit=arm.limit,
                    unit="×",
                    detail=f"{len(POSIX)} operations × {arm.repeats * arm.times} on bindfs, "
                    f"medians; whole sums {whole:.2f} ×; {how}",
                )
            )
        seconds, caught = trio.run(_deepest_seconds, root)
        found.append(
            Goal(
                name="deepest, for one operation",
                measured=seconds if len(caught) == _DEEPEST else float("nan"),
                limit=2.0,
                unit="s",
                detail=f"{len(caught)} chains of {_DEEPEST} operations; "
                f"catching {max(caught, default=0):.2f} s of that at most",
            )
        )
        share, threads = trio.run(_watch_share, root)
        found.append(
            Goal(
                name="watch, once a second",
                measured=share * 100,
                limit=5.0,
                unit="%",
                detail=f"of one core; {threads} threads of bindfs",
            )
        )
    return found


if __name__ == "__main__":
    try:
        for goal in goals():
            print(goal)
    except ReactivateError as error:
        raise SystemExit(f"{error}: {error.why}") from error
