"""Callers side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_parallel(function: Callable[[int], None], callers: int) -> None:
    """Call a function with 0 to `callers` - 1, each in a thread, begun at the same moment.

    All have ended when this returns: a dead daemon gives each of them an error.

    Raises:
        OSError: the first of their errors, by the caller's number.
    """
    errors: dict[int, Exception] = {}
    together = threading.Barrier(callers)

    def call(caller: int) -> None:
        try:
            together.wait()
            function(caller)
        except Exception as error:
            errors[caller] = error

    started: list[threading.Thread] = []
    try:
        for caller in range(callers):
            thread = threading.Thread(target=call, args=(caller,))
            thread.start()
            started.append(thread)
    finally:
        if len(started) < callers:
            together.abort()  # no more threads to be had: those that wait would wait for ever
        for thread in started:
            thread.join()
    if errors:
        raise errors[min(errors)]
