"""Time and memory of the whole story."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.goal import Goal

# The tool's own peak, not its children's: read from inside when it ends.
_WRAPPER = """
import atexit, pathlib, sys
def note():
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(l.split()[1] for l in status.splitlines() if l.startswith("VmHWM"))
    with open(sys.argv[1], "a") as file: file.write(peak + "\\n")
atexit.register(note)
from reactivate.cli.main import run
run(sys.argv[2:])
"""


def goals() -> list[Goal]:
    """Runs the tour's heaviest command alone for its memory, and the whole tour for its time."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tour"
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "reactivate", "tour", str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - started
        ledger_bytes = (root / "ledger.db").stat().st_size
        other = Path(folder) / "memory"
        peaks = Path(folder) / "peaks"
        for arguments, expected in (
            (["init", str(other), "--target", "model"], 0),
            (["-C", str(other), "next", "--until", "blocked", "--yes"], 3),
        ):
            done = subprocess.run(
                [sys.executable, "-c", _WRAPPER, str(peaks), *arguments],
                check=False,
                stdout=subprocess.DEVNULL,
            )
            if done.returncode != expected:
                raise RuntimeError(f"{arguments} ended with {done.returncode}, not {expected}")
        peak_kib = max(int(line) for line in peaks.read_text(encoding="ascii").split())
    return [
        Goal(name="whole tour", measured=seconds, limit=180, unit="s"),
        Goal(name="ledger of the whole tour", measured=ledger_bytes / 1024, limit=None, unit="KiB"),
        Goal(name="memory of the tool", measured=peak_kib / 1024, limit=150, unit="MiB"),
    ]
