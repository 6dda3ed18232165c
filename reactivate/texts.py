"""Anybody's text, shown so that no terminal, editor or browser obeys it."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def visible(text: str) -> str:
    """The text with every control, direction and separator character written out: `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_named(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _named(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
