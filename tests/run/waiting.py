"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import select
import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds:g} s"
        select.select([], [], [], 0.01)
