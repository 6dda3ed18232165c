"""Operations that exercise one component each, in the language of the VexFS mount."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reactivate.workload import vectors
from reactivate.workload.mountpath import (
    control,
    drop_page_cache,
    read_file,
    write_file,
)
from reactivate.workload.operation import Operation
from reactivate.workload.posix import CONTENT

_FILE = "file"
_ATTRIBUTE = "user.reactivate"
_BLOCK = CONTENT[:4096]
_CORPUS = "search-corpus.vec"


# -- vector_storage ------------------------------------------------------------------------


def _vector_file(folder: Path, repetition: int) -> Path:
    return folder / f"vector-{repetition}.vec"


def _prepare_one(folder: Path, repetition: int) -> None:
    vectors.single(repetition)


def _store_one(folder: Path, repetition: int) -> None:
    write_file(_vector_file(folder, repetition), vectors.single(repetition))


def _store_bulk(folder: Path, repetition: int) -> None:
    write_file(_vector_file(folder, repetition), vectors.corpus(vectors.BULK_VECTORS))


def _unlink_vector(folder: Path, repetition: int) -> None:
    _vector_file(folder, repetition).unlink()


VECTOR = (
    Operation(
        name="vector_store",
        suite="vector",
        opcodes=("CREATE", "WRITE", "FLUSH"),
        run=_store_one,
        prepare=_prepare_one,
        tidy=_unlink_vector,
    ),
    Operation(
        name="vector_bulk",
        suite="vector",
        opcodes=("CREATE", "WRITE", "FLUSH"),
        run=_store_bulk,
        tidy=_unlink_vector,
    ),
)


# -- search_engine -------------------------------------------------------------------------


def _setup_corpus(folder: Path) -> None:
    # One corpus per mount, shared by all searches: the depth of a search depends on how many
    # vectors there are, and must not depend on which operations ran before. Beside the operations'
    # folders: in a user's own mount these are in a folder that is removed again.
    path = folder.parent / _CORPUS
    if not path.exists():
        write_file(path, vectors.corpus())


def _prepare_query(folder: Path, repetition: int) -> None:
    vectors.query(repetition)


def _check_answer(answer: bytes) -> None:
    try:
        found = len(vectors.parse_answer(answer))
    except ValueError as error:
        raise OSError(None, str(error)) from None
    if found != vectors.NEIGHBOURS:
        raise OSError(None, f"the search found {found} of {vectors.NEIGHBOURS} neighbours")


def _search_file(folder: Path, repetition: int) -> Path:
    return folder / f"query-{repetition}.search"


def _search(folder: Path, repetition: int) -> None:
    path = _search_file(folder, repetition)
    write_file(path, vectors.query(repetition))
    _check_answer(read_file(path))


def _unlink_search(folder: Path, repetition: int) -> None:
    _search_file(folder, repetition).unlink()


def _search_control(folder: Path, repetition: int) -> None:
    path = control(folder, "search")
    write_file(path, vectors.query(repetition))
    _check_answer(read_file(path))


SEARCH = (
    Operation(
        name="search",
        suite="search",
        opcodes=("CREATE", "WRITE", "FLUSH", "OPEN", "READ"),
        run=_search,
        setup=_setup_corpus,
        prepare=_prepare_query,
        tidy=_unlink_search,
    ),
    Operation(
        name="search_control",
        suite="search",
        opcodes=("OPEN", "WRITE", "FLUSH", "READ"),
        run=_search_control,
        setup=_setup_corpus,
        prepare=_prepare_query,
    ),
)


# -- metadata_manager ----------------------------------------------------------------------


def _setup_file(folder: Path) -> None:
    write_file(folder / _FILE, CONTENT)


def _setup_attribute(folder: Path) -> None:
    _setup_file(folder)
    os.setxattr(folder / _FILE, _ATTRIBUTE, b"value")


def _setxattr(folder: Path, repetition: int) -> None:
    os.setxattr(folder / _FILE, _ATTRIBUTE, f"value {repetition}".encode())


def _getxattr(folder: Path, repetition: int) -> None:
    if os.getxattr(folder / _FILE, _ATTRIBUTE) != b"value":
        raise OSError(None, "another value was read than was set")


def _chmod(folder: Path, repetition: int) -> None:
    os.chmod(folder / _FILE, 0o600 if repetition % 2 else 0o640)  # noqa: PTH101


def _utimens(folder: Path, repetition: int) -> None:
    nanoseconds = (1_000_000_000 + repetition) * 1_000_000_000
    os.utime(folder / _FILE, ns=(nanoseconds, nanoseconds))


METADATA = (
    Operation(
        name="setxattr",
        suite="metadata",
        opcodes=("SETXATTR",),
        run=_setxattr,
        setup=_setup_file,
    ),
    Operation(
        name="getxattr",
        suite="metadata",
        opcodes=("GETXATTR",),
        run=_getxattr,
        setup=_setup_attribute,
    ),
    Operation(name="chmod", suite="metadata", opcodes=("SETATTR",), run=_chmod, setup=_setup_file),
    Operation(
        name="utimens", suite="metadata", opcodes=("SETATTR",), run=_utimens, setup=_setup_file
    ),
)


# -- cache_manager -------------------------------------------------------------------------


def _setup_read_before(folder: Path) -> None:
    _setup_file(folder)
    drop_page_cache(folder / _FILE)
    read_file(folder / _FILE)


def _forget_file(folder: Path, repetition: int) -> None:
    drop_page_cache(folder / _FILE)


def _read_again(folder: Path, repetition: int) -> None:
    if read_file(folder / _FILE) != CONTENT:
        raise OSError(None, "what was read is not what was written")


CACHE = (
    Operation(
        name="read_again",
        suite="cache",
        opcodes=("OPEN", "READ"),
        run=_read_again,
        setup=_setup_read_before,
        prepare=_forget_file,
    ),
)


# -- transaction_manager -------------------------------------------------------------------


def write_durably(path: Path, content: bytes, position: int = 0) -> None:
    """Write and wait until the daemon says that it is kept."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
    try:
        os.pwrite(descriptor, content, position)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durable(folder: Path, repetition: int) -> None:
    write_durably(folder / _FILE, _BLOCK, repetition % 16 * len(_BLOCK))


def _rename_durable(folder: Path, repetition: int) -> None:
    fresh = folder / f"fresh-{repetition}"
    write_durably(fresh, _BLOCK)
    os.rename(fresh, folder / _FILE)  # noqa: PTH104


TRANSACTION = (
    Operation(
        name="write_durable",
        suite="transaction",
        opcodes=("OPEN", "WRITE", "FSYNC"),
        run=_write_durable,
        setup=_setup_file,
    ),
    Operation(
        name="rename_durable",
        suite="transaction",
        opcodes=("CREATE", "WRITE", "FSYNC", "RENAME"),
        run=_rename_durable,
        setup=_setup_file,
    ),
)
