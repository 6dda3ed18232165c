"""Rules for going from a frame to its caller, against readelf's own interpretation."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest
from frame_programs import c_library

from reactivate.elf.encoding import EncodingError
from reactivate.elf.image import open_image
from reactivate.elf.unwind import RSP, Unwinder, compute

_ROW = re.compile(r"^([0-9a-f]{16}) (rsp|rbp)\+(\d+) .*c-(\d+) *$")
_NUMBERS = {"rsp": 7, "rbp": 6}


def test_canonical_frame_addresses_of_the_c_library() -> None:
    text = subprocess.run(
        ["readelf", "--wide", "--debug-dump=no-follow-links,frames-interp", str(c_library())],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    # A CIE's own row is at address 0.
    rows = [m for line in text.splitlines() if (m := _ROW.match(line)) and int(m[1], 16)]
    assert len(rows) > 1000
    with open_image(c_library()) as image:
        unwinder = Unwinder(image)
        for found in rows[:: len(rows) // 1000]:
            rule = unwinder.rule(int(found[1], 16))
            assert rule is not None
            assert (rule.register, rule.offset) == (_NUMBERS[found[2]], int(found[3])), found[0]
            assert dict(rule.saved)[16] == -int(found[4])
        assert unwinder.rule(0) is None


def test_the_linkage_tables_expression() -> None:
    # rsp + 8 + ((rip & 15 >= 11) << 3): behind the push that a stub ends with, 8 bytes more.
    expression = bytes.fromhex("7708 8000 3f 1a 3b 2a 33 24 22")
    registers = [0] * 17
    registers[RSP] = 0x1000
    for place, expected in ((0x20, 0x1008), (0x2A, 0x1008), (0x2B, 0x1010), (0x2F, 0x1010)):
        registers[16] = place
        assert compute(expression, registers, lambda _: 0) == expected


def test_memory_is_read_where_it_is_asked() -> None:
    registers = [0] * 17
    registers[RSP] = 0x1000
    words = {0x10A0: 0x7777}
    assert compute(bytes.fromhex("77a001 06"), registers, words.__getitem__) == 0x7777


@pytest.mark.parametrize("expression", ["22", "", "06", "ff"])
def test_an_expression_that_takes_too_much_is_refused(expression: str) -> None:
    with pytest.raises(EncodingError):
        compute(bytes.fromhex(expression), [0] * 17, lambda _: 0)


@pytest.mark.parametrize("size_bytes", [0, 3, 7])
def test_a_search_table_that_is_cut_off_is_refused(size_bytes: int, tmp_path: Path) -> None:
    raw, kind = bytearray(c_library().read_bytes()), 0x6474E550
    (headers,) = struct.unpack_from("<Q", raw, 32)
    at = next(
        p for p in range(headers, len(raw), 56) if struct.unpack_from("<I", raw, p)[0] == kind
    )
    struct.pack_into("<Q", raw, at + 32, size_bytes)  # p_filesz
    path = tmp_path / "cut.so"
    path.write_bytes(raw)
    with open_image(path) as image, pytest.raises(EncodingError):
        Unwinder(image)
