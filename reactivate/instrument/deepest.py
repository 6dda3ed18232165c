"""Deepest: who is on the stack at the deepest point of each operation, frame by frame.

First paint and scan find the deepest byte that an operation writes. Then the operation is done
once more with a hardware watchpoint on that byte: the daemon is stopped at the very instruction
that reaches it, its registers and stack are copied, and it runs on. The whole stack is unwound from
the copy, with the stack pointer of each frame.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Bound, Measurement, NotMeasured
from reactivate.instrument.chain import Chain, fold
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.stackwatch import StackWatch, ThreadDepth
from reactivate.instrument.watchpoint import catching, watchpoint_availability
from reactivate.instrument.workout import ready_folder, repeat
from reactivate.procfs import mount_fusectl
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation, Step

_WARM_UP = 2
"""Repetitions before the first look: symbols are bound and caches filled in the first."""

_HIGHER_BYTES = (0, 128, 512, 2048)
"""Where the second attempt waits, above the deepest byte: a repetition may stay higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepestPoint:
    """What was found for one operation.

    Attributes:
        operation: its name.
        depth: the thread that went deepest, as paint and scan saw it.
        chain: the stack at the deepest point.
        missed_bytes: how much shallower than the deepest byte the chain was caught; 0 if there.
        seconds: from setting the watchpoint to the unwound chain.
    """

    operation: str
    depth: ThreadDepth
    chain: Chain
    missed_bytes: int
    seconds: float

    @property
    def thread(self) -> str:
        """As in `Measurement.thread`."""
        return "main" if self.depth.main else "worker"

    @property
    def unwound_bytes(self) -> int:
        """Bytes of the frames that are known, below the stack pointer of the sleeping thread.

        Without what the innermost frame has below the deepest byte written: nobody wrote there,
        so paint does not see it. Independent of `depth.below_idle_bytes` but for the place of the
        watchpoint: a frame that is missing or measured wrongly makes the two differ.
        """
        chain = self.chain
        # From the top: the chain may be that of another worker, which sleeps as deep.
        asleep = chain.top - self.depth.idle_bytes
        unwritten = max(0, chain.deepest - chain.frames[0].sp) if chain.frames else 0
        return max(0, chain.attributed_bytes - unwritten - (chain.start - asleep))


class Deepest:
    """The call chain at the deepest point. Settings: `top`, `deadline_seconds`, `idle_seconds`."""

    name: ClassVar[str] = "deepest"
    measures: ClassVar[tuple[str, ...]] = (
        "stack.recursion",
        "stack.frame",
        "stack.attributed",
        "stack.painted",
        "stack.unwound",
    )
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = (
        "ptrace access to the daemon",
        "a hardware watchpoint",
    )
    cost: ClassVar[str] = "the daemon stands still for milliseconds in each operation"

    def availability(self) -> Availability:
        """Whether threads may be traced and a watchpoint is to be had."""
        return watchpoint_availability()

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """For each operation, or with `top` for the deepest ones, the chain at its deepest point.

        A daemon on which tracing failed is given up; the remaining operations get a fresh mount.
        """
        mount_fusectl()
        top = int(bench.settings.get("top", 0))
        rest = list(bench.operations)
        total = len(rest)
        found: list[Measurement] = []
        while rest:
            async with bench.subject.mounted() as daemon:
                probe = _Probe(daemon, bench)
                if top and len(rest) > top:
                    rest = await probe.deepest_of(rest, top)
                    total = len(rest)
                    continue
                while rest and not probe.spoiled:
                    operation = rest.pop(0)
                    bench.reporter.advance(total - len(rest) - 1, total, operation.name)
                    outcome = await probe.point(operation)
                    found += _report(self.name, bench, operation, outcome)
                if probe.spoiled:
                    daemon.kill()
        bench.reporter.advance(total, total, "done")
        return tuple(found)


class _Probe:
    """One mounted daemon on which operations are examined one after the other."""

    def __init__(self, daemon: Daemon, bench: Bench) -> None:
        self._daemon = daemon
        self._folder = bench.folder
        self._deadline_seconds = float(bench.settings.get("deadline_seconds", 30.0))
        self._idle_seconds = float(bench.settings.get("idle_seconds", 5.0))
        self.spoiled = False

    async def deepest_of(self, operations: Sequence[Operation], top: int) -> list[Operation]:
        """The operations that go deepest, in their own order, after a quick look at all."""
        depths: dict[str, int] = {}
        for operation in operations:
            folder = await self._ready(operation)
            depth, _ = await self._look(operation, folder, _WARM_UP)
            depths[operation.name] = depth.depth_bytes if depth is not None else 0
        chosen = sorted(depths, key=lambda name: depths[name], reverse=True)[:top]
        return [operation for operation in operations if operation.name in chosen]

    async def point(self, operation: Operation) -> DeepestPoint | NotMeasured:
        """The chain at the operation's deepest point; a second, less exact attempt if missed."""
        folder = await self._ready(operation)
        repetition = _WARM_UP
        depth = None
        for exact in (True, False):
            depth, others = await self._look(operation, folder, repetition)
            if depth is None or depth.deepest is None:
                return NotMeasured(
                    reason="no thread of the daemon did anything: the kernel answered by itself"
                )
            addresses = _alike(depth, others) if exact else _higher(depth)
            started = trio.current_time()
            try:
                chain = await self._catch(operation, folder, repetition + 1, addresses, first=exact)
            except MeasurementError as error:
                self.spoiled = True
                return NotMeasured(reason=f"{error.what}: {error.why}")
            repetition += 2
            if chain is not None and chain.frames:
                return DeepestPoint(
                    operation=operation.name,
                    depth=depth,
                    chain=chain,
                    missed_bytes=depth.depth_bytes - (chain.top - chain.deepest),
                    seconds=trio.current_time() - started,
                )
        assert depth is not None
        return NotMeasured(
            reason=f"two repetitions did not come within {_HIGHER_BYTES[-1]:,} bytes of the "
            f"deepest point of the one before, {depth.depth_bytes:,} bytes deep"
        )

    async def _ready(self, operation: Operation) -> Path:
        """The operation's folder, after its setup and the warm-up."""

        def warm_up() -> Path:
            folder = ready_folder(self._daemon.mountpoint, operation)
            for repetition in range(_WARM_UP):
                repeat(operation, folder, repetition)
            return folder

        return await drive(
            self._daemon,
            warm_up,
            deadline_seconds=self._deadline_seconds,
            doing=f"warming up `{operation.name}`",
        )

    async def _look(
        self, operation: Operation, folder: Path, repetition: int
    ) -> tuple[ThreadDepth | None, tuple[ThreadDepth, ...]]:
        """One painted repetition: the thread that went deepest for its limit, and all the others.

        None for the first if none ran.
        """

        def painted() -> tuple[ThreadDepth, ...]:
            daemon = self._daemon
            with StackWatch(
                daemon.pid, connection=daemon.connection, deadline_seconds=self._idle_seconds
            ) as watch:
                operation.prepare(folder, repetition)
                watch.paint()
                operation.run(folder, repetition)
                found = watch.scan()
                operation.tidy(folder, repetition)
                return found

        depths = await drive(
            self._daemon,
            painted,
            deadline_seconds=self._deadline_seconds,
            doing=f"painting and scanning `{operation.name}`",
        )
        ran = [d for d in depths if d.ran and d.deepest is not None and not d.stale]
        deepest = max(ran, key=lambda d: d.depth_bytes / d.limit_bytes, default=None)
        return deepest, tuple(d for d in depths if d is not deepest)

    async def _catch(
        self,
        operation: Operation,
        folder: Path,
        repetition: int,
        addresses: Sequence[Address],
        *,
        first: bool,
    ) -> Chain | None:
        """One repetition under a watchpoint; the operation is prepared before, tidied after."""
        daemon = self._daemon
        seconds = self._deadline_seconds
        name = f"`{operation.name}` under a watchpoint"

        async def step(function: Step, doing: str) -> None:
            await drive(daemon, function, folder, repetition, deadline_seconds=seconds, doing=doing)

        await step(operation.prepare, f"preparing {name}")
        stem = f"deepest-{operation.name}"
        async with catching(daemon.pid, addresses, self._folder, stem, first=first) as catch:
            await catch.armed()
            await step(operation.run, name)
            chain = await catch.result()
        await step(operation.tidy, f"tidying up after {name}")
        return chain


def _alike(depth: ThreadDepth, others: Sequence[ThreadDepth]) -> tuple[Address, ...]:
    """The deepest byte, and the byte as deep on each other worker: any may get the next request."""
    assert depth.deepest is not None
    workers = [] if depth.main else [other for other in others if not other.main]
    # Those that sleep as deep wait for the same; the ones that just ran come first.
    alike = [other for other in workers if other.idle_bytes == depth.idle_bytes]
    alike.sort(key=lambda other: not other.ran)
    return (depth.deepest, *(Address(other.top - depth.depth_bytes) for other in alike))


def _higher(depth: ThreadDepth) -> tuple[Address, ...]:
    """The deepest byte and others above it, below where the thread sleeps."""
    assert depth.deepest is not None
    asleep = depth.deepest + depth.below_idle_bytes
    return tuple(
        Address(depth.deepest + more)
        for more in _HIGHER_BYTES
        if more == 0 or depth.deepest + more < asleep
    )


def _report(
    instrument: str, bench: Bench, operation: Operation, outcome: DeepestPoint | NotMeasured
) -> list[Measurement]:
    """Evidence file and measurements of one operation."""
    file = f"deepest-{operation.name}.json"
    if isinstance(outcome, NotMeasured):
        document: dict[str, object] = {
            "operation": operation.name,
            "not_measured": outcome.reason,
        }
    else:
        document = as_json(outcome)
    text = json.dumps(document, indent=1) + "\n"
    (bench.folder / file).write_text(text, encoding="utf-8")
    return measurements(instrument, operation.name, outcome, bench.evidence_prefix + file)


def measurements(
    instrument: str, operation: str, outcome: DeepestPoint | NotMeasured, evidence: str
) -> list[Measurement]:
    """The metrics of one operation."""
    if isinstance(outcome, NotMeasured):
        return [
            Measurement(
                metric=metric,
                value=outcome,
                operation=operation,
                instrument=instrument,
                evidence=evidence,
            )
            for metric in Deepest.measures
        ]
    chain = outcome.chain
    count, function = chain.recursion
    largest = chain.largest
    doubts = []
    if outcome.missed_bytes:
        doubts.append(f"caught {outcome.missed_bytes:,} bytes above the deepest byte")
    if chain.stopped:
        doubts.append(f"unwinding ended early: {chain.stopped}")
    doubt = "; ".join(("", *doubts))
    bound = Bound.LOWER if doubts else Bound.EXACT
    painted = outcome.depth
    values: dict[str, tuple[float | int, Bound, str]] = {
        "stack.recursion": (count, bound, f"{function}{doubt}"),
        "stack.frame": (largest.size_bytes, bound, f"{largest.name} {largest.place}{doubt}"),
        "stack.attributed": (
            chain.attributed_ratio,
            bound,
            f"{chain.attributed_bytes:,} of {chain.total_bytes:,} bytes in "
            f"{len(chain.frames):,} frames{doubt}",
        ),
        "stack.painted": (
            painted.below_idle_bytes,
            Bound.EXACT if painted.exact else Bound.LOWER,
            painted.note,
        ),
        "stack.unwound": (outcome.unwound_bytes, bound, f"below idle{doubt}"),
    }
    return [
        Measurement(
            metric=metric,
            value=value,
            bound=side,
            operation=operation,
            thread=outcome.thread,
            instrument=instrument,
            samples=(value,),
            evidence=evidence,
            note=note,
        )
        for metric, (value, side, note) in values.items()
    ]


def as_json(point: DeepestPoint) -> dict[str, object]:
    """The chain, frame by frame and folded."""
    chain, depth = point.chain, point.depth
    return {
        "operation": point.operation,
        "thread": point.thread,
        "tid": depth.tid,
        "deepest_byte_depth": depth.depth_bytes,
        "caught_at_depth": chain.top - chain.deepest,
        "missed_bytes": point.missed_bytes,
        "painted_below_idle_bytes": depth.below_idle_bytes,
        "unwound_below_idle_bytes": point.unwound_bytes,
        "total_bytes": chain.total_bytes,
        "attributed_bytes": chain.attributed_bytes,
        "stopped": chain.stopped,
        "caught_seconds": round(point.seconds, 3),
        "depths_count_from": "the top of the thread's stack mapping, in bytes",
        "folded": [
            {
                "depth_bytes": row.depth_bytes,
                "size_bytes": row.size_bytes,
                "location": row.location,
                "place": row.place,
                "count": row.count,
            }
            for row in fold(chain)
        ],
        "frames": [
            {
                "depth_bytes": chain.depth_bytes(frame),
                "size_bytes": frame.size_bytes,
                "function": frame.function,
                "file": frame.file,
                "line": frame.line,
                "module": frame.module,
                "offset": frame.offset,
                "inlined": frame.inlined,
            }
            for frame in chain.frames
        ],
    }
