"""From the journal to the tree, and from the tree to a shorter journal."""

from __future__ import annotations

from collections.abc import Iterator

from model.library import ConfigurationFault
from model.metadata_manager import MetadataManager
from model.nodes import File, Folder, Node
from model.transaction_manager import RECORD_BYTES, Kind, Operation, TransactionManager
from model.tree import Tree

PIECE_BYTES = 1 << 20
"""Content is written to a checkpoint in records of this size."""


class Recovery:
    """Rebuilds the tree at start, and rewrites the journal when it is mostly superseded.

    Attributes:
        skipped: extended attributes in the journal while metadata_manager is off; the journal is
            not rewritten then, because that would lose them.
    """

    def __init__(
        self, tree: Tree, manager: TransactionManager, metadata: MetadataManager | None
    ) -> None:
        self._tree = tree
        self._manager = manager
        self._metadata = metadata
        self.skipped = 0
        self._retry_bytes = 0

    def replay(self) -> None:
        """Apply every operation of the journal to the empty tree.

        Raises:
            ConfigurationFault: the journal is whole but does not describe a filesystem.
        """
        try:
            for operation in self._manager.replay():
                self._apply(operation)
        except (OSError, KeyError, ValueError) as error:
            raise ConfigurationFault(f"the journal cannot be replayed: {error!r}") from error

    def _apply(self, done: Operation) -> None:
        tree, at = self._tree, done.attributes
        match done.kind:
            case Kind.CREATE:
                tree.make_file(tree.folder(done.parent), done.name, at, done.inode)
            case Kind.MKDIR:
                tree.make_folder(tree.folder(done.parent), done.name, at, done.inode)
            case Kind.WRITE:
                tree.write(tree.file(done.inode), done.offset, done.data, at.ctime_ns)
            case Kind.TRUNCATE:
                tree.truncate(tree.file(done.inode), done.offset, at.ctime_ns)
            case Kind.UNLINK:
                tree.unlink(tree.folder(done.parent), done.name, at.ctime_ns)
            case Kind.RMDIR:
                tree.rmdir(tree.folder(done.parent), done.name, at.ctime_ns)
            case Kind.RENAME:
                old, new = tree.folder(done.parent), tree.folder(done.new_parent)
                tree.rename(old, done.name, new, done.data, done.offset, at.ctime_ns)
            case Kind.SETATTR:
                tree.set_attributes(tree.node(done.inode), at)
            case Kind.SETXATTR | Kind.REMOVEXATTR:
                self._apply_xattr(done)

    def _apply_xattr(self, done: Operation) -> None:
        if self._metadata is None:
            self.skipped += 1
            return
        if done.kind == Kind.SETXATTR:
            self._metadata.setxattr(done.inode, done.name, done.data)
        else:
            self._metadata.removexattr(done.inode, done.name)
        self._metadata.touch(done.inode, done.attributes.ctime_ns, content=False)

    def checkpoint_if_due(self) -> None:
        """Rewrite the journal when it is long, and at least twice what it needs to be."""
        manager = self._manager
        if manager.depth or self.skipped or manager.journal_bytes < manager.checkpoint_bytes:
            return
        needed = self._tree.used_bytes + 3 * (RECORD_BYTES + 64) * len(self._tree.nodes)
        if manager.journal_bytes < max(2 * needed, self._retry_bytes):
            return
        try:
            self.checkpoint()
        except OSError:
            # The old journal is whole and still in use. Not again at the very next change.
            self._retry_bytes = 2 * manager.journal_bytes

    def checkpoint(self) -> None:
        """Write what is there now to a new journal and put it in the old one's place."""
        undo, self._tree.undo = self._tree.undo, None
        try:
            with self._manager.rewriting():
                self._record_all(self._tree.root)
        finally:
            self._tree.undo = undo

    def _record_all(self, root: Folder) -> None:
        """The root and all below it; attributes last, since filling a folder changes its times."""
        order: list[Node] = [root]
        for node in _below(root):
            order.append(node)
            assert node.parent is not None
            kind = Kind.MKDIR if isinstance(node, Folder) else Kind.CREATE
            self._manager.record(
                kind,
                inode=node.inode,
                parent=node.parent.inode,
                name=node.name,
                attributes=self._tree.attributes.get(node.inode),
                durable=False,
            )
            if isinstance(node, File):
                self._record_content(node)
        for node in order:
            self._record_attributes(node)

    def _record_content(self, file: File) -> None:
        now_ns = self._tree.attributes.get(file.inode).ctime_ns
        for offset in range(0, len(file.content), PIECE_BYTES):
            self._manager.record(
                Kind.WRITE,
                inode=file.inode,
                offset=offset,
                data=bytes(file.content[offset : offset + PIECE_BYTES]),
                now_ns=now_ns,
                durable=False,
            )

    def _record_attributes(self, node: Node) -> None:
        attributes = self._tree.attributes.get(node.inode)
        if self._metadata is not None:
            for name in self._metadata.listxattr(node.inode):
                self._manager.record(
                    Kind.SETXATTR,
                    inode=node.inode,
                    name=name,
                    data=self._metadata.getxattr(node.inode, name),
                    now_ns=attributes.ctime_ns,
                    durable=False,
                )
        self._manager.record(Kind.SETATTR, inode=node.inode, attributes=attributes, durable=False)


def _below(root: Folder) -> Iterator[Node]:
    """Everything below a folder, a folder before what is in it; without `_vexfs/`."""
    waiting = [root]
    while waiting:
        for node in waiting.pop().entries.values():
            if node.fixed:
                continue
            yield node
            if isinstance(node, Folder):
                waiting.append(node)
