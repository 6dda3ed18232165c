from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from reactivate import procfs
from reactivate.errors import DaemonDiedError, MissingToolError, MountError, PrivilegeError
from reactivate.evidence import Pid
from reactivate.target import mount
from reactivate.target.mount import check_fuse, check_mountpoint
from reactivate.target.reap import reap
from reactivate.workspace import Workspace
from tests.target.daemons import (
    BINDFS,
    SILENT_MOUNT,
    STUBBORN,
    assert_nothing_left,
    launcher,
    needs_bindfs,
    python_daemon,
    run_late,
    said,
    until,
)
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
class TestWithBindfs:
    @pytest.fixture(autouse=True)
    def _bindfs(self) -> None:
        needs_bindfs()

    def test_it_answers_and_is_gone_afterwards(self, tmp_path: Path) -> None:
        async def main() -> int:
            async with launcher(tmp_path, BINDFS).mounted() as daemon:
                (daemon.mountpoint / "file").write_bytes(b"content")
                backing = Path(daemon.command[2])
                assert (backing / "file").read_bytes() == b"content"
                assert daemon.alive()
                assert daemon.returncode() is None
                assert daemon.faults() == ()
                seen = procfs.fuse_mount_at(daemon.mountpoint)
                assert seen is not None
                assert seen.connection == daemon.connection
                assert daemon.mountpoint.stat().st_dev == os.makedev(0, daemon.connection)
                assert os.getsid(daemon.pid) == daemon.pid
            assert not daemon.alive()
            assert daemon.returncode() == 0
            daemon.kill()  # harmless when it is over
            return daemon.pid

        pid = trio.run(main)
        assert not Path(f"/proc/{pid}").exists()
        assert_nothing_left(tmp_path)

    def test_every_mount_is_a_fresh_process(self, tmp_path: Path) -> None:
        async def main() -> None:
            twice = launcher(tmp_path, BINDFS)
            async with twice.mounted() as first, twice.mounted() as second:
                assert first.pid != second.pid
                assert first.connection != second.connection
                (first.mountpoint / "file").touch()
                assert not (second.mountpoint / "file").exists()

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_stack_limit_and_core_limit_are_set_before_exec(self, tmp_path: Path) -> None:
        async def main() -> None:
            limited = launcher(tmp_path, BINDFS)
            async with limited.mounted(stack_limit_bytes=256 * 1024) as daemon:
                lines = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
                limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
                assert limits["Max stack size"] == ["262144", "262144"]
                assert limits["Max core file size"] == ["0", "0"]

        trio.run(main)

    def test_environment_is_explicit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEAKED", "secret")
        monkeypatch.setenv("LANG", "de_DE.UTF-8")

        async def main() -> set[bytes]:
            with_table = launcher(tmp_path, BINDFS, environment={"OWN": "{build}"})
            async with with_table.mounted() as daemon:
                text = Path(f"/proc/{daemon.pid}/environ").read_bytes()
                return set(text.rstrip(b"\0").split(b"\0"))

        environment = trio.run(main)
        assert {variable.partition(b"=")[0] for variable in environment} == {
            b"PATH", b"HOME", b"LANG", b"PYTHONDONTWRITEBYTECODE", b"OWN",
            b"REACTIVATE_RUN",
        }  # fmt: skip
        assert b"LANG=C.UTF-8" in environment
        assert any(variable.endswith(b"/results/build/test/minimal") for variable in environment)

    def test_no_descriptor_and_no_ignored_signal_is_inherited(self, tmp_path: Path) -> None:
        async def main() -> None:
            with (tmp_path / "open").open("w") as file:
                os.set_inheritable(file.fileno(), False)
                async with launcher(tmp_path, BINDFS).mounted() as daemon:
                    kept = Path(f"/proc/{daemon.pid}/fd")
                    targets = {str(entry.readlink()) for entry in kept.iterdir()}
                    assert "/dev/null" in targets
                    assert str(daemon.log) in targets
                    assert not [t for t in targets if t.startswith("socket:")]
                    status = Path(f"/proc/{daemon.pid}/status").read_text()
                    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
                    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
                    assert not ignored >> (signal.SIGXFSZ - 1) & 1
                    assert blocked == 0

        trio.run(main)

    @pytest.mark.parametrize("traced", [False, True])
    def test_cleanup_after_an_exception(self, tmp_path: Path, traced: bool) -> None:
        async def main() -> int:
            pid = 0
            with pytest.raises(ZeroDivisionError):
                async with launcher(tmp_path, BINDFS).mounted(traced=traced) as daemon:
                    pid = daemon.pid
                    raise ZeroDivisionError
            return pid

        pid = trio.run(main)
        assert pid
        assert not Path(f"/proc/{pid}").exists()
        assert_nothing_left(tmp_path)

    def test_cleanup_after_cancellation(self, tmp_path: Path) -> None:
        async def main() -> None:
            with trio.CancelScope() as scope:
                async with launcher(tmp_path, BINDFS).mounted():
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_cleanup_while_a_file_is_open(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted() as daemon:
                file = (daemon.mountpoint / "file").open("wb", buffering=0)
            with pytest.raises(OSError, match=r"not connected|aborted"):
                file.write(b"x")
            file.close()

        trio.run(main)
        assert_nothing_left(tmp_path)

    @pytest.mark.parametrize("traced", [False, True])
    def test_a_death_is_seen_and_cleaned_up(self, tmp_path: Path, traced: bool) -> None:
        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted(traced=traced) as daemon:
                os.kill(daemon.pid, signal.SIGSEGV)
                await until(lambda: not daemon.alive())
                assert daemon.returncode() == -signal.SIGSEGV
                # Dead, but its number is still its own.
                assert procfs.process_state(daemon.pid) == "Z"
                with pytest.raises(OSError, match="not connected"):
                    daemon.mountpoint.stat()
                if traced:
                    (fault,) = daemon.faults()
                    assert fault.signal == signal.SIGSEGV
                    assert fault.address is None  # sent by a process, not by the processor
                    assert fault.code <= 0
                    assert "[stack]" in fault.maps
                    mappings = procfs.parse_maps(fault.maps)
                    assert fault.stack_pointer is not None
                    assert procfs.mapping_containing(mappings, fault.stack_pointer)

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_kill_lets_blocked_callers_return(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted() as daemon:
                os.kill(daemon.pid, signal.SIGSTOP)
                failures: list[OSError] = []

                def blocked() -> None:
                    try:
                        list(daemon.mountpoint.iterdir())
                    except OSError as error:
                        failures.append(error)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, blocked)
                    await until(lambda: (procfs.waiting_requests(daemon.connection) or 0) > 0)
                    daemon.kill()
                assert failures
                await until(lambda: not daemon.alive())
                assert daemon.returncode() == -signal.SIGKILL

        assert procfs.mount_fusectl()
        trio.run(main)
        assert_nothing_left(tmp_path)

    @pytest.mark.parametrize(
        "command",
        [
            ("bindfs", *BINDFS[2:]),
            # The process that was started lives on, but another one serves the mount.
            ("sh", "-c", 'bindfs -f "$1" "$2"; true', "sh", *BINDFS[2:]),
        ],
        ids=["daemonised", "wrapped"],
    )
    def test_one_that_is_served_by_another_process_is_refused(
        self, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        async def main() -> None:
            with pytest.raises(MountError, match="background"):
                async with launcher(tmp_path, command).mounted():
                    pytest.fail("must not be reached")

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_a_mount_point_of_the_users_stays(self, tmp_path: Path) -> None:
        own = tmp_path / "own mount"
        own.mkdir()

        async def main() -> None:
            async with launcher(tmp_path, BINDFS, mountpoint=own).mounted() as daemon:
                assert daemon.mountpoint == own
                with pytest.raises(MountError, match="already"):
                    check_mountpoint(own)
                with pytest.raises(MountError, match="already"):
                    async with launcher(tmp_path, BINDFS, mountpoint=own).mounted():
                        pytest.fail("must not be reached")
                assert daemon.alive()

        trio.run(main)
        assert list(own.iterdir()) == []
        assert_nothing_left(tmp_path)

    def test_a_killed_tool_takes_its_daemon_with_it(self, tmp_path: Path) -> None:
        code = (
            "import sys, trio; from pathlib import Path; "
            "from tests.target.daemons import BINDFS, launcher\n"
            "async def main():\n"
            "    async with launcher(Path(sys.argv[1]), BINDFS).mounted() as daemon:\n"
            "        print(daemon.pid, daemon.mountpoint, flush=True)\n"
            "        await trio.sleep_forever()\n"
            "trio.run(main)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        ) as tool:
            assert tool.stdout is not None
            pid, _, mountpoint = tool.stdout.readline().strip().partition(" ")
            assert procfs.fuse_mount_at(Path(mountpoint)) is not None
            assert reap(Workspace(tmp_path)) == ()  # its tool is alive
            assert procfs.fuse_mount_at(Path(mountpoint)) is not None
            with procfs.pidfd(Pid(int(pid))) as descriptor:
                tool.kill()
                tool.wait()
                trio.run(_wait_for_end, descriptor)
        assert procfs.fuse_mount_at(Path(mountpoint)) is not None  # dead, still in the way
        said = reap(Workspace(tmp_path))
        assert said == (f"unmounted {mountpoint}",)
        assert_nothing_left(tmp_path)
        assert reap(Workspace(tmp_path)) == ()


async def _wait_for_end(descriptor: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        await trio.lowlevel.wait_readable(descriptor)


def asked(root: Path) -> bool:
    """Whether somebody waits for an answer of a daemon: the kernel itself asks it one thing."""
    mounts = [m for m in procfs.fuse_mounts() if m.mountpoint.is_relative_to(root.resolve())]
    return any((procfs.waiting_requests(mount.connection) or 0) > 1 for mount in mounts)


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
class TestThatNeverMount:
    @pytest.mark.parametrize(
        ("command", "how"),
        [
            (("false",), "exited with status 1"),
            (("true",), "exited with status 0"),
            (("sh", "-c", "echo last words >&2; kill -SEGV $$"), "killed by SIGSEGV"),
        ],
    )
    def test_ends_at_once(self, tmp_path: Path, command: tuple[str, ...], how: str) -> None:
        async def main() -> None:
            async with launcher(tmp_path, command).mounted():
                pytest.fail("must not be reached")

        with pytest.raises(DaemonDiedError, match=how) as caught:
            trio.run(main)
        if command[0] == "sh":
            assert "last words" in caught.value.why
            (log,) = (tmp_path / "results" / "logs").iterdir()
            assert log.read_text() == "last words\n"
        assert_nothing_left(tmp_path)

    def test_hangs_before_mounting(self, tmp_path: Path) -> None:
        async def main() -> None:
            command = ("sh", "-c", "echo thinking; exec sleep 1000")
            async with launcher(tmp_path, command, mount_seconds=0.2).mounted():
                pytest.fail("must not be reached")

        with pytest.raises(MountError, match=r"did not mount within 0\.2 s") as caught:
            run_late(main, lambda: said(Workspace(tmp_path).run, "thinking"))
        assert "thinking" in caught.value.why
        assert_nothing_left(tmp_path)

    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_mounts_but_never_answers(self, tmp_path: Path) -> None:
        assert procfs.mount_fusectl()

        async def main() -> None:
            command = python_daemon(SILENT_MOUNT, "{mountpoint}")
            async with launcher(tmp_path, command, mount_seconds=1.0).mounted():
                pytest.fail("must not be reached")

        with pytest.raises(MountError, match="did not answer within 1 s") as caught:
            run_late(
                main,
                lambda: said(Workspace(tmp_path).run, "mounted and silent") and asked(tmp_path),
            )
        assert "mounted and silent" in caught.value.why
        assert_nothing_left(tmp_path)

    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_ignores_sigterm_and_its_unmount(self, tmp_path: Path) -> None:
        async def main() -> None:
            command = python_daemon(STUBBORN, "{mountpoint}")
            async with launcher(tmp_path, command, stop_seconds=0.4).mounted() as daemon:
                pass
            assert daemon.returncode() == -signal.SIGKILL

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_program_is_not_installed(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(tmp_path, ("no-such-daemon", "{mountpoint}")).mounted():
                pytest.fail("must not be reached")

        with pytest.raises(MountError, match="cannot be started") as caught:
            trio.run(main)
        assert "no-such-daemon" in caught.value.why
        assert_nothing_left(tmp_path)

    def test_what_it_started_is_gone_too(self, tmp_path: Path) -> None:
        child_file = tmp_path / "child"

        async def main() -> None:
            script = f"sleep 1000 & echo $! > {tmp_path}/part; mv {tmp_path}/part $0; wait"
            async with launcher(
                tmp_path, ("sh", "-c", script, str(child_file)), mount_seconds=0.5
            ).mounted():
                pytest.fail("must not be reached")

        with pytest.raises(MountError):
            run_late(main, child_file.exists)
        child = Pid(int(child_file.read_text()))
        trio.run(until, lambda: not procfs.process_runs(child))


class TestMountpoint:
    def test_an_empty_folder_is_fine(self, tmp_path: Path) -> None:
        assert check_mountpoint(tmp_path) == tmp_path.resolve()

    def test_symbolic_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        assert check_mountpoint(tmp_path / "link") == (tmp_path / "real").resolve()

    def test_not_empty(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(MountError, match="not empty"):
            check_mountpoint(tmp_path)

    def test_not_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(MountError, match="cannot be a mount point") as caught:
            check_mountpoint(tmp_path / "file")
        assert caught.value.why == "Not a directory"

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MountError) as caught:
            check_mountpoint(tmp_path / "none")
        assert caught.value.hint == f"mkdir -p {tmp_path}/none"

    def test_something_else_is_mounted_there(self) -> None:
        with pytest.raises(MountError, match="already"):
            check_mountpoint(Path("/proc"))


class TestFuseItself:
    def test_no_device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mount, "_FUSE_DEVICE", tmp_path / "fuse")
        with pytest.raises(MissingToolError) as caught:
            check_fuse()
        assert "modprobe fuse" in caught.value.hint

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        device = tmp_path / "fuse"
        device.touch()
        device.chmod(0)
        monkeypatch.setattr(mount, "_FUSE_DEVICE", device)
        if os.access(device, os.R_OK):
            monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may do anything
        with pytest.raises(PrivilegeError) as caught:
            check_fuse()
        assert "chmod" in caught.value.hint

    def test_no_fusermount(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        device = tmp_path / "fuse"
        device.touch()
        monkeypatch.setattr(mount, "_FUSE_DEVICE", device)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingToolError) as caught:
            check_fuse()
        assert "apt-get install fuse3" in caught.value.hint
