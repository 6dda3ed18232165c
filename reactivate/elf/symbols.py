"""Names of addresses, from .symtab or, in a stripped binary, from .dynsym."""

from __future__ import annotations

import struct
from collections.abc import Collection

from reactivate.elf.image import Image, Section

_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _DYNSYM = 2, 11
_FUNCTION_KINDS = frozenset((0, 2, 10))  # no type (assembly), function, resolver of an ifunc
_LONGEST_NAME_BYTES = 1 << 14
_REPEATS = 16
"""Names may share their ends; more than so many times the table is an attack."""


class Symbols:
    """The function symbols of a binary."""

    def __init__(self, image: Image) -> None:
        self._image = image
        first = {s.kind: s for s in reversed(image.sections) if s.size_bytes}
        self._tables = [
            (first[kind], self._entries(first[kind]))
            for kind in (_SYMTAB, _DYNSYM)
            if kind in first
        ]
        self.stripped = not any(section.kind == _SYMTAB for section, _ in self._tables)

    def functions(self) -> set[int]:
        """Addresses of all defined symbols that say that they are functions."""
        return {
            value
            for _, raw in self._tables
            for _, info, _, section, value, size in _SYMBOL.iter_unpack(raw)
            if info & 15 == 2 and section and size
        }

    def names(self, addresses: Collection[int]) -> dict[int, str]:
        """The best name of each address that has one, as it is stored (mangled).

        Of several at one address: global before local, without leading underscores before with,
        then the shortest.
        """
        wanted = addresses if isinstance(addresses, (set, frozenset, dict)) else set(addresses)
        best: dict[int, tuple[tuple[bool, int, int, bytes], str]] = {}
        for section, raw in self._tables:
            strings = self._strings(section)
            budget = _REPEATS * len(strings) + _LONGEST_NAME_BYTES
            for at, info, _, index, value, _ in _SYMBOL.iter_unpack(raw):
                if value not in wanted or not index or info & 15 not in _FUNCTION_KINDS:
                    continue
                end = strings.find(b"\0", at, at + _LONGEST_NAME_BYTES)
                name = strings[at : end if end >= 0 else at + _LONGEST_NAME_BYTES]
                budget -= len(name)
                if budget < 0:
                    raise self._image.damaged("the names of its symbols overlap")
                if not name:
                    continue
                underscores = len(name) - len(name.lstrip(b"_"))
                rank = (info >> 4 == 0, underscores, len(name), name)
                if value not in best or rank < best[value][0]:
                    best[value] = (rank, printable(name))
        return {address: name for address, (_, name) in best.items()}

    def address(self, name: str) -> int | None:
        """Address of the function of this name, as it is stored (mangled); None without one."""
        wanted = name.encode() + b"\0"
        for section, raw in self._tables:
            strings = self._strings(section)
            for at, info, _, index, value, _ in _SYMBOL.iter_unpack(raw):
                if index and info & 15 in (2, 10) and strings.startswith(wanted, at):
                    return int(value)
        return None

    def _entries(self, section: Section) -> bytes:
        raw = self._image.content(section)
        return raw[: len(raw) // _SYMBOL.size * _SYMBOL.size]

    def _strings(self, section: Section) -> bytes:
        if not 0 < section.link < len(self._image.sections):
            raise self._image.damaged(f"section {section.name} has no table of names")
        return self._image.content(self._image.sections[section.link])


def printable(name: bytes) -> str:
    """Text without control characters: a name must not steer the terminal it is shown on."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
