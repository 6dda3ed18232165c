"""The watermark against programs whose depth is known to the byte."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from known_depth import running

from reactivate import procfs
from reactivate.errors import ThreadBusyError
from reactivate.evidence import Pid, Tid
from reactivate.instrument import stackwatch
from reactivate.instrument.stackwatch import StackWatch, ThreadDepth

DEPTHS = (64, 256, 1024, 4096, 65_536, 300_000, 1 << 20, 7 << 20)


def the_one_that_ran(depths: tuple[ThreadDepth, ...]) -> ThreadDepth:
    ran = [depth for depth in depths if depth.ran]
    assert len(ran) == 1
    return ran[0]


@pytest.mark.parametrize("thread", ["main", "pthread"])
def test_error_is_zero_bytes_at_every_depth(thread: str) -> None:
    with running("depth", thread) as program, StackWatch(program.pid) as watch:
        for wanted in DEPTHS:
            errors = []
            for _ in range(3):
                watch.paint()
                base, lowest = (int(word, 16) for word in program.ask(str(wanted)))
                depth = the_one_that_ran(watch.scan())
                assert base - lowest == wanted
                assert depth.deepest is not None
                errors.append(depth.deepest - lowest)
                assert depth.main == (thread == "main")
                assert depth.below_idle_bytes == depth.depth_bytes - depth.idle_bytes > wanted
            assert errors == [0, 0, 0], f"{wanted} bytes"
            assert depth.exact, "painted by the third time at the latest"


@pytest.mark.parametrize("thread", ["main", "pthread"])
def test_shallow_after_deep_is_shallow(thread: str) -> None:
    with running("depth", thread) as program, StackWatch(program.pid) as watch:
        program.ask(str(2 << 20))
        watch.paint()
        program.ask(str(2 << 20))
        watch.scan()
        watch.paint()
        _, lowest = program.ask("128")
        depth = the_one_that_ran(watch.scan())
        assert (depth.deepest, depth.exact) == (int(lowest, 16), True)


def test_what_happened_before_the_paint_is_not_counted() -> None:
    with running("depth", "pthread") as program, StackWatch(program.pid) as watch:
        watch.paint()
        program.ask(str(1 << 20))  # as a `tidy` or `prepare` would
        watch.paint()
        _, lowest = program.ask("128")
        assert the_one_that_ran(watch.scan()).deepest == int(lowest, 16)


def test_a_thread_that_did_not_run_used_nothing() -> None:
    with running("depth", "main") as program, StackWatch(program.pid) as watch:
        watch.paint()
        (depth,) = watch.scan()
        assert not depth.ran
        assert (depth.below_idle_bytes, depth.depth_bytes) == (0, depth.idle_bytes)


def test_limits_are_those_of_the_target_and_not_ours() -> None:
    with running("depth", "main") as program, StackWatch(program.pid) as watch:
        (stack,) = watch.stacks()
        assert stack.limit_bytes == procfs.stack_limit_bytes(program.pid)
        assert stack.mapping == procfs.main_stack(program.pid)
    with running("depth", "pthread") as program, StackWatch(program.pid) as watch:
        main, worker = watch.stacks()
        assert main.main
        assert not worker.main
        assert worker.limit_bytes == worker.mapping.size_bytes
        assert abs(worker.limit_bytes - procfs.stack_limit_bytes(program.pid)) <= 1 << 16


def test_a_new_thread_is_measured_within_a_page() -> None:
    with running("shortlived") as program, StackWatch(program.pid) as watch:
        watch.paint()
        tid, lowest = program.ask(str(200_000))
        depth = next(d for d in watch.scan() if d.tid == int(tid))
        assert depth.deepest == int(lowest, 16)
        assert not depth.exact
        assert not depth.stale
        assert 0 <= depth.at_most_bytes - depth.depth_bytes < procfs.PAGE_BYTES
        assert "new thread" in depth.note


def test_a_used_stack_that_is_handed_out_again_is_called_stale() -> None:
    with running("shortlived") as program, StackWatch(program.pid) as watch:
        first, _ = program.ask(str(200_000))
        program.ask("0")  # it ends; glibc keeps its stack
        watch.paint()
        second, lowest = program.ask(str(1000))
        assert first != second
        depth = next(d for d in watch.scan() if d.tid == int(second))
        assert depth.stale
        assert not depth.exact
        # Not the truth, but certainly not less than the truth.
        assert depth.deepest is not None
        assert depth.deepest <= int(lowest, 16)


def test_an_ended_thread_is_counted_as_lost() -> None:
    with running("shortlived") as program, StackWatch(program.pid) as watch:
        tid, _ = program.ask(str(5000))
        watch.paint()
        program.ask("0")
        found = watch.scan()
        assert Tid(int(tid)) not in {depth.tid for depth in found}
        assert watch.ended == 1


def test_a_thread_that_wakes_again_and_again_is_given_up() -> None:
    code = "import os, select\nos.write(1, b'x')\nwhile True: select.select([], [], [], 0.0001)"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE
    ) as waker:
        try:
            assert waker.stdout is not None
            assert waker.stdout.read(1) == b"x"
            with (
                StackWatch(Pid(waker.pid), deadline_seconds=0.3) as watch,
                pytest.raises(ThreadBusyError),
            ):
                for _ in range(1000):
                    watch.paint()
        finally:
            waker.kill()


def test_a_wake_up_while_painting_is_noticed_and_painted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running("depth", "main") as program, StackWatch(program.pid) as watch:
        real, calls = stackwatch.planned, []

        def plan_and_wake(*args: object, **kwargs: object) -> object:
            planned = real(*args, **kwargs)  # type: ignore[arg-type]
            calls.append(planned)
            if len(calls) == 1:
                program.ask("64")  # the thread runs right before the brush
            return planned

        monkeypatch.setattr(stackwatch, "planned", plan_and_wake)
        watch.paint()
        assert (len(calls), watch.disturbed) == (2, 1)
        _, lowest = program.ask("128")
        assert the_one_that_ran(watch.scan()).deepest == int(lowest, 16)


_AS_NOBODY = """
import os, sys
from reactivate.errors import PrivilegeError
from reactivate.instrument.stackwatch import StackWatch
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    StackWatch(int(sys.argv[1])).__enter__()
except PrivilegeError as error:
    print(error.exit_code, error.what)
"""


def test_a_process_of_somebody_else_is_refused(needs_root: None) -> None:
    with running("depth", "main") as program:
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(program.pid)],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.stdout.startswith("6 the stacks of process"), done.stderr


def test_every_descriptor_is_given_back() -> None:
    open_files = len(_descriptors())
    with running("depth", "pthread") as program:
        with StackWatch(program.pid) as watch:
            watch.paint()
            watch.scan()
            inside = len(_descriptors())
        assert inside > open_files
    assert len(_descriptors()) == open_files


def _descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")  # noqa: PTH208


@pytest.mark.root
def test_threads_that_wake_while_they_are_painted_keep_their_frames(needs_root: None) -> None:
    """Four threads wake every few milliseconds, work, and look whether their frames are whole."""
    with running("waking") as program, StackWatch(program.pid) as watch:
        assert watch.holds
        while watch.disturbed < 150:
            with contextlib.suppress(ThreadBusyError):
                watch.paint()
        assert int(program.ask("how often?")[0]) > 0
