"""Proof over the mount that a component really works: by what it does, not by what it says.

A build with another hash and a daemon that lists a component prove little; each witness makes the
component do the one thing that nothing else in the filesystem does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from reactivate.errors import ComponentNotEnabledError
from reactivate.workload import vectors
from reactivate.workload.components import write_durably
from reactivate.workload.mountpath import (
    control,
    drop_page_cache,
    read_file,
    read_stats,
    write_file,
)

Witness = Callable[[Path], str]
"""Called with the mount point; returns one sentence.

Raises:
    ComponentNotEnabledError: what was expected did not come.
    OSError: the connection to the daemon ended meanwhile.
"""

_VECTORS = 16
_ATTRIBUTE = "user.reactivate.witness"
_CONNECTION_ENDED = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


def vector_storage(mount: Path) -> str:
    """Stored vectors are counted, and garbage is refused."""
    path = mount / "witness.vec"
    before = _stat(mount, "vectors")
    write_file(path, vectors.corpus(_VECTORS))
    rise = _stat(mount, "vectors") - before
    path.unlink()
    _expect(rise == _VECTORS, f"{_VECTORS} more vectors after storing as many", f"{rise} more")
    try:
        write_file(path, b"this is not a vector\n")
    except OSError as error:
        _expect(error.errno == errno.EINVAL, "EINVAL for a .vec file with garbage", error.strerror)
    else:
        path.unlink()
        _expect(False, "EINVAL for a .vec file with garbage", "it was accepted")
    path.unlink(missing_ok=True)
    return f"_vexfs/stats counted {_VECTORS} stored vectors, and garbage was refused"


def search_engine(mount: Path) -> str:
    """A stored vector is its own nearest neighbour."""
    path = mount / "witness.vec"
    write_file(path, vectors.corpus(_VECTORS))
    query = vectors.search_text(vectors.corpus_line(0), ef=_VECTORS)
    write_file(control(mount, "search"), query)
    answer = read_file(control(mount, "search"))
    try:
        pairs = vectors.parse_answer(answer)
    except ValueError as error:
        pairs = ()
        _expect(False, "lines of ID and distance from _vexfs/search", str(error))
    path.unlink()
    wanted = vectors.NEIGHBOURS
    _expect(
        len(pairs) == wanted, f"{wanted} neighbours from _vexfs/search", f"{len(pairs)} neighbours"
    )
    identity, distance = pairs[0]
    _expect(
        abs(distance) < 1e-5,
        "the stored vector itself first, at distance 0",
        f"{identity} at distance {distance:g}",
    )
    _expect(
        [d for _, d in pairs] == sorted(d for _, d in pairs), "the nearest first", "another order"
    )
    return f"_vexfs/search answered with {wanted} neighbours"


def metadata_manager(mount: Path) -> str:
    """Attributes and mode come back as they were set."""
    path = mount / "witness.file"
    write_file(path, b"witness")
    os.setxattr(path, _ATTRIBUTE, b"seen")
    value, names = os.getxattr(path, _ATTRIBUTE), os.listxattr(path)
    path.chmod(0o604)
    mode = path.stat().st_mode & 0o777
    path.unlink()
    _expect(value == b"seen", "the extended attribute as it was set", repr(value))
    _expect(_ATTRIBUTE in names, "the attribute's name in the list", repr(names))
    _expect(mode == 0o604, "mode 604 after chmod", f"mode {mode:o}")
    return "an extended attribute and a mode came back as they were set"


def cache_manager(mount: Path) -> str:
    """Reading again is answered from the cache."""
    path = mount / "witness.file"
    content = bytes(range(256)) * 64
    write_file(path, content)
    before = _stat(mount, "cache_hits")
    for _ in range(3):
        drop_page_cache(path)
        _expect(read_file(path) == content, "the content that was written", "another content")
    hits = _stat(mount, "cache_hits") - before
    path.unlink()
    _expect(hits > 0, "more cache_hits in _vexfs/stats after reading again", f"{hits} more")
    return f"_vexfs/stats counted {hits} cache hits when a file was read again"


def transaction_manager(mount: Path) -> str:
    """A durable write is committed to a journal that holds bytes."""
    path = mount / "witness.file"
    before = _stat(mount, "transactions_committed")
    write_durably(path, b"witness")
    commits = _stat(mount, "transactions_committed") - before
    journal_bytes = _stat(mount, "journal_bytes")
    path.unlink()
    _expect(commits > 0, "more transactions_committed after write and fsync", f"{commits} more")
    _expect(journal_bytes > 0, "a journal with content", f"journal_bytes: {journal_bytes}")
    return f"a durable write was committed in {commits} transactions to the journal"


class _Unexpected(Exception):
    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; came: {came}")


def _stat(mount: Path, key: str) -> int:
    value = read_stats(mount).get(key, "")
    try:
        return int(value)
    except ValueError:
        raise _Unexpected(f"a number for {key} in _vexfs/stats", value or "no such line") from None


def _expect(condition: bool, expected: str, came: str | None) -> None:
    if not condition:
        raise _Unexpected(expected, came or "")


def _checked(name: str, witness: Witness) -> Witness:
    """Any error of a system call means that the component does not do its work."""

    def call(mount: Path) -> str:
        try:
            return witness(mount)
        except _Unexpected as unexpected:
            why = str(unexpected)
        except OSError as error:
            if error.errno in _CONNECTION_ENDED:
                raise
            at = f" on {error.filename}" if error.filename else ""
            why = f"expected every call to succeed; came: {error.strerror}{at}"
        raise ComponentNotEnabledError(
            f"{name} is not provably on",
            why=why,
            hint="check that the build really holds it: run the daemon by hand and try the same",
        )

    return call


WITNESSES: dict[str, Witness] = {
    name: _checked(name, witness)
    for name, witness in {
        "vector_storage": vector_storage,
        "search_engine": search_engine,
        "metadata_manager": metadata_manager,
        "cache_manager": cache_manager,
        "transaction_manager": transaction_manager,
    }.items()
}
"""By component id."""
