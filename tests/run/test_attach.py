"""A daemon that runs already: found by its number or its mount, and left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from guests import running_bindfs

from reactivate.errors import MeasurementError, MountError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.procfs import fuse_mount_at
from reactivate.run.attach import AttachedLauncher, attach, mount_at, server_of
from reactivate.run.served import family, fuse_connections, servers_of

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]


def test_process_and_mount_find_each_other(tmp_path: Path) -> None:
    with running_bindfs(tmp_path) as pid:
        mount = mount_at(tmp_path / "mnt")
        assert server_of(mount) == pid
        assert servers_of(mount.connection) == (pid,)
        assert mount.connection in (fuse_connections(pid) or ())
        assert pid in family(Pid(os.getpid()))
        for launcher in (attach(pid, None), attach(None, tmp_path / "mnt")):
            assert launcher.build.command[0].endswith("bindfs")
            assert launcher.build.artifact.name == "bindfs"


def test_nothing_stays_and_nothing_ends(tmp_path: Path) -> None:
    async def use(launcher: AttachedLauncher) -> None:
        async with launcher.mounted() as daemon:
            (daemon.mountpoint / "file").write_text("x")
            assert (tmp_path / "src" / daemon.mountpoint.name / "file").exists()
            daemon.kill()  # as instruments do when they give up: it is not ours to kill

    with running_bindfs(tmp_path) as pid:
        (tmp_path / "src" / "own").write_text("kept")
        before = fuse_mount_at(tmp_path / "mnt")
        for _ in range(2):
            trio.run(use, attach(pid, tmp_path / "mnt"))
        assert fuse_mount_at(tmp_path / "mnt") == before
        assert [path.name for path in (tmp_path / "mnt").iterdir()] == ["own"]


def test_only_a_new_process_can_have_a_limit(tmp_path: Path) -> None:
    async def use(launcher: AttachedLauncher) -> None:
        async with launcher.mounted(stack_limit_bytes=1 << 20):
            raise AssertionError("its limit cannot be changed")

    with running_bindfs(tmp_path) as pid, pytest.raises(MeasurementError, match="runs already"):
        trio.run(use, attach(pid, None))


def test_wrong_pairs_are_refused(tmp_path: Path) -> None:
    with running_bindfs(tmp_path):
        with pytest.raises(MountError, match="does not serve") as caught:
            attach(os.getpid(), tmp_path / "mnt")
        assert str(tmp_path / "mnt") in caught.value.hint
        with pytest.raises(UsageError, match="cannot be told") as told:
            attach(os.getpid(), None)
        assert "no FUSE device open" in told.value.why
    with pytest.raises(UsageError, match="is not a FUSE mount"):
        attach(None, tmp_path / "mnt")
    with pytest.raises(UsageError, match="there is no process"):
        attach(2**22 - 3, None)


@pytest.mark.root
def test_another_users_daemon_is_refused(tmp_path: Path, needs_root: None) -> None:
    with running_bindfs(tmp_path) as pid:
        os.seteuid(65534)
        try:
            with pytest.raises(PrivilegeError):
                attach(pid, tmp_path / "mnt")
        finally:
            os.seteuid(0)
