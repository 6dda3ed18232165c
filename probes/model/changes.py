"""Whatever changes the filesystem: the tree, then the journal, then the components' hooks.

The order makes failure simple. The tree refuses before it changes anything; a journal that cannot
be written takes the tree's change back; the hooks hear only of what is certain. Two things are
asked first, because components may refuse them: the content of a file at its close, and a rename
that gives a file another suffix.
"""

from __future__ import annotations

import errno
import time

from model.attributes import Attributes
from model.hooks import same_suffix
from model.nodes import RENAME_EXCHANGE, File, Folder, Node, refuse
from model.parts import Parts
from model.transaction_manager import Kind


class Changes:
    """One method per kind of change."""

    def __init__(self, parts: Parts) -> None:
        self._tree = parts.tree
        self._metadata = parts.metadata
        self._cache = parts.cache
        self._transactions = parts.transactions
        self._recovery = parts.recovery
        self._hooks = parts.hooks
        if parts.transactions is not None:
            parts.transactions.before_rollback = self._before_rollback
            parts.transactions.after_rollback = self._after_rollback

    # -- entries -----------------------------------------------------------------------------

    def make_file(self, folder: Folder, name: bytes, attributes: Attributes) -> File:
        """Create an empty file."""
        file = self._tree.make_file(folder, name, attributes)
        self._record_new(Kind.CREATE, file, folder, attributes)
        return file

    def make_folder(self, folder: Folder, name: bytes, attributes: Attributes) -> Folder:
        """Create an empty folder."""
        made = self._tree.make_folder(folder, name, attributes)
        self._record_new(Kind.MKDIR, made, folder, attributes)
        return made

    def _record_new(self, kind: Kind, node: Node, folder: Folder, attributes: Attributes) -> None:
        if self._transactions is not None:
            self._transactions.record(
                kind, inode=node.inode, parent=folder.inode, name=node.name, attributes=attributes
            )
            self._checkpoint()

    def unlink(self, folder: Folder, name: bytes, now_ns: int) -> None:
        """Remove a file's entry."""
        path = self._path_of(folder, name)
        file = self._tree.unlink(folder, name, now_ns)
        self._record_gone(Kind.UNLINK, file, folder, name, now_ns)
        if self._cache is not None and not file.opens:
            self._cache.invalidate(file.inode)
        if path is not None:
            self._hooks.removed(path)

    def rmdir(self, folder: Folder, name: bytes, now_ns: int) -> None:
        """Remove an empty folder."""
        gone = self._tree.rmdir(folder, name, now_ns)
        self._record_gone(Kind.RMDIR, gone, folder, name, now_ns)

    def _record_gone(
        self, kind: Kind, node: Node, folder: Folder, name: bytes, now_ns: int
    ) -> None:
        if self._transactions is not None:
            self._transactions.record(
                kind, inode=node.inode, parent=folder.inode, name=name, now_ns=now_ns
            )
            self._checkpoint()

    def _path_of(self, folder: Folder, name: bytes) -> str | None:
        """Path of an entry, when anyone wants to know."""
        node = folder.entries.get(name) if self._hooks else None
        return None if node is None else self._tree.path(node)

    # -- rename ------------------------------------------------------------------------------

    def rename(
        self, old: Folder, old_name: bytes, new: Folder, name: bytes, flags: int, now_ns: int
    ) -> None:
        """Move an entry, over another one or in exchange for it."""
        if not self._hooks:
            self._rename(old, old_name, new, name, flags, now_ns)
            return
        node, there = self._tree.check_rename(old, old_name, new, name, flags)
        if there is node:
            return
        if flags == RENAME_EXCHANGE and there is not None:
            self._exchange(old, old_name, new, name, now_ns, [node, there])
        elif isinstance(node, File) and not same_suffix(old_name, name):
            self._rename_kind(node, there, old, old_name, new, name, flags, now_ns)
        else:
            before = self._hooks.files_at([node])
            replaced = self._tree.path(there) if isinstance(there, File) else None
            self._rename(old, old_name, new, name, flags, now_ns)
            if replaced is not None:
                self._hooks.removed(replaced)
            for path, file in before:
                self._hooks.renamed(path, self._tree.path(file) or "")

    def _rename(
        self, old: Folder, old_name: bytes, new: Folder, name: bytes, flags: int, now_ns: int
    ) -> None:
        node, there = self._tree.rename(old, old_name, new, name, flags, now_ns)
        if self._transactions is not None:
            self._transactions.record(
                Kind.RENAME,
                inode=node.inode,
                parent=old.inode,
                name=old_name,
                new_parent=new.inode,
                data=name,
                offset=flags,
                now_ns=now_ns,
            )
            if there is not None and self._transactions.depth:
                self._transactions.touched.add(there.inode)
            self._checkpoint()
        if self._cache is not None and there is not None and there.parent is None:
            self._cache.invalidate(there.inode)

    def _exchange(
        self, old: Folder, old_name: bytes, new: Folder, name: bytes, now_ns: int, both: list[Node]
    ) -> None:
        before = self._hooks.files_at(both)
        self._rename(old, old_name, new, name, RENAME_EXCHANGE, now_ns)
        for path, _ in before:
            self._hooks.removed(path)
        self._hooks.loaded(file for _, file in before)

    def _rename_kind(
        self,
        file: File,
        there: Node | None,
        old: Folder,
        old_name: bytes,
        new: Folder,
        name: bytes,
        flags: int,
        now_ns: int,
    ) -> None:
        """A file becomes another kind of file: as if it were written under the new name."""
        old_path = self._tree.path(file) or ""
        above = self._tree.path(new)
        path = (f"{above}/" if above else "") + name.decode("utf-8", "surrogateescape")
        replacement = self._hooks.closed_at(path, bytes(file.content))
        try:
            self._rename(old, old_name, new, name, flags, now_ns)
        except OSError:
            self._hooks.removed(path)
            if isinstance(there, File):
                self._hooks.loaded([there])
            raise
        self._hooks.removed(old_path)
        if replacement is not None:
            self._replace(file, replacement, now_ns)

    # -- bytes -------------------------------------------------------------------------------

    def write(self, file: File, offset: int, data: bytes, now_ns: int) -> None:
        """Write at any offset."""
        self._tree.write(file, offset, data, now_ns)
        if self._transactions is not None and file.parent is not None:
            self._transactions.record(
                Kind.WRITE,
                inode=file.inode,
                offset=offset,
                data=data,
                now_ns=now_ns,
                durable=False,
            )
            self._checkpoint()
        if self._cache is not None:
            # A gap before the offset needs nothing: blocks are held with zeros behind the end.
            self._cache.update(file.inode, offset, data)

    def truncate(self, file: File, size: int, now_ns: int) -> None:
        """Cut, or lengthen with zeros."""
        if self._cache is not None:
            self._cache.invalidate(file.inode, min(size, len(file.content)))
        self._tree.truncate(file, size, now_ns)
        if self._transactions is not None and file.parent is not None:
            self._transactions.record(
                Kind.TRUNCATE, inode=file.inode, offset=size, now_ns=now_ns, durable=False
            )
            self._checkpoint()

    def closed(self, file: File) -> None:
        """Show a written file to the components; they may refuse it or replace its content."""
        if not self._hooks:
            return
        replacement = self._hooks.closed(file)
        if replacement is not None:
            self._replace(file, replacement, time.time_ns())

    def _replace(self, file: File, content: bytes, now_ns: int) -> None:
        if self._transactions is None:
            self.truncate(file, 0, now_ns)
            self.write(file, 0, content, now_ns)
            return
        with self._transactions.together(durable=False):
            self.truncate(file, 0, now_ns)
            self.write(file, 0, content, now_ns)

    # -- attributes --------------------------------------------------------------------------

    def set_attributes(self, node: Node, attributes: Attributes) -> None:
        """Replace mode, owner and times."""
        self._tree.set_attributes(node, attributes)
        if self._transactions is not None and self._tree.links(node):
            self._transactions.record(Kind.SETATTR, inode=node.inode, attributes=attributes)
            self._checkpoint()

    def setxattr(self, node: Node, name: bytes, value: bytes, now_ns: int) -> None:
        """Set an extended attribute."""
        self._change_xattr(node, name, value, now_ns)

    def removexattr(self, node: Node, name: bytes, now_ns: int) -> None:
        """Remove an extended attribute."""
        self._change_xattr(node, name, None, now_ns)

    def _change_xattr(self, node: Node, name: bytes, value: bytes | None, now_ns: int) -> None:
        metadata = self._metadata
        if metadata is None:
            raise refuse(errno.ENOTSUP)
        if node.fixed:
            raise refuse(errno.EPERM)
        before = metadata.find_xattr(node.inode, name)

        def put(content: bytes | None) -> None:
            if content is None:
                metadata.removexattr(node.inode, name)
            else:
                metadata.setxattr(node.inode, name, content)

        put(value)
        self._tree.changed_beside(node, now_ns, lambda: put(before))
        if self._transactions is not None and self._tree.links(node):
            self._transactions.record(
                Kind.REMOVEXATTR if value is None else Kind.SETXATTR,
                inode=node.inode,
                name=name,
                data=value or b"",
                now_ns=now_ns,
            )
            self._checkpoint()

    # -- transactions ------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        if self._recovery is not None:
            self._recovery.checkpoint_if_due()

    def _before_rollback(self) -> None:
        assert self._transactions is not None
        nodes = (self._tree.nodes.get(inode) for inode in self._transactions.touched)
        for path, _ in self._hooks.files_at(node for node in nodes if node is not None):
            self._hooks.removed(path)

    def _after_rollback(self) -> None:
        assert self._transactions is not None
        nodes = (self._tree.nodes.get(inode) for inode in self._transactions.touched)
        found = self._hooks.files_at(node for node in nodes if node is not None)
        if self._cache is not None:
            for inode in self._transactions.touched:
                self._cache.invalidate(inode)
        self._hooks.loaded(file for _, file in found)
