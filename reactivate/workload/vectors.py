"""Deterministic vectors in the text form of the mount, made once per process."""

from __future__ import annotations

import random
from functools import cache

DIMENSIONS = 128
CORPUS_VECTORS = 1_300
BULK_VECTORS = 100
NEIGHBOURS = 5
SEARCH_EF = 2_000
"""More than the corpus holds, so that the walk visits all of it: the deepest search there is."""

_CORPUS_SEED = 20_250_601
_QUERY_SEED = 7


def vector(seed: int) -> tuple[float, ...]:
    """One vector; the same seed gives the same numbers on every machine."""
    source = random.Random(seed)
    return tuple(round(source.uniform(-1.0, 1.0), 4) for _ in range(DIMENSIONS))


def format_vector(values: tuple[float, ...]) -> str:
    """Comma-separated floats, without a newline."""
    return ",".join(f"{value:.4f}" for value in values)


@cache
def corpus_line(number: int) -> str:
    """The vector of one line of the corpus; numbers count from 0."""
    return format_vector(vector(_CORPUS_SEED + number))


@cache
def corpus(vectors: int = CORPUS_VECTORS) -> bytes:
    """A whole `.vec` file, one vector per line. Formatting takes 0.2 s, the first time only."""
    return "".join(corpus_line(number) + "\n" for number in range(vectors)).encode()


@cache
def single(repetition: int) -> bytes:
    """A `.vec` file with one vector that is not in the corpus."""
    return (format_vector(vector(-1 - repetition)) + "\n").encode()


@cache
def query(repetition: int) -> bytes:
    """A `.search` file that asks for the neighbours of a vector that is not in the corpus."""
    values = format_vector(vector(-_QUERY_SEED - (repetition << 20)))
    return search_text(values)


def search_text(values: str, *, neighbours: int = NEIGHBOURS, ef: int = SEARCH_EF) -> bytes:
    """The text of a search."""
    return f"vector: {values}\nk: {neighbours}\nef: {ef}\n".encode()


def parse_answer(content: bytes) -> tuple[tuple[str, float], ...]:
    """`ID DISTANCE` lines as pairs, nearest first.

    Raises:
        ValueError: a line is something else.
    """
    pairs = []
    for line in content.decode(errors="replace").splitlines():
        identity, _, distance = line.rpartition(" ")
        try:
            pairs.append((identity, float(distance)))
        except ValueError:
            identity = ""
        if not identity:
            raise ValueError(f"not a line of an answer: {line[:80]!r}")
    return tuple(pairs)
