"""An ELF file: its headers, sections, segments and the bytes they name, read with distrust.

Everything is read by offset from the open file: a mapping would turn a file that is truncated
while we look into a fatal signal. Layout: System V ABI, "Object Files".
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactivate.elf.errors import BinaryError
from reactivate.units import format_bytes

LARGEST_READ_BYTES = 1 << 30
"""No real table is larger; a header that claims more is not obeyed."""

_MOST_SEGMENTS = 1000
"""Real files have a dozen."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_COMPRESSED = struct.Struct("<IIQQ")
_X86_64 = 62
_MACHINES = {3: "x86 (32 bit)", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "s390",
             40: "ARM (32 bit)", 183: "AArch64", 243: "RISC-V", 258: "LoongArch"}  # fmt: skip
_NO_BITS = 8
_COMPRESSED_FLAG = 1 << 11
_EXTENDED_INDEX = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section header. `kind` and `link` are sh_type and sh_link."""

    name: str
    kind: int
    compressed: bool
    address: int
    offset: int
    size_bytes: int
    link: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A program header. `kind` is p_type; `file_bytes` of it are in the file."""

    kind: int
    executable: bool
    address: int
    offset: int
    file_bytes: int


class Image:
    """An open ELF x86-64 executable or shared library. Use `open_image`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._file_bytes = os.fstat(descriptor).st_size
        header = self._header()
        self.segments = self._read_segments(*header[1])
        self.sections = self._read_sections(*header[0])
        self._loaded = [s for s in self.segments if s.kind == 1 and s.file_bytes]

    def damaged(self, why: str) -> BinaryError:
        """The error for a file that contradicts itself."""
        return BinaryError(
            f"{self.path} is damaged", why=why, hint="build it again, or check with readelf -a"
        )

    def read(self, offset: int, size_bytes: int, what: str) -> bytes:
        """Bytes of the file.

        Raises:
            BinaryError: they are not all there, or they are too many to be true.
        """
        if size_bytes > LARGEST_READ_BYTES:
            raise self.damaged(f"{what} claims {format_bytes(size_bytes)}")
        if offset + size_bytes > self._file_bytes:
            raise self.damaged(
                f"truncated: {what} ends at byte {offset + size_bytes:,},"
                f" the file at {self._file_bytes:,}"
            )
        data = bytearray()
        while len(data) < size_bytes:
            piece = os.pread(self._descriptor, size_bytes - len(data), offset + len(data))
            if not piece:
                raise self.damaged(f"truncated while {what} was read")
            if len(piece) == size_bytes:
                return piece
            data += piece
        return bytes(data)

    def section(self, name: str) -> Section | None:
        """The first section of this name whose content is in the file."""
        for section in self.sections:
            if section.name == name and section.kind != _NO_BITS:
                return section
        return None

    def content(self, section: Section) -> bytes:
        """A section's bytes, decompressed."""
        raw = self.read(section.offset, section.size_bytes, f"section {section.name}")
        if not section.compressed:
            return raw
        if len(raw) < _COMPRESSED.size:
            raise self.damaged(f"section {section.name} is too short to be compressed")
        kind, _, size_bytes, _ = _COMPRESSED.unpack_from(raw)
        if kind != 1 or size_bytes > LARGEST_READ_BYTES:
            raise BinaryError(
                f"Section {section.name} of {self.path} cannot be decompressed",
                why=f"compression {kind}, {format_bytes(size_bytes)}",
                hint=f"objcopy --decompress-debug-sections {self.path}",
            )
        try:
            data = zlib.decompressobj().decompress(raw[_COMPRESSED.size :], size_bytes)
        except zlib.error as error:
            raise self.damaged(f"section {section.name}: {error}") from error
        if len(data) != size_bytes:
            raise self.damaged(f"section {section.name} decompresses to {len(data):,} bytes")
        return data

    def code(self, address: int, size_bytes: int) -> bytes:
        """The bytes that are loaded at an address; fewer where the segment ends."""
        segment = self._segment(address)
        if segment is None:
            return b""
        into = address - segment.address
        size_bytes = min(size_bytes, segment.file_bytes - into)
        return self.read(segment.offset + into, size_bytes, f"code at {address:#x}")

    def file_offset(self, address: int) -> int | None:
        """Where in the file the byte is that is loaded at an address; None if none is."""
        segment = self._segment(address)
        return None if segment is None else segment.offset + address - segment.address

    def _segment(self, address: int) -> Segment | None:
        for segment in self._loaded:
            if 0 <= address - segment.address < segment.file_bytes:
                return segment
        return None

    def executable_range(self) -> tuple[int, int]:
        """From the lowest to the highest address that holds code; empty as (0, 0)."""
        code = [s for s in self._loaded if s.executable]
        if not code:
            return 0, 0
        return min(s.address for s in code), max(s.address + s.file_bytes for s in code)

    def code_bytes(self) -> int:
        """How much code there is; never more than the file holds."""
        return min(sum(s.file_bytes for s in self._loaded if s.executable), self._file_bytes)

    def _header(self) -> tuple[tuple[int, int, int, int], tuple[int, int, int]]:
        start = self.read(0, min(64, self._file_bytes), "the ELF header")
        if start[:4] != b"\x7fELF":
            raise BinaryError(
                f"{self.path} is not an ELF file",
                why="it does not begin with the ELF magic number",
                hint="give the compiled program or shared library, not a script that starts it",
            )
        if len(start) < 64:
            raise self.damaged(f"truncated: {len(start)} bytes are no ELF header")
        (ident, kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum,
         shentsize, shnum, shstrndx) = _HEADER.unpack(start)  # fmt: skip
        self._check_architecture(ident, machine)
        if kind not in (2, 3):
            name = {1: "an object file that is not linked", 4: "a core file"}.get(kind, "neither")
            raise BinaryError(
                f"{self.path} is no executable and no shared library",
                why=f"it is {name} (ELF type {kind})",
                hint="link it first; only then are addresses and frame information final",
            )
        if (phnum and phentsize != _SEGMENT.size) or (shoff and shentsize != _SECTION.size):
            raise self.damaged(f"header entries of {phentsize} and {shentsize} bytes")
        return (shoff, shnum, shstrndx, phnum), (phoff, phnum, shoff)

    def _check_architecture(self, ident: bytes, machine: int) -> None:
        if machine == _X86_64 and ident[4] == 2 and ident[5] == 1:
            return
        name = _MACHINES.get(machine, f"ELF machine {machine}")
        if machine == _X86_64:
            name = "x32 (32-bit pointers on x86-64)" if ident[4] == 1 else "damaged x86-64"
        raise BinaryError(
            f"{self.path} is not for x86-64",
            why=f"it is for {name}; frames are read from x86-64 code only",
            hint="give the x86-64 build of the same program",
        )

    def _read_segments(self, phoff: int, phnum: int, shoff: int) -> tuple[Segment, ...]:
        if phnum == _EXTENDED_INDEX and shoff:
            first = self.read(shoff, _SECTION.size, "the first section header")
            phnum = _SECTION.unpack(first)[7]
        if phnum > _MOST_SEGMENTS:
            raise self.damaged(f"it has {phnum:,} program headers")
        raw = self.read(phoff, phnum * _SEGMENT.size, "the table of program headers")
        return tuple(
            Segment(kind=kind, executable=bool(flags & 1), address=vaddr, offset=offset,
                    file_bytes=filesz)
            for kind, flags, offset, vaddr, _, filesz, _, _ in _SEGMENT.iter_unpack(raw)
        )  # fmt: skip

    def _read_sections(
        self, shoff: int, shnum: int, shstrndx: int, phnum: int
    ) -> tuple[Section, ...]:
        if not shoff:
            return ()
        first = _SECTION.unpack(self.read(shoff, _SECTION.size, "the first section header"))
        shnum = shnum or first[5]
        if shstrndx == _EXTENDED_INDEX:
            shstrndx = first[6]
        raw = self.read(shoff, shnum * _SECTION.size, "the table of section headers")
        headers = list(_SECTION.iter_unpack(raw))
        names = b""
        if 0 < shstrndx < len(headers):
            names = self.read(headers[shstrndx][4], headers[shstrndx][5], "the section names")
        return tuple(
            Section(
                name=names[at : at + 64].split(b"\0", 1)[0].decode("ascii", "replace"),
                kind=kind,
                compressed=bool(flags & _COMPRESSED_FLAG),
                address=address,
                offset=offset,
                size_bytes=size,
                link=link,
            )
            for at, kind, flags, address, offset, size, link, _, _, _ in headers
        )


@contextmanager
def open_image(path: Path) -> Iterator[Image]:
    """Open an ELF x86-64 executable or shared library.

    Raises:
        BinaryError: it is something else, for another architecture, truncated or unreadable.
    """
    try:
        # Non-blocking: a FIFO would otherwise wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BinaryError(
            f"{path} cannot be opened", why=reason or "", hint="check the path, or use sudo"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BinaryError(f"{path} is not a file", hint="give a program or shared library")
        yield Image(path, descriptor)
    except OSError as error:
        raise BinaryError(f"{path} cannot be read", why=error.strerror or "") from error
    finally:
        os.close(descriptor)
