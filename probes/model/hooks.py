"""Tells the components what happened to files, in the words of the extension contract."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from model.extension import Extension
from model.nodes import File, Node
from model.tree import Tree


class Hooks:
    """The extensions that want to hear about files; false when there is none.

    Attributes:
        not_loaded: files that were there at mount and that a component did not accept.
    """

    def __init__(self, tree: Tree, extensions: Iterable[Extension]) -> None:
        self._tree = tree
        self._listeners: Sequence[Extension] = tuple(
            one for one in extensions if type(one).closed is not Extension.closed
        )
        self.not_loaded = 0

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def closed(self, file: File) -> bytes | None:
        """A written file is closed; the content to put in place of its own, or None."""
        path = self._tree.path(file)
        return None if path is None else self.closed_at(path, bytes(file.content))

    def closed_at(self, path: str, content: bytes) -> bytes | None:
        """The same for a path and content that need not be in the tree yet."""
        replacement = None
        for listener in self._listeners:
            answer = listener.closed(path, content)
            if answer is not None:
                content = replacement = answer
        return replacement

    def removed(self, path: str) -> None:
        """A file is gone."""
        for listener in self._listeners:
            listener.removed(path)

    def renamed(self, old: str, new: str) -> None:
        """A file has another path, with the same suffix."""
        for listener in self._listeners:
            listener.renamed(old, new)

    def loaded(self, files: Iterable[File]) -> None:
        """Files are there that were not written through the mount since it began."""
        for file in files:
            path = self._tree.path(file)
            if path is None:
                continue
            for listener in self._listeners:
                try:
                    listener.loaded(path, bytes(file.content))
                except OSError as error:
                    # It was refused at its close, too, and has stayed a plain file.
                    self.not_loaded += 1
                    print(f"model: {listener.name}: {path}: {error}", file=sys.stderr)

    def files_at(self, nodes: Iterable[Node]) -> list[tuple[str, File]]:
        """Every linked file at or below the nodes, with its path now."""
        found: dict[int, tuple[str, File]] = {}
        for node in nodes:
            for file in self._tree.files(node):
                path = self._tree.path(file)
                if path is not None:
                    found[file.inode] = (path, file)
        return list(found.values())


def same_suffix(old: bytes, new: bytes) -> bool:
    """Whether two names mean the same kind of file to the components."""
    return PurePosixPath(_text(old)).suffix == PurePosixPath(_text(new)).suffix


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
