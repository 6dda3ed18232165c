"""What bpftrace prints in its JSON form, and what is said when it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from reactivate.errors import MeasurementError


def events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every line that is a JSON object; bpftrace's warnings are none, nor is a line cut short."""
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            event = json.loads(line)
        # Numbers too long for Python are a ValueError as well, deep nesting is not.
        except (ValueError, RecursionError):
            continue
        yield event


@contextmanager
def well_formed() -> Iterator[None]:
    """While the body takes events apart.

    Raises:
        MeasurementError: an event or a map is of another form than the script prints.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise MeasurementError(
            "what bpftrace printed cannot be read",
            why=f"{type(error).__name__}: {error}",
            hint="run the same step again",
        ) from error
