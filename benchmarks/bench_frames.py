"""How quickly frame sizes are read, against disassembling the same file with objdump."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.goal import Goal

_ROUNDS = 3
_LEAST_BYTES = 40_000_000
_LEAST_RATIO = 4.0
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/llvm-*/lib",
    "/usr/local/lib",
    "/opt/*/lib",
)


def _candidates() -> Iterator[Path]:
    """Large binaries: the one that is asked for, Rust's, LLVM's, and what else there is."""
    if asked := os.environ.get("BENCH_FRAMES_BINARY"):
        yield Path(asked)
    if rustc := shutil.which("rustc"):
        root = subprocess.run(
            [rustc, "--print", "sysroot"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if root:
            yield Path(root) / "bin" / "cargo"
            yield from sorted(Path(root, "lib").glob("librustc_driver-*.so"))
    for pattern in _FOLDERS:
        for folder in sorted(Path("/").glob(pattern.lstrip("/"))):
            yield from sorted(folder.glob("lib*.so*"))


def _large() -> Path | None:
    """The first candidate of at least 40 MB."""
    for path in _candidates():
        if path.is_file() and path.stat().st_size >= _LEAST_BYTES:
            return path.resolve()
    return None


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def goals() -> list[Goal]:
    """Interleaved runs of both programs, whole processes; medians of each."""
    name = "objdump -d / reactivate frames"
    binary, objdump = _large(), shutil.which("objdump")
    if binary is None or objdump is None:
        missing = "objdump" if objdump is None else "a binary of 40 MB (BENCH_FRAMES_BINARY)"
        return [
            Goal(
                name=name,
                measured=float("nan"),
                limit=_LEAST_RATIO,
                unit="×",
                detail=f"not measured: {missing} is not here",
                at_least=True,
            )
        ]
    ours = [sys.executable, "-m", "reactivate", "frames", str(binary)]
    theirs = [objdump, "-d", str(binary)]
    _seconds(ours)  # warms the page cache
    times: list[tuple[float, float]] = [(_seconds(ours), _seconds(theirs)) for _ in range(_ROUNDS)]
    mine = statistics.median(t[0] for t in times)
    other = statistics.median(t[1] for t in times)
    return [
        Goal(
            name=name,
            measured=other / mine,
            limit=_LEAST_RATIO,
            unit="×",
            detail=f"{mine:.2f} s against {other:.1f} s, {binary.name}, "
            f"{binary.stat().st_size / (1 << 20):.0f} MiB",
            at_least=True,
        )
    ]
