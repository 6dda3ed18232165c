"""Driving a mount: blocking file operations with a deadline, and the right error when they fail.

A file operation on a mount blocks in the kernel until the daemon answers, and nothing but the end
of the daemon makes it return. So it runs in a thread of its own, and whoever stops waiting for it
kills the daemon first: no thread stays behind in a system call on a mount that is going away.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

import trio

from reactivate.errors import DaemonHungError, MeasurementError
from reactivate.target.death import DaemonDeathError, describe_death, log_tail
from reactivate.target.model import Daemon

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_RETURN_SECONDS = 5.0
"""How long a blocked call may take to come back after its daemon was killed."""

_DEATH_SECONDS = 1.0
"""The connection closes before the process is a zombie: how long its end may take to show."""

_KILL_SECONDS = 0.2
"""How long the end of a killed daemon may take to show."""

_POLL_SECONDS = 0.002

_SIGNS_OF_DEATH = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.EIO})
"""What callers get when a connection ends under them (EIO: a page that was not read in)."""

_SAID_BY_THE_KERNEL = frozenset({errno.EIO, errno.ECONNREFUSED})
"""What callers get when the kernel cannot use what a daemon answered (ECONNREFUSED: to INIT)."""


class _Call(Generic[Result]):
    """One function, run at most once, whose end other threads can see."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._claimed = threading.Lock()
        self._finished = threading.Event()

    def run(self) -> Result:
        if not self._claimed.acquire(blocking=False):
            raise RuntimeError("the caller is gone; nobody reads this")
        try:
            return self._function()
        finally:
            self._finished.set()

    async def over(self) -> None:
        """Wait, also when cancelled, until the function has ended; one not begun never begins."""
        if not self._claimed.acquire(blocking=False):
            await _wait(self._finished.is_set, _RETURN_SECONDS)

    def finished(self) -> bool:
        return self._finished.is_set()


async def drive(
    daemon: Daemon,
    function: Callable[[*Arguments], Result],
    *args: *Arguments,
    deadline_seconds: float,
    doing: str,
) -> Result:
    """Run a blocking function that uses the mount, and return what it returns.

    Meant for whole loops of operations: it costs one thread hop, whatever the function does.
    When the deadline passes, or the caller is cancelled or interrupted, the daemon is killed so
    that a blocked function comes back; the function has ended (or five seconds have passed)
    before this returns.

    Args:
        daemon: the daemon behind the mount.
        function: plain blocking function; runs in a thread, touches no trio.
        args: its arguments.
        deadline_seconds: for the whole function.
        doing: what is being done, for the error: "`search`", "painting and scanning `read`".

    Raises:
        DaemonHungError: the deadline passed.
        DaemonDiedError: the daemon ended meanwhile, whatever the function made of it.
        MeasurementError: an operation failed while the daemon lives.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    call = _Call(lambda: function(*args))
    try:
        with trio.fail_after(deadline_seconds):
            # A limiter of its own: a busy pool must not eat the operation's deadline.
            result = await trio.to_thread.run_sync(
                call.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
    except trio.TooSlowError:
        daemon.kill()
        await call.over()
        await _wait(lambda: not daemon.alive(), _KILL_SECONDS)
        raise _hung(daemon, doing, deadline_seconds) from None
    except BaseException as error:
        if not call.finished():
            daemon.kill()
            await call.over()
            raise
        if isinstance(error, Exception):
            await _raise_if_dead(daemon, doing, error)
        if isinstance(error, OSError):
            raise _failed(daemon, doing, error) from error
        raise
    await _raise_if_dead(daemon, doing, None)
    return result


async def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait, also when cancelled, until the condition holds or the time is over."""
    ends = time.monotonic() + seconds
    with trio.CancelScope(shield=True):
        while not condition():
            if time.monotonic() > ends:
                return False
            await trio.sleep(_POLL_SECONDS)
    return True


async def _raise_if_dead(daemon: Daemon, doing: str, error: Exception | None) -> None:
    if isinstance(error, OSError) and error.errno in _SIGNS_OF_DEATH:
        await _wait(lambda: not daemon.alive(), _DEATH_SECONDS)
    if daemon.alive():
        return
    tail = log_tail(daemon.log)
    raise DaemonDeathError(
        f"the daemon {describe_death(daemon)} during {doing}",
        why=f"its last words:\n{tail}" if tail else "it said nothing before",
        hint="run the same command by hand to see it: " + " ".join(daemon.command),
        returncode=daemon.returncode(),
        faults=daemon.faults(),
    ) from error


def _hung(daemon: Daemon, doing: str, deadline_seconds: float) -> DaemonHungError:
    tail = log_tail(daemon.log)
    # One that was not started here is left alone.
    state = "still runs" if daemon.alive() else "was killed"
    return DaemonHungError(
        f"{doing} was not finished after {deadline_seconds:g} s; the daemon {state}",
        why=f"its last words:\n{tail}" if tail else "it said nothing before",
        hint="A longer deadline can be set in configs/instruments.toml.",
    )


def _failed(daemon: Daemon, doing: str, error: OSError) -> MeasurementError:
    command = " ".join(daemon.command)
    if error.errno is None:
        return MeasurementError(
            f"{doing} did not do what it is for",
            why=f"{error.strerror or error}",
            hint=f"run the same command by hand to see it: {command}",
        )
    name = errno.errorcode.get(error.errno, f"error {error.errno}")
    where = f" on {error.filename}" if error.filename else ""
    said = "so this is its answer"
    if error.errno in _SAID_BY_THE_KERNEL:
        said = "so this is its answer, or the kernel's to one that it cannot use"
    return MeasurementError(
        f"{doing} failed with {name}{where}",
        why=f"{os.strerror(error.errno)}; the daemon is alive, {said}",
        hint=f"run the same command by hand to see it: {command}",
    )
