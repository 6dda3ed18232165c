"""Instruction boundaries, against objdump on the whole C library."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess

import pytest
from frame_programs import c_library

from reactivate.elf.image import open_image
from reactivate.elf.lexer import plain, quiet

_LINE = re.compile(r"^ +([0-9a-f]+):\t(\S+) *(.*)$", re.MULTILINE)
# What `plain` must stop at, in objdump's words; and of rsp only what is written.
_LEAVES = re.compile(r"(notrack |repz |bnd )?(j\w+|ret|push\w*|pop\w*|leave|ud2|hlt|loop\w*)$")
_GROWS = re.compile(r"push\w*$")


@pytest.fixture(scope="module")
def listing() -> dict[int, tuple[str, str]]:
    if shutil.which("objdump") is None:
        pytest.fail("objdump is not installed (Debian package binutils)")
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", str(c_library())],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    return {int(m[1], 16): (m[2], m[3]) for m in _LINE.finditer(text)}


def test_every_run_ends_at_a_boundary_and_for_a_reason(
    listing: dict[int, tuple[str, str]],
) -> None:
    places = sorted(listing)
    following = dict(itertools.pairwise(places))
    with open_image(c_library()) as image:
        text = image.section(".text")
        assert text is not None
        code = image.content(text)
    for pattern, stops in ((plain(), _LEAVES), (quiet(), _GROWS)):
        at, odd = places[0], []
        while at in following:
            match = pattern.match(code, at - text.address)
            assert match is not None
            end = match.end() + text.address
            assert end in listing or end >= places[-1], f"{at:#x}: {listing[at]}"
            if end == at:
                name, operands = listing[at]
                if not stops.match(name) and not re.search(r"%[re]?spl?$|%r11$|%rbp$", operands):
                    odd.append((hex(at), name, operands))
                end = following[at]
            at = end
        assert [o for o in odd if o[1] not in ("notrack", "repz", "bnd", "enter")] == []


def test_instructions_that_move_rsp_are_never_plain(
    listing: dict[int, tuple[str, str]],
) -> None:
    with open_image(c_library()) as image:
        text = image.section(".text")
        assert text is not None
        code = image.content(text)
    seen = 0
    for place, (name, operands) in listing.items():
        writes = re.search(r",%rsp$", operands) and not name.startswith(("cmp", "test"))
        if writes or _GROWS.match(name):
            seen += 1
            match = plain().match(code, place - text.address)
            assert match is not None and match.end() == place - text.address, (name, operands)
            if name.startswith(("sub", "push")):
                match = quiet().match(code, place - text.address)
                assert match is not None and match.end() == place - text.address, (name, operands)
    assert seen > 5000


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("66 81 c3 34 12", 5),
        ("66 f7 c3 34 12", 5),
        ("66 f7 db", 3),
        ("f7 c3 78 56 34 12", 6),
        ("48 b8 01 02 03 04 05 06 07 08", 10),
        ("66 b8 34 12", 4),
        ("66 48 81 c3 78 56 34 12", 8),
        ("66 66 48 e8 01 02 03 04", 8),
        ("f0 66 81 08 34 12", 6),
        ("64 48 8b 04 25 28 00 00 00", 9),
        ("c5 f8 77", 3),
        ("c4 e3 7d 19 c1 01", 6),
        ("62 f1 fd 48 6f 44 24 01", 8),
        ("0f 3a 0f c1 08", 5),
        ("66 0f 38 00 05 01 02 03 04", 9),
        ("a0 01 02 03 04 05 06 07 08", 9),
        ("f6 04 25 01 02 03 04 05", 8),
        ("48 83 fc 10", 4),
    ],
)
def test_lengths_of_odd_encodings(code: str, length: int) -> None:
    match = plain().match(bytes.fromhex(code) + b"\xc3")
    assert match is not None and match.end() == length


@pytest.mark.parametrize(
    "code",
    ["48 83 ec 10", "48 81 ec 00 10 00 00", "48 29 c4", "48 89 dc", "48 83 e4 c0", "40 b4 00",
     "66 31 e4", "48 8d 64 24 f8", "49 8d 62 f8", "48 8d a5 00 ff ff ff", "4c 8d 5c 24 80", "c9",
     "41 57", "6a 01", "ff 75 08", "c3", "0f 84 00 00 00 00", "e9 00 00 00 00", "48 94"],
)  # fmt: skip
def test_what_touches_rsp_or_jumps_is_not_plain(code: str) -> None:
    match = plain().match(bytes.fromhex(code) + b"\x90")
    assert match is not None and match.end() == 0


@pytest.mark.parametrize(
    "code", ["49 83 ec 10", "4d 89 dc", "49 29 c4", "41 b4 00", "b4 00", "4d 8d 64 24 08"]
)
def test_r12_is_not_rsp(code: str) -> None:
    raw = bytes.fromhex(code)
    match = plain().match(raw)
    assert match is not None and match.end() == len(raw)
