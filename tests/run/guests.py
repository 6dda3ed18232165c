"""Real FUSE daemons from Debian, as a user starts them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactivate.evidence import Pid
from reactivate.procfs import fuse_mount_at
from tests.waiting import until


def program(name: str, package: str) -> str:
    """Path of a program; skips where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def bindfs(folder: Path, *options: str) -> list[str]:
    """A command line with folders of its own: FOLDER/src on FOLDER/mnt."""
    for name in ("src", "mnt"):
        (folder / name).mkdir(exist_ok=True)
    return [program("bindfs", "bindfs"), *options, str(folder / "src"), str(folder / "mnt")]


@contextmanager
def running_bindfs(folder: Path, *options: str) -> Iterator[Pid]:
    """bindfs as it runs on its own; the mount is FOLDER/mnt."""
    with subprocess.Popen(bindfs(folder, "-f", *options)) as process:
        try:
            until(lambda: fuse_mount_at(folder / "mnt") is not None)
            yield Pid(process.pid)
            assert process.poll() is None, "the daemon did not survive"
        finally:
            subprocess.run(["fusermount3", "-uz", str(folder / "mnt")], check=False)
            process.kill()


def left_by(folder: Path) -> list[str]:
    """What a measurement has left in the source folder, and processes that serve FOLDER/mnt."""
    found = [path.name for path in (folder / "src").iterdir()]
    if fuse_mount_at(folder / "mnt") is not None:
        found.append("the mount")
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                text = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder / "mnt").encode() in text:
                found.append(text.decode())
    return found
