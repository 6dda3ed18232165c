"""Watchpoints on a process that is not ours: it must run on as it was, whatever happens to us."""

from __future__ import annotations

import os
import platform
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trace_programs import Depths

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.watchpoint import catching, watchpoint_availability
from reactivate.procfs import process_start_ticks, process_state
from reactivate.target import debug_registers
from reactivate.target.watch import Tracer
from reactivate.target.watcher import Watcher, clean
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="debug registers are known for x86-64 only"
)


SOURCE = Path(__file__).with_name("watched.c")
_SILENCE_SECONDS = 0.2
"""An answer takes microseconds."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (Debian package build-essential)")
    built = tmp_path_factory.mktemp("watched") / "watched"
    subprocess.run(
        ["cc", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", SOURCE, "-o", built],
        check=True, timeout=60,
    )  # fmt: skip
    return built


class Watched(Depths):
    """A running `watched`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(process)
        self.process = process
        self.addresses = tuple(Address(int(self.do("address"), 16) + i) for i in range(4))


@pytest.fixture
def subject(program: Path) -> Iterator[Watched]:
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Watched(process)
        finally:
            process.kill()


@contextmanager
def watch(subject: Watched, folder: Path) -> Iterator[Tracer]:
    tracer = Tracer(subject.pid, subject.addresses, folder, "it")
    tracer.start()
    try:
        assert tracer.armed.wait(PATIENCE_SECONDS)
        assert tracer.failure == ""
        yield tracer
    finally:
        tracer.finish()


def test_a_watchpoint_is_to_be_had_here() -> None:
    # Whoever may not trace skips the rest, too; nothing here needs root.
    found = watchpoint_availability()
    assert found.ready, found.detail


def test_watchpoints_come_and_go_under_load(subject: Watched, tmp_path: Path) -> None:
    # A hit that is on its way while the watch ends would kill the process.
    hits = watches = 0
    subject.do("storm")
    while watches < 150 or not hits:
        watches += 1
        with watch(subject, tmp_path) as tracer:
            pass
        assert tracer.failure == ""
        hits += tracer.hits
    assert subject.lives()


def test_a_thread_that_starts_under_watch_is_watched(subject: Watched, tmp_path: Path) -> None:
    with watch(subject, tmp_path) as tracer:
        assert subject.do("thread") == "done"
    assert tracer.hits == len(subject.addresses)
    # Its bytes are not on its stack: somebody looked, nobody went deep.
    assert tracer.caught is None
    assert subject.do("touch") == "done"


def test_every_thread_is_watched_until_the_end_and_no_longer(
    subject: Watched, tmp_path: Path
) -> None:
    with watch(subject, tmp_path) as tracer:
        subject.do("touch")
        subject.do("touch")
    assert tracer.hits == 2 * len(subject.addresses)
    subject.do("touch")
    assert tracer.hits == 2 * len(subject.addresses)


def test_signals_of_others_arrive(subject: Watched, tmp_path: Path) -> None:
    with watch(subject, tmp_path):
        for number in range(1, 6):
            os.kill(subject.pid, signal.SIGUSR1)
            until(lambda: subject.do("signals") == str(number))  # noqa: B023
    os.kill(subject.pid, signal.SIGUSR1)
    until(lambda: subject.do("signals") == "6")


@pytest.mark.parametrize("before", [True, False])
def test_who_was_stopped_by_others_stays_stopped(
    subject: Watched, before: bool, tmp_path: Path
) -> None:

    def stop() -> None:
        os.kill(subject.pid, signal.SIGSTOP)
        until(lambda: process_state(subject.pid) in "Tt")

    if before:
        stop()
    with watch(subject, tmp_path):
        if not before:
            stop()
    until(lambda: process_state(subject.pid) == "T", "it is stopped, and not traced")
    os.kill(subject.pid, signal.SIGCONT)
    assert subject.do("touch") == "done"
    assert subject.lives()


def test_who_is_stopped_by_others_does_nothing_under_watch(
    subject: Watched, tmp_path: Path
) -> None:
    asked, answers = subject.process.stdin, subject.process.stdout
    assert asked is not None
    assert answers is not None
    with watch(subject, tmp_path):
        os.kill(subject.pid, signal.SIGSTOP)
        until(lambda: process_state(subject.pid) in "Tt")
        asked.write("signals\n")
        asked.flush()
        assert not select.select([answers], [], [], _SILENCE_SECONDS)[0]
        os.kill(subject.pid, signal.SIGCONT)
        assert answers.readline() == "0\n"


def test_a_stop_that_ends_under_watch(subject: Watched, tmp_path: Path) -> None:
    with watch(subject, tmp_path) as tracer:
        os.kill(subject.pid, signal.SIGSTOP)
        until(lambda: process_state(subject.pid) in "Tt")
        os.kill(subject.pid, signal.SIGCONT)
        assert subject.do("touch") == "done"
    assert tracer.hits == len(subject.addresses)
    assert subject.lives()


def test_a_process_that_ends_under_watch(subject: Watched, tmp_path: Path) -> None:
    async def main() -> None:
        async with catching(subject.pid, subject.addresses, tmp_path, "it") as catch:
            await catch.armed()
            await trio.to_thread.run_sync(subject.do, "die")
            with pytest.raises(MeasurementError, match="watching failed"):
                await catch.result()
        # Its end is its parent's to know.
        assert subject.process.wait() == 3

    trio.run(main)


def test_who_is_traced_by_another_is_left_alone(subject: Watched, tmp_path: Path) -> None:
    with watch(subject, tmp_path) as tracer:
        second = Tracer(subject.pid, subject.addresses, tmp_path, "other")
        second.start()
        second.finish()
        assert "not permitted" in second.failure
        assert subject.do("touch") == "done"
        assert tracer.hits == len(subject.addresses)


def test_cancelling_lets_go(subject: Watched, tmp_path: Path) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            async with catching(subject.pid, subject.addresses, tmp_path, "it") as catch:
                await catch.armed()
                scope.cancel()
                await trio.sleep_forever()
        assert subject.do("touch") == "done"
        assert subject.lives()

    trio.run(main)
    assert list(tmp_path.iterdir()) == []


_KILLED_TOOL = """
import pathlib, signal, sys, trio
from reactivate.instrument.watchpoint import catching
async def main():
    pid, addresses = int(sys.argv[1]), [int(a) for a in sys.argv[3:]]
    async with catching(pid, addresses, pathlib.Path(sys.argv[2]), "it") as catch:
        await catch.armed()
        print("armed", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@contextmanager
def tool_at_work(subject: Watched, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another tool that watches."""
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_TOOL, str(subject.pid), str(folder),
         *map(str, subject.addresses)],
        stdout=subprocess.PIPE, text=True,
    ) as tool:  # fmt: skip
        try:
            assert tool.stdout is not None
            assert tool.stdout.readline() == "armed\n"
            yield tool
        finally:
            tool.kill()


def test_a_killed_tool_leaves_no_moment_unwatched(subject: Watched, tmp_path: Path) -> None:
    # The bytes are touched all the time: one moment in which nobody traces would be deadly.
    assert subject.do("storm") == "done"
    for _ in range(3):
        with tool_at_work(subject, tmp_path) as tool:
            tool.kill()
        until(lambda: debug_registers.seized_by(subject.pid, Tid(subject.pid)) == 0)
        assert subject.do("touch") == "done"
    assert subject.lives()


def test_a_killed_watcher_is_cleaned_up_after(subject: Watched, tmp_path: Path) -> None:
    ticks = process_start_ticks(subject.pid)
    watcher = Watcher(subject.pid, ticks, subject.addresses, tmp_path, "it", first=False)
    watcher.start()
    assert watcher.await_armed(PATIENCE_SECONDS)
    tracer = debug_registers.seized_by(subject.pid, Tid(subject.pid))
    assert tracer
    os.kill(tracer, signal.SIGKILL)
    watcher.finish()
    assert watcher.failure == "the process that watches was killed"
    assert subject.do("touch") == "done"
    assert subject.lives()


def test_another_process_under_that_number_is_not_watched(subject: Watched, tmp_path: Path) -> None:
    ticks = process_start_ticks(subject.pid) + 1
    watcher = Watcher(subject.pid, ticks, subject.addresses, tmp_path, "it", first=False)
    watcher.start()
    assert watcher.await_armed(PATIENCE_SECONDS)
    assert watcher.failure == "the process ended"
    watcher.finish()


def left_behind(subject: Watched, folder: Path) -> None:
    """A tracer ends without cleaning up, as one that is killed."""

    class Careless(Tracer):
        def _release_all(self) -> None:
            pass

    tracer = Careless(subject.pid, subject.addresses, folder, "it")
    tracer.start()
    assert tracer.armed.wait(PATIENCE_SECONDS)
    tracer.finish()
    until(lambda: debug_registers.seized_by(subject.pid, subject.pid) == 0)


def test_a_watchpoint_that_is_left_behind_kills(subject: Watched, tmp_path: Path) -> None:
    # What the guard is for; if this fails, the kernel cleans up and no guard is needed.
    left_behind(subject, tmp_path)
    assert subject.do("touch") == ""
    assert subject.process.wait() == -signal.SIGTRAP


def test_what_was_left_behind_is_taken_away(subject: Watched, tmp_path: Path) -> None:
    left_behind(subject, tmp_path)
    ticks = int(Path(f"/proc/{subject.pid}/stat").read_text().rpartition(")")[2].split()[19])
    assert clean(subject.pid, ticks + 1)  # another process under that number: not touched
    assert clean(subject.pid, ticks)
    assert subject.do("touch") == "done"
    assert subject.lives()


def test_a_process_that_is_gone_needs_no_cleaning() -> None:
    assert clean(Pid(2**22 - 3), 1)


def test_a_look_at_a_stack_from_elsewhere_is_no_chain(subject: Watched, tmp_path: Path) -> None:
    async def main() -> None:
        async with catching(subject.pid, subject.addresses, tmp_path, "it") as catch:
            await catch.armed()
            await trio.to_thread.run_sync(subject.do, "touch")
            assert await catch.result() is None
        assert subject.lives()

    trio.run(main)
