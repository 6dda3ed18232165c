"""Parameters of an exercise with the type that the loader has checked."""

from __future__ import annotations

from reactivate.workload.exercises.contract import Values


def number(values: Values, name: str) -> int:
    """A whole number."""
    value = values[name]
    assert isinstance(value, int)
    return value


def texts(values: Values, name: str) -> tuple[str, ...]:
    """A list of text."""
    value = values[name]
    assert isinstance(value, tuple)
    return value
