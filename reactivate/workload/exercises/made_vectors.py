"""Vectors of any size and arrangement, as text; the same in every run.

Numbers are drawn from a fixed set of texts: a bulk of 4,096 dimensions is made in the time it
takes to write it, not to format it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from functools import cache

_NUMBERS = 2_003
_CLUSTERS = 8
_MOVED = 4
"""So many coordinates tell the members of a cluster apart."""


class Shape(StrEnum):
    """How the vectors of a corpus lie."""

    UNIFORM = "uniform"
    """Each for itself: the graph is as it is meant to be."""

    LINE = "line"
    """One behind the other: a graph that is a chain."""

    IDENTICAL = "identical"
    """All in one place: every distance is 0, only the order of the ids tells them apart."""

    CLUSTERED = "clustered"
    """Eight heaps far apart."""


@cache
def _numbers() -> tuple[str, ...]:
    source = random.Random(20_260_101)
    return tuple(f"{source.uniform(-1.0, 1.0):.4f}" for _ in range(_NUMBERS))


def _drawn(seed: int, dimensions: int) -> list[str]:
    return random.Random(seed).choices(_numbers(), k=dimensions)


def vector(seed: int, dimensions: int, shape: Shape = Shape.UNIFORM) -> str:
    """One vector without a line break; `seed` is also its place where the shape has places."""
    match shape:
        case Shape.UNIFORM:
            numbers = _drawn(seed, dimensions)
        case Shape.LINE:
            numbers = [f"{seed * 0.001:.4f}", *["0"] * (dimensions - 1)]
        case Shape.IDENTICAL:
            numbers = ["0.5"] * dimensions
        case Shape.CLUSTERED:
            numbers = _drawn(-1 - seed % _CLUSTERS, dimensions)
            moved = min(_MOVED, dimensions)
            numbers[:moved] = _drawn(seed, moved)
    return ",".join(numbers)


def bulk(start: int, count: int, dimensions: int, shape: Shape = Shape.UNIFORM) -> bytes:
    """The text of a `.vec` file with vectors `start` to `start + count - 1`."""
    lines = (vector(seed, dimensions, shape) + "\n" for seed in range(start, start + count))
    return "".join(lines).encode()


def batches(vectors: int, batch: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and size of each file that so many vectors go into."""
    for index, start in enumerate(range(0, vectors, batch)):
        yield index, start, min(batch, vectors - start)
