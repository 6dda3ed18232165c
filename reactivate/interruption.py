"""SIGINT, SIGTERM and SIGHUP: the first ends what runs, later ones leave its cleaning up alone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
_Handler = Callable[[int, FrameType | None], object]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Heard:
    """What was heard so far, and what an interruption does now."""

    interrupted = False
    told = False
    act: _Handler = staticmethod(signal.default_int_handler)


def heed() -> None:
    """From now on all three interrupt; one that whoever started us wants ignored stays so.

    That is SIGHUP after `nohup`, and SIGINT in the background of a shell.
    """
    _Heard.interrupted = _Heard.told = False
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)


def leave() -> None:
    """Nothing disturbs an interrupted run's last moments, in which Python lets go of its handlers:
    it ends with its exit code."""
    if _Heard.interrupted:
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)


def run(work: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments) -> Result:
    """`trio.run` in which an interruption is heard once.

    Trio tells where it may be interrupted only by a handler of its own, and sets one only in the
    place of Python's.
    """
    import threading  # what waits for nothing, as `status`, needs neither

    import trio

    ours = threading.current_thread() is threading.main_thread() and any(
        signal.getsignal(number) is _hear for number in _NUMBERS
    )
    if not ours:
        return trio.run(work, *arguments)

    async def heeding() -> Result:
        act = signal.getsignal(signal.SIGINT)
        assert callable(act)
        _Heard.act = staticmethod(act)
        signal.signal(signal.SIGINT, asked)
        return await work(*arguments)

    asked = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return trio.run(heeding)
    finally:
        _Heard.act = staticmethod(signal.default_int_handler)
        signal.signal(signal.SIGINT, asked)


def _hear(number: int, frame: FrameType | None) -> None:
    if not _Heard.interrupted:
        _Heard.interrupted = True
        _Heard.act(signal.SIGINT, frame)
    elif not _Heard.told:
        _Heard.told = True
        told = (
            "Cleaning up: daemons are ended and unmounted, which ends by itself. "
            f"`kill -9 {os.getpid()}` ends it now; the next command cleans up the rest.\n"
        )
        # Not by `print`: a buffer may be in use where the signal came in.
        with contextlib.suppress(OSError):
            os.write(2, told.encode())
