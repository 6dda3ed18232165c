"""Telling sleeping threads from running ones, on real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from known_depth import running

from reactivate.errors import ThreadBusyError
from reactivate.evidence import Pid, Tid
from reactivate.instrument.sleep import Sleepers


def test_a_sleeping_process_is_idle_and_stays_so() -> None:
    with running("depth", "pthread") as program, Sleepers(program.pid) as sleepers:
        first = sleepers.wait_idle()
        assert len(first) == 2
        assert sleepers.look() == first
        assert all(look.call().number >= 0 for look in first.values())


def test_a_thread_that_ran_and_sleeps_again_is_noticed() -> None:
    with running("depth", "pthread") as program, Sleepers(program.pid) as sleepers:
        program.ask("64")
        before = sleepers.wait_idle()
        program.ask("64")
        after = sleepers.wait_idle()
        main = Tid(program.pid)
        worker = next(tid for tid in after if tid != main)
        assert before[main] == after[main]
        assert before[worker].call() == after[worker].call()  # the same place to the register
        assert before[worker] != after[worker]  # and yet it ran


def test_what_is_read_meanwhile_is_read_between_two_equal_looks() -> None:
    with running("depth", "main") as program, Sleepers(program.pid) as sleepers:
        program.ask("64")
        calls = []

        def disturb_once() -> None:
            calls.append(sleepers.look())
            if len(calls) == 1:
                program.ask("64")

        looks = sleepers.wait_idle(disturb_once)
        assert len(calls) == 2, "the first reading was spoiled and must be repeated"
        assert calls[-1] == looks


def test_new_and_ended_threads_are_followed() -> None:
    with running("shortlived") as program, Sleepers(program.pid) as sleepers:
        alone = sleepers.wait_idle()
        tid, _ = program.ask("1000")
        both = sleepers.wait_idle()
        assert set(both) == set(alone) | {Tid(int(tid))}
        program.ask("0")
        assert set(sleepers.wait_idle()) == set(alone)


def test_a_busy_thread_is_named_after_the_deadline() -> None:
    code = "import os\nos.write(1, b'x')\nwhile True: pass"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE
    ) as spinner:
        try:
            assert spinner.stdout is not None
            assert spinner.stdout.read(1) == b"x"
            with (
                Sleepers(Pid(spinner.pid), deadline_seconds=0.1) as sleepers,
                pytest.raises(ThreadBusyError, match=str(spinner.pid)) as caught,
            ):
                sleepers.wait_idle()
            assert caught.value.exit_code == 5
        finally:
            spinner.kill()


def test_a_process_that_ends_is_not_waited_for() -> None:
    with running("depth", "main") as program, Sleepers(program.pid) as sleepers:
        sleepers.wait_idle()
        program.process.kill()
        program.process.wait()
        with pytest.raises(ProcessLookupError):
            sleepers.wait_idle()


def test_a_zombie_is_not_idle() -> None:
    with running("depth", "main") as program, Sleepers(program.pid) as sleepers:
        sleepers.wait_idle()
        program.process.kill()
        with pytest.raises(ProcessLookupError):
            sleepers.wait_idle()
