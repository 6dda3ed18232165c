"""File blocks in a bounded cache, kept in C."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping

from model.extension import Extension, Settings
from model.library import ConfigurationFault, Library, check
from model.nodes import File

BLOCK_BYTES = 4096
"""CACHE_BLOCK_BYTES of the C side."""

LAST_BLOCK = (1 << 64) - 1
READ_LIMIT_BLOCKS = 512
"""Blocks of one call; a longer read is taken in pieces."""

DEFAULT_CAPACITY_BYTES = 4 << 20

_COUNTS = struct.Struct("=QQQQQQ")


class CacheManager(Extension):
    """Reads go through it; whoever changes a file's bytes must `update` or `invalidate` them."""

    name = "cache_manager"

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        super().__init__(library, settings, peers)
        for key in settings:
            if key != "capacity_bytes":
                raise ConfigurationFault(f"[cache_manager] has no setting '{key}'")
        capacity_bytes = settings.get("capacity_bytes", DEFAULT_CAPACITY_BYTES)
        if not isinstance(capacity_bytes, int) or capacity_bytes < BLOCK_BYTES:
            raise ConfigurationFault(
                f"[cache_manager] capacity_bytes must be at least {BLOCK_BYTES}, "
                f"not {capacity_bytes!r}"
            )
        c = library.functions
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        c.cache_manager_create.argtypes = [number, pointer]
        c.cache_manager_destroy.argtypes = [pointer]
        c.cache_manager_destroy.restype = None
        blocks = (pointer, number, number, ctypes.c_uint32)
        c.cache_manager_read.argtypes = [*blocks, pointer]
        c.cache_manager_read.restype = ctypes.c_int64
        c.cache_manager_fill.argtypes = [*blocks, pointer, number, pointer]
        c.cache_manager_update.argtypes = [pointer, number, number, ctypes.c_char_p, number]
        c.cache_manager_update.restype = None
        c.cache_manager_invalidate.argtypes = [pointer, number, number, number]
        c.cache_manager_invalidate.restype = ctypes.c_int64
        c.cache_manager_counts.argtypes = [pointer, pointer]
        c.cache_manager_counts.restype = None
        self._c = c
        self._read = c.cache_manager_read
        cache = ctypes.c_void_p()
        check(c.cache_manager_create(capacity_bytes, ctypes.byref(cache)))
        self._cache = cache.value
        self._out = ctypes.create_string_buffer(READ_LIMIT_BLOCKS * BLOCK_BYTES)
        self._out_address = ctypes.addressof(self._out)

    def read(self, file: File, offset: int, size: int) -> bytes:
        """The bytes of a file, as far as it goes; blocks not held are fetched and kept."""
        end = min(offset + size, len(file.content))
        if offset >= end:
            return b""
        limit_bytes = READ_LIMIT_BLOCKS * BLOCK_BYTES
        if end - offset <= limit_bytes - BLOCK_BYTES:
            return self._read_piece(file, offset, end)
        pieces = []
        while offset < end:
            stop = min(end, offset - offset % BLOCK_BYTES + limit_bytes)
            pieces.append(self._read_piece(file, offset, stop))
            offset = stop
        return b"".join(pieces)

    def _read_piece(self, file: File, offset: int, end: int) -> bytes:
        first = offset // BLOCK_BYTES
        count = (end - 1) // BLOCK_BYTES - first + 1
        out = self._out_address
        if self._read(self._cache, file.inode, first, count, out):
            content = ctypes.c_char.from_buffer(file.content)
            self._c.cache_manager_fill(
                self._cache,
                file.inode,
                first,
                count,
                ctypes.addressof(content),
                len(file.content),
                out,
            )
        skip = offset - first * BLOCK_BYTES
        taken: bytes = self._out[skip : skip + end - offset]  # type: ignore[assignment]
        return taken

    def update(self, inode: int, offset: int, data: bytes) -> None:
        """Bytes were written; what is held of them follows."""
        self._c.cache_manager_update(self._cache, inode, offset, data, len(data))

    def invalidate(self, inode: int, start: int = 0, end: int | None = None) -> None:
        """Bytes from `start` to before `end` (None: to the end of the file) are not as before."""
        last = LAST_BLOCK if end is None else max(end - 1, start) // BLOCK_BYTES
        self._c.cache_manager_invalidate(self._cache, inode, start // BLOCK_BYTES, last)

    def stats(self) -> dict[str, str]:
        """Hits, misses, and what is held."""
        counts = ctypes.create_string_buffer(_COUNTS.size)
        self._c.cache_manager_counts(self._cache, counts)
        hits, misses, evictions, entries, held_bytes, capacity_bytes = _COUNTS.unpack(counts)
        return {
            "cache_hits": str(hits),
            "cache_misses": str(misses),
            "cache_evictions": str(evictions),
            "cache_entries": str(entries),
            "cache_bytes": str(held_bytes),
            "cache_capacity_bytes": str(capacity_bytes),
        }

    def close(self) -> None:
        """Free the cache."""
        self._c.cache_manager_destroy(self._cache)
        self._cache = None
