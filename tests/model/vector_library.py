"""The library with vectors and search, built once per test run, and small ways to use it."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import random
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from model.extension import Extension
from model.library import Library
from model.search_engine import SearchEngine
from model.vector_storage import VectorStorage

MODEL = Path(__file__).resolve().parents[2] / "probes" / "model"

SEARCH_PATH = os.pathsep.join((str(MODEL.parent), str(Path(__file__).parent)))
"""PYTHONPATH of a process that uses this module."""

Vector = Sequence[float]


@functools.cache
def _folder() -> Path:
    # Made only by a process that builds: one that is to die in a search leaves nothing behind.
    folder = tempfile.TemporaryDirectory(prefix="vector-library-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def build(components: str = "vector_storage search_engine") -> Path:
    """The path of libvexmodel.so with just these components."""
    out = _folder() / components.replace(" ", "+")
    subprocess.run(
        ["make", "-s", "-C", str(MODEL), f"COMPONENTS={components}", f"OUT={out}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return out / "libvexmodel.so"


@functools.cache
def library() -> Library:
    """The library with both components, loaded."""
    return Library(build())


def storage(dimensions: int = 128) -> VectorStorage:
    """A new, empty store."""
    return VectorStorage(library(), {"dimensions": dimensions}, {})


def engine(store: VectorStorage, **settings: object) -> SearchEngine:
    """A search engine over a store."""
    peers: Mapping[str, Extension] = {"vector_storage": store}
    return SearchEngine(library(), settings, peers)


def line(vector: Iterable[float]) -> bytes:
    """One line of a `.vec` text, without its end."""
    return ",".join(map(repr, vector)).encode()


def text(vectors: Iterable[Vector]) -> bytes:
    """A bulk `.vec` text."""
    return b"".join(line(vector) + b"\n" for vector in vectors)


def vectors(count: int, dimensions: int, *, seed: int, gaussian: bool = False) -> list[Vector]:
    """Deterministic vectors, exactly representable as floats."""
    source = random.Random(seed)
    draw = (lambda: source.gauss(0, 1)) if gaussian else source.random
    return [
        list((ctypes.c_float * dimensions)(*(draw() for _ in range(dimensions))))
        for _ in range(count)
    ]


def neighbours(answer: bytes) -> list[tuple[str, float]]:
    """The lines `ID DISTANCE` of an answer."""
    pairs = (row.rsplit(" ", 1) for row in answer.decode().splitlines())
    return [(name, float(distance)) for name, distance in pairs]
