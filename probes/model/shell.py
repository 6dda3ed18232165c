"""Answers FUSE requests from the tree, on one thread, one after the other."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from model import changes
from model.answering import handler
from model.attributes import Attributes
from model.handle import Handle
from model.nodes import (
    CAPACITY_BYTES,
    INODE_LIMIT,
    NAME_LIMIT_BYTES,
    File,
    Folder,
    Node,
    refuse,
)
from model.parts import Parts
from model.virtual import VirtualFile

BLOCK_BYTES = 4096


class Shell(pyfuse3.Operations):
    """The request handlers; what changes something is in `changes`."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts
        self._tree = parts.tree
        self._metadata = parts.metadata
        self._cache = parts.cache
        self._transactions = parts.transactions
        self._changes = changes.Changes(parts)
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1

    # -- attributes --------------------------------------------------------------------------

    def _entry(self, node: Node) -> EntryAttributes:
        found = self._tree.attributes.get(node.inode)
        entry = EntryAttributes()
        entry.st_ino = node.inode
        # Nothing may be answered from the kernel's memory: each system call is a request here.
        entry.entry_timeout = 0
        entry.attr_timeout = 0
        entry.st_mode = found.mode
        entry.st_nlink = self._tree.links(node)
        entry.st_uid = found.uid
        entry.st_gid = found.gid
        size = len(node.content) if isinstance(node, File) else BLOCK_BYTES
        entry.st_size = size
        entry.st_blksize = BLOCK_BYTES
        entry.st_blocks = (size + 511) // 512
        entry.st_atime_ns = found.atime_ns
        entry.st_mtime_ns = found.mtime_ns
        entry.st_ctime_ns = found.ctime_ns
        return entry

    def _known(self, node: Node) -> EntryAttributes:
        """The node's attributes for an answer that gives the kernel a reference to it."""
        entry = self._entry(node)
        node.lookups += 1
        return entry

    @handler
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find an entry."""
        return self._known(self._tree.lookup(self._tree.folder(parent_inode), name))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel gives references back."""
        for inode, count in inode_list:
            self._tree.forget(inode, count)
        self._settle()

    @handler
    def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """stat(2)."""
        return self._entry(self._tree.node(inode))

    @handler
    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """truncate(2), and with metadata_manager chmod, chown and utimensat."""
        node = self._tree.node(inode)
        now_ns = time.time_ns()
        owner = fields.update_mode or fields.update_uid or fields.update_gid
        times = (fields.update_atime or fields.update_mtime) and not fields.update_size
        if node.fixed:
            if owner or times:
                raise refuse(errno.EPERM)
            return self._entry(node)
        if (owner or times) and self._metadata is None:
            raise refuse(errno.EOPNOTSUPP)
        if fields.update_size:
            if not isinstance(node, File):
                raise refuse(errno.EISDIR)
            self._changes.truncate(node, attr.st_size, now_ns)
            if fh is not None:
                self._handles[fh].dirty = True
            else:
                self._changes.closed(node)
        if owner or times:
            before = self._tree.attributes.get(inode)
            after = _with_fields(before, attr, fields)._replace(ctime_ns=now_ns)
            self._changes.set_attributes(node, after)
        return self._entry(node)

    @handler
    def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """Room there is, in blocks and inodes."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = CAPACITY_BYTES // BLOCK_BYTES
        data.f_bfree = data.f_bavail = (CAPACITY_BYTES - self._tree.used_bytes) // BLOCK_BYTES
        data.f_files = INODE_LIMIT
        data.f_ffree = data.f_favail = INODE_LIMIT - len(self._tree.nodes)
        data.f_namemax = NAME_LIMIT_BYTES
        return data

    # -- entries -----------------------------------------------------------------------------

    def _new(self, mode: int, ctx: RequestContext) -> Attributes:
        now_ns = time.time_ns()
        return Attributes(mode, ctx.uid, ctx.gid, now_ns, now_ns, now_ns)

    @handler
    def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """mkdir(2)."""
        attributes = self._new(stat.S_IFDIR | stat.S_IMODE(mode), ctx)
        folder = self._tree.folder(parent_inode)
        return self._known(self._changes.make_folder(folder, name, attributes))

    @handler
    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """mknod(2) for regular files; EPERM for the others, as its manual page has it."""
        if not stat.S_ISREG(mode):
            raise refuse(errno.EPERM)
        attributes = self._new(stat.S_IFREG | stat.S_IMODE(mode), ctx)
        folder = self._tree.folder(parent_inode)
        return self._known(self._changes.make_file(folder, name, attributes))

    @handler
    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """open(2) of a file that was not there."""
        attributes = self._new(stat.S_IFREG | stat.S_IMODE(mode), ctx)
        folder = self._tree.folder(parent_inode)
        file = self._changes.make_file(folder, name, attributes)
        return self._opened(Handle(file, flags)), self._known(file)

    @handler
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """unlink(2)."""
        self._changes.unlink(self._tree.folder(parent_inode), name, time.time_ns())

    @handler
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """rmdir(2)."""
        self._changes.rmdir(self._tree.folder(parent_inode), name, time.time_ns())

    @handler
    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """renameat2(2)."""
        old, new = self._tree.folder(parent_inode_old), self._tree.folder(parent_inode_new)
        self._changes.rename(old, name_old, new, name_new, flags, time.time_ns())

    @handler
    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Hard links are not supported; the errno is the one link(2) gives for that."""
        raise refuse(errno.EPERM)

    @handler
    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Symbolic links are not supported; the errno is the one symlink(2) gives for that."""
        raise refuse(errno.EPERM)

    # -- folders -----------------------------------------------------------------------------

    @handler
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        """opendir(3)."""
        return self._open_handle(Handle(self._tree.folder(inode)))

    @handler
    def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Entries of a listing that is fixed when it begins: what is removed later is left out."""
        handle = self._handles[fh]
        folder = handle.node
        assert isinstance(folder, Folder)
        if start_id == 0:
            above = folder.parent or folder
            handle.listing = [(b".", folder), (b"..", above), *folder.entries.items()]
        entries = folder.entries
        listing = handle.listing
        for index in range(start_id, len(listing)):
            name, node = listing[index]
            if index < 2:
                if not pyfuse3.readdir_reply(token, name, self._entry(node), index + 1):
                    return
            elif entries.get(name) is node:
                if not pyfuse3.readdir_reply(token, name, self._entry(node), index + 1):
                    return
                node.lookups += 1

    @handler
    def releasedir(self, fh: int) -> None:
        """closedir(3)."""
        self._tree.closed(self._handles.pop(fh).node)
        self._settle()

    @handler
    def fsyncdir(self, fh: int, datasync: bool) -> None:
        """fsync(2) of a folder."""
        if self._transactions is not None:
            self._transactions.sync()

    # -- files -------------------------------------------------------------------------------

    def _open_handle(self, handle: Handle) -> int:
        number = self._next_handle
        self._next_handle += 1
        self._handles[number] = handle
        handle.node.opens += 1
        return number

    def _opened(self, handle: Handle) -> FileInfo:
        # Each read() is to be a request: the page cache stays out of it.
        return FileInfo(fh=self._open_handle(handle), direct_io=True, keep_cache=False)

    @handler
    def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """open(2) of a file that is there."""
        file = self._tree.file(inode)
        handle = Handle(file, flags)
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        if isinstance(file, VirtualFile):
            if writing and file.act is None:
                raise refuse(errno.EACCES)
        elif flags & os.O_TRUNC:
            self._changes.truncate(file, 0, time.time_ns())
            handle.dirty = True
        return self._opened(handle)

    @handler
    def read(self, fh: int, off: int, size: int) -> bytes:
        """Bytes of a file; through the cache when there is one."""
        handle = self._handles[fh]
        file = handle.node
        assert isinstance(file, File)
        if isinstance(file, VirtualFile):
            handle.act()
            if handle.content is None:
                handle.content = file.make()
            return handle.content[off : off + size]
        if self._cache is not None:
            return self._cache.read(file, off, size)
        return bytes(file.content[off : off + size])

    @handler
    def write(self, fh: int, off: int, buf: bytes) -> int:
        """All of the bytes, or an error and none of them."""
        handle = self._handles[fh]
        file = handle.node
        assert isinstance(file, File)
        if isinstance(file, VirtualFile):
            return handle.write_buffer(off, buf)
        if handle.append:
            off = len(file.content)
        self._changes.write(file, off, buf, time.time_ns())
        handle.dirty = True
        return len(buf)

    @handler
    def flush(self, fh: int) -> None:
        """close(2): components see what was written, and may refuse it; then it is durable."""
        handle = self._handles[fh]
        if isinstance(handle.node, VirtualFile):
            handle.act()
            return
        if handle.dirty:
            handle.dirty = False
            assert isinstance(handle.node, File)
            self._changes.closed(handle.node)
            if self._transactions is not None:
                self._transactions.sync()

    @handler
    def fsync(self, fh: int, datasync: bool) -> None:
        """fsync(2)."""
        if self._transactions is not None:
            self._transactions.sync()

    @handler
    def release(self, fh: int) -> None:
        """The last descriptor of a handle is gone."""
        node = self._handles.pop(fh).node
        self._tree.closed(node)
        if self._cache is not None and node.parent is None:
            self._cache.invalidate(node.inode)
        self._settle()

    def _settle(self) -> None:
        if self._transactions is not None:
            self._transactions.settle()

    # -- extended attributes -------------------------------------------------------------------

    @handler
    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        """setxattr(2); XATTR_CREATE and XATTR_REPLACE were looked after by pyfuse3."""
        self._changes.setxattr(self._tree.node(inode), name, value, time.time_ns())

    @handler
    def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """getxattr(2)."""
        if self._metadata is None:
            raise refuse(errno.ENOTSUP)
        return self._metadata.getxattr(self._tree.node(inode).inode, name)

    @handler
    def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """listxattr(2)."""
        if self._metadata is None:
            raise refuse(errno.ENOTSUP)
        return self._metadata.listxattr(self._tree.node(inode).inode)

    @handler
    def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        """removexattr(2)."""
        self._changes.removexattr(self._tree.node(inode), name, time.time_ns())


def _with_fields(
    before: Attributes, attr: EntryAttributes, fields: pyfuse3.SetattrFields
) -> Attributes:
    mode, uid, gid, atime_ns, mtime_ns, ctime_ns = before
    if fields.update_uid or fields.update_gid:
        uid = attr.st_uid if fields.update_uid else uid
        gid = attr.st_gid if fields.update_gid else gid
        if not stat.S_ISDIR(mode):
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if fields.update_mode:
        mode = stat.S_IFMT(mode) | stat.S_IMODE(attr.st_mode)
    if fields.update_atime:
        atime_ns = attr.st_atime_ns
    if fields.update_mtime:
        mtime_ns = attr.st_mtime_ns
    return Attributes(mode, uid, gid, atime_ns, mtime_ns, ctime_ns)
