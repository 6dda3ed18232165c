"""The filesystem itself, in memory: folders, files, their bytes. No FUSE in here.

Inode numbers are never used twice. Every method that changes something raises `OSError` with the
errno of the system call it stands for, and then nothing has changed. When `undo` is a list, every
change first puts there what takes it back (transactions and failed journal writes need that).
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator

from model.attributes import Attributes, AttributeStore
from model.nodes import (
    CAPACITY_BYTES,
    FILE_LIMIT_BYTES,
    FIRST_INODE,
    INODE_LIMIT,
    NAME_LIMIT_BYTES,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    ROOT_INODE,
    File,
    Folder,
    Node,
    check_replace,
    is_below,
    refuse,
)


class Tree:
    """All nodes, reachable by inode number."""

    def __init__(self, attributes: AttributeStore, now_ns: int, uid: int, gid: int) -> None:
        self.attributes = attributes
        self.undo: list[Callable[[], None]] | None = None
        self.used_bytes = 0
        self._next_inode = FIRST_INODE
        self.root = Folder(ROOT_INODE)
        self.nodes: dict[int, Node] = {ROOT_INODE: self.root}
        attributes.set(
            ROOT_INODE, Attributes(stat.S_IFDIR | 0o755, uid, gid, now_ns, now_ns, now_ns)
        )

    # -- looking -----------------------------------------------------------------------------

    def node(self, inode: int) -> Node:
        """The node of an inode number."""
        try:
            return self.nodes[inode]
        except KeyError:
            raise refuse(errno.ENOENT) from None

    def folder(self, inode: int) -> Folder:
        """The folder of an inode number; ENOTDIR for a file."""
        node = self.node(inode)
        if not isinstance(node, Folder):
            raise refuse(errno.ENOTDIR)
        return node

    def file(self, inode: int) -> File:
        """The file of an inode number; EISDIR for a folder."""
        node = self.node(inode)
        if not isinstance(node, File):
            raise refuse(errno.EISDIR)
        return node

    def lookup(self, folder: Folder, name: bytes) -> Node:
        """The entry of a folder; knows `.` and `..`."""
        node = folder.entries.get(name)
        if node is not None:
            return node
        if len(name) > NAME_LIMIT_BYTES:
            raise refuse(errno.ENAMETOOLONG)
        if name == b".":
            return folder
        if name == b"..":
            return folder.parent or folder
        raise refuse(errno.ENOENT)

    def path(self, node: Node) -> str | None:
        """Path below the root without a leading slash; None when it is not linked any more."""
        parts = []
        while node is not self.root:
            if node.parent is None:
                return None
            parts.append(node.name)
            node = node.parent
        return b"/".join(reversed(parts)).decode("utf-8", "surrogateescape")

    def files(self, node: Node) -> Iterator[File]:
        """Every file at and below a node, without those of `_vexfs/`."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if isinstance(node, File):
                yield node
            elif isinstance(node, Folder):
                waiting.extend(entry for entry in node.entries.values() if not entry.fixed)

    def links(self, node: Node) -> int:
        """st_nlink: two and one for each subfolder, or one, or none when it is unlinked."""
        if isinstance(node, Folder):
            return 2 + node.folders if node.parent is not None or node is self.root else 0
        return 1 if node.parent is not None else 0

    # -- entries -----------------------------------------------------------------------------

    def make_file(
        self, folder: Folder, name: bytes, attributes: Attributes, inode: int | None = None
    ) -> File:
        """Create an empty file; EEXIST when the name is taken."""
        self._check_new(folder, name)
        file = File(self._number(inode))
        self._add(file, folder, name, attributes)
        return file

    def make_folder(
        self, folder: Folder, name: bytes, attributes: Attributes, inode: int | None = None
    ) -> Folder:
        """Create an empty folder; EEXIST when the name is taken."""
        self._check_new(folder, name)
        made = Folder(self._number(inode))
        self._add(made, folder, name, attributes)
        return made

    def unlink(self, folder: Folder, name: bytes, now_ns: int) -> File:
        """Remove a file's entry; the file itself stays while it is open or known to the kernel."""
        node = self._entry(folder, name)
        if not isinstance(node, File):
            raise refuse(errno.EISDIR)
        self._changed(folder, now_ns, content=True)
        self._changed(node, now_ns, content=False)
        self._detach(node)
        self._drop_unused(node)
        return node

    def rmdir(self, folder: Folder, name: bytes, now_ns: int) -> Folder:
        """Remove an empty folder."""
        node = self._entry(folder, name)
        if not isinstance(node, Folder):
            raise refuse(errno.ENOTDIR)
        if node.entries:
            raise refuse(errno.ENOTEMPTY)
        self._changed(folder, now_ns, content=True)
        self._detach(node)
        self._drop_unused(node)
        return node

    def check_rename(
        self, old_folder: Folder, old_name: bytes, folder: Folder, name: bytes, flags: int
    ) -> tuple[Node, Node | None]:
        """Refuse what rename(2) refuses; the node to move and what is in its place now."""
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise refuse(errno.EINVAL)
        node = self._entry(old_folder, old_name)
        self._check_place(folder, name)
        there = folder.entries.get(name)
        if there is not None and there.fixed:
            raise refuse(errno.EPERM)
        if flags == RENAME_NOREPLACE and there is not None:
            raise refuse(errno.EEXIST)
        if flags == RENAME_EXCHANGE and there is None:
            raise refuse(errno.ENOENT)
        if is_below(folder, node):
            raise refuse(errno.EINVAL)
        if flags == RENAME_EXCHANGE:
            if there is not None and is_below(old_folder, there):
                raise refuse(errno.EINVAL)
        elif there is not None and there is not node:
            check_replace(node, there)
        return node, there

    def rename(
        self,
        old_folder: Folder,
        old_name: bytes,
        folder: Folder,
        name: bytes,
        flags: int,
        now_ns: int,
    ) -> tuple[Node, Node | None]:
        """Move an entry, over another or in exchange for it; both nodes, as `check_rename`."""
        node, there = self.check_rename(old_folder, old_name, folder, name, flags)
        if there is node:
            return node, None
        self._changed(old_folder, now_ns, content=True)
        if folder is not old_folder:
            self._changed(folder, now_ns, content=True)
        self._changed(node, now_ns, content=False)
        self._detach(node)
        if there is not None:
            self._changed(there, now_ns, content=False)
            self._detach(there)
            if flags == RENAME_EXCHANGE:
                self._attach(there, old_folder, old_name)
            else:
                self._drop_unused(there)
        self._attach(node, folder, name)
        return node, there

    # -- bytes -------------------------------------------------------------------------------

    def write(self, file: File, offset: int, data: bytes, now_ns: int) -> None:
        """Write at any offset; what was never written in between reads as zeros."""
        content = file.content
        size = len(content)
        end = offset + len(data)
        if end > size:
            self._check_size(file, end)
        self._changed(file, now_ns, content=True)
        if self.undo is not None:
            before = bytes(content[offset:end])
            self.undo.append(lambda: self._put_back(file, offset, before, size))
        if offset > size:
            content.extend(bytes(offset - size))
        content[offset:end] = data
        if end > size:
            self.used_bytes += end - size

    def truncate(self, file: File, size: int, now_ns: int) -> None:
        """Cut, or lengthen with zeros."""
        content = file.content
        old_size = len(content)
        if size > old_size:
            self._check_size(file, size)
        self._changed(file, now_ns, content=True)
        if self.undo is not None:
            cut = bytes(content[size:])
            self.undo.append(lambda: self._put_back(file, size, cut, old_size))
        if size > old_size:
            content.extend(bytes(size - old_size))
        else:
            del content[size:]
        self.used_bytes += size - old_size

    def set_attributes(self, node: Node, attributes: Attributes) -> None:
        """Replace mode, owner and times."""
        self._remember_attributes(node)
        self.attributes.set(node.inode, attributes)

    def changed_beside(self, node: Node, now_ns: int, undo: Callable[[], None]) -> None:
        """Something kept elsewhere for a node was changed; how to take that back."""
        self._changed(node, now_ns, content=False)
        if self.undo is not None:
            self.undo.append(undo)

    # -- the kernel's references ---------------------------------------------------------------

    def forget(self, inode: int, count: int) -> None:
        """The kernel gives back references from lookups."""
        node = self.nodes.get(inode)
        if node is not None:
            node.lookups = max(0, node.lookups - count)
            self._drop_unused(node)

    def closed(self, node: Node) -> None:
        """A handle is gone."""
        node.opens -= 1
        self._drop_unused(node)

    def roll_back(self, mark: int) -> None:
        """Take back, last first, what was changed since `undo` had the length `mark`."""
        assert self.undo is not None
        actions, self.undo = self.undo, None
        while len(actions) > mark:
            actions.pop()()
        self.undo = actions

    # -- inside ------------------------------------------------------------------------------

    def _number(self, inode: int | None) -> int:
        if inode is None:
            inode = self._next_inode
        self._next_inode = max(self._next_inode, inode + 1)
        return inode

    def _entry(self, folder: Folder, name: bytes) -> Node:
        node = folder.entries.get(name)
        if node is None:
            raise refuse(errno.ENAMETOOLONG if len(name) > NAME_LIMIT_BYTES else errno.ENOENT)
        if node.fixed:
            raise refuse(errno.EPERM)
        return node

    def _check_place(self, folder: Folder, name: bytes) -> None:
        if len(name) > NAME_LIMIT_BYTES:
            raise refuse(errno.ENAMETOOLONG)
        if folder.fixed:
            raise refuse(errno.EPERM)
        if folder.parent is None and folder is not self.root:
            raise refuse(errno.ENOENT)

    def _check_new(self, folder: Folder, name: bytes) -> None:
        self._check_place(folder, name)
        if name in folder.entries:
            raise refuse(errno.EEXIST)
        if len(self.nodes) >= INODE_LIMIT:
            raise refuse(errno.ENOSPC)

    def _check_size(self, file: File, size: int) -> None:
        if size > FILE_LIMIT_BYTES:
            raise refuse(errno.EFBIG)
        if self.used_bytes + size - len(file.content) > CAPACITY_BYTES:
            raise refuse(errno.ENOSPC)

    def _add(self, node: Node, folder: Folder, name: bytes, attributes: Attributes) -> None:
        self._changed(folder, attributes.mtime_ns, content=True)
        self.attributes.set(node.inode, attributes)
        self.nodes[node.inode] = node
        self._attach(node, folder, name, drop_on_undo=True)

    def _attach(
        self, node: Node, folder: Folder, name: bytes, *, drop_on_undo: bool = False
    ) -> None:
        def take_back() -> None:
            self._detach(node)
            if drop_on_undo:
                self._drop_unused(node)

        if self.undo is not None:
            self.undo.append(take_back)
        folder.entries[name] = node
        node.parent, node.name = folder, name
        if isinstance(node, Folder):
            folder.folders += 1

    def _detach(self, node: Node) -> None:
        folder, name = node.parent, node.name
        assert folder is not None
        if self.undo is not None:
            self.undo.append(lambda: self._attach(node, folder, name))
        del folder.entries[name]
        node.parent = None
        if isinstance(node, Folder):
            folder.folders -= 1

    def _drop_unused(self, node: Node) -> None:
        if node.parent is not None or node.lookups or node.opens or node is self.root:
            return
        if self.nodes.pop(node.inode, None) is None:
            return
        if self.undo is not None:
            remembered = self.attributes.remember(node.inode)
            self.undo.append(lambda: self._bring_back(node, remembered))
        self.attributes.drop(node.inode)
        if isinstance(node, File):
            self.used_bytes -= len(node.content)

    def _bring_back(self, node: Node, bring_attributes_back: Callable[[], None]) -> None:
        self.nodes[node.inode] = node
        bring_attributes_back()
        if isinstance(node, File):
            self.used_bytes += len(node.content)

    def _put_back(self, file: File, offset: int, data: bytes, size: int) -> None:
        """Make the content what it was: `data` at `offset`, and `size` bytes in all."""
        self.used_bytes += size - len(file.content)
        file.content[offset : offset + len(data)] = data
        del file.content[size:]

    def _changed(self, node: Node, now_ns: int, *, content: bool) -> None:
        self._remember_attributes(node)
        self.attributes.touch(node.inode, now_ns, content=content)

    def _remember_attributes(self, node: Node) -> None:
        if self.undo is not None:
            before = self.attributes.get(node.inode)
            self.undo.append(lambda: self.attributes.set(node.inode, before))
