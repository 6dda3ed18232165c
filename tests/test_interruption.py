"""Signals by the dozen: the first ends the work, none disturbs what is cleaned up after it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

SCRIPT = """\
import signal, sys
from reactivate import interruption
import trio

async def work():
    try:
        print("ready", flush=True)
        await trio.sleep_forever()
    finally:
        print("cleaning", flush=True)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(sys.stdin.readline)
            await trio.lowlevel.checkpoint()
        print("cleaned in trio", flush=True)

interruption.heed()
try:
    try:
        interruption.run(work)
    finally:
        sys.stdin.readline()
        print("cleaned after it", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
_PATIENCE_SECONDS = 60.0
ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def running(before: Callable[[], object] | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], preexec_fn=before, text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        # What is waited for in vain ends with the process.
        overdue = threading.Timer(_PATIENCE_SECONDS, process.kill)
        overdue.start()
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            overdue.cancel()
            overdue.join()
            process.kill()


@pytest.mark.parametrize("first", ALL)
def test_only_the_first_is_heard(first: signal.Signals) -> None:
    with running() as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.send_signal(first)
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(first)
        assert process.stderr.readline().startswith("Cleaning up: ")
        for number in ALL * 3:
            process.send_signal(number)
        process.stdin.write("\n")
        assert process.stdout.readline() == "cleaned in trio\n"
        for number in ALL * 3:
            process.send_signal(number)
        out, err = process.communicate("\n")
        assert (out, err) == ("cleaned after it\ninterrupted\n", "")  # said once


def _ignored(process: subprocess.Popen[str]) -> set[signal.Signals]:
    """What the kernel says that a process ignores."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:  # noqa: PTH123
        (mask,) = (line.split()[1] for line in file if line.startswith("SigIgn:"))
    return {number for number in ALL if int(mask, 16) >> number - 1 & 1}


@pytest.mark.parametrize(
    "ignored", [(signal.SIGHUP,), (signal.SIGINT,), ()], ids=["nohup", "in the background", "usual"]
)
def test_what_the_caller_wants_ignored_stays_ignored(ignored: tuple[signal.Signals, ...]) -> None:
    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    with running(ignore) as process:
        assert _ignored(process) == set(ignored)
        for number in ignored:
            process.send_signal(number)
        assert process.stdout
        # The others still end it.
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "cleaning\n"
        out, _ = process.communicate("\n\n")
        assert out.splitlines()[-1] == "interrupted"
