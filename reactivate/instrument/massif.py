"""What massif writes: snapshots of how much memory the heap and the stacks took.

The format is that of valgrind's own `ms_print`: a head of `key: value` lines, then blocks of
`key=value` lines, each begun by `snapshot=N`; trees of allocation sites in between are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reactivate.errors import MeasurementError

_WANTED = ("snapshot", "time", "mem_heap_B", "mem_heap_extra_B", "mem_stacks_B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Memory at one moment.

    Attributes:
        number: as massif counts them.
        time: in the profile's time unit.
        heap_bytes: asked for by the program and not given back.
        stacks_bytes: from the first stack pointer to the present one, all threads together.
    """

    number: int
    time: int
    heap_bytes: int
    stacks_bytes: int


_MOST_DIGITS = 20
"""Of a number of 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All snapshots of one file, in order of time.

    Attributes:
        time_unit: "i" (instructions), "ms" or "B" (bytes allocated and freed).
    """

    time_unit: str
    snapshots: tuple[Snapshot, ...]


def parse_massif(lines: Iterable[str]) -> Profile:
    """Read a massif file.

    Raises:
        MeasurementError: it is not one, or it is cut short.
    """
    unit = ""
    snapshots: list[Snapshot] = []
    values: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        key, equals, value = line.rstrip("\n").partition("=")
        if not snapshots and not values and line.startswith("time_unit:"):
            unit = line.partition(":")[2].strip()
        if not equals or key not in _WANTED:
            continue
        if key == "snapshot" and values:
            raise _not_massif(f"line {number}: snapshot {values['snapshot']} is not whole")
        if key != "snapshot" and not values:
            continue
        if not value.isdecimal() or len(value) > _MOST_DIGITS:
            raise _not_massif(f"line {number}: `{value}` is no number")
        values[key] = int(value)
        if len(values) == len(_WANTED):
            snapshots.append(
                Snapshot(
                    number=values["snapshot"],
                    time=values["time"],
                    heap_bytes=values["mem_heap_B"],
                    stacks_bytes=values["mem_stacks_B"],
                )
            )
            values = {}
    if values or not snapshots or not unit:
        raise _not_massif("it ends in the middle" if values else "it holds no snapshot")
    return Profile(time_unit=unit, snapshots=tuple(snapshots))


def between(profile: Profile, first: int, last: int) -> Sequence[Snapshot]:
    """The snapshots from one time to another, both included."""
    return [s for s in profile.snapshots if first <= s.time <= last]


def _not_massif(why: str) -> MeasurementError:
    return MeasurementError("massif's file cannot be read", why=why, hint="run the same step again")
