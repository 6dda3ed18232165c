"""Who keeps mode, owner and times of an inode: a table in Python, or metadata_manager in C."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Attributes(NamedTuple):
    """Mode (with file type), owner and times of one inode."""

    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class AttributeStore(Protocol):
    """What the tree needs from a keeper of attributes."""

    def get(self, inode: int) -> Attributes:
        """Attributes of an inode that was set before; KeyError otherwise."""

    def set(self, inode: int, attributes: Attributes) -> None:
        """Replace, or begin to keep, the attributes of an inode."""

    def touch(self, inode: int, now_ns: int, *, content: bool) -> None:
        """Set ctime, and mtime too when the content or the entries changed."""

    def drop(self, inode: int) -> None:
        """Forget an inode."""

    def remember(self, inode: int) -> Callable[[], None]:
        """What brings an inode back, with all that is kept for it, after it was dropped."""


class PlainAttributes:
    """Attributes in a dictionary: the filesystem without metadata_manager."""

    def __init__(self) -> None:
        self._table: dict[int, Attributes] = {}
        self.get = self._table.__getitem__
        self.set = self._table.__setitem__
        self.drop = self._table.__delitem__

    def touch(self, inode: int, now_ns: int, *, content: bool) -> None:
        """Set ctime, and mtime too when the content or the entries changed."""
        mode, uid, gid, atime_ns, mtime_ns, _ = self._table[inode]
        if content:
            mtime_ns = now_ns
        self._table[inode] = Attributes(mode, uid, gid, atime_ns, mtime_ns, now_ns)

    def remember(self, inode: int) -> Callable[[], None]:
        """What brings an inode back, with all that is kept for it, after it was dropped."""
        before = self._table[inode]
        return lambda: self.set(inode, before)
