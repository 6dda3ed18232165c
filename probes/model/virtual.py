"""The files of `_vexfs/`: control, stats, and what components add."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence

from model.attributes import Attributes
from model.extension import Extension
from model.nodes import FIRST_INODE, File, Folder, refuse
from model.tree import Tree

FOLDER_NAME = b"_vexfs"
FOLDER_INODE = 2
CONTENT_LIMIT_BYTES = 16 << 20


class VirtualFile(File):
    """A file whose content is made when it is read, and acted upon when it was written."""

    __slots__ = ("act", "make")

    def __init__(
        self,
        inode: int,
        make: Callable[[], bytes],
        act: Callable[[bytes], None] | None,
    ) -> None:
        super().__init__(inode)
        self.make = make
        self.act = act
        self.fixed = True


class VirtualFolder:
    """Puts `_vexfs/` into the tree and answers for its files."""

    def __init__(self, tree: Tree, extensions: Sequence[Extension], now_ns: int) -> None:
        self._extensions = extensions
        self._tree = tree
        root = tree.attributes.get(tree.root.inode)
        self._template = root._replace(atime_ns=now_ns, mtime_ns=now_ns, ctime_ns=now_ns)
        self.folder = Folder(FOLDER_INODE)
        self.folder.fixed = True
        self.folder.name, self.folder.parent = FOLDER_NAME, tree.root
        tree.root.entries[FOLDER_NAME] = self.folder
        tree.root.folders += 1
        tree.nodes[FOLDER_INODE] = self.folder
        tree.attributes.set(FOLDER_INODE, self._attributes(stat.S_IFDIR | 0o755))
        self._add(b"control", self._read_control, self._write_control)
        self._add(b"stats", self._read_stats, None)
        for extension in extensions:
            for name in extension.virtual_names:
                self._add_for(extension, name)

    def _attributes(self, mode: int) -> Attributes:
        return self._template._replace(mode=mode)

    def _add(
        self, name: bytes, make: Callable[[], bytes], act: Callable[[bytes], None] | None
    ) -> None:
        inode = FOLDER_INODE + 1 + len(self.folder.entries)
        assert inode < FIRST_INODE
        file = VirtualFile(inode, make, act)
        file.name, file.parent = name, self.folder
        self.folder.entries[name] = file
        self._tree.nodes[inode] = file
        mode = stat.S_IFREG | (0o644 if act else 0o444)
        self._tree.attributes.set(inode, self._attributes(mode))

    def _add_for(self, extension: Extension, name: str) -> None:
        def make() -> bytes:
            return extension.virtual(name) or b""

        def act(content: bytes) -> None:
            extension.virtual_write(name, content)

        self._add(name.encode(), make, act)

    def _read_stats(self) -> bytes:
        lines = {
            "components": " ".join(extension.name for extension in self._extensions),
            "inodes": str(len(self._tree.nodes)),
            "used_bytes": str(self._tree.used_bytes),
        }
        for extension in self._extensions:
            lines.update(extension.stats())
        return _lines(lines, ": ")

    def _read_control(self) -> bytes:
        lines: dict[str, str] = {}
        for extension in self._extensions:
            lines.update(extension.controls())
        return _lines(lines, "=")

    def _write_control(self, content: bytes) -> None:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise refuse(errno.EINVAL) from None
        for line in text.splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals or not any(one.control(key, value) for one in self._extensions):
                raise refuse(errno.EINVAL)


def _lines(values: dict[str, str], between: str) -> bytes:
    return "".join(f"{key}{between}{value}\n" for key, value in values.items()).encode()
