"""The cross-check of a trace: its own numbers, and the watermark's of the same phase's baseline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from reactivate.evidence import Measurement
from reactivate.gate import crosscheck
from reactivate.ledger.records import AttemptStatus
from reactivate.ledger.store import Ledger
from reactivate.run.checks import CheckRun, InstrumentRun
from reactivate.run.environment import machine
from reactivate.target.model import Build

EVIDENCE = "crosscheck.json"


def agreed(
    run: CheckRun, ledger: Ledger, phase: str, build: Build, folder: Path, *, baseline: str
) -> CheckRun:
    """The run of a trace check with `stack.disagreement` of each operation that was compared.

    Args:
        run: what the trace check measured.
        phase: its id.
        build: what was measured; an earlier check of another build is not compared.
        folder: the attempt's folder, for the evidence.
        baseline: the name of the baseline check's attempts.
    """
    recorded = _watermark(ledger, phase, build, baseline)
    compared = crosscheck.compare(run.measurements, recorded)
    text = json.dumps(crosscheck.as_json(compared), indent=1) + "\n"
    (folder / EVIDENCE).write_text(text, encoding="utf-8")
    found = crosscheck.measurements(compared, evidence=EVIDENCE)
    values = [c.gap_bytes for c in compared if not c.missing]
    summary = f"{len(values)} operations, at most {max(values, default=0):,} B apart"
    return replace(
        run,
        measurements=(*run.measurements, *found),
        instruments=(
            *run.instruments,
            InstrumentRun(instrument=crosscheck.INSTRUMENT, seconds=0.0, summary=summary),
        ),
    )


def _watermark(ledger: Ledger, phase: str, build: Build, step: str) -> tuple[Measurement, ...]:
    """Of the last baseline check of the same build on the same machine, if there is one."""
    source = ledger.latest_attempt(phase, step, status=AttemptStatus.FINISHED)
    if source is None:
        return ()
    then = ledger.environment(source.environment_sha256)
    now = {
        **machine(),
        "artifact_sha256": build.artifact_sha256,
        "configuration_sha256": build.configuration_sha256,
    }
    if any(then.get(key) != value for key, value in now.items()):
        return ()
    return tuple(ledger.measurements(source.id))
