"""A real FUSE daemon from Debian as a target: bindfs over an empty folder."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from reactivate.evidence import Role
from reactivate.instrument.contract import Bench
from reactivate.target.model import Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.operation import Operation
from reactivate.workspace import Workspace


class Quiet:
    """A reporter that only remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int, str]] = []
        self.alerts: list[str] = []

    def advance(self, done: int, total: int, doing: str) -> None:
        self.said.append((done, total, doing))

    def alert(self, text: str) -> None:
        self.alerts.append(text)


def launcher(folder: Path, *options: str) -> TargetLauncher:
    """Mounts bindfs with these options; skips where it is not installed."""
    program = shutil.which("bindfs")
    if program is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")
    folder.mkdir(parents=True, exist_ok=True)
    spec = TargetSpec(
        name="bindfs",
        path=folder / "bindfs.toml",
        title="bindfs",
        build=(),
        build_timeout_seconds=60.0,
        artifact=program,
        run=(program, "-f", *options, "{backing}", "{mountpoint}"),
        environment={},
        mount_timeout_seconds=60.0,
        stop_timeout_seconds=60.0,
        configuration=None,
        components=(),
    )
    build = Build(
        components=(),
        artifact=Path(program),
        artifact_sha256=hashlib.sha256(Path(program).read_bytes()).hexdigest(),
        configuration_sha256="",
        seconds=0.0,
        log=folder / "build.log",
        command=(),
    )
    return TargetLauncher(spec, build, Workspace(root=folder))


def bench(
    folder: Path,
    operations: tuple[Operation, ...],
    *options: str,
    references: dict[Role, TargetLauncher] | None = None,
    **settings: float | int | str,
) -> Bench:
    """A bench with one bindfs, its evidence in `folder`/evidence."""
    evidence = folder / "evidence"
    evidence.mkdir(parents=True, exist_ok=True)
    return Bench(
        subject=launcher(folder / "subject", *options),
        references=references or {},
        operations=operations,
        folder=evidence,
        reporter=Quiet(),
        evidence_prefix="it/",
        settings=settings,
    )
