"""The programs of probes/groundtruth/memory: built once, run under valgrind's tools."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from reactivate.instrument.contract import Bench
from reactivate.target.mount import TargetLauncher
from reactivate.workspace import Workspace

SOURCES = Path(__file__).resolve().parents[2] / "probes" / "groundtruth" / "memory"


def needs(tool: str, package: str) -> None:
    """Skips without the program; fails where a skip would be a silent pass."""
    if shutil.which(tool) is None:
        missing = f"{tool} is not installed (Debian package {package})"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)


@functools.cache
def built() -> Path:
    """The folder with `leaks` and `libleaks.so`."""
    needs("cc", "gcc")
    needs("make", "make")
    folder = Path(tempfile.mkdtemp(prefix="memory-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={folder}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return folder


def under(tool: str, *arguments: str, program: tuple[str, ...]) -> None:
    """Run `leaks` with these words under a tool of valgrind."""
    needs("valgrind", "valgrind")
    subprocess.run(
        ["valgrind", "--command-line-only=yes", "-q", f"--tool={tool}", *arguments,
         str(built() / "leaks"), *program],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def faulty(bench: Bench, *, artifact: Path | None = None) -> Bench:
    """The bench's daemon with the library of known faults before libc, and as its artifact."""
    library = built() / "libleaks.so"
    whole = bench.subject
    assert isinstance(whole, TargetLauncher)
    spec = dataclasses.replace(whole._spec, environment={"LD_PRELOAD": str(library)})
    build = dataclasses.replace(whole.build, artifact=artifact or library)
    root = bench.folder.parent / "faulty"
    root.mkdir()
    return dataclasses.replace(bench, subject=TargetLauncher(spec, build, Workspace(root=root)))
