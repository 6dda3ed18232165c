"""What the watermark costs: operations per second, and what painting does to an operation.

The daemon is bindfs with several threads, each on an 8 MiB stack. Needs /dev/fuse and bindfs.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio

from benchmarks.goal import Goal
from reactivate.instrument.stackwatch import StackWatch
from reactivate.instrument.watermark import measure_operation
from reactivate.instrument.workout import ready_folder
from reactivate.procfs import mount_fusectl
from reactivate.target.model import Build, Daemon, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX
from reactivate.workspace import Workspace

_REPEATS = 150
_DEADLINE_SECONDS = 120.0


def launcher(root: Path) -> TargetLauncher:
    """Mounts bindfs with threads of its own."""
    program = shutil.which("bindfs")
    if program is None:
        raise SystemExit("bindfs is missing: apt-get install bindfs")
    spec = TargetSpec(
        name="bindfs",
        path=root / "bindfs.toml",
        title="bindfs",
        build=(),
        build_timeout_seconds=1.0,
        artifact=program,
        run=(program, "-f", "--multithreaded", "{backing}", "{mountpoint}"),
        environment={},
        mount_timeout_seconds=10.0,
        stop_timeout_seconds=10.0,
        configuration=None,
        components=(),
    )
    build = Build(
        components=(),
        artifact=Path(program),
        artifact_sha256=hashlib.sha256(Path(program).read_bytes()).hexdigest(),
        configuration_sha256="",
        seconds=0.0,
        log=root / "build.log",
        command=(),
    )
    return TargetLauncher(spec, build, Workspace(root=root))


def operations_per_second(daemon: Daemon) -> float:
    """All POSIX operations, painted, run and scanned."""
    with StackWatch(daemon.pid, connection=daemon.connection) as watch:
        watch.paint()  # the first paint of each stack makes its pages
        started = time.perf_counter()
        for operation in POSIX:
            measure_operation(watch, daemon.mountpoint, operation, _REPEATS)
        return len(POSIX) * _REPEATS / (time.perf_counter() - started)


def painted_over_unpainted(daemon: Daemon) -> float:
    """Time of all operations painted, over the same with the same pause but no paint.

    The arms take turns. Both wait as long before the operation: the unpainted one spends that
    time on painting a bystander of the same make, because a daemon and a caller that pause
    answer more slowly whatever is done meanwhile.
    """
    ratio_parts: dict[bool, float] = {True: 0.0, False: 0.0}
    root = Path(tempfile.mkdtemp())
    try:
        return _ratio(daemon, root, ratio_parts)
    finally:
        shutil.rmtree(root, ignore_errors=True)
