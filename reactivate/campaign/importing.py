"""Traces of other tools in the ledger: what they say, marked as theirs, and what they overlap."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from reactivate.documents import read_json, tables, text, whole
from reactivate.errors import MeasurementError, WorkspaceError
from reactivate.evidence import Check, Measurement
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.origin import origin_of
from reactivate.ledger.records import AttemptRecord, AttemptStatus
from reactivate.ledger.store import Ledger
from reactivate.run.environment import machine
from reactivate.run.kernel_trace import Function, KernelTrace, Overlap, Span, overlaps, read_trace
from reactivate.workspace import Workspace

PHASE = "imported"
"""Under which the attempts of imports are filed; no phase of a checklist runs them."""

INSTRUMENT = "kernel tracing manager"
_NOTE = "said by the kernel-tracing manager, not measured by reactivate"
_DOCUMENT = "imported.json"
_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes:
        trace: what the file says.
        overlaps: the attempts in whose time it falls.
        requests: how many requests the kernel sent in such an attempt, by opcode and attempt id.
        day: the day of its first line.
        folder: the evidence, relative to the workspace.
    """

    trace: KernelTrace
    overlaps: tuple[Overlap, ...]
    requests: Mapping[int, Mapping[str, int]]
    day: date
    folder: str


def import_trace(workspace: Workspace, path: Path, *, day: date | None, utc: bool) -> Imported:
    """Read a trace, put it on record, and say in whose time it falls.

    Args:
        workspace: gets the record and a copy of the file.
        path: the file.
        day: of its first line; None for the day on which the file was written last.
        utc: whether its times are UTC, not this machine's.

    Raises:
        UsageError: it is no such file.
        LedgerError, WorkspaceError: it cannot be recorded.
    """
    trace = read_trace(path)
    zone = UTC if utc else None
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    begun = day or (written if utc else written.astimezone()).date()
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        spans = [
            _span(attempt)
            for attempt in ledger.attempts(status=AttemptStatus.FINISHED)
            if attempt.phase != PHASE
            and attempt.ended_at is not None
            # Another machine's clock and daemon have nothing to do with this trace.
            and not origin_of(attempt.phase)
        ]
        found = overlaps(trace, begun, zone, spans)
        requests = {
            overlap.span.attempt: _requests(workspace, ledger.attempt(overlap.span.attempt))
            for overlap in found
        }
        attempt = ledger.begin_attempt(PHASE, "import-trace", {**machine()})
        folder = workspace.results / attempt.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / "trace.txt")
            text = json.dumps(_document(trace, found, requests, begun), indent=1) + "\n"
            (folder / _DOCUMENT).write_text(text, encoding="utf-8")
        except OSError as error:
            ledger.interrupt_open_attempts("its evidence could not be written")
            raise WorkspaceError(
                f"the trace cannot be kept in {folder}",
                why=error.strerror or str(error),
                hint="make room or give permission, then type the command again",
            ) from error
        ledger.finish(
            attempt, "imported",
            events=[],
            measurements=_measurements(trace),
            judgements=[],
            artifacts=record_artifacts(folder),
        )  # fmt: skip
    return Imported(
        trace=trace,
        overlaps=found,
        requests=requests,
        day=begun,
        folder=f"results/{attempt.folder}/",
    )


def _span(attempt: AttemptRecord) -> Span:
    assert attempt.ended_at is not None
    return Span(
        attempt=attempt.id,
        name=f"{attempt.phase} {attempt.step}, attempt {attempt.number}",
        begin=datetime.fromisoformat(attempt.started_at),
        end=datetime.fromisoformat(attempt.ended_at),
    )


def _requests(workspace: Workspace, attempt: AttemptRecord) -> Mapping[str, int]:
    """What the kernel sent during a trace check, as its evidence says; {} if it does not."""
    if not attempt.step.endswith(Check.TRACE.value):
        return {}
    path = workspace.results / attempt.folder / "lifecycle" / "lifecycle.json"
    try:
        opcodes = tables(read_json(path), "opcodes")
        return {text(each, "opcode"): whole(each, "sent") for each in opcodes}
    except (MeasurementError, ValueError):
        return {}


def _measurements(trace: KernelTrace) -> list[Measurement]:
    made: list[Measurement] = []
    for name, function in trace.functions.items():
        values: dict[str, int | None] = {
            "imported.calls": function.calls,
            "imported.completions": len(function.latencies_ns),
        }
        for suffix, share in _SHARES.items():
            values[f"imported.latency.{suffix}"] = function.latency_ns(share)
        made += [
            Measurement(
                metric=metric,
                value=value,
                instrument=INSTRUMENT,
                operation=name,
                evidence=_DOCUMENT,
                note=_NOTE,
            )
            for metric, value in values.items()
            if value is not None
        ]
    return made


def _document(
    trace: KernelTrace,
    found: tuple[Overlap, ...],
    requests: Mapping[int, Mapping[str, int]],
    day: date,
) -> dict[str, object]:
    return {
        "day": day.isoformat(),
        "lines": trace.lines,
        "unknown": trace.unknown,
        "examples": trace.examples,
        "left_out": trace.left_out,
        "functions": {name: function_json(f) for name, f in trace.functions.items()},
        "overlaps": [
            {
                "attempt": overlap.span.attempt,
                "name": overlap.span.name,
                "lines": dict(overlap.lines),
                "requests": dict(requests.get(overlap.span.attempt, {})),
            }
            for overlap in found
        ],
    }


def function_json(function: Function) -> dict[str, object]:
    """A function for evidence and `--json`; latencies in ns, null without any."""
    return {
        "calls": function.calls,
        "completions": len(function.latencies_ns),
        "results": function.results,
        "processes": sorted(function.pids),
        **{f"latency_{name}_ns": function.latency_ns(share) for name, share in _SHARES.items()},
    }
