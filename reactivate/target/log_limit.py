"""A log that a daemon floods does not fill the disk.

The daemon writes to the file itself, so that what it says in its last moment is there. It appends,
and a file that is appended to can be cut while it is written: the next write goes to the new end.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
from pathlib import Path

from reactivate.evidence import Pid

MOST_BYTES = 8 << 20
"""When a log is longer than this, it is cut."""
KEPT_BYTES = 1 << 20
"""How much of its beginning stays; what is said after the cut follows."""

_CUT = b"\n[reactivate: this log was cut here; the daemon says too much]\n"
_IN_MODIFY = 0x2
_IN_CLOEXEC = os.O_CLOEXEC
_PAUSE_SECONDS = 0.05
_EVENTS_BYTES = 4096


def limit_log(log: Path, pid: Pid) -> threading.Thread | None:
    """Keep a log small until its process has ended; returns at once the thread that does so.

    It sleeps until something is written: a daemon that says nothing is
    measured undisturbed. It ends with the process. Where the kernel gives no watch, there is none
    and the log is not limited.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(_IN_CLOEXEC)
    if watch < 0:
        return None
    if libc.inotify_add_watch(watch, os.fsencode(log), _IN_MODIFY) < 0:
        os.close(watch)
        return None
    try:
        process = os.pidfd_open(pid)
        # Not by its name later: the log is moved aside where a daemon dies.
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    except OSError:
        os.close(watch)
        return None
    thread = threading.Thread(
        target=_keep_small, args=(file, watch, process), name="log limit", daemon=True
    )
    thread.start()
    return thread


def _keep_small(file: int, watch: int, process: int) -> None:
    ended = threading.Event()
    try:
        while not ended.is_set():
            ready, _, _ = select.select([watch, process], [], [])
            if process in ready:
                ended.set()
            if watch in ready:
                os.read(watch, _EVENTS_BYTES)
            if os.fstat(file).st_size > MOST_BYTES:
                os.ftruncate(file, KEPT_BYTES)
                os.write(file, _CUT)
            ended.wait(_PAUSE_SECONDS)
    except OSError:
        pass
    finally:
        for descriptor in (file, watch, process):
            os.close(descriptor)
