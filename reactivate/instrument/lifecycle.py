"""Lifecycle: every FUSE request from the kernel's side: opcode, duration, error, and whether it
was answered at all; and, on a mount of its own, what memory the daemon asks for meanwhile.

The kernel's tracepoints (Linux 6.11) count and time the requests. Where they are missing, the
`waiting` counter of the FUSE control filesystem still tells whether all requests were answered.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import MissingToolError
from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.instrument import allocations
from reactivate.instrument.allocations import LARGE_BYTES, Allocations, AllocationTrace
from reactivate.instrument.bpftrace import Tracer, bpftrace_availability, tracing
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.opcodes import error_name, everyday
from reactivate.instrument.probe_files import trace_probe
from reactivate.instrument.requests import Requests, parse_requests
from reactivate.instrument.workout import Progress, perform
from reactivate.procfs import fusectl_mounted, mount_fusectl, waiting_requests
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive

SCRIPT = "fuse_requests.bt"
_EVIDENCE = "lifecycle.json"
_TRACE = "lifecycle-trace.jsonl"
_POLL_SECONDS = 0.005
_SETTLE_SECONDS = 5.0
_PROOF_SECONDS = 20.0
_SEEN_SECONDS = 0.1
_TRACEPOINTS = (("fuse", "fuse_request_send"), ("fuse", "fuse_request_end"))


class Lifecycle:
    """Counts the daemon's requests and the memory it asks for.

    Settings: `repeats`, `deadline_seconds`, `settle_seconds`, `large_bytes` (from which size on
    an allocation is a large one).
    """

    name: ClassVar[str] = "lifecycle"
    measures: ClassVar[tuple[str, ...]] = (
        "requests.total",
        "requests.unanswered",
        "requests.errors",
        allocations.MAPPED,
        allocations.LARGE,
    )
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = (
        "the kernel's fuse tracepoints (Linux 6.11) with bpftrace and root",
        "or at least the FUSE control filesystem",
    )
    cost: ClassVar[str] = (
        "about a microsecond for each request; in a second run, two for each allocation"
    )

    def availability(self) -> Availability:
        """Tracepoints, or at least the count of unanswered requests."""
        found = bpftrace_availability(*_TRACEPOINTS)
        if found.ready:
            return found
        if fusectl_mounted():
            return Availability(
                ready=True,
                detail=f"ready (unanswered requests only: {found.detail})",
                hint=found.hint,
            )
        return Availability(
            ready=False,
            detail=f"{found.detail}; and the FUSE control filesystem is not mounted",
            hint="sudo mount -t fusectl none /sys/fs/fuse/connections",
        )

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """One fresh mount, all operations `repeats` times, then wait until all is answered.

        A second fresh mount, all operations once, for the memory: probes in the C library slow
        requests down, and the first use of anything is when memory is asked for. Only if one of
        its metrics is asked for.
        """
        traced = bpftrace_availability(*_TRACEPOINTS)
        mount_fusectl()
        if not traced.ready and not fusectl_mounted():
            raise MissingToolError(
                "FUSE requests cannot be counted here",
                why=traced.detail,
                hint="sudo mount -t fusectl none /sys/fs/fuse/connections",
            )
        requests: Requests | None = None
        async with bench.subject.mounted() as daemon:
            if traced.ready:
                requests, waiting = await _traced(daemon, bench)
            else:
                waiting = await _driven(daemon, bench, _repeats(bench))
        memory = await _allocations(bench)
        evidence = bench.evidence_prefix + _EVIDENCE
        write_evidence(bench.folder / _EVIDENCE, requests, waiting, memory)
        return (
            *measurements(self.name, requests, waiting, evidence, traced.detail),
            *allocations.measurements(self.name, memory, evidence),
        )


def _repeats(bench: Bench) -> int:
    return int(bench.settings.get("repeats", 3)) * bench.times


async def _allocations(bench: Bench) -> Allocations:
    """What a fresh daemon asks for in one round of the workload."""
    large = int(bench.settings.get("large_bytes", LARGE_BYTES))
    if bench.metrics is not None and not {allocations.MAPPED, allocations.LARGE} & {*bench.metrics}:
        return allocations.not_asked_for("no criterion asks for it: it takes a second run", large)
    async with (
        bench.subject.mounted() as daemon,
        AllocationTrace(daemon.pid, bench.folder, large_bytes=large) as trace,
    ):
        await _driven(daemon, bench, bench.times)
        return await trace.stop()


async def _traced(daemon: Daemon, bench: Bench) -> tuple[Requests, int | None]:
    """The workload under the tracer: what it counted, and fusectl's counter afterwards."""
    output = bench.folder / _TRACE
    script = trace_probe(SCRIPT)
    async with tracing(script, [daemon.connection], output, form="json") as tracer:
        await tracer.wait_for(lambda: tracer.has_said("begin"))
        await _prove_attached(daemon, tracer)
        waiting = await _driven(daemon, bench, _repeats(bench))
        await tracer.stop()
        return parse_requests(tracer.lines()), waiting


async def _prove_attached(daemon: Daemon, tracer: Tracer) -> None:
    """Send STATFS requests until the tracer has seen the whole life of one."""
    ends = trio.current_time() + _PROOF_SECONDS
    while not tracer.has_said("counting"):
        if trio.current_time() > ends:
            raise MissingToolError(
                f"bpftrace saw none of the requests on connection {daemon.connection}",
                why="it runs in another namespace, or the device number is not the connection's",
                hint="run reactivate outside of the container",
            )
        await drive(
            daemon,
            os.statvfs,
            daemon.mountpoint,
            deadline_seconds=_PROOF_SECONDS,
            doing="statvfs, to see whether the tracer is attached",
        )
        with trio.move_on_after(_SEEN_SECONDS):
            while not tracer.has_said("counting"):
                await trio.sleep(_POLL_SECONDS)


async def _driven(daemon: Daemon, bench: Bench, repeats: int) -> int | None:
    """The workload, then patience until the kernel waits for no answer any more."""
    total = len(bench.operations)
    bench.reporter.advance(0, total, "driving")
    await drive(
        daemon,
        perform,
        daemon.mountpoint,
        bench.operations,
        repeats,
        Progress(),
        deadline_seconds=float(bench.settings.get("deadline_seconds", 120.0)),
        doing="the workload under the request tracer",
    )
    bench.reporter.advance(total, total, "waiting for answers")
    waiting = waiting_requests(daemon.connection)
    with trio.move_on_after(float(bench.settings.get("settle_seconds", _SETTLE_SECONDS))):
        while waiting:
            await trio.sleep(_POLL_SECONDS)
            waiting = waiting_requests(daemon.connection)
    return waiting


def measurements(
    instrument: str,
    requests: Requests | None,
    waiting: int | None,
    evidence: str,
    why_not: str = "",
) -> tuple[Measurement, ...]:
    """The three metrics, from the tracer where there was one and from fusectl's counter."""
    total: int | NotMeasured
    failed: int | NotMeasured
    unanswered: int | NotMeasured
    note = ""
    if requests is None:
        total = failed = NotMeasured(reason=f"the requests were not traced: {why_not}")
        unanswered = (
            NotMeasured(reason="the FUSE control filesystem does not show the connection")
            if waiting is None
            else waiting
        )
        note = "from the kernel's counter of waiting requests, without the tracer"
    else:
        total, failed = requests.total, requests.failed
        unanswered = max(requests.unanswered, waiting or 0)
        if requests.unseen_ends:
            unanswered = NotMeasured(
                reason=f"the tracer did not see the end of {requests.unseen_ends} requests"
            )
    notes = {
        "requests.total": "without FORGET, which the kernel sends on another way",
        "requests.unanswered": note,
        "requests.errors": "without failed lookups, absent attributes and ENOSYS to optional "
        "requests; those are in the evidence",
    }
    values = {
        "requests.total": total,
        "requests.unanswered": unanswered,
        "requests.errors": failed,
    }
    return tuple(
        Measurement(
            metric=metric,
            value=value,
            instrument=instrument,
            samples=() if isinstance(value, NotMeasured) else (value,),
            evidence=evidence,
            note=notes[metric],
        )
        for metric, value in values.items()
    )


def write_evidence(
    path: Path, requests: Requests | None, waiting: int | None, memory: Allocations
) -> None:
    """The table by opcode, and the memory."""
    rows = requests.rows if requests is not None else ()
    data = {
        "traced": requests is not None,
        "waiting_after_workload": waiting,
        "unseen_ends": requests.unseen_ends if requests is not None else None,
        "opcodes": [
            {
                "opcode": row.opcode,
                "sent": row.sent,
                "answered": row.answered,
                "waiting": row.waiting,
                "failed": row.failed,
                "errors": {error_name(error): n for error, n in row.errors.items()},
                "everyday_errors": [
                    error_name(error) for error in row.errors if everyday(row.opcode, error)
                ],
                "longest_ns": row.longest_ns,
                "latency_ns": [[b.low_ns, b.high_ns, b.count] for b in row.latency],
            }
            for row in rows
        ],
        "memory": allocations.as_json(memory),
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
