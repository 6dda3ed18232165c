"""Names for code addresses: functions by the binaries' own symbols, lines by addr2line.

A function is named by the symbol at its first byte, as unwind information tells where that is.
The nearest symbol before an address would name the wrong function wherever symbols are stripped.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.elf.demangle import demangle
from reactivate.elf.errors import BinaryError
from reactivate.elf.image import open_image
from reactivate.elf.symbols import Symbols, printable
from reactivate.instrument.frozen_stack import Code, Record, changed

_SECONDS = 30.0
_MOST_AT_ONCE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A function at a code address.

    Attributes:
        function: its name, "" if none is known.
        file: source file, "" if unknown.
        line: 1-based line in it, 0 if unknown.
        inlined: whether it was inlined into the next one.
    """

    function: str
    file: str = ""
    line: int = 0
    inlined: bool = False


def name_codes(record: Record, codes: Sequence[Code]) -> list[tuple[Named, ...]]:
    """For each code its functions, the inlined ones first; never empty, at least one unnamed."""
    named: list[tuple[Named, ...]] = [(Named(function=""),)] * len(codes)
    places: dict[str, list[int]] = defaultdict(list)
    for place, code in enumerate(codes):
        if code.path and not changed(record, code.path):
            places[code.path].append(place)
    for path, own in places.items():
        symbols = _symbols(path, {codes[place].function for place in own})
        lines = _lines(path, [codes[place].offset for place in own])
        for place in own:
            name = symbols.get(codes[place].function or -1, "")
            named[place] = _merge(name, lines.get(codes[place].offset, []))
    return _demangled(named)


def _merge(symbol: str, lines: list[tuple[str, str, int]]) -> tuple[Named, ...]:
    """Debug information where there is some, else the symbol alone."""
    if not lines or not lines[-1][1]:
        return (Named(function=symbol),)
    last = len(lines) - 1
    return tuple(
        Named(
            function=function or (symbol if at == last else ""),
            file=file,
            line=line,
            inlined=at < last,
        )
        for at, (function, file, line) in enumerate(lines)
    )


def _demangled(named: list[tuple[Named, ...]]) -> list[tuple[Named, ...]]:
    table, _ = demangle({one.function for group in named for one in group if one.function})
    return [
        tuple(
            Named(
                function=table.get(one.function, one.function),
                file=one.file,
                line=one.line,
                inlined=one.inlined,
            )
            for one in group
        )
        for group in named
    ]


def _symbols(path: str, functions: Iterable[int | None]) -> dict[int, str]:
    try:
        with open_image(Path(path)) as image:
            return Symbols(image).names({f for f in functions if f is not None})
    except BinaryError:
        return {}


def _lines(path: str, addresses: list[int]) -> dict[int, list[tuple[str, str, int]]]:
    """Address → (function, file, line), the inlined ones first; {} without addr2line."""
    program = shutil.which("addr2line")
    if program is None:
        return {}
    found: dict[int, list[tuple[str, str, int]]] = {}
    for at in range(0, len(addresses), _MOST_AT_ONCE):
        wanted = [f"{address:#x}" for address in addresses[at : at + _MOST_AT_ONCE]]
        try:
            told = subprocess.run(
                [program, "-a", "-i", "-f", "-e", path, *wanted],
                capture_output=True, timeout=_SECONDS, check=False, start_new_session=True,
            ).stdout  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return found
        found |= _parse(told.split(b"\n"))
    return found


def _parse(lines: list[bytes]) -> dict[int, list[tuple[str, str, int]]]:
    """An address on a line of its own, then pairs of lines: function, file:line."""
    found: dict[int, list[tuple[str, str, int]]] = {}
    at, current = 0, None
    while at < len(lines):
        text = lines[at]
        if text.startswith(b"0x"):
            current = found.setdefault(int(text, 16), [])
            at += 1
        elif current is not None and text and at + 1 < len(lines):
            current.append(_pair(text, lines[at + 1]))
            at += 2
        else:
            at += 1
    return found


def _pair(function: bytes, place: bytes) -> tuple[str, str, int]:
    file, _, line = place.partition(b" (discriminator")[0].rpartition(b":")
    known = file and file != b"??"
    number = int(line) if line.isdigit() else 0
    name = "" if function == b"??" else printable(function)
    return name, printable(file).removeprefix("./") if known else "", number if known else 0
