"""What must be quick by itself: a look, a call into the mount, a large ledger, many vectors."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from benchmarks.goal import Goal
from reactivate.checklist.model import Comparator
from reactivate.evidence import Measurement, Pid, Role
from reactivate.gate.compare import risks
from reactivate.gate.statistics import ratio_interval
from reactivate.ledger import Ledger
from reactivate.run.watching import StackView
from reactivate.workload.drive import drive
from tests.model import vector_library as built
from tests.target.daemons import BINDFS, launcher

_PHASES = ("baseline", "storage", "search", "metadata", "cache", "transactions", "all")
_METRICS = ("stack.peak", "stack.operation", "latency.p50", "latency.p99")
_ATTEMPTS, _PER_ATTEMPT = 70, 1500
_OPERATIONS, _SAMPLES = 14, 400
_BULK = 1300
_CALLS = 2_000


def _seconds(work: Callable[[], object], *, clock: Callable[[], float], times: int) -> float:
    """The shortest of several times."""
    taken = []
    for _ in range(times):
        started = clock()
        work()
        taken.append(clock() - started)
    return min(taken)


def _fill(path: Path) -> None:
    with Ledger.open(path, writer=True) as ledger:
        for turn in range(_ATTEMPTS):
            attempt = ledger.begin_attempt(_PHASES[turn % 7], "baseline", {"kernel": "benchmark"})
            many = [
                Measurement(
                    metric=_METRICS[n % 4], value=n * 7919 % 100_003, instrument="watermark",
                    role=tuple(Role)[n % 3], operation=f"op{n % 50}", samples=tuple(range(10)),
                )
                for n in range(_PER_ATTEMPT)
            ]  # fmt: skip
            ledger.finish(attempt, "passed", events=[("checked", {})] * 10, measurements=many)


def _status(path: Path) -> None:
    """What `status` asks."""
    with Ledger.open(path, writer=False) as reader, reader.snapshot():
        reader.events()
        reader.counts()
        for phase in _PHASES:
            reader.worst_stack(phase)
            reader.latest_judgements(phase, "baseline")


def _gate(pairs: list[tuple[list[float], list[float]]]) -> None:
    limits = risks(Comparator.LE, _OPERATIONS)
    for ours, theirs in pairs:
        for quantile in (0.5, 0.99):
            ratio_interval(
                ours, theirs, quantile=quantile, low_risk=limits.low, high_risk=limits.high
            )


def _hop(folder: Path) -> float:
    """How much longer a loop in a mount takes with `drive` around it."""

    def loop(mountpoint: Path) -> float:
        started = time.perf_counter()
        for _ in range(_CALLS):
            os.statvfs(mountpoint)
        return time.perf_counter() - started

    async def main() -> float:
        async with launcher(folder, BINDFS).mounted() as daemon:
            outer, inner = [], []
            for _ in range(5):
                started = time.perf_counter()
                inner.append(
                    await drive(daemon, loop, daemon.mountpoint, deadline_seconds=60, doing="it")
                )
                outer.append(time.perf_counter() - started)
        return min(outer) / min(inner)

    return trio.run(main)


def _look() -> float:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            with StackView(Pid(process.pid)) as view:
                return _seconds(view.look, clock=time.process_time, times=100)
        finally:
            process.kill()


def _index(content: bytes) -> None:
    store = built.storage(128)
    engine = built.engine(store)
    store.closed("a.vec", content)
    engine.close()
    store.close()


def goals() -> list[Goal]:
    """Processor time where only we work, else time."""
    dice = random.Random(13)
    samples = [[dice.lognormvariate(0, 0.1) for _ in range(_SAMPLES)] for _ in range(28)]
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    content = built.text(built.vectors(_BULK, 128, seed=40, gaussian=True))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db"
        _fill(path)
        status = _seconds(partial(_status, path), clock=time.process_time, times=5)
        hop = _hop(Path(name))
    bulk = _seconds(
        lambda: built.storage(128).closed("b.vec", content), clock=time.perf_counter, times=7
    )
    index = _seconds(partial(_index, content), clock=time.perf_counter, times=3)
    gate = _seconds(partial(_gate, pairs), clock=time.process_time, times=1)
    count = _ATTEMPTS * _PER_ATTEMPT
    return [
        Goal(name=f"status of {count:,} measurements", measured=status * 1000, limit=50.0,
             unit="ms", detail="of a processor"),
        Goal(name="watch: a look", measured=_look() * 1000, limit=10.0, unit="ms",
             detail="of a processor; once a second"),
        Goal(name="a loop in a mount, with and without `drive`", measured=hop, limit=1.2,
             unit="×", detail=f"{_CALLS:,} statvfs"),
        Goal(name="the intervals of a gate", measured=gate * 1000, limit=500.0, unit="ms",
             detail=f"{_OPERATIONS} operations of {_SAMPLES} samples, of a processor"),
        Goal(name=f"model: {_BULK:,} vectors read", measured=bulk * 1000, limit=30.0, unit="ms"),
        Goal(name=f"model: {_BULK:,} vectors indexed", measured=index * 1000, limit=400.0,
             unit="ms"),
    ]  # fmt: skip
