"""Time of all overflow scenarios of the model, in full and reduced."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.goal import Goal


def goals() -> list[Goal]:
    """With the iterative walk, on which every scenario ends as it expects."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        _run(root, "init", str(root))
        _run(root, "-C", str(root), "target", "set", "search_engine.implementation", "iterative")
        return [
            _timed(root, "reduced set of all scenarios", 90, "--reduced"),
            _timed(root, "all scenarios in full", 600),
        ]


def _timed(root: Path, name: str, limit: float, *options: str) -> Goal:
    started = time.monotonic()
    said = _run(root, "-C", str(root), "overflow", "--all-scenarios", "--json", *options)
    seconds = time.monotonic() - started
    scenarios = json.loads(said)["scenarios"]
    steps = sum(len(scenario["steps"]) for scenario in scenarios)
    detail = f"{len(scenarios)} scenarios, {steps} steps, each as expected"
    return Goal(name=name, measured=seconds, limit=limit, unit="s", detail=detail)


def _run(root: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "reactivate", *arguments],
        check=True, capture_output=True, text=True, cwd=root.parent,
    ).stdout  # fmt: skip
