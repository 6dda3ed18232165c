"""Mode, owner, times and extended attributes, kept in C."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable, Mapping

from model.attributes import Attributes
from model.extension import Extension, Settings
from model.library import ConfigurationFault, Library, check

VALUE_LIMIT_BYTES = 65536
"""Longest value of an extended attribute; as VALUE_LIMIT_BYTES in metadata_manager.c."""

_FIXED = struct.Struct("=IIIIqqq")
"""struct metadata_attributes."""

_COUNTS = struct.Struct("=QQQ")


class MetadataManager(Extension):
    """Keeps the attributes of every inode; an AttributeStore for the tree."""

    name = "metadata_manager"

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        super().__init__(library, settings, peers)
        if settings:
            raise ConfigurationFault(f"[metadata_manager] has no setting '{next(iter(settings))}'")
        c = library.functions
        pointer, number, size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t
        text, whole = ctypes.c_char_p, ctypes.c_int
        c.metadata_manager_create.argtypes = [pointer]
        c.metadata_manager_destroy.argtypes = [pointer]
        c.metadata_manager_destroy.restype = None
        c.metadata_manager_set.argtypes = [pointer, number, pointer]
        c.metadata_manager_get.argtypes = [pointer, number, pointer]
        c.metadata_manager_touch.argtypes = [pointer, number, ctypes.c_int64, whole]
        c.metadata_manager_drop.argtypes = [pointer, number]
        c.metadata_manager_setxattr.argtypes = [pointer, number, text, size, text, size, whole]
        c.metadata_manager_getxattr.argtypes = [pointer, number, text, size, pointer, size]
        c.metadata_manager_getxattr.restype = ctypes.c_int64
        c.metadata_manager_listxattr.argtypes = [pointer, number, pointer, size]
        c.metadata_manager_listxattr.restype = ctypes.c_int64
        c.metadata_manager_removexattr.argtypes = [pointer, number, text, size]
        c.metadata_manager_counts.argtypes = [pointer, pointer]
        c.metadata_manager_counts.restype = None
        self._c = c
        # What was last read of an inode, until it changes: stat(2) asks three times for one.
        self._decoded: dict[int, Attributes] = {}
        store = ctypes.c_void_p()
        check(c.metadata_manager_create(ctypes.byref(store)))
        self._store = store.value
        # One buffer for all calls: the filesystem has one thread.
        self._buffer = ctypes.create_string_buffer(VALUE_LIMIT_BYTES)
        self._buffer_address = ctypes.addressof(self._buffer)

    def get(self, inode: int) -> Attributes:
        """Attributes of an inode that was set before; KeyError otherwise."""
        known = self._decoded.get(inode)
        if known is not None:
            return known
        if self._c.metadata_manager_get(self._store, inode, self._buffer_address) < 0:
            raise KeyError(inode)
        mode, uid, gid, _, atime_ns, mtime_ns, ctime_ns = _FIXED.unpack_from(self._buffer)
        found = Attributes(mode, uid, gid, atime_ns, mtime_ns, ctime_ns)
        self._decoded[inode] = found
        return found

    def set(self, inode: int, attributes: Attributes) -> None:
        """Replace, or begin to keep, the attributes of an inode."""
        self._decoded.pop(inode, None)
        mode, uid, gid, atime_ns, mtime_ns, ctime_ns = attributes
        _FIXED.pack_into(self._buffer, 0, mode, uid, gid, 0, atime_ns, mtime_ns, ctime_ns)
        check(self._c.metadata_manager_set(self._store, inode, self._buffer_address))

    def touch(self, inode: int, now_ns: int, *, content: bool) -> None:
        """Set ctime, and mtime too when the content or the entries changed."""
        self._decoded.pop(inode, None)
        check(self._c.metadata_manager_touch(self._store, inode, now_ns, content))

    def drop(self, inode: int) -> None:
        """Forget an inode with its extended attributes."""
        self._decoded.pop(inode, None)
        check(self._c.metadata_manager_drop(self._store, inode))

    def remember(self, inode: int) -> Callable[[], None]:
        """What brings an inode back, with its extended attributes, after it was dropped."""
        attributes = self.get(inode)
        xattrs = [(name, self.getxattr(inode, name)) for name in self.listxattr(inode)]

        def bring_back() -> None:
            self.set(inode, attributes)
            for name, value in xattrs:
                self.setxattr(inode, name, value)

        return bring_back

    def setxattr(self, inode: int, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; flags as of setxattr(2)."""
        check(
            self._c.metadata_manager_setxattr(
                self._store, inode, name, len(name), value, len(value), flags
            )
        )

    def getxattr(self, inode: int, name: bytes) -> bytes:
        """Value of an extended attribute; ENODATA when there is none."""
        size = self._c.metadata_manager_getxattr(
            self._store, inode, name, len(name), self._buffer_address, VALUE_LIMIT_BYTES
        )
        return ctypes.string_at(self._buffer_address, check(size))

    def find_xattr(self, inode: int, name: bytes) -> bytes | None:
        """Value of an extended attribute, or None."""
        try:
            return self.getxattr(inode, name)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return None

    def listxattr(self, inode: int) -> list[bytes]:
        """Names of the extended attributes."""
        size = check(self._c.metadata_manager_listxattr(self._store, inode, None, 0))
        if size == 0:
            return []
        names = ctypes.create_string_buffer(size)
        check(self._c.metadata_manager_listxattr(self._store, inode, names, size))
        return names.raw[:-1].split(b"\0")

    def removexattr(self, inode: int, name: bytes) -> None:
        """Remove an extended attribute; ENODATA when there is none."""
        check(self._c.metadata_manager_removexattr(self._store, inode, name, len(name)))

    def stats(self) -> dict[str, str]:
        """Inodes and extended attributes held."""
        self._c.metadata_manager_counts(self._store, self._buffer_address)
        inodes, xattrs, xattr_bytes = _COUNTS.unpack_from(self._buffer)
        return {
            "metadata_inodes": str(inodes),
            "metadata_xattrs": str(xattrs),
            "metadata_xattr_bytes": str(xattr_bytes),
        }

    def close(self) -> None:
        """Free the store."""
        self._c.metadata_manager_destroy(self._store)
        self._store = None
