"""The programs of probes/groundtruth/trace: built once, driven line by line."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactivate.evidence import Pid

SOURCES = Path(__file__).resolve().parent.parent.parent / "probes" / "groundtruth" / "trace"


@functools.cache
def programs() -> Path:
    """The folder with the built programs; skips without a compiler."""
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler, or no make")
    folder = Path(tempfile.mkdtemp(prefix="trace-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={folder}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return folder


@functools.cache
def obedient() -> Path:
    """The daemon that does as it is told; alone, since building all that is known takes long."""
    program = programs() / "obedient"
    subprocess.run(
        ["make", "-s", "-C", str(SOURCES.parent / "fuse"), f"OUT={program.parent}", str(program)],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return program


class Depths:
    """A running `depths`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = Pid(process.pid)

    def do(self, command: str) -> str:
        """One command; returns when it is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def lives(self) -> bool:
        """Whether it still answers."""
        return self.do("address").startswith("0x") and self._process.poll() is None


@contextmanager
def depths(*arguments: str) -> Iterator[Depths]:
    """`depths`, ready and with its symbols bound."""
    with subprocess.Popen(
        [programs() / "depths", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            running = Depths(process)
            assert running.lives()
            yield running
        finally:
            process.kill()
