"""Waiting for a condition: the one place in the tests where time passes."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable
from os import close, pidfd_open

PATIENCE_SECONDS = 60.0
"""Enough on any machine, however busy; it costs nothing where the condition comes."""

_SHORTEST_SECONDS = 0.0005
_LONGEST_SECONDS = 0.02


def until(
    condition: Callable[[], object], what: str = "", *, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when the condition holds; fail when it does not in time.

    Args:
        condition: asked again and again, more and more seldom: a waiting test leaves the processor
            to those it waits for.
        what: it stands for, for the failure.
        seconds: at most.
    """
    ends, pause = time.monotonic() + seconds, _SHORTEST_SECONDS
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what or 'the condition'}"
        select.select([], [], [], pause)
        pause = min(2 * pause, _LONGEST_SECONDS)


def ended(process: subprocess.Popen[bytes], *, seconds: float) -> bool:
    """Whether a process ends within so many seconds; returns when it does."""
    if process.poll() is not None:
        return True
    descriptor = pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        close(descriptor)
