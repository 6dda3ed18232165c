"""Daemons of which nothing is known but their command line: found, measured, gone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import guest_verbs
import pytest
import trio
from guests import bindfs, left_by, program

from reactivate.errors import MeasurementError, MountError, UsageError
from reactivate.procfs import fuse_mount_at, process_runs
from reactivate.run.foreign import ForeignLauncher
from reactivate.run.guest import Guest
from reactivate.target.death import DaemonDeathError
from tests.waiting import until

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]


def mounted(command: list[str], mountpoint: Path | None = None) -> tuple[int, Path, Path]:
    """Mount and leave: the server's pid, the mount, and the folder for operations."""
    found: list[tuple[int, Path, Path]] = []

    async def run() -> None:
        launcher = ForeignLauncher(command, mountpoint=mountpoint)
        async with launcher.mounted() as daemon:
            assert isinstance(daemon, Guest)
            assert daemon.alive()
            assert process_runs(daemon.pid)
            assert daemon.mountpoint.is_dir()
            mount = fuse_mount_at(daemon.root)
            assert mount is not None
            assert mount.connection == daemon.connection
            found.append((daemon.pid, daemon.root, daemon.mountpoint))

    trio.run(run)
    return found[0]


@pytest.mark.parametrize("options", [["-f"], [], ["-f", "--multithreaded"], ["-d"]])
def test_mount_and_server_are_found_also_in_the_background(
    tmp_path: Path, options: list[str]
) -> None:
    pid, root, folder = mounted(bindfs(tmp_path, *options))
    assert root == tmp_path / "mnt"
    assert folder.parent == root
    assert not process_runs(pid)
    assert left_by(tmp_path) == []


def test_a_shell_that_starts_the_daemon_is_no_hindrance(tmp_path: Path) -> None:
    command = " ".join(bindfs(tmp_path, "-f"))
    mounted(["sh", "-c", f"{command}; true"])
    assert left_by(tmp_path) == []


def test_unionfs_is_a_daemon_like_another(tmp_path: Path) -> None:
    bindfs(tmp_path)
    mounted([program("unionfs", "unionfs-fuse"), "-f", f"{tmp_path}/src=RW", f"{tmp_path}/mnt"])
    assert left_by(tmp_path) == []


def test_a_named_mount_point_is_waited_for_and_no_other(tmp_path: Path) -> None:
    _, root, _ = mounted(bindfs(tmp_path, "-f"), tmp_path / "mnt")
    assert root == tmp_path / "mnt"

    async def elsewhere() -> None:
        launcher = ForeignLauncher(
            bindfs(tmp_path, "-f"), mountpoint=tmp_path / "other", mount_timeout_seconds=0.5
        )
        async with launcher.mounted():
            raise AssertionError("it is not mounted there")

    with pytest.raises(MountError, match="did not mount within"):
        trio.run(elsewhere)
    assert left_by(tmp_path) == []


def test_what_cannot_mount_says_why(tmp_path: Path) -> None:
    with pytest.raises(DaemonDeathError, match="exited with status") as caught:
        mounted([program("bindfs", "bindfs"), "-f", f"{tmp_path}/absent", f"{tmp_path}/absent"])
    assert "absent" in caught.value.why
    with pytest.raises(MountError, match="ended without a mount") as ended:
        mounted(["true"])
    assert "-f" in ended.value.hint
    with pytest.raises(UsageError, match="no program"):
        ForeignLauncher(["no-such-daemon"])


def test_a_filesystem_that_takes_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"making a folder.*failed with EROFS"):
        mounted(bindfs(tmp_path, "-f", "-r"))
    assert left_by(tmp_path) == []


def test_an_error_in_between_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with ForeignLauncher(bindfs(tmp_path, "-f")).mounted() as daemon:
            (daemon.mountpoint / "file").write_text("x")
            raise KeyError("in between")

    with pytest.raises(KeyError, match="in between"):
        trio.run(run)
    assert left_by(tmp_path) == []


def test_a_daemon_that_dies_is_reported_with_what_it_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with ForeignLauncher(bindfs(tmp_path, "-f")).mounted() as daemon:
            os.kill(daemon.pid, signal.SIGSEGV)
            until(lambda: not daemon.alive())
            assert daemon.returncode() == -signal.SIGSEGV
            raise MeasurementError("as instruments do")

    with pytest.raises(MeasurementError) as caught:
        trio.run(run)
    assert "is left in the filesystem: its daemon ended first" in caught.value.why
    assert not os.path.ismount(tmp_path / "mnt")


@pytest.mark.parametrize("options", [["-f"], []])
def test_a_killed_tool_leaves_neither_daemon_nor_mount(tmp_path: Path, options: list[str]) -> None:
    command = guest_verbs.command(
        "measure", "--repeats", "100000", "--", *bindfs(tmp_path, *options)
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = guest_verbs.environment() | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as tool:
        until(lambda: any((tmp_path / "src").glob("reactivate-*/on-*")))
        tool.kill()
    until(lambda: fuse_mount_at(tmp_path / "mnt") is None)
    until(lambda: not [text for text in left_by(tmp_path) if "bindfs" in text])
    until(lambda: not list(temporary.glob("*/daemon.log")))
