"""Builds the model and mounts it in a process of its own; always unmounts."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PROBES = ROOT / "probes"
MODEL = PROBES / "model"
CONFIG = ROOT / "configs" / "model.toml"

DEADLINE_SECONDS = 60.0


def make(
    out: Path, components: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the model's Makefile; the caller looks at the result."""
    command = ["make", "-C", str(MODEL), f"OUT={out}", f"COMPONENTS={' '.join(components)}"]
    command += [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


_folders: list[Path] = []


@functools.cache
def built(*components: str) -> Path:
    """The library with these components, built once per test session."""
    out = Path(tempfile.mkdtemp(prefix="model-build-"))
    _folders.append(out)
    result = make(out, components)
    assert result.returncode == 0, result.stderr
    return out / "libvexmodel.so"


@atexit.register
def remove_builds() -> None:
    """Remove what `built` made, at the latest when Python ends."""
    while _folders:
        shutil.rmtree(_folders.pop())
    built.cache_clear()


def is_mounted(mountpoint: Path) -> bool:
    """Whether the kernel's list of mounts has the folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(mountpoint) for line in lines)


class Mounted:
    """A mounted model.

    Attributes:
        path: the mount point.
        backing: the folder of the journal.
        process: the daemon.
    """

    def __init__(
        self,
        folder: Path,
        components: Sequence[str] = (),
        *,
        library: Path | None = None,
        config: Path = CONFIG,
    ) -> None:
        self.path = folder / "mount"
        self.backing = folder / "backing"
        self.path.mkdir(exist_ok=True)
        self.backing.mkdir(exist_ok=True)
        self.log = folder / "log"
        command = [sys.executable, "-m", "model", str(self.path)]
        command += ["--library", str(library or built(*components)), "--config", str(config)]
        command += ["--backing", str(self.backing)]
        for name in components:
            command += ["--component", name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(PROBES)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> None:
        until(lambda: is_mounted(self.path) or self.process.poll() is not None, "it is mounted")
        assert self.process.poll() is None, self.log.read_text()
        os.statvfs(self.path)

    def stats(self) -> dict[str, str]:
        """What `_vexfs/stats` says."""
        lines = (self.path / "_vexfs" / "stats").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines)

    def stop(self) -> int:
        """Unmount in order; the daemon's exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the daemon with SIGKILL and take the dead mount away."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(DEADLINE_SECONDS)
        if is_mounted(self.path):
            subprocess.run(["fusermount3", "-uz", str(self.path)], check=True, timeout=20)


@contextmanager
def mounted(
    folder: Path, *components: str, config: Path = CONFIG, library: Path | None = None
) -> Iterator[Mounted]:
    """Mount below a folder; gone at the end, whatever happens."""
    mount = Mounted(folder, components, config=config, library=library)
    try:
        yield mount
    finally:
        if mount.process.poll() is None:
            mount.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                mount.process.wait(DEADLINE_SECONDS)
        mount.kill()
