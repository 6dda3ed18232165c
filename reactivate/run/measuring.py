"""How deep each operation takes the stack of a mounted daemon: one look, outside of a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.documents import read_json
from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.instrument.contract import Bench, Reporter
from reactivate.instrument.watermark import EVIDENCE, Watermark
from reactivate.target.model import Launcher
from reactivate.workload.operation import Operation

_IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One operation and the thread that it took deepest for its limit.

    Attributes:
        operation: its name.
        thread: "main" or "worker".
        samples: repetitions.
        deepest_bytes: from the top of the thread's stack mapping.
        below_idle_bytes: from where the thread slept: what the operation itself takes.
        limit_bytes: how deep that stack can become.
        bound: on which side the truth may lie.
        note: why, if it is not exact.
    """

    operation: str
    thread: str
    samples: int
    deepest_bytes: int
    below_idle_bytes: int
    limit_bytes: int
    bound: Bound
    note: str

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.deepest_bytes / self.limit_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """An operation without a number, and why."""

    operation: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """The stacks of one daemon.

    Attributes:
        command: its command line.
        pid: the process that served the mount.
        threads: how many it had when it was at rest.
        limit_bytes: by thread kind.
        idle_bytes: by thread kind.
        rows: deepest share of a limit first.
        unmeasured: operations that reached no thread.
    """

    command: tuple[str, ...]
    pid: int
    threads: int
    limit_bytes: dict[str, int]
    idle_bytes: dict[str, int]
    rows: tuple[OperationRow, ...]
    unmeasured: tuple[Unmeasured, ...]


async def measure_depths(
    launcher: Launcher,
    operations: Sequence[Operation],
    *,
    repeats: int,
    deadline_seconds: float,
    folder: Path,
    reporter: Reporter,
) -> Depths:
    """Paint, run and scan every operation on one mount.

    Args:
        launcher: the daemon.
        operations: what to do.
        repeats: of each.
        deadline_seconds: for all repetitions of one operation.
        folder: for the evidence.
        reporter: progress.
    """
    found = await Watermark().measure(
        Bench(
            subject=launcher,
            operations=operations,
            folder=folder,
            reporter=reporter,
            settings={
                "repeats": repeats,
                "deadline_seconds": deadline_seconds,
                # Before the deadline, so that a thread that never sleeps is named.
                "idle_seconds": min(_IDLE_SECONDS, deadline_seconds / 2),
            },
        )
    )
    evidence = read_json(folder / EVIDENCE)
    limits = _by_thread(found, "stack.limit")
    rows, unmeasured = _rows(found, limits)
    return Depths(
        command=tuple(evidence["command"]),
        pid=evidence["pid"],
        threads=len(evidence["threads"]),
        limit_bytes=limits,
        idle_bytes=_by_thread(found, "stack.idle"),
        rows=tuple(sorted(rows, key=lambda row: row.share, reverse=True)),
        unmeasured=tuple(unmeasured),
    )


def _by_thread(found: Sequence[Measurement], metric: str) -> dict[str, int]:
    return {m.thread: m.value for m in found if m.metric == metric and isinstance(m.value, int)}


def _rows(
    found: Sequence[Measurement], limits: dict[str, int]
) -> tuple[list[OperationRow], list[Unmeasured]]:
    own = {
        (m.operation, m.thread): m.value
        for m in found
        if m.metric == "stack.operation" and isinstance(m.value, int)
    }
    best: dict[str, OperationRow] = {}
    unmeasured = []
    for m in found:
        if m.metric != "stack.peak":
            continue
        if isinstance(m.value, NotMeasured):
            unmeasured.append(Unmeasured(operation=m.operation, reason=m.value.reason))
            continue
        row = OperationRow(
            operation=m.operation,
            thread=m.thread,
            samples=len(m.samples),
            deepest_bytes=int(m.value),
            below_idle_bytes=own[m.operation, m.thread],
            limit_bytes=limits[m.thread],
            bound=m.bound,
            note="" if m.bound is Bound.EXACT else m.note,
        )
        if m.operation not in best or row.share > best[m.operation].share:
            best[m.operation] = row
    return list(best.values()), unmeasured
