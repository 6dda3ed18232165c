"""Keep sleeping threads from running for the moment in which their stacks are written.

A thread that wakes while its stack is painted would find its frames painted over, and die of it.
Stopping it is no way out: a stop signal interrupts the system call it sleeps in, so it would run
because of us. Instead the threads are confined to the processor that the painter runs on, and the
painter runs there at real-time priority: whoever is woken meanwhile becomes runnable, which the
next look at it shows, but has to wait for the processor until the painter is done. Its stack
pointer is then still where it slept.

This needs the right to set real-time priority and the others' affinity (CAP_SYS_NICE; root has
it). Without it nothing is held, and a thread that wakes in the very moment is only found out
afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator

from reactivate.evidence import Tid

_SELF = 0  # the calling thread, in sched_setaffinity(2) and sched_setscheduler(2)

_libc = ctypes.CDLL(None, use_errno=True)


def can_hold() -> bool:
    """Whether the calling thread may hold others here; tried, not guessed."""
    policy, parameter = os.sched_getscheduler(_SELF), os.sched_getparam(_SELF)
    try:
        _to_the_front()
    except OSError:
        return False
    os.sched_setscheduler(_SELF, policy, parameter)
    return True


@contextlib.contextmanager
def held(tids: Iterable[Tid]) -> Iterator[None]:
    """Within this, none of the sleeping threads gets a processor. For a millisecond, not more.

    Threads that run already are not stopped, and one that has ended is passed over. What is
    changed of the threads and of the caller, processors and priority, is as before afterwards.

    Raises:
        PermissionError: see `can_hold`.
    """
    ours = os.sched_getaffinity(_SELF)
    policy, parameter = os.sched_getscheduler(_SELF), os.sched_getparam(_SELF)
    theirs: list[tuple[Tid, set[int]]] = []
    try:
        # Where we are already: moving ourselves would cost more than the painting.
        here = {_libc.sched_getcpu()}
        os.sched_setaffinity(_SELF, here)
        _to_the_front()
        for tid in tids:
            with contextlib.suppress(ProcessLookupError):
                before = os.sched_getaffinity(tid)
                os.sched_setaffinity(tid, here)
                theirs.append((tid, before))
        yield
    finally:
        for tid, before in theirs:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(tid, before)
        os.sched_setscheduler(_SELF, policy, parameter)
        os.sched_setaffinity(_SELF, ours)


def _to_the_front() -> None:
    os.sched_setscheduler(
        _SELF, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO))
    )
