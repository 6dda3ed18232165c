from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from reactivate import procfs
from reactivate.errors import DaemonDiedError, UsageError
from reactivate.evidence import NotMeasured, Pid, Tid
from reactivate.target.box import UNBOXED
from reactivate.target.box_cgroup import find_places
from reactivate.target.box_members import marked
from reactivate.target.model import Box, BoxedDaemon, Holder
from reactivate.target.reap import reap
from reactivate.workspace import Workspace
from tests.target.daemons import (
    BINDFS,
    STUBBORN,
    assert_nothing_left,
    launcher,
    needs_bindfs,
    python_daemon,
    until,
)
from tests.waiting import PATIENCE_SECONDS

MIB = 1 << 20
ROOT = Path(__file__).parents[2]

# On a lookup it takes 256 MiB of memory.
GREEDY = STUBBORN.replace(
    "    if opcode == 26:",
    '    hoard = b"x" * (256 << 20) if opcode == 1 else b""\n    if opcode == 26:',
)

# Forks without end, each child in a session of its own and nobody's child.
BOMB = """
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"""

# One process at a time, each the child of one that has ended: nobody's for long.
RUNNER = """
import os, signal
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.sigtimedwait([], 0.05)
"""

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]


@pytest.fixture(autouse=True)
def _bindfs() -> None:
    needs_bindfs()


def beside(program: str) -> tuple[str, ...]:
    """The mirror, with a Python program that it has started in the background."""
    script = '"$1" -S -c "$2" & shift 2; exec "$@"'
    return ("sh", "-c", script, "sh", sys.executable, program, *BINDFS)


def needs_groups() -> None:
    """Skip where no control group can be made."""
    places = find_places("test")
    if places.memory is None or places.processes is None:
        pytest.skip(places.why_no_memory or places.why_no_processes)


def groups_left() -> list[Path]:
    """Control groups of mounts made by this process."""
    places = find_places("test")
    return [p for f in places.folders for p in f.parent.glob(f"reactivate-{os.getpid()}-*")]


def limit_of(pid: int, name: str) -> tuple[str, str]:
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            soft, hard = line.removeprefix(name).split()[:2]
            return soft, hard
    raise AssertionError(name)


def run_folder(daemon: BoxedDaemon) -> Path:
    return daemon.log.parent


def tree_digest(tree: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        state = path.lstat()
        digest.update(f"{path} {state.st_mode} {state.st_size} {state.st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


class TestLimits:
    def test_each_reaches_the_daemon_and_no_more_than_is_inherited(self, tmp_path: Path) -> None:
        box = Box(
            stack_bytes=MIB,
            file_size_bytes=65536,
            open_files=64,
            cpu_seconds=30,
        )

        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted(box=box) as daemon:
                pid = daemon.pid
                assert limit_of(pid, "Max stack size") == (str(MIB), str(MIB))
                assert limit_of(pid, "Max file size") == ("65536", "65536")
                assert limit_of(pid, "Max open files") == ("64", "64")
                assert limit_of(pid, "Max cpu time") == ("30", "31")
                assert not daemon.box_report().memory_limited
                with pytest.raises(OSError, match="not connected"):
                    (daemon.mountpoint / "large").write_bytes(bytes(2 * 65536))
                await until(lambda: not daemon.alive())
                assert daemon.returncode() == -signal.SIGXFSZ
            async with launcher(tmp_path, BINDFS).mounted(
                box=box, stack_limit_bytes=2 * MIB
            ) as daemon:
                assert limit_of(daemon.pid, "Max stack size")[0] == str(2 * MIB)

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_without_a_box_nothing_is_said_to_hold(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted() as daemon:
                assert daemon.box_report() == UNBOXED
                assert limit_of(daemon.pid, "Max file size") == limit_of(
                    os.getpid(), "Max file size"
                )

        trio.run(main)

    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_memory_kills_the_daemon_that_wants_too_much(self, tmp_path: Path) -> None:
        needs_groups()

        async def main() -> BoxedDaemon:
            command = python_daemon(GREEDY, "{mountpoint}")
            box = Box(memory_bytes=64 * MIB)
            async with launcher(tmp_path, command, stop_seconds=0.2).mounted(box=box) as daemon:
                with pytest.raises(OSError, match=r"not connected|connection abort"):
                    await trio.to_thread.run_sync(os.stat, daemon.mountpoint / "x")
                await until(lambda: not daemon.alive())
                return daemon

        died = trio.run(main)
        assert died.returncode() == -signal.SIGKILL
        report = died.box_report()
        assert report.memory_limited
        assert report.how in (Holder.CGROUP_V1, Holder.CGROUP_V2)
        assert report.why == ""
        assert report.oom_kills == 1
        assert isinstance(report.peak_bytes, int)
        assert 32 * MIB < report.peak_bytes <= 64 * MIB
        assert_nothing_left(tmp_path)
        assert groups_left() == []

    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_enough_memory_kills_nobody(self, tmp_path: Path) -> None:
        needs_groups()

        async def main() -> None:
            command = python_daemon(GREEDY, "{mountpoint}")
            box = Box(memory_bytes=512 * MIB)
            async with launcher(tmp_path, command, stop_seconds=0.2).mounted(box=box) as daemon:
                with pytest.raises(OSError, match="not implemented"):
                    await trio.to_thread.run_sync(os.stat, daemon.mountpoint / "x")
                assert daemon.alive()
            report = daemon.box_report()
            assert report.oom_kills == 0
            assert isinstance(report.peak_bytes, int)
            assert report.peak_bytes > 256 * MIB

        trio.run(main)

    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_without_control_groups_the_next_best_holds_and_says_so(self, tmp_path: Path) -> None:
        if shutil.which("unshare") is None:
            pytest.skip("unshare is not installed (Debian package util-linux)")
        code = (
            "import sys, trio; from pathlib import Path\n"
            "from reactivate.target.model import Box\n"
            "from tests.target.daemons import BINDFS, launcher\n"
            "async def main():\n"
            "    box = Box(memory_bytes=100 << 20, processes=9)\n"
            "    async with launcher(Path(sys.argv[1]), BINDFS).mounted(box=box) as daemon:\n"
            "        print(Path(f'/proc/{daemon.pid}/limits').read_text())\n"
            "        print(repr(daemon.box_report()))\n"
            "trio.run(main)"
        )
        hidden = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
        result = subprocess.run(
            ["unshare", "-m", "sh", "-c", hidden, "sh", sys.executable, "-c", code, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        *limits, report = result.stdout.strip().splitlines()
        (line,) = (line for line in limits if line.startswith("Max data size"))
        assert line.split()[3:5] == [str(100 * MIB)] * 2
        assert "memory_limited=True, processes_limited=False" in report
        assert "Holder.RLIMIT" in report
        assert "the number of processes is not limited" in report
        assert "oom_kills=NotMeasured" in report
        assert_nothing_left(tmp_path)


class TestWhatADaemonStarts:
    @pytest.mark.root
    @pytest.mark.usefixtures("needs_root")
    def test_a_fork_bomb_is_held_and_ended(self, tmp_path: Path) -> None:
        needs_groups()
        place = find_places("x").processes
        assert place is not None

        async def main() -> None:
            box = Box(processes=30)
            async with launcher(tmp_path, beside(BOMB)).mounted(box=box) as daemon:
                folder = run_folder(daemon)
                group = place.parent / f"reactivate-{folder.name}"
                await until(lambda: "\nmax 0" not in "\n" + (group / "pids.events").read_text())
                assert int((group / "pids.current").read_text()) <= 30
                assert len(marked(folder)) > 10
                assert daemon.alive()
                assert daemon.box_report().processes_limited
            assert marked(folder) == frozenset()

        trio.run(main)
        assert_nothing_left(tmp_path)
        assert groups_left() == []

    @pytest.mark.parametrize("boxed", [False, True])
    def test_one_that_leaves_its_session_is_found(self, tmp_path: Path, boxed: bool) -> None:
        async def main() -> None:
            box = Box() if boxed else None
            async with launcher(tmp_path, beside(RUNNER)).mounted(box=box) as daemon:
                folder = run_folder(daemon)
                others = marked(folder) - {daemon.pid}
                await until(lambda: marked(folder) - {daemon.pid} - others)
            assert marked(folder) == frozenset()

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_a_stopped_daemon_ends_at_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(
                tmp_path, BINDFS, stop_seconds=PATIENCE_SECONDS
            ).mounted() as daemon:
                os.kill(daemon.pid, signal.SIGSTOP)
                await until(lambda: procfs.process_state(daemon.pid) == "T")
                begun = trio.current_time()
            # It was not waited for.
            assert trio.current_time() - begun < PATIENCE_SECONDS
            assert daemon.returncode() == -signal.SIGKILL

        trio.run(main)
        assert_nothing_left(tmp_path)


class TestPaths:
    def test_data_of_the_users_outlives_mounts_and_nothing_else_is_touched(
        self, tmp_path: Path
    ) -> None:
        data, outside = tmp_path / "data", tmp_path / "outside"
        data.mkdir()
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "file").write_text("precious")
        (data / "link").symlink_to(outside)
        before = tree_digest(outside)

        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted(backing=data, box=Box()) as daemon:
                (daemon.mountpoint / "kept").write_text("one")
                daemon.kill()
            async with launcher(tmp_path, BINDFS).mounted(backing=data) as daemon:
                assert (daemon.mountpoint / "kept").read_text() == "one"
            # A fresh data folder with a way out of it is removed, and the way is not taken.
            async with launcher(tmp_path, BINDFS).mounted() as daemon:
                (run_folder(daemon) / "backing" / "link").symlink_to(outside)

        trio.run(main)
        assert sorted(path.name for path in data.iterdir()) == ["kept", "link"]
        assert tree_digest(outside) == before
        assert_nothing_left(tmp_path)

    def test_another_configuration_for_one_mount(self, tmp_path: Path) -> None:
        own = tmp_path / "own.toml"
        own.touch()
        command = ("sh", "-c", 'echo "using $1"; exec "$2" "$3" "$4" "$5"', "sh",
                   "{configuration}", *BINDFS)  # fmt: skip

        async def main() -> str:
            async with launcher(tmp_path, command).mounted(configuration=own) as daemon:
                return daemon.log.read_text()

        assert trio.run(main) == f"using {own}\n"

    def test_paths_that_cannot_be_used(self, tmp_path: Path) -> None:
        absent = tmp_path / "absent"

        async def main(**paths: Path | bool) -> None:
            with pytest.raises(UsageError):
                async with launcher(tmp_path, BINDFS).mounted(**paths):  # type: ignore[arg-type]
                    pytest.fail("must not be reached")

        trio.run(lambda: main(backing=absent))
        trio.run(lambda: main(configuration=absent))
        trio.run(lambda: main(autopsy=absent, traced=True))
        trio.run(lambda: main(autopsy=tmp_path))  # not traced
        assert_nothing_left(tmp_path)


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
class TestIsolated:
    def test_its_mount_is_reached_and_seen_by_nobody_else(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with launcher(tmp_path, BINDFS).mounted(box=Box(isolate=True)) as daemon:
                assert daemon.box_report().isolated, daemon.box_report().why
                (daemon.mountpoint / "file").write_text("content")
                backing = run_folder(daemon) / "backing"
                assert (backing / "file").read_text() == "content"
                assert not any(m.connection == daemon.connection for m in procfs.fuse_mounts())
                # Measured from outside like any other.
                assert procfs.stack_limit_bytes(daemon.pid) > 0
                tid = Tid(daemon.pid)
                await until(lambda: procfs.task_syscall(daemon.pid, tid) is not None)
                inner = Path(f"/proc/{daemon.pid}/status").read_text()
                (numbers,) = (ln for ln in inner.splitlines() if ln.startswith("NSpid:"))
                assert len(numbers.split()) == 3
            assert daemon.returncode() == 0  # unmounted politely, inside

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_a_dead_daemon_looks_as_it_does_outside(self, tmp_path: Path) -> None:
        async def main() -> None:
            mounted = launcher(tmp_path, BINDFS).mounted(box=Box(isolate=True), traced=True)
            async with mounted as daemon:
                os.kill(daemon.pid, signal.SIGSEGV)
                await until(lambda: not daemon.alive())
                with pytest.raises(OSError, match="not connected") as caught:
                    (daemon.mountpoint / "file").stat()
                assert caught.value.errno == errno.ENOTCONN
                assert daemon.returncode() == -signal.SIGSEGV
                assert [fault.signal for fault in daemon.faults()] == [signal.SIGSEGV]

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_what_it_starts_ends_with_it(self, tmp_path: Path) -> None:
        async def main() -> None:
            box = Box(isolate=True)
            async with launcher(tmp_path, beside(RUNNER)).mounted(box=box) as daemon:
                folder = run_folder(daemon)
                await until(lambda: marked(folder) - {daemon.pid})
            assert marked(folder) == frozenset()

        trio.run(main)
        assert_nothing_left(tmp_path)

    def test_one_that_never_mounts_leaves_nothing(self, tmp_path: Path) -> None:
        async def main() -> None:
            with pytest.raises(DaemonDiedError):
                async with launcher(tmp_path, ("false",)).mounted(box=Box(isolate=True)):
                    pytest.fail("must not be reached")

        trio.run(main)
        assert_nothing_left(tmp_path)


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize("isolate", [False, True])
def test_a_killed_tools_box_is_removed_by_the_next_command(tmp_path: Path, isolate: bool) -> None:
    needs_groups()
    code = (
        "import sys, trio; from pathlib import Path\n"
        "from reactivate.target.model import Box\n"
        "from tests.target.daemons import launcher\n"
        "from tests.target.test_box import RUNNER, beside\n"
        "async def main():\n"
        f"    box = Box(processes=50, isolate={isolate})\n"
        "    async with launcher(Path(sys.argv[1]), beside(RUNNER)).mounted(box=box) as daemon:\n"
        "        print(daemon.log.parent, daemon.pid, flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as tool:
        assert tool.stdout is not None
        text, _, pid = tool.stdout.readline().strip().rpartition(" ")
        folder = Path(text)
        name = f"reactivate-{folder.name}"
        groups = [path.parent / name for path in find_places("x").folders]
        assert all(group.is_dir() for group in groups)
        tool.kill()
    trio.run(until, lambda: not procfs.process_runs(Pid(int(pid))))
    if not isolate:
        # The kernel kills the daemon, not what it has started.
        trio.run(until, lambda: marked(folder))
    said = reap(Workspace(tmp_path))
    assert f"removed the control group {name}" in said
    assert marked(folder) == frozenset()
    assert not any(group.is_dir() for group in groups)
    assert_nothing_left(tmp_path)


def test_numbers_that_were_not_counted_say_why(tmp_path: Path) -> None:
    assert isinstance(UNBOXED.oom_kills, NotMeasured)
    assert isinstance(UNBOXED.peak_bytes, NotMeasured)
