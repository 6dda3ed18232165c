"""Puts the filesystem together from the library, the configuration and the asked components."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from model.attributes import AttributeStore, PlainAttributes
from model.cache_manager import CacheManager
from model.extension import Extension, Settings
from model.hooks import Hooks
from model.library import COMPONENTS, ConfigurationFault, Library
from model.metadata_manager import MetadataManager
from model.recovery import Recovery
from model.transaction_manager import TransactionManager
from model.tree import Tree
from model.virtual import VirtualFolder

NEEDS = {"search_engine": "vector_storage"}

T = TypeVar("T")

CLASSES = {
    "vector_storage": "VectorStorage",
    "search_engine": "SearchEngine",
    "metadata_manager": "MetadataManager",
    "cache_manager": "CacheManager",
    "transaction_manager": "TransactionManager",
}
"""The class of each component in the module of its name."""


class Parts:
    """Everything a mounted filesystem consists of."""

    def __init__(
        self,
        library: Library,
        asked: Sequence[str],
        settings: Mapping[str, Settings],
        backing: Path | None,
        uid: int,
        gid: int,
    ) -> None:
        """Start the components in the order asked for, and rebuild the tree from the journal.

        Raises:
            ConfigurationFault: something does not fit together.
        """
        library.require(asked)
        for index, name in enumerate(asked):
            if NEEDS.get(name, name) not in asked:
                raise ConfigurationFault(f"{name} needs {NEEDS[name]}")
            if NEEDS.get(name, name) not in asked[: index + 1]:
                raise ConfigurationFault(f"{name} must be started after {NEEDS[name]}")
        if "transaction_manager" in asked and backing is None:
            raise ConfigurationFault("transaction_manager needs --backing FOLDER for its journal")
        self.extensions: list[Extension] = []
        try:
            self._start(library, asked, settings)
            self._build(backing, uid, gid)
        except BaseException:
            self.close()
            raise

    def _start(
        self, library: Library, asked: Sequence[str], settings: Mapping[str, Settings]
    ) -> None:
        peers: dict[str, Extension] = {}
        for name in dict.fromkeys(asked):
            kind = getattr(import_module(f"model.{name}"), CLASSES[name])
            peers[name] = kind(library, settings.get(name, {}), dict(peers))
            self.extensions.append(peers[name])
        # Which one is asked first about a file does not depend on who was started first.
        self._in_turn = [peers[name] for name in COMPONENTS if name in peers]
        self.metadata = _as(peers.get("metadata_manager"), MetadataManager)
        self.cache = _as(peers.get("cache_manager"), CacheManager)
        self.transactions = _as(peers.get("transaction_manager"), TransactionManager)

    def _build(self, backing: Path | None, uid: int, gid: int) -> None:
        now_ns = time.time_ns()
        store: AttributeStore = self.metadata or PlainAttributes()
        self.tree = Tree(store, now_ns, uid, gid)
        self.virtual = VirtualFolder(self.tree, self._in_turn, now_ns)
        self.hooks = Hooks(self.tree, self._in_turn)
        self.recovery: Recovery | None = None
        if self.transactions is not None and backing is not None:
            self.recovery = Recovery(self.tree, self.transactions, self.metadata)
            self.transactions.open(backing)
            self.recovery.replay()
            self.transactions.follow(self.tree)
        if self.hooks:
            self.hooks.loaded(list(self.tree.files(self.tree.root)))

    def close(self) -> None:
        """Close every component, the last one first."""
        while self.extensions:
            self.extensions.pop().close()


def _as(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None


def read_settings(path: Path | None) -> dict[str, Settings]:
    """The sections of a configuration file, one per component.

    Raises:
        ConfigurationFault: the file cannot be read, is no TOML, or has an unknown section.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            sections = tomllib.load(file)
    except OSError as error:
        raise ConfigurationFault(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationFault(f"{path}: {error}") from error
    for name, section in sections.items():
        if name not in COMPONENTS:
            raise ConfigurationFault(f"{path}: no component is called '{name}'")
        if not isinstance(section, dict):
            raise ConfigurationFault(f"{path}: '{name}' must be a section, [{name}]")
    return sections
