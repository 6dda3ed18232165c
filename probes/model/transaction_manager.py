"""Every change of the filesystem as a record of a journal, kept in C; replay and checkpoint."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from model.attributes import Attributes
from model.extension import Extension, Settings
from model.library import ConfigurationFault, Library, check
from model.tree import Tree

DEFAULT_CHECKPOINT_BYTES = 16 << 20


class Kind(IntEnum):
    """enum journal_kind of the C side."""

    CREATE = 1
    MKDIR = 2
    WRITE = 3
    TRUNCATE = 4
    UNLINK = 5
    RMDIR = 6
    RENAME = 7
    SETATTR = 8
    SETXATTR = 9
    REMOVEXATTR = 10


FIXED = struct.Struct("=IIIIQQQQqqq")
"""struct journal_operation."""

RECORD_BYTES = 16 + FIXED.size + 8
"""What the journal adds to the name and the data of a record with one operation."""

_COUNTS = struct.Struct("=7Q")

NO_ATTRIBUTES = Attributes(0, 0, 0, 0, 0, 0)


class _Text(ctypes.Structure):
    """struct journal_text."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("data_bytes", ctypes.c_uint32),
    )


class Operation:
    """One replayed operation."""

    __slots__ = ("attributes", "data", "inode", "kind", "name", "new_parent", "offset", "parent")

    def __init__(self, fixed: bytes, name: bytes, data: bytes) -> None:
        kind, mode, uid, gid, self.inode, self.parent, self.new_parent, self.offset, *times = (
            FIXED.unpack(fixed)
        )
        time_ns, mtime_ns, atime_ns = times
        self.kind = Kind(kind)
        self.attributes = Attributes(mode, uid, gid, atime_ns, mtime_ns, time_ns)
        self.name = name
        self.data = data


class TransactionManager(Extension):
    """The journal, and what of the tree's changes is not in it yet.

    Attributes:
        depth: open transactions, nested ones counted.
        touched: inodes changed since the outermost transaction began.
        unsynced: records were written that no fsync has covered.
        journal_bytes: size of the journal.
        before_rollback, after_rollback: called around a rollback, so that others can follow.
    """

    name = "transaction_manager"

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        super().__init__(library, settings, peers)
        for key in settings:
            if key not in ("fsync", "checkpoint_bytes"):
                raise ConfigurationFault(f"[transaction_manager] has no setting '{key}'")
        self._fsync = settings.get("fsync", True)
        if not isinstance(self._fsync, bool):
            raise ConfigurationFault("[transaction_manager] fsync must be true or false")
        limit_bytes = settings.get("checkpoint_bytes", DEFAULT_CHECKPOINT_BYTES)
        if not isinstance(limit_bytes, int) or limit_bytes < 4096:
            raise ConfigurationFault(
                f"[transaction_manager] checkpoint_bytes must be at least 4096, not {limit_bytes!r}"
            )
        self.checkpoint_bytes = limit_bytes
        self._c = _declare(library)
        self._journal: int | None = None
        self._operation = ctypes.create_string_buffer(FIXED.size)
        self._tree: Tree | None = None
        self._settled = 0
        self._marks: list[int] = []
        self.depth = 0
        self.touched: set[int] = set()
        self.unsynced = False
        self.journal_bytes = 0
        self.before_rollback: Callable[[], None] = lambda: None
        self.after_rollback: Callable[[], None] = lambda: None

    def open(self, folder: Path) -> None:
        """Open or make the journal in a folder.

        Raises:
            ConfigurationFault: the folder cannot be used, or another daemon uses it.
        """
        journal = ctypes.c_void_p()
        result = self._c.transaction_manager_create(
            os.fsencode(folder), self._fsync, ctypes.byref(journal)
        )
        if result < 0:
            raise ConfigurationFault(f"cannot use the journal in {folder}: {os.strerror(-result)}")
        self._journal = journal.value

    def replay(self) -> Iterator[Operation]:
        """Every operation of the journal; must be taken to its end before anything is recorded."""
        text = _Text()
        while check(
            self._c.transaction_manager_next(self._journal, self._operation, ctypes.byref(text))
        ):
            name = ctypes.string_at(text.name, text.name_bytes)
            data = ctypes.string_at(text.data, text.data_bytes)
            yield Operation(self._operation.raw, name, data)

    def follow(self, tree: Tree) -> None:
        """From now on the tree's changes are recorded, and can be taken back."""
        self._tree = tree
        tree.undo = []
        self.journal_bytes = self.counts()["bytes"]

    def record(
        self,
        kind: Kind,
        *,
        inode: int = 0,
        parent: int = 0,
        new_parent: int = 0,
        offset: int = 0,
        attributes: Attributes = NO_ATTRIBUTES,
        now_ns: int = 0,
        name: bytes = b"",
        data: bytes = b"",
        durable: bool = True,
    ) -> None:
        """Write down a change that the tree has just made; take it back when that fails.

        Args:
            durable: wait for the disk; otherwise `sync` must be called when it matters.

        Raises:
            OSError: the journal could not be written; the tree is as it was before.
        """
        mode, uid, gid, atime_ns, mtime_ns, ctime_ns = attributes
        FIXED.pack_into(
            self._operation, 0, kind, mode, uid, gid, inode, parent, new_parent, offset,
            now_ns or ctime_ns, mtime_ns, atime_ns,
        )  # fmt: skip
        result = self._c.transaction_manager_add(
            self._journal, self._operation, name, len(name), data, len(data), durable
        )
        if self._tree is None or self._tree.undo is None:
            check(result)
            return
        if result < 0:
            self._tree.roll_back(self._settled)
            check(result)
        self.settle()
        if self.depth:
            self.touched.add(inode)
            return
        self.journal_bytes += RECORD_BYTES + len(name) + len(data)
        if not durable:
            self.unsynced = True

    def settle(self) -> None:
        """What changed in the tree up to now stays, unless its transaction is rolled back."""
        assert self._tree is not None and self._tree.undo is not None
        if self.depth == 0:
            self._tree.undo.clear()
        self._settled = len(self._tree.undo)

    def sync(self) -> None:
        """Wait until everything recorded is on the disk."""
        if self.unsynced:
            check(self._c.transaction_manager_sync(self._journal))
            self.unsynced = False

    def begin(self) -> None:
        """Open a transaction; they nest."""
        check(self._c.transaction_manager_begin(self._journal))
        self._marks.append(self._settled)
        self.depth += 1

    def commit(self, *, durable: bool = True) -> None:
        """Close the innermost transaction; the outermost one writes everything as one record."""
        result = self._c.transaction_manager_commit(self._journal, durable)
        if result < 0 and self.depth:
            self.rollback()
        check(result)
        self._marks.pop()
        self.depth -= 1
        if self.depth == 0 and not durable:
            self.unsynced = True
        if self._tree is not None and self._tree.undo is not None:
            self.settle()
        if self.depth == 0:
            self.touched.clear()
            self.journal_bytes = self.counts()["bytes"]

    def rollback(self) -> None:
        """Take back what the innermost transaction did."""
        check(self._c.transaction_manager_rollback(self._journal))
        self.before_rollback()
        assert self._tree is not None
        self._tree.roll_back(self._marks.pop())
        self.depth -= 1
        self.settle()
        self.after_rollback()
        if self.depth == 0:
            self.touched.clear()

    @contextmanager
    def together(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing of what happens inside."""
        self.begin()
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit(durable=durable)

    @contextmanager
    def rewriting(self) -> Iterator[None]:
        """Records go to a new journal, which takes the place of the old one at the end."""
        check(self._c.transaction_manager_checkpoint_begin(self._journal))
        try:
            yield
            check(self._c.transaction_manager_checkpoint_end(self._journal))
            self.journal_bytes = self.counts()["bytes"]
        except BaseException:
            self._c.transaction_manager_checkpoint_abort(self._journal)
            raise

    def counts(self) -> dict[str, int]:
        """The fields of struct journal_counts."""
        buffer = ctypes.create_string_buffer(_COUNTS.size)
        self._c.transaction_manager_counts(self._journal, buffer)
        names = ("committed", "replayed", "bytes", "torn_bytes", "depth", "syncs", "checkpoints")
        return dict(zip(names, _COUNTS.unpack(buffer), strict=True))

    def stats(self) -> dict[str, str]:
        """What was committed, how large the journal is, what the replay found."""
        counts = self.counts()
        return {
            "transactions_committed": str(counts["committed"]),
            "transactions_open": str(counts["depth"]),
            "transactions_replayed": str(counts["replayed"]),
            "journal_bytes": str(counts["bytes"]),
            "journal_torn_bytes": str(counts["torn_bytes"]),
            "journal_syncs": str(counts["syncs"]),
            "journal_checkpoints": str(counts["checkpoints"]),
        }

    def controls(self) -> dict[str, str]:
        """Whether a transaction is open."""
        return {"transaction": f"open {self.depth}" if self.depth else "none"}

    def control(self, key: str, value: str) -> bool:
        """`transaction=begin`, `transaction=commit`, `transaction=rollback`."""
        actions = {"begin": self.begin, "commit": self.commit, "rollback": self.rollback}
        if key != "transaction" or value not in actions:
            return False
        actions[value]()
        return True

    def close(self) -> None:
        """Close the journal; what an open transaction gathered is not in it."""
        if self._journal is None:
            return
        try:
            self.sync()
        except OSError as error:
            print(f"model: the journal could not be synced: {error}", file=sys.stderr)
        self._c.transaction_manager_destroy(self._journal)
        self._journal = None


def _declare(library: Library) -> ctypes.CDLL:
    c = library.functions
    pointer, text, whole = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    c.transaction_manager_create.argtypes = [text, whole, pointer]
    c.transaction_manager_destroy.argtypes = [pointer]
    c.transaction_manager_destroy.restype = None
    c.transaction_manager_next.argtypes = [pointer, pointer, pointer]
    c.transaction_manager_begin.argtypes = [pointer]
    c.transaction_manager_add.argtypes = [
        pointer, pointer, text, ctypes.c_uint32, text, ctypes.c_uint32, whole,
    ]  # fmt: skip
    c.transaction_manager_commit.argtypes = [pointer, whole]
    c.transaction_manager_rollback.argtypes = [pointer]
    c.transaction_manager_sync.argtypes = [pointer]
    c.transaction_manager_checkpoint_begin.argtypes = [pointer]
    c.transaction_manager_checkpoint_end.argtypes = [pointer]
    c.transaction_manager_checkpoint_abort.argtypes = [pointer]
    c.transaction_manager_checkpoint_abort.restype = None
    c.transaction_manager_counts.argtypes = [pointer, pointer]
    c.transaction_manager_counts.restype = None
    return c
