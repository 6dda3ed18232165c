"""How quickly the command answers, against the bare import of its command-line library."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.goal import Goal
from reactivate.evidence import Measurement
from reactivate.ledger.store import Ledger
from reactivate.workspace import create

_ROUNDS = 15
_MEASUREMENTS = 100_000


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def fill(ledger_path: Path) -> None:
    """A ledger with 100,000 measurements of the baseline phase, in 100 attempts."""
    per_attempt = _MEASUREMENTS // 100
    with Ledger.open(ledger_path, writer=True) as ledger:
        for _ in range(100):
            attempt = ledger.begin_attempt("baseline", "baseline", {"kernel": "benchmark"})
            ledger.finish(
                attempt,
                "inconclusive",
                measurements=[
                    Measurement(
                        metric="stack.peak",
                        value=10_000 + index,
                        instrument="watermark",
                        operation=f"operation_{index % 20}",
                        thread="main",
                        samples=(10_000 + index,),
                    )
                    for index in range(per_attempt)
                ],
            )


def goals() -> list[Goal]:
    """Interleaved runs of `import typer`, `--help` and `status`; medians of each."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = create(Path(folder) / "campaign", "model")
        fill(workspace.ledger)
        commands = {
            "import typer": [sys.executable, "-c", "import typer"],
            "--help": [sys.executable, "-m", "reactivate", "--help"],
            "status": [sys.executable, "-m", "reactivate", "-C", str(workspace.root), "status"],
        }
        # Installed packages have their bytecode; so must ours, wherever this runs.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for round_ in range(_ROUNDS + 1):
            for name, command in commands.items():
                seconds = _seconds(command, environment)
                if round_:  # the first round warms the page cache
                    times[name].append(seconds)
    unit = statistics.median(times.pop("import typer"))
    return [
        Goal(
            name=f"reactivate {name} / import typer",
            measured=statistics.median(found) / unit,
            limit=2.5,
            unit="×",
            detail=f"{statistics.median(found) * 1000:.0f} ms against {unit * 1000:.0f} ms",
        )
        for name, found in times.items()
    ]
