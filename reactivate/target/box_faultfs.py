"""A folder that breaks: a FUSE mirror whose writing ends in EIO. Run as a file, never imported.

Arguments: FOLDER MOUNTPOINT BYTES. Everything is passed on to FOLDER until BYTES bytes have been
written in all; from then on whatever would change something or make it durable answers EIO, as a
disk does that takes no more writes. Reading goes on. Nothing is cached by the kernel, so that an
error reaches the caller that caused it.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import FUSEError

P = ParamSpec("P")
T = TypeVar("T")

_TIMES = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")
_SAME = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", *_TIMES)


def passed_on(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """An error of the folder below is the answer."""

    @functools.wraps(method)
    async def answer(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await method(*arguments, **named)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None

    return answer


class Breaking(pyfuse3.Operations):
    """Inode numbers stand for paths; handles are file descriptors of the folder below."""

    enable_writeback_cache = False

    def __init__(self, folder: bytes, after_bytes: int) -> None:
        super().__init__()
        self._paths = {pyfuse3.ROOT_INODE: folder}
        self._inodes = {folder: pyfuse3.ROOT_INODE}
        self._listings: dict[int, list[bytes]] = {}
        self._last = int(pyfuse3.ROOT_INODE)
        self._left_bytes = after_bytes

    def _writes(self, length_bytes: int = 0) -> None:
        self._left_bytes -= length_bytes
        if self._left_bytes < 0 or (self._left_bytes == 0 and not length_bytes):
            raise FUSEError(errno.EIO)

    def _join(self, parent: int, name: bytes) -> bytes:
        return os.path.join(self._paths[parent], name)  # noqa: PTH118 - names are bytes

    def _entry(self, path: bytes) -> Any:
        if path not in self._inodes:
            self._last += 1
            self._inodes[path] = self._last
            self._paths[self._last] = path
        return self._attributes(self._inodes[path], os.lstat(path))

    def _attributes(self, inode: int, found: os.stat_result) -> Any:
        entry = pyfuse3.EntryAttributes()
        for name in _SAME:
            setattr(entry, name, getattr(found, name))
        entry.st_ino = inode
        entry.st_blksize = 4096
        entry.st_blocks = found.st_blocks
        entry.entry_timeout = entry.attr_timeout = 0
        return entry

    def _move(self, old: bytes, new: bytes) -> None:
        self._inodes.pop(new, None)
        for path in [p for p in self._inodes if p == old or p.startswith(old + b"/")]:
            inode = self._inodes.pop(path)
            self._paths[inode] = new + path[len(old) :]
            self._inodes[self._paths[inode]] = inode

    # -- names -------------------------------------------------------------------------------

    @passed_on
    async def lookup(self, parent: int, name: bytes, ctx: Any) -> Any:
        """Find an entry."""
        return self._entry(self._join(parent, name))

    async def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """Paths are kept for as long as this process lives."""

    @passed_on
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: Any) -> Any:
        """Make a folder."""
        self._writes()
        path = self._join(parent, name)
        os.mkdir(path, mode & ~ctx.umask)  # noqa: PTH102
        return self._entry(path)

    @passed_on
    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        """Remove a file."""
        self._writes()
        path = self._join(parent, name)
        os.unlink(path)  # noqa: PTH108
        self._inodes.pop(path, None)

    @passed_on
    async def rmdir(self, parent: int, name: bytes, ctx: Any) -> None:
        """Remove a folder."""
        self._writes()
        path = self._join(parent, name)
        os.rmdir(path)  # noqa: PTH106
        self._inodes.pop(path, None)

    @passed_on
    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, ctx: Any
    ) -> None:
        """Move within the folder below."""
        self._writes()
        if flags:
            raise FUSEError(errno.EINVAL)
        old, new = self._join(parent, name), self._join(new_parent, new_name)
        os.rename(old, new)  # noqa: PTH104
        self._move(old, new)

    # -- attributes --------------------------------------------------------------------------

    @passed_on
    async def getattr(self, inode: int, ctx: Any) -> Any:
        """Read attributes."""
        return self._attributes(inode, os.lstat(self._paths[inode]))

    @passed_on
    async def setattr(self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any) -> Any:
        """Change attributes, the size among them."""
        self._writes()
        path = self._paths[inode]
        if fields.update_size:
            os.truncate(path if fh is None else fh, attr.st_size)
        if fields.update_mode:
            os.chmod(path, stat.S_IMODE(attr.st_mode))  # noqa: PTH101
        if fields.update_uid or fields.update_gid:
            uid = attr.st_uid if fields.update_uid else -1
            os.chown(path, uid, attr.st_gid if fields.update_gid else -1)
        if fields.update_atime or fields.update_mtime:
            now = os.lstat(path)
            atime = attr.st_atime_ns if fields.update_atime else now.st_atime_ns
            os.utime(path, ns=(atime, attr.st_mtime_ns if fields.update_mtime else now.st_mtime_ns))
        return self._attributes(inode, os.lstat(path))

    @passed_on
    async def statfs(self, ctx: Any) -> Any:
        """Room below."""
        found, answer = os.statvfs(self._paths[pyfuse3.ROOT_INODE]), pyfuse3.StatvfsData()
        for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files"):
            setattr(answer, name, getattr(found, name))
        answer.f_ffree, answer.f_favail, answer.f_namemax = found.f_ffree, found.f_favail, 255
        return answer

    # -- files -------------------------------------------------------------------------------

    @passed_on
    async def create(self, parent: int, name: bytes, mode: int, flags: int, ctx: Any) -> Any:
        """Make and open a file."""
        self._writes()
        path = self._join(parent, name)
        descriptor = os.open(path, flags & ~os.O_APPEND | os.O_CREAT, mode & ~ctx.umask)
        return pyfuse3.FileInfo(fh=descriptor), self._entry(path)

    @passed_on
    async def open(self, inode: int, flags: int, ctx: Any) -> Any:
        """Open a file."""
        return pyfuse3.FileInfo(fh=os.open(self._paths[inode], _below(flags)))

    @passed_on
    async def read(self, fh: int, offset: int, size: int) -> bytes:
        """Read."""
        return os.pread(fh, size, offset)

    @passed_on
    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Write, until the allowance is used up."""
        self._writes(len(data))
        return os.pwrite(fh, data, offset)

    @passed_on
    async def fsync(self, fh: int, datasync: bool) -> None:
        """Make durable."""
        self._writes()
        os.fsync(fh)

    @passed_on
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Make durable."""
        self._writes()

    async def flush(self, fh: int) -> None:
        """Nothing is held back here."""

    @passed_on
    async def release(self, fh: int) -> None:
        """Close."""
        os.close(fh)

    # -- folders -----------------------------------------------------------------------------

    @passed_on
    async def opendir(self, inode: int, ctx: Any) -> int:
        """List a folder."""
        self._listings[inode] = sorted(os.listdir(self._paths[inode]))  # noqa: PTH208
        return inode

    @passed_on
    async def readdir(self, fh: int, start: int, token: Any) -> None:
        """Hand out the listing."""
        for number, name in list(enumerate(self._listings[fh], 1))[start:]:
            try:
                entry = self._entry(self._join(fh, name))
            except FileNotFoundError:
                continue  # went away since the folder was opened
            if not pyfuse3.readdir_reply(token, name, entry, number):
                return

    async def releasedir(self, fh: int) -> None:
        """The next opendir of this folder lists it anew."""


def _below(flags: int) -> int:
    # The kernel seeks to the end for O_APPEND itself, and pwrite(2) would not heed the offset.
    return (flags & ~(os.O_APPEND | os.O_CREAT | os.O_EXCL)) | os.O_CLOEXEC


async def _serve(folder: bytes, mountpoint: str, after_bytes: int) -> None:
    options = {*pyfuse3.default_options, "fsname=breaking", "subtype=breaking"}
    pyfuse3.init(Breaking(folder, after_bytes), mountpoint, options)
    try:
        await pyfuse3.main(min_tasks=1, max_tasks=1)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    trio.run(_serve, os.fsencode(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
