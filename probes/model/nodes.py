"""What the tree is made of: files and folders, and how much they may hold."""

from __future__ import annotations

import errno

ROOT_INODE = 1
FIRST_INODE = 64
"""Lower numbers are for the root and for `_vexfs/`."""

NAME_LIMIT_BYTES = 255
FILE_LIMIT_BYTES = 256 << 20
CAPACITY_BYTES = 1 << 30
INODE_LIMIT = 1 << 20

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


class Node:
    """What files and folders have in common.

    Attributes:
        lookups: references the kernel holds; the node stays until they are forgotten.
        opens: open handles.
        parent: the folder it is in; None for the root and for what was unlinked.
        fixed: part of `_vexfs/`: cannot be removed, renamed or changed.
    """

    __slots__ = ("fixed", "inode", "lookups", "name", "opens", "parent")

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.name = b""
        self.parent: Folder | None = None
        self.lookups = 0
        self.opens = 0
        self.fixed = False


class File(Node):
    """A regular file; its bytes, holes included, are in memory."""

    __slots__ = ("content",)

    def __init__(self, inode: int) -> None:
        super().__init__(inode)
        self.content = bytearray()


class Folder(Node):
    """A folder; `folders` counts the folders directly in it."""

    __slots__ = ("entries", "folders")

    def __init__(self, inode: int) -> None:
        super().__init__(inode)
        self.entries: dict[bytes, Node] = {}
        self.folders = 0


def refuse(code: int) -> OSError:
    """The error to raise for an errno."""
    return OSError(code, "")


def is_below(folder: Folder, node: Node) -> bool:
    """Whether the folder is the node, or lies somewhere below it."""
    step: Folder | None = folder
    while step is not None:
        if step is node:
            return True
        step = step.parent
    return False


def check_replace(node: Node, there: Node) -> None:
    """Refuse a rename of the node over what is there, as rename(2) does."""
    if isinstance(node, File):
        if isinstance(there, Folder):
            raise refuse(errno.EISDIR)
    elif not isinstance(there, Folder):
        raise refuse(errno.ENOTDIR)
    elif there.entries:
        raise refuse(errno.ENOTEMPTY)
