"""Similarity search over the stored vectors: the Python side of the component search_engine."""

from __future__ import annotations

import ctypes
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from model.extension import Extension, Settings
from model.library import ConfigurationFault, Library, check
from model.vector_storage import Handle, VectorStorage, refuse_unknown, whole_number

EF_MAX = 10_000
K_MAX = 10_000
K_DEFAULT = 5

_WHOLE = re.compile(rb"[0-9]{1,9}")


class Implementation(StrEnum):
    """How the bottom layer of the index is walked. The answers are the same, bit for bit.

    The order is that of `enum search_implementation` in vexmodel.h.
    """

    RECURSIVE = "recursive"
    """One stack frame of about 2 KiB per visited node: the depth grows with `ef` and the index."""
    ITERATIVE = "iterative"
    """A loop over queues on the heap."""


class _SearchSettings(ctypes.Structure):
    _fields_ = (
        ("implementation", ctypes.c_uint32),
        ("m", ctypes.c_uint32),
        ("ef_construction", ctypes.c_uint32),
        ("ef", ctypes.c_uint32),
    )


class _SearchCounts(ctypes.Structure):
    _fields_ = (
        ("searches", ctypes.c_uint64),
        ("nodes", ctypes.c_uint64),
        ("ef", ctypes.c_uint32),
        ("implementation", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a `.search` text asks for.

    Attributes:
        vector: the text of the numbers, not read yet.
        k: how many neighbours.
        ef: width of the search; None for the engine's own.
    """

    vector: bytes
    k: int
    ef: int | None

    @classmethod
    def parse(cls, text: bytes) -> Query:
        """Read `vector: …`, `k: …` and `ef: …` lines, each at most once, in any order.

        Raises:
            OSError: EINVAL with what is wrong.
        """
        fields: dict[bytes, bytes] = {}
        for line in text.split(b"\n"):
            if not line.strip():
                continue
            key, colon, value = line.partition(b":")
            key = key.strip()
            if not colon or key not in (b"vector", b"k", b"ef"):
                raise _invalid("a query has the lines 'vector:', 'k:' and 'ef:' and no others")
            if key in fields:
                raise _invalid(f"'{key.decode()}:' is there twice")
            fields[key] = value.strip()
        if b"vector" not in fields:
            raise _invalid("'vector:' is missing")
        ef = fields.get(b"ef")
        return cls(
            vector=fields[b"vector"],
            k=_whole_number("k", fields.get(b"k", b"%d" % K_DEFAULT), K_MAX),
            ef=None if ef is None else _whole_number("ef", ef, EF_MAX),
        )


class SearchEngine(Extension):
    """Keeps an index of the stored vectors and answers queries.

    A `.search` file that was written holds its answer afterwards; `_vexfs/search` takes a query
    or a bare vector and holds the last answer: lines `ID DISTANCE`, nearest first, the distance
    squared Euclidean.
    """

    name = "search_engine"
    virtual_names = ("search",)

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        """Index what is stored already and follow the store from then on.

        Raises:
            ConfigurationFault: a setting is unknown or out of range, or there is no
                vector_storage.
        """
        super().__init__(library, settings, peers)
        storage = peers.get(VectorStorage.name)
        if not isinstance(storage, VectorStorage):
            raise ConfigurationFault(f"{self.name} needs vector_storage")
        self._storage = storage
        self._c = library.functions
        _declare(self._c)
        self._engine = Handle()
        self._answer = b""
        check(
            self._c.search_engine_create(
                storage.store, ctypes.byref(_read_settings(settings)), ctypes.byref(self._engine)
            )
        )

    def closed(self, path: str, content: bytes) -> bytes | None:
        """Answer the query that was written to a `.search` file.

        Raises:
            OSError: EINVAL with what is wrong.
        """
        if PurePosixPath(path).suffix != ".search":
            return None
        return self.answer(Query.parse(content))

    def loaded(self, path: str, content: bytes) -> None:
        """A `.search` file of an earlier mount holds an answer, not a query."""

    def virtual(self, name: str) -> bytes | None:
        """The answer to the last query written to `_vexfs/search`; empty before."""
        return self._answer if name in self.virtual_names else None

    def virtual_write(self, name: str, content: bytes) -> None:
        """Answer a query, or a bare vector, written to `_vexfs/search`.

        Raises:
            OSError: EINVAL with what is wrong.
        """
        if name not in self.virtual_names:
            return
        # A reader must not take the answer to an older question for one to a refused query.
        self._answer = b""
        if b":" not in content:
            content = b"vector: " + content.strip()
        self._answer = self.answer(Query.parse(content))

    def answer(self, query: Query) -> bytes:
        """Search, and put the neighbours into lines `ID DISTANCE`.

        Raises:
            OSError: EINVAL when the vector is not one of the store's dimensions.
        """
        vector = self._storage.parse(query.vector)
        numbers = (ctypes.c_uint32 * query.k)()
        distances = (ctypes.c_float * query.k)()
        count = check(
            self._c.search_engine_query(
                self._engine, vector, query.k, query.ef or 0, numbers, distances
            )
        )
        # Nine digits bring back exactly the float that was measured.
        return b"".join(
            b"%b %b\n" % (self._storage.identify(number), b"%.9g" % distance)
            for number, distance in zip(numbers[:count], distances[:count], strict=True)
        )

    def controls(self) -> dict[str, str]:
        """The width of searches that do not say their own."""
        return {"ef": str(self._counts().ef)}

    def control(self, key: str, value: str) -> bool:
        """Set the width of searches that do not say their own.

        Raises:
            OSError: EINVAL when it is not a number from 1 to EF_MAX.
        """
        if key != "ef":
            return False
        width = _whole_number("ef", value.strip().encode(), EF_MAX)
        check(self._c.search_engine_set_ef(self._engine, width))
        return True

    def stats(self) -> dict[str, str]:
        """Which walk answers, how many queries it answered, and how many nodes there are."""
        counts = self._counts()
        return {
            "search_implementation": tuple(Implementation)[counts.implementation].value,
            "searches": str(counts.searches),
            "index_nodes": str(counts.nodes),
        }

    def close(self) -> None:
        """Give the index back; the store must still be there."""
        self._c.search_engine_destroy(self._engine)
        self._engine = Handle()

    def _counts(self) -> _SearchCounts:
        counts = _SearchCounts()
        self._c.search_engine_counts(self._engine, ctypes.byref(counts))
        return counts


def _invalid(why: str) -> OSError:
    return OSError(errno.EINVAL, why)


def _whole_number(name: str, text: bytes, highest: int) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= highest:
        raise _invalid(f"'{name}' must be a whole number from 1 to {highest}")
    return int(text)


def _read_settings(settings: Settings) -> _SearchSettings:
    section = SearchEngine.name
    refuse_unknown(section, settings, ("implementation", "m", "ef_construction", "ef"))
    names = tuple(Implementation)
    implementation = settings.get("implementation", Implementation.RECURSIVE)
    if implementation not in names:
        listed = " or ".join(f'"{name}"' for name in names)
        raise ConfigurationFault(
            f"[{section}] implementation is {implementation!r}, expected {listed}"
        )
    return _SearchSettings(
        implementation=[name.value for name in names].index(str(implementation)),
        m=whole_number(section, settings, "m", 16, 2, 64),
        ef_construction=whole_number(section, settings, "ef_construction", 100, 1, EF_MAX),
        ef=whole_number(section, settings, "ef", 50, 1, EF_MAX),
    )


def _declare(functions: ctypes.CDLL) -> None:
    """Tell ctypes what vexmodel.h says about the search_engine functions."""
    number = ctypes.c_uint32
    numbers, floats = ctypes.POINTER(number), ctypes.POINTER(ctypes.c_float)
    settings, handle = ctypes.POINTER(_SearchSettings), ctypes.POINTER(Handle)
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "create": (ctypes.c_int, (Handle, settings, handle)),
        "destroy": (None, (Handle,)),
        "query": (ctypes.c_int64, (Handle, floats, number, number, numbers, floats)),
        "set_ef": (ctypes.c_int, (Handle, number)),
        "counts": (None, (Handle, ctypes.POINTER(_SearchCounts))),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(functions, f"search_engine_{name}")
        function.restype = result
        function.argtypes = arguments
