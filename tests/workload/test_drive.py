from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

from reactivate.errors import (
    ComponentNotEnabledError,
    DaemonDiedError,
    DaemonHungError,
    MeasurementError,
)
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive
from tests import waiting
from tests.target.daemons import BINDFS, assert_nothing_left, launcher, needs_bindfs, until

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]


@pytest.fixture(autouse=True)
def _bindfs() -> None:
    needs_bindfs()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_returns_what_the_function_returns(tmp_path: Path) -> None:
    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            (daemon.mountpoint / "file").touch()
            found = await drive(daemon, names, daemon.mountpoint, deadline_seconds=60, doing="`ls`")
            assert found == ["file"]
            assert daemon.alive()

    trio.run(main)
    assert_nothing_left(tmp_path)


def test_an_error_of_a_living_daemon_is_its_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            absent = daemon.mountpoint / "absent"
            with pytest.raises(MeasurementError, match="`rmdir` failed with ENOENT") as caught:
                await drive(daemon, os.rmdir, absent, deadline_seconds=60, doing="`rmdir`")
            assert "No such file or directory" in caught.value.why

            def wrong() -> None:
                raise OSError(None, "two and two are five")

            with pytest.raises(MeasurementError, match="`sum` did not do") as caught:
                await drive(daemon, wrong, deadline_seconds=60, doing="`sum`")
            assert caught.value.why == "two and two are five"
            assert daemon.alive()

    trio.run(main)


def test_other_errors_pass_through(tmp_path: Path) -> None:
    def fail() -> None:
        raise ComponentNotEnabledError("off")

    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            with pytest.raises(ComponentNotEnabledError, match="off"):
                await drive(daemon, fail, deadline_seconds=60, doing="the witness")

    trio.run(main)


def test_a_daemon_that_hangs_is_killed_and_the_call_returns(tmp_path: Path) -> None:
    returned: list[OSError] = []

    def listing(daemon: Daemon) -> None:
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            names(daemon.mountpoint)
        except OSError as error:
            returned.append(error)
            raise

    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            with pytest.raises(DaemonHungError, match=r"`ls` was not finished after 0\.3 s"):
                await drive(daemon, listing, daemon, deadline_seconds=0.3, doing="`ls`")
            # The thread is back: nobody is left in a system call on this mount.
            assert returned
            await until(lambda: not daemon.alive())

    trio.run(main)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("swallow", [False, True])
def test_a_death_in_the_middle_names_operation_and_signal(tmp_path: Path, swallow: bool) -> None:
    def dying(daemon: Daemon) -> None:
        os.kill(daemon.pid, signal.SIGSEGV)
        try:
            while True:
                names(daemon.mountpoint)
        except OSError:
            if not swallow:
                raise
        # The connection is closed a moment before the process is gone.
        waiting.until(lambda: not daemon.alive())

    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            with pytest.raises(DaemonDiedError, match="was killed by SIGSEGV during `search`"):
                await drive(daemon, dying, daemon, deadline_seconds=60, doing="`search`")

    trio.run(main)
    assert_nothing_left(tmp_path)


def test_a_cancelled_caller_leaves_no_thread_in_the_mount(tmp_path: Path) -> None:
    entered, left = threading.Event(), threading.Event()

    def listing(daemon: Daemon) -> None:
        os.kill(daemon.pid, signal.SIGSTOP)
        entered.set()
        try:
            names(daemon.mountpoint)
        finally:
            left.set()

    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_when, entered, scope)
                    await drive(daemon, listing, daemon, deadline_seconds=60, doing="`ls`")
            assert scope.cancelled_caught
            assert left.is_set()

    trio.run(main)
    assert_nothing_left(tmp_path)


async def _cancel_when(event: threading.Event, scope: trio.CancelScope) -> None:
    await until(event.is_set)
    scope.cancel()


def test_a_caller_cancelled_before_the_call_does_not_kill(tmp_path: Path) -> None:
    async def main() -> None:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            with trio.CancelScope() as scope:
                scope.cancel()
                await drive(daemon, pytest.fail, deadline_seconds=60, doing="nothing")
            assert scope.cancelled_caught
            assert daemon.alive()

    trio.run(main)


def test_interrupt_cleans_up_and_says_so(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, trio; from pathlib import Path; "
        "from reactivate.workload.drive import drive; "
        "from tests.target.daemons import BINDFS, launcher\n"
        "def block(daemon):\n"
        "    os.kill(daemon.pid, signal.SIGSTOP)\n"
        "    print(daemon.pid, flush=True)\n"
        "    os.listdir(daemon.mountpoint)\n"
        "async def main():\n"
        "    async with launcher(Path(sys.argv[1]), BINDFS).mounted() as daemon:\n"
        "        await drive(daemon, block, daemon, deadline_seconds=60, doing='`ls`')\n"
        "try:\n"
        "    trio.run(main)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as tool:
        assert tool.stdout is not None
        pid = int(tool.stdout.readline())
        tool.send_signal(signal.SIGINT)
        assert tool.wait(timeout=waiting.PATIENCE_SECONDS) == 130
    assert not Path(f"/proc/{pid}").exists()
    assert_nothing_left(tmp_path)
