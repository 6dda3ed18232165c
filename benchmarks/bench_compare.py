"""Comparing two ledgers with a million measurements each: seconds, and memory at its peak."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.bench_report import _MEASUREMENTS, _run, fill
from benchmarks.goal import Goal
from reactivate.workspace import Workspace


def goals() -> list[Goal]:
    """Two long campaigns, and the same with all that was measured in one attempt of each."""
    with tempfile.TemporaryDirectory() as folder:
        sides = [Path(folder) / name for name in ("a", "b")]
        for side in sides:
            side.mkdir()
            fill(side / "ledger.db", _MEASUREMENTS)
        # `-C` names a folder that no command here looks into.
        seconds, memory = _run(
            Workspace(Path(folder)), "compare", *(str(side) for side in sides), "--json"
        )
    return [
        Goal(name="compare, a million measurements each", measured=seconds, limit=3.0, unit="s"),
        Goal(
            name="compare, a million measurements each: memory",
            measured=memory,
            limit=300.0,
            unit="MiB",
        ),
    ]
