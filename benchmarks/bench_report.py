"""Analyses, report and exports of a ledger with a million measurements: seconds and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.goal import Goal
from reactivate.evidence import Check, Measurement, Role
from reactivate.ledger import record_artifacts
from reactivate.ledger.store import Ledger
from reactivate.workspace import Workspace, create

_MEASUREMENTS = 1_000_000
_FEW = 100_000
_PHASES = ("baseline", "search_engine")
_COMPONENTS = tuple(f"component_{number}" for number in range(6))
_ATTEMPTS = 10
_METRICS = ("stack.peak", "stack.operation", "latency.p50", "latency.p99")


def fill(ledger_path: Path, measurements: int) -> None:
    """Attempts of two phases and all checks, most of whose values are of the same operations."""
    with Ledger.open(ledger_path, writer=True) as ledger:
        steps = [(phase, check) for phase in _PHASES for check in Check] * _ATTEMPTS
        for phase, check in steps:
            attempt = ledger.begin_attempt(phase, check.value, {"kernel": "benchmark"})
            found = [_one(index) for index in range(measurements // len(steps))]
            ledger.finish(attempt, "advanced", measurements=found)


def _one(index: int) -> Measurement:
    return Measurement(
        metric=_METRICS[index % len(_METRICS)],
        value=10_000 + index,
        instrument="watermark",
        role=Role.SUBJECT if index % 3 else Role.PREVIOUS,
        operation=f"operation_{index % 40}",
        thread="main",
        samples=(10_000 + index,),
        evidence="watermark/watermark.json",
    )


def _campaign(root: Path) -> Workspace:
    """A workspace with the evidence of a whole campaign: chains of 1,300 frames, sweeps."""
    workspace = create(root, "model")
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        for phase in ("baseline", *_COMPONENTS):
            for check in Check:
                attempt = ledger.begin_attempt(phase, check.value, {"kernel": "benchmark"})
                folder = workspace.results / attempt.folder
                _evidence(folder, check)
                ledger.finish(
                    attempt,
                    "advanced",
                    measurements=[_one(index) for index in range(160)],
                    artifacts=record_artifacts(folder),
                )
    return workspace


def _evidence(folder: Path, check: Check) -> None:
    frames = [
        {"size_bytes": 16 * (index % 40), "function": f"function_{index % 90}", "file": "a.c",
         "line": index, "module": "lib.so", "offset": index}
        for index in range(1_300)
    ]  # fmt: skip
    total = sum(16 * (index % 40) for index in range(1_300))
    steps = [
        {"parameter": "ef", "value": value, "stack_limit_bytes": 8 << 20, "ending": "survived",
         "depth_bytes": 100 * value, "label": f"ef {value}", "death": None}
        for value in range(50, 2_050, 50)
    ]  # fmt: skip
    for number in range(4):
        name = f"operation_{number}"
        if check is Check.TRACE:
            path, content = f"deepest/deepest-{name}.json", {
                "operation": name, "thread": "main", "total_bytes": total, "frames": frames,
            }  # fmt: skip
        else:
            path, content = f"scenarios/{name}.json", {
                "scenario": name, "components": [], "steps": steps, "passed": True,
                "complete": True, "expect": "survives",
            }  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content), encoding="utf-8")


_PROBE = """
import sys
from pathlib import Path
from reactivate.cli.main import run
try:
    run(sys.argv[1:])
finally:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)
"""
"""What wait4 tells of a child's memory includes that of its parent before exec."""


def _run(workspace: Workspace, *arguments: str) -> tuple[float, float]:
    """Seconds of a command, and the most memory it had resident in MiB."""
    command = [sys.executable, "-c", _PROBE, "-C", str(workspace.root), *arguments]
    started = time.perf_counter()
    ended = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
    )
    return time.perf_counter() - started, int(ended.stderr.split()[-1]) / 1024


def goals() -> list[Goal]:
    """The slowest analysis, and how much more memory ten times the rows take an export."""
    with tempfile.TemporaryDirectory() as folder:
        few = create(Path(folder) / "few", "model")
        many = create(Path(folder) / "many", "model")
        fill(few.ledger, _FEW)
        fill(many.ledger, _MEASUREMENTS)
        analyses = ("--baseline", "--component=search_engine", "--stack-overflow-analysis")
        found = {name: _run(many, "analyze", name) for name in analyses}
        whole = _campaign(Path(folder) / "whole")
        drawn, _ = _run(whole, "report")
        page_bytes = (whole.results / "report" / "index.html").stat().st_size
        of_many, memory_of_many = _run(many, "report")
        slowest = max(found, key=lambda name: found[name][0])
        lines = [
            Goal(name="report, a whole campaign", measured=drawn, limit=2.0, unit="s"),
            Goal(
                name="report, a whole campaign: size",
                measured=page_bytes / (1 << 20),
                limit=3.0,
                unit="MiB",
            ),
            Goal(name="report, a million measurements", measured=of_many, limit=5.0, unit="s"),
            Goal(
                name="report, a million measurements: memory",
                measured=memory_of_many,
                limit=300.0,
                unit="MiB",
            ),
            Goal(
                name="analyze, a million measurements",
                measured=found[slowest][0],
                limit=5.0,
                unit="s",
                detail=f"the slowest: {slowest}",
            ),
            Goal(
                name="analyze, a million measurements: memory",
                measured=max(memory for _, memory in found.values()),
                limit=300.0,
                unit="MiB",
            ),
        ]
        for form in ("json", "csv", "prometheus"):
            _, less = _run(few, "export", "--format", form)
            seconds, memory = _run(many, "export", "--format", form)
            lines.append(
                Goal(
                    name=f"export {form}, memory of 10 × the rows",
                    measured=memory / less,
                    limit=1.1,
                    unit="×",
                    detail=f"{memory:.0f} MiB against {less:.0f} MiB; {seconds:.1f} s",
                )
            )
        return lines
