"""Open files and folders."""

from __future__ import annotations

import errno
import os

from model.nodes import Node, refuse
from model.virtual import CONTENT_LIMIT_BYTES, VirtualFile


class Handle:
    """An open file or folder.

    Attributes:
        dirty: written since the components last saw the file.
        buffer: what was written to a file of `_vexfs/`.
        content: what a file of `_vexfs/` said when it was first read through this handle.
        listing: the folder's entries when the listing began.
    """

    __slots__ = ("append", "buffer", "content", "dirty", "listing", "node")

    def __init__(self, node: Node, flags: int = 0) -> None:
        self.node = node
        self.append = bool(flags & os.O_APPEND)
        self.dirty = False
        self.buffer: bytearray | None = None
        self.content: bytes | None = None
        self.listing: list[tuple[bytes, Node]] = []

    def write_buffer(self, offset: int, data: bytes) -> int:
        """Gather what is written to a file of `_vexfs/`; it is acted upon later."""
        if offset + len(data) > CONTENT_LIMIT_BYTES:
            raise refuse(errno.EFBIG)
        if self.buffer is None:
            self.buffer = bytearray()
        if offset > len(self.buffer):
            self.buffer.extend(bytes(offset - len(self.buffer)))
        self.buffer[offset : offset + len(data)] = data
        return len(data)

    def act(self) -> None:
        """Do what was written to a file of `_vexfs/`, once."""
        node = self.node
        if self.buffer is None or not isinstance(node, VirtualFile) or node.act is None:
            return
        content, self.buffer, self.content = bytes(self.buffer), None, None
        node.act(content)
