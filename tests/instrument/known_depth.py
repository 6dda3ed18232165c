"""Programs of known stack depth: compiled once per test session, spoken to over pipes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.evidence import Pid

_SOURCES = Path(__file__).resolve().parents[2] / "probes" / "groundtruth"


@functools.cache
def _folder() -> Path:
    """Where the programs lie; removed when Python ends."""
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler or no make (Debian package build-essential)")
    folder = tempfile.mkdtemp(prefix="known-depth-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(["make", "-s", "-C", str(_SOURCES), f"OUT={folder}"], check=True, timeout=60)
    return Path(folder)


def program_path(name: str) -> Path:
    """The file of a program of probes/groundtruth."""
    return _folder() / name


class Program:
    """A running program that answers each line with one line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = Pid(process.pid)

    def ask(self, line: str) -> tuple[str, ...]:
        """Send a line, return the words of the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return tuple(self.process.stdout.readline().decode().split())


@contextlib.contextmanager
def running(name: str, *arguments: str) -> Iterator[Program]:
    """Start a program of probes/groundtruth and end it."""
    with subprocess.Popen(
        [_folder() / name, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
