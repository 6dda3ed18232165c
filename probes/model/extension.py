"""What a component may do for the shell: the hooks, all optional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from model.library import Library

Settings = Mapping[str, object]


class Extension:
    """Python side of one component; made only when the library really holds the component.

    A hook refuses by raising `OSError(errno, text)` (or pyfuse3's FUSEError); the caller of the
    system call gets that errno. Paths are relative to the mount point, without a leading slash.

    Attributes:
        name: the component's name, as on the command line and in the configuration.
        virtual_names: files of `_vexfs/` this component answers for, for example `("search",)`.
    """

    name: ClassVar[str]
    virtual_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        """Start the component.

        Args:
            library: the loaded library; `library.functions` is the ctypes object.
            settings: the component's own section of the configuration, may be empty.
            peers: components that were started before this one, by name.

        Raises:
            ConfigurationFault: a setting is unknown or out of range.
        """
        self.library = library
        self.settings = settings
        self.peers = peers

    def closed(self, path: str, content: bytes) -> bytes | None:
        """A written file is closed; content to replace the file's, or None to keep it."""
        return None

    def loaded(self, path: str, content: bytes) -> None:
        """A file was there when the filesystem was mounted (rebuilt from the journal)."""
        self.closed(path, content)

    def removed(self, path: str) -> None:
        """A file is gone: unlinked, or replaced by a rename."""

    def renamed(self, old: str, new: str) -> None:
        """A file has another path; called for each file when a folder moves.

        Only when the last suffix stays the same; otherwise the shell calls `closed` with the new
        path (before the rename, so that it can be refused) and then `removed` with the old.
        """

    def virtual(self, name: str) -> bytes | None:
        """Content of `_vexfs/NAME` for a reader that opens it now."""
        return None

    def virtual_write(self, name: str, content: bytes) -> None:
        """All that a writer of `_vexfs/NAME` wrote before it closed or began to read."""

    def controls(self) -> dict[str, str]:
        """What `_vexfs/control` shows for this component: present values by key."""
        return {}

    def control(self, key: str, value: str) -> bool:
        """A `key=value` line written to `_vexfs/control`; False when the key is not ours."""
        return False

    def stats(self) -> dict[str, str]:
        """Lines for `_vexfs/stats`."""
        return {}

    def close(self) -> None:
        """The filesystem is unmounted; give everything back."""
