"""What an artifact says of how it was built, as far as stacks are concerned. Nothing is run."""

from __future__ import annotations

import platform
import re
import struct
from dataclasses import dataclass, fields
from pathlib import Path

from reactivate.elf.errors import BinaryError
from reactivate.elf.image import Image, open_image
from reactivate.elf.symbols import Symbols
from reactivate.errors import BuildError
from reactivate.evidence import NotMeasured
from reactivate.files import open_plain

_MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "ppc64le": 21, "s390x": 22,
             "i686": 3, "i386": 3, "armv7l": 40}  # fmt: skip
_NOTE = struct.Struct("<III")
_FRAME_POINTER = re.compile(rb"\A(?:\xf3\x0f\x1e\xfa)?\x55\x48(?:\x89\xe5|\x8b\xec)")
_PROLOGUE_BYTES = 8
_PRODUCER = re.compile(
    rb"(?:GNU [A-Z][^\0]{3,300}|clang version [^\0]+|[^\0]*\(rustc version[^\0]+)"
)
_LEVEL = re.compile(r"(?<!\S)-O(\w*)")

Fact = str | NotMeasured


def told(fact: Fact) -> str:
    """For people."""
    return f"not known: {fact.reason}" if isinstance(fact, NotMeasured) else fact


def document(fact: Fact) -> dict[str, str]:
    """`{"value": …}` or `{"not_known": why}`."""
    return {"not_known": fact.reason} if isinstance(fact, NotMeasured) else {"value": fact}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFacts:
    """How an artifact was built; each fact is `NotMeasured` where the file does not tell.

    Attributes:
        build_id: hex digits of the linker's build-id.
        debug_information: "yes" or "no".
        frame_pointers: how many functions begin by setting one up: "12 of 40 functions".
        optimisation: the levels in the compiler's own record, "-O1"; only with debug information.
        producer: the compiler's own record.
    """

    build_id: Fact
    debug_information: Fact
    frame_pointers: Fact
    optimisation: Fact
    producer: Fact

    def told(self) -> dict[str, str]:
        """Each fact by its name, for people."""
        return {name: told(fact) for name, fact in self._facts()}

    def document(self) -> dict[str, dict[str, str]]:
        """Each fact by its name: `{"value": …}` or `{"not_known": why}`."""
        return {name: document(fact) for name, fact in self._facts()}

    def _facts(self) -> list[tuple[str, Fact]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def elf_facts(path: Path) -> ElfFacts:
    """Read the facts of an artifact; a file that is no x86-64 ELF file has none."""
    try:
        with open_image(path) as image:
            return _facts(image)
    except BinaryError as error:
        nothing = NotMeasured(reason=error.what)
    return ElfFacts(
        build_id=nothing,
        debug_information=nothing,
        frame_pointers=nothing,
        optimisation=nothing,
        producer=nothing,
    )


def check_architecture(path: Path) -> None:
    """Refuse an ELF file that this machine cannot run; other files are not judged.

    Raises:
        BuildError: it is for another processor.
        OSError: it cannot be read.
    """
    with open_plain(path) as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return
    order = "<" if head[5] == 1 else ">"
    machine = struct.unpack_from(f"{order}H", head, 18)[0]
    here = platform.machine()
    if here in _MACHINES and machine != _MACHINES[here]:
        names = {number: name for name, number in _MACHINES.items()}
        raise BuildError(
            f"the artifact {path} is not for this machine",
            why=f"it is for {names.get(machine, f'ELF machine {machine}')}, this is {here}",
            hint="build for this machine: look for --target or CROSS_COMPILE in the build commands",
        )


def function_offset(path: Path, name: str) -> int | None:
    """Where in the file the code of a function begins; None if there is no such function."""
    try:
        with open_image(path) as image:
            address = Symbols(image).address(name)
            return None if address is None else image.file_offset(address)
    except BinaryError:
        return None


def _facts(image: Image) -> ElfFacts:
    debug = image.section(".debug_info") is not None
    producers = _producers(image)
    levels = sorted({f"-O{level[1]}" for text in producers for level in _LEVEL.finditer(text)})
    untold = NotMeasured(reason="no debug information" if not debug else "the compiler left none")
    return ElfFacts(
        build_id=_build_id(image),
        debug_information="yes" if debug else "no",
        frame_pointers=_frame_pointers(image),
        optimisation=" ".join(levels) if levels else untold,
        producer="; ".join(producers[:3]) if producers else untold,
    )


def _build_id(image: Image) -> Fact:
    """From the GNU linker's note: sizes of name and content, kind, name, content."""
    section = image.section(".note.gnu.build-id")
    if section is None:
        return NotMeasured(reason="the linker wrote none")
    note = image.content(section)
    if len(note) < _NOTE.size:
        raise image.damaged("its build-id is cut off")
    name_bytes, id_bytes, _ = _NOTE.unpack_from(note)
    begin = _NOTE.size + (name_bytes + 3) // 4 * 4
    return note[begin : begin + id_bytes].hex()


def _producers(image: Image) -> list[str]:
    """DW_AT_producer, found as the strings that compilers put there."""
    found: dict[str, None] = {}
    for name in (".debug_str", ".debug_line_str"):
        section = image.section(name)
        if section is None:
            continue
        for match in _PRODUCER.finditer(image.content(section)):
            text = match[0].decode("utf-8", "replace")
            if text.isprintable():
                found.setdefault(text)
    return list(found)


def _frame_pointers(image: Image) -> Fact:
    begins = Symbols(image).functions()
    if not begins:
        return NotMeasured(reason="no names of functions")
    framed = sum(
        bool(_FRAME_POINTER.match(image.code(address, _PROLOGUE_BYTES))) for address in begins
    )
    return f"{framed} of {len(begins)} functions"
