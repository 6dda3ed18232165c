"""A daemon inside another program: its command, environment and process."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import trio

from reactivate.errors import MountError
from reactivate.evidence import Pid
from reactivate.procfs import process_state
from reactivate.target.config import load_target
from reactivate.target.model import Build, Wrapper
from reactivate.target.mount import TargetLauncher
from reactivate.workspace import Workspace

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def launcher(root: Path) -> TargetLauncher:
    program = shutil.which("bindfs")
    if program is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")
    build = Build(
        components=(), artifact=Path(program), artifact_sha256="", configuration_sha256="",
        seconds=0.0, log=root / "build.log", command=(),
    )  # fmt: skip
    return TargetLauncher(
        load_target(CONFIGS / "targets" / "bindfs.toml"), build, Workspace(root=root)
    )


def wrapper(*prefix: str, seconds: float = 60.0) -> Wrapper:
    return Wrapper(
        prefix=prefix,
        environment={"INSIDE": "yes"},
        mount_timeout_seconds=seconds,
        stop_timeout_seconds=60.0,
    )


@pytest.mark.fuse
def test_the_daemon_runs_in_the_wrappers_process(needs_fuse: None, tmp_path: Path) -> None:
    async def main() -> Pid:
        async with launcher(tmp_path).mounted(under=wrapper("/usr/bin/env", "ALSO=1")) as daemon:
            variables = Path(f"/proc/{daemon.pid}/environ").read_bytes().split(b"\0")
            assert {b"INSIDE=yes", b"ALSO=1"} <= set(variables)
            assert daemon.command[:3] == ("/usr/bin/env", "ALSO=1", "bindfs")
            assert Path(f"/proc/{daemon.pid}/exe").readlink().name == "bindfs"
            (daemon.mountpoint / "made").mkdir()
            return daemon.pid

    pid = trio.run(main)
    with pytest.raises(ProcessLookupError):
        process_state(pid)


@pytest.mark.fuse
def test_the_wrappers_patience_counts(needs_fuse: None, tmp_path: Path) -> None:
    async def main() -> None:
        hanging = wrapper(sys.executable, "-c", "import signal; signal.pause()", seconds=0.3)
        async with launcher(tmp_path).mounted(under=hanging):
            pytest.fail("nothing can be mounted")

    with pytest.raises(MountError, match=r"did not mount within 0\.3 s"):
        trio.run(main)


@pytest.mark.fuse
def test_a_wrapper_that_is_missing_is_named(needs_fuse: None, tmp_path: Path) -> None:
    async def main() -> None:
        async with launcher(tmp_path).mounted(under=wrapper("/no/such/wrapper")):
            pytest.fail("nothing can be mounted")

    with pytest.raises(MountError) as caught:
        trio.run(main)
    assert "/no/such/wrapper" in caught.value.why
