"""LEB128 numbers and encoded pointers, as .eh_frame uses them.

Sources: DWARF 5, section 7.6; Linux Standard Base, "DWARF Extensions".
"""

from __future__ import annotations

import struct

ABSOLUTE = 0x00
RELATIVE_4 = 0x1B
"""Four signed bytes, relative to their own place: what every modern toolchain writes."""
OMITTED = 0xFF
_FORMATS = {0x00: "<Q", 0x02: "<H", 0x03: "<I", 0x04: "<Q", 0x0A: "<h", 0x0B: "<i", 0x0C: "<q"}
_MASK = (1 << 64) - 1
_LONGEST_LEB = 10


class EncodingError(ValueError):
    """The bytes are not what they should be; the caller knows where they are."""


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the index behind it."""
    value = 0
    for index in range(_LONGEST_LEB):
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise EncodingError("a number of more than ten bytes")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """A signed LEB128 number and the index behind it."""
    value, end = uleb(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> bits - 1 else value), end


def pointer_format(encoding: int) -> struct.Struct:
    """How the value part of an encoded pointer is stored.

    Raises:
        EncodingError: LEB128, unknown or indirect pointers; no linker writes them here.
    """
    kind = _FORMATS.get(encoding & 0x0F)
    if kind is None or encoding & 0x80:
        raise EncodingError(f"pointer encoding {encoding:#04x}")
    return struct.Struct(kind)


def pointer_base(encoding: int, own_address: int) -> int:
    """What is to be added to the stored value.

    Raises:
        EncodingError: relative to something that a file at rest does not say.
    """
    if encoding & 0x70 == 0x00:
        return 0
    if encoding & 0x70 == 0x10:
        return own_address
    raise EncodingError(f"pointer encoding {encoding:#04x}")


def resolve(encoding: int, stored: int, own_address: int) -> int:
    """The address that an encoded pointer at `own_address` means."""
    return pointer_base(encoding, own_address) + stored & _MASK
