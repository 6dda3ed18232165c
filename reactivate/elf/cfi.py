"""Walks .eh_frame and .debug_frame: where each function begins, and what its table says.

Sources: DWARF 5, section 6.4.1; Linux Standard Base, "Exception Frames".

Most functions share their program with others (`push`, `sub`, `add`, `pop` at the same places),
so a program is executed once for each distinct run of bytes; that is what makes this fast.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from reactivate.elf.encoding import (
    ABSOLUTE,
    OMITTED,
    RELATIVE_4,
    EncodingError,
    pointer_format,
    resolve,
    sleb,
    uleb,
)
from reactivate.elf.image import Image
from reactivate.elf.rows import Factors, Rows, Start, execute, initial

_COMMON = struct.Struct("<IIiI")
_U32 = struct.Struct("<I")
_LONG_LENGTH = 0xFFFFFFFF
_GNU_EH_FRAME = 0x6474E550


@dataclass(frozen=True, slots=True, kw_only=True)
class Cie:
    """What a group of functions has in common, and the programs of theirs that were executed."""

    factors: Factors
    start: Start
    encoding: int
    augmented: bool
    signal: bool
    known: dict[bytes, Rows] = field(default_factory=dict)

    def rows(self, program: bytes) -> Rows:
        """The table of a program."""
        rows = execute(program, self.start, self.factors)
        self.known[program] = rows
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The frame information of one section, in the order it is stored.

    Attributes:
        section: where it was found.
        functions: address → (bytes of code, rows).
        left_out: entries that describe no function: linkage tables, signal frames, and code
            that the linker dropped.
    """

    section: str
    functions: dict[int, tuple[int, Rows]]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The bytes of one section. `exception` tells .eh_frame from .debug_frame."""

    name: str
    data: bytes
    address: int
    exception: bool
    terminated: bool = False


def read_tables(image: Image) -> list[Table]:
    """All frame information of a binary.

    Raises:
        BinaryError: it is damaged.
    """
    tables = []
    for source in _sources(image):
        try:
            tables.append(_Walk(image, source).table())
        except EncodingError as error:
            raise image.damaged(f"{source.name}: {error}") from error
    return tables


def _sources(image: Image) -> list[_Source]:
    found = []
    for name in (".eh_frame", ".debug_frame"):
        section = image.section(name)
        if section is not None:
            data = image.content(section)
            found.append(
                _Source(
                    name=name,
                    data=data,
                    address=section.address,
                    exception=name == ".eh_frame",
                )
            )
    if not image.sections:
        found += _without_sections(image)
    return found


def _without_sections(image: Image) -> list[_Source]:
    """.eh_frame by way of the program header that the unwinder of the C library uses."""
    for segment in image.segments:
        if segment.kind != _GNU_EH_FRAME:
            continue
        head = image.code(segment.address, 12)
        try:
            form = pointer_format(head[1])
            (stored,) = form.unpack_from(head, 4)
            address = resolve(head[1], stored, segment.address + 4)
        except (EncodingError, IndexError, struct.error) as error:
            raise image.damaged(f".eh_frame_hdr: {error}") from error
        for loaded in image.segments:
            into = address - loaded.address
            if loaded.kind == 1 and 0 <= into < loaded.file_bytes:
                data = image.code(address, loaded.file_bytes - into)
                return [
                    _Source(
                        name=".eh_frame", data=data, address=address, exception=True,
                        terminated=True,
                    )
                ]  # fmt: skip
    return []


class _Walk:
    """One pass over one section."""

    def __init__(self, image: Image, source: _Source) -> None:
        self._image = image
        self._source = source
        self._lowest, self._highest = image.executable_range()
        self._cies: dict[int, Cie] = {}
        self._usual: dict[int, Cie] = {}  # those of them that `_fast` understands
        self._functions: dict[int, tuple[int, Rows]] = {}
        self._left_out = 0

    def table(self) -> Table:
        """Walk to the end.

        Raises:
            EncodingError: an entry makes no sense; says which.
        """
        at = 0
        try:
            while at + 4 <= len(self._source.data):
                following = self._fast(at)
                if following == at:
                    following = self._entry(at)
                if following < 0:
                    break
                at = following
        except (EncodingError, IndexError, struct.error) as error:
            raise EncodingError(f"entry at {at:#x}: {error}") from error
        return Table(section=self._source.name, functions=self._functions, left_out=self._left_out)

    def _fast(self, at: int) -> int:
        """As many entries as have the usual form; gives the place of the first that has not.

        Everything that `_entry` does, for 32-bit lengths, relative pointers, and a known CIE.
        """
        data, address, functions = self._source.data, self._source.address, self._functions
        lowest, highest, end = self._lowest, self._highest, len(self._source.data) - 20
        unpack, cies = _COMMON.unpack_from, self._usual
        while at < end:
            length, back, begin, size = unpack(data, at)
            cie = cies.get(at + 4 - back)
            following = at + 4 + length
            if cie is None or not 16 <= length <= end + 16 - at or data[at + 16] > 0x7F:
                break
            begin += address + at + 8
            program = data[at + 17 + data[at + 16] : following]
            rows = cie.known.get(program)
            if rows is None:
                if at + 17 + data[at + 16] > following:
                    break
                rows = cie.rows(program)
            if lowest <= begin < highest and size and not rows.trampoline:
                functions[begin] = (size, rows)
            else:
                self._left_out += 1
            at = following
        return at

    def _entry(self, at: int) -> int:
        """One entry of any form; gives the place of the next, or -1 behind the last."""
        data = self._source.data
        length: int = _U32.unpack_from(data, at)[0]
        body, wide = at + 4, False
        if length == 0:  # a terminator; linkers leave some in the middle
            return -1 if self._source.terminated else body
        if length == _LONG_LENGTH:
            length = struct.unpack_from("<Q", data, body)[0]
            body, wide = body + 8, True
        following = body + length
        if following > len(data):
            raise EncodingError(f"its {length:,} bytes go past the end of the section")
        width = 8 if wide and not self._source.exception else 4
        mark = int.from_bytes(data[body : body + width], "little")
        if mark == (0 if self._source.exception else (1 << 8 * width) - 1):
            if at not in self._cies:
                self._keep(at, self._cie(body + width, following))
            return following
        place = body - mark if self._source.exception else mark
        self._function(self._cie_at(place), body + width, following)
        return following

    def _cie_at(self, place: int) -> Cie:
        cie = self._cies.get(place)
        if cie is None:  # further on in the section
            if not 0 <= place < len(self._source.data):
                raise EncodingError(f"its CIE would be at {place:#x}")
            (length,) = _U32.unpack_from(self._source.data, place)
            body = place + (12 if length == _LONG_LENGTH else 4)
            wide = length == _LONG_LENGTH and not self._source.exception
            (long,) = struct.unpack_from("<Q", self._source.data, place + 4)
            size = long if length == _LONG_LENGTH else length
            mark = 8 if wide else 4
            expected = b"\0" * 4 if self._source.exception else b"\xff" * mark
            if self._source.data[body : body + mark] != expected:
                raise EncodingError(f"there is no CIE at {place:#x}")
            cie = self._keep(place, self._cie(body + mark, body + size))
        return cie

    def _keep(self, place: int, cie: Cie) -> Cie:
        self._cies[place] = cie
        relative = cie.encoding == RELATIVE_4 and cie.augmented and not cie.signal
        if relative and self._source.exception:
            self._usual[place] = cie
        return cie

    def _cie(self, at: int, end: int) -> Cie:
        data = self._source.data
        if end > len(data):
            raise EncodingError("a CIE goes past the end of the section")
        version = data[at]
        if version not in (1, 3, 4):
            raise EncodingError(f"a CIE of version {version}")
        zero = data.find(b"\0", at + 1, end)
        if zero < 0:
            raise EncodingError("an augmentation without an end")
        augmentation, at = data[at + 1 : zero], zero + 1
        if version == 4:
            if data[at : at + 2] != b"\x08\x00":
                raise EncodingError("addresses that have not 8 bytes")
            at += 2
        code, at = uleb(data, at)
        data_factor, at = sleb(data, at)
        at = at + 1 if version == 1 else uleb(data, at)[1]
        encoding, at = self._augmentation(augmentation, at)
        factors = Factors(code=code, data=data_factor)
        return Cie(
            factors=factors,
            start=initial(data[at:end], factors),
            encoding=encoding,
            augmented=augmentation.startswith(b"z"),
            signal=b"S" in augmentation,
        )

    def _augmentation(self, letters: bytes, at: int) -> tuple[int, int]:
        """The encoding of addresses, and the place behind the augmentation data."""
        data, encoding = self._source.data, ABSOLUTE
        if not letters:
            return encoding, at
        if not letters.startswith(b"z"):
            raise EncodingError(f"the augmentation {letters[:16]!r}")
        size, at = uleb(data, at)
        place = at
        for letter in letters[1:]:
            if letter == ord("R"):
                encoding = data[place]
                place += 1
            elif letter == ord("L"):
                place += 1
            elif letter == ord("P"):
                kind = data[place]
                place += 1 + (0 if kind == OMITTED else pointer_format(kind & 0x7F).size)
            elif letter not in b"SB":
                raise EncodingError(f"the augmentation {letters[:16]!r}")
        return encoding, at + size

    def _function(self, cie: Cie, at: int, end: int) -> None:
        data = self._source.data
        encoding = cie.encoding
        form = pointer_format(encoding)
        (stored,) = form.unpack_from(data, at)
        begin = resolve(encoding, stored, self._source.address + at)
        size = int.from_bytes(data[at + form.size : at + 2 * form.size], "little")
        at += 2 * form.size
        if cie.augmented:
            skipped, at = uleb(data, at)
            at += skipped
        if at > end:
            raise EncodingError("it is too short")
        if cie.signal:
            self._left_out += 1
            return
        program = data[at:end]
        rows = cie.known.get(program) or cie.rows(program)
        if self._lowest <= begin < self._highest and size and not rows.trampoline:
            self._functions[begin] = (size, rows)
        else:
            self._left_out += 1
