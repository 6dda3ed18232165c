"""What every exercise is: a name, parameters with their kinds and ranges, and what it does."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Value = str | int | float | bool | tuple[str, ...]
"""A parameter's value; lists in a file are tuples of text here."""

Values = Mapping[str, Value]
"""All parameters of an exercise, defaults filled in."""

ERRNO_NAMES = tuple(sorted(errno.errorcode.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One number or name that a scenario may choose.

    Attributes:
        kind: `int`, `float`, `str`, `bool`, or `tuple` for a list of text.
        default: its value where the scenario says none; None means that it must say one.
        meaning: one line for people.
        lowest: the least allowed number.
        highest: the largest allowed number.
        choices: the allowed texts (of a list: of its members); empty means any.
    """

    kind: type[int] | type[float] | type[str] | type[bool] | type[tuple[str, ...]]
    default: Value | None
    meaning: str
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an exercise did, complete or up to the moment it was cut off.

    Attributes:
        operations: how many of its operations succeeded.
        refused: errors that the scenario allows, by name: `{"ENOSPC": 12}`.
        durable: files that the daemon acknowledged with `fsync`: path relative to the mount
            point → SHA-256 of the content that must be there after a restart.
    """

    operations: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    durable: Mapping[str, str] = field(default_factory=dict)


class Progress:
    """Counts while an exercise runs; other threads may count, and read, at any time.

    Kept outside of the exercise because a daemon that dies takes the exercise's result with it,
    and what was acknowledged before must still be looked for afterwards.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations = 0
        self._refused: dict[str, int] = {}
        self._durable: dict[str, str] = {}

    def did(self, operations: int = 1) -> None:
        """So many more operations succeeded."""
        with self._lock:
            self._operations += operations

    def refused(self, number: int) -> None:
        """An operation got an error that is allowed."""
        name = errno.errorcode.get(number, str(number))
        with self._lock:
            self._refused[name] = self._refused.get(name, 0) + 1

    def begins(self, path: str) -> None:
        """A file's acknowledged content is about to be replaced: either one may survive."""
        with self._lock:
            self._durable.pop(path, None)

    def acknowledged(self, path: str, sha256: str) -> None:
        """The daemon said that this content of a file is kept."""
        with self._lock:
            self._durable[path] = sha256

    def outcome(self) -> Outcome:
        """What was done so far."""
        with self._lock:
            return Outcome(
                operations=self._operations,
                refused=dict(self._refused),
                durable=dict(self._durable),
            )


Run = Callable[[Path, Values, Progress], Outcome]
"""Called with the mount point; a plain blocking function that raises OSError."""


def needs_nothing(values: Values) -> tuple[str, ...]:
    """An exercise that works on every filesystem."""
    return ()


def nothing_durable(mountpoint: Path, outcome: Outcome) -> int:
    """An exercise that promises nothing after a restart."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """Something that a scenario can do to a mount.

    Attributes:
        name: as written in a scenario.
        summary: one line for people.
        parameters: by name, in the order in which they are described.
        run: does it, and says what it did. An operation that fails with an error that is not
            allowed, or that does not do its work, raises OSError (errno None for the latter).
        needs: components that must be on for these values.
        verify: called on a mount after a restart; how many acknowledged files are gone or hold
            something else. Counted, never raised; OSError only where the mount itself fails.
    """

    name: str
    summary: str
    parameters: Mapping[str, Parameter]
    run: Run
    needs: Callable[[Values], tuple[str, ...]] = needs_nothing
    verify: Callable[[Path, Outcome], int] = nothing_durable

    @property
    def durable(self) -> bool:
        """Whether it acknowledges anything that must be there after a restart."""
        return self.verify is not nothing_durable
