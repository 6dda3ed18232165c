"""Processes that a daemon started and left behind, wherever they went.

A process that calls setsid(2) leaves its process group, and one whose parent ended has another
parent; the environment that it was started with stays readable in /proc/PID/environ. So each
daemon gets a variable that names its run folder, and what carries it belongs to that mount.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import Pid

MARKER = "REACTIVATE_RUN"
"""The variable; its value is the absolute path of the mount's run folder."""

_PROC = Path("/proc")
_POLL_SECONDS = 0.002
_END_SECONDS = 5.0
_EMPTY_SCANS = 2
_NEWEST = 8


def carries_mark(pid: Pid, folder: Path) -> bool:
    """Whether a process was started by the daemon of this run folder, or is it."""
    wanted = b"\0" + os.fsencode(f"{MARKER}={folder}") + b"\0"
    with contextlib.suppress(OSError):
        return wanted in b"\0" + (procfs.task_folder(pid) / "environ").read_bytes() + b"\0"
    return False


def marked(folder: Path) -> frozenset[Pid]:
    """All running processes with the mark; a zombie's environment is gone."""
    numbers = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]
    found = {Pid(number) for number in numbers if carries_mark(Pid(number), folder)}
    # What was forked while the list was read: the kernel tells the newest number (proc_loadavg(5)).
    newest = int((_PROC / "loadavg").read_text().split()[-1])
    started = range(newest - _NEWEST, newest + 2)
    found |= {Pid(number) for number in started if carries_mark(Pid(number), folder)}
    return frozenset(found - {os.getpid()})


def end_marked(folder: Path, seconds: float = _END_SECONDS) -> int:
    """Kill them all; returns how many there were. Blocks for at most `seconds`.

    They are stopped first, until no new one appears: what is stopped cannot fork.
    """
    deadline = time.monotonic() + seconds
    held: dict[Pid, int] = {}
    with contextlib.ExitStack() as stack:
        empty = 0
        # Twice: one that forks and ends while /proc is read is seen by neither of its numbers.
        while empty < _EMPTY_SCANS and time.monotonic() < deadline:
            fresh = marked(folder) - held.keys()
            empty = 0 if fresh else empty + 1
            for pid in fresh:
                with contextlib.suppress(OSError):
                    descriptor = stack.enter_context(procfs.pidfd(pid))
                    # Asked again: the number could have gone to a stranger meanwhile.
                    if carries_mark(pid, folder):
                        held[pid] = descriptor
                        signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
        for descriptor in held.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        while held and marked(folder) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return len(held)
