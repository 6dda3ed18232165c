"""Damaged and hostile files: every outcome is a result or one of our errors, and soon."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from frame_programs import SOURCE, compile_program
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivate.elf.errors import BinaryError
from reactivate.elf.image import open_image
from reactivate.elf.motion import Follower
from reactivate.instrument.frames import read_frames

DEADLINE_SECONDS = 20.0
"""Of a processor. What takes quadratic time takes hours."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[range]]:
    """A small binary with frame pointers, and where in it the tables are."""
    folder = tmp_path_factory.mktemp("victim")
    # A C++ unit, so that there are several CIEs, personalities and mangled names.
    source = 'extern "C" {' + SOURCE.replace("#include <alloca.h>", "") + "}\n"
    source = "#include <alloca.h>\n" + source + "void thrower(int n) { sink(&n); throw n; }\n"
    library = compile_program(folder, "-O1 -fno-omit-frame-pointer -g", source=source, tool="g++")
    raw = library.read_bytes()
    with open_image(library) as image:
        tables = [
            range(s.offset, s.offset + s.size_bytes)
            for s in image.sections
            if s.name in (".eh_frame", ".eh_frame_hdr", ".symtab", ".dynsym", ".strtab", ".text")
        ]
    header = struct.unpack_from("<Q", raw, 40)[0]
    return library, raw, [range(64), range(64, 600), range(header, len(raw)), *tables]


def outcome(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    started = time.process_time()
    try:
        table = read_frames(path)
    except BinaryError as error:
        result = error.what
    else:
        assert all(8 <= f.size_bytes <= 1 << 41 for f in table.frames)
        assert all(f.name.isprintable() for f in table.frames)
        result = "read"
    assert time.process_time() - started < DEADLINE_SECONDS
    return result


VALUES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\x7f", b"\x80" * 16]),
)
COMMON = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


CHANGES = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 1 << 20), VALUES), min_size=1, max_size=6
)


@COMMON
@given(changes=CHANGES)
def test_random_damage(
    changes: list[tuple[int, int, bytes]],
    victim: tuple[Path, bytes, list[range]],
    tmp_path: Path,
) -> None:
    _, original, places = victim
    raw = bytearray(original)
    for region, at, value in changes:
        where = places[region % len(places)]
        place = where[at % len(where)]
        raw[place : place + len(value)] = value
    outcome(tmp_path / "damaged.so", bytes(raw))


@settings(COMMON, max_examples=60)
@given(cut=st.integers(0, 1 << 20))
def test_random_truncation(
    cut: int, victim: tuple[Path, bytes, list[range]], tmp_path: Path
) -> None:
    _, original, _ = victim
    assert outcome(tmp_path / "cut.so", original[: cut % len(original)]) != "read"


@settings(COMMON, max_examples=300)
@given(code=st.binary(max_size=400), depth=st.integers(8, 1 << 20))
def test_random_code_is_followed_to_an_end(code: bytes, depth: int) -> None:
    motion = Follower(code, depth, None).follow(0, len(code))
    assert motion.deepest_bytes >= depth


GROW = b"\x48\x81\xec\x00\x10\x00\x00"  # sub $4096,%rsp
MONOTONOUS = {
    "prefixes": b"\x66" * 300_000,
    "jumps": b"\x74\x01" * 100_000,
    "calls": b"\xe8" * 300_000,
    "returns": b"\x53\xc3" * 100_000,
    "leaps": b"\xeb\x7f" * 100_000,
    "loops": (GROW + b"\x75\xf7") * 20_000,
    "long loops": b"".join(
        GROW + b"\xe9" + struct.pack("<i", -12 * index) for index in range(1, 15_000)
    ),
    "far": b"\x0f\x84\xff\x00\x00\x00\x50" * 30_000,
    "rex": b"\x40" * 100_000,
    "mixed": b"\xf3\x66" * 100_000,
    "same": b"\x53" + b"\x0f\x84\x00\x00\x01\x00" * 60_000,
}


@pytest.mark.parametrize("code", MONOTONOUS.values(), ids=MONOTONOUS.keys())
def test_monotonous_code_takes_linear_time(code: bytes) -> None:
    started = time.process_time()
    Follower(code, 16, 16).follow(0, len(code))
    assert time.process_time() - started < DEADLINE_SECONDS


def _elf(eh_frame: bytes, code_bytes: int = 0x100000) -> bytes:
    """A binary of one .eh_frame and zeros for code, without a C compiler's habits."""
    text_at, frame_at = 0x1000, 0x1000 + code_bytes
    names = b"\0.eh_frame\0.shstrtab\0"
    names_at = frame_at + len(eh_frame)
    sections_at = names_at + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, sections_at, 0, 64, 56, 1, 64, 3, 2
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, names_at, names_at, 4096)
    body = (header + segment).ljust(text_at, b"\0") + b"\x90" * code_bytes + eh_frame + names
    body += bytes(64)
    for name, kind, at, size in ((1, 1, frame_at, len(eh_frame)), (11, 3, names_at, len(names))):
        body += struct.pack("<IIQQQQIIQQ", name, kind, 0, at, at, size, 0, 0, 1, 0)
    return body


CIE = bytes.fromhex("14000000 00000000 01 7a5200 01 78 10 01 03 0c0708 9001 0000")


def _fde(at: int, begin: int, size: int, program: bytes) -> bytes:
    body = struct.pack("<III", at + 4, begin, size) + b"\0" + program
    return struct.pack("<I", len(body)) + body


def _frames(count: int, size: int, program: bytes) -> bytes:
    data = bytearray(CIE)
    for index in range(count):
        data += _fde(len(data), 0x1000 + index, size, program)
    return bytes(data)


def test_the_handmade_binary_is_read(tmp_path: Path) -> None:
    path = tmp_path / "handmade"
    path.write_bytes(_elf(_frames(3, 16, b"\x41\x0e\x40")))
    table = read_frames(path)
    assert [(f.address, f.size_bytes) for f in table.frames] == [(0x1000 + i, 64) for i in range(3)]


def test_functions_that_overlap_a_thousandfold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "overlapping"
    path.write_bytes(_elf(_frames(5000, 0xF0000, b"\x41\x0d\x06")))
    started = time.process_time()
    with pytest.raises(BinaryError, match="damaged"):
        read_frames(path)
    assert time.process_time() - started < DEADLINE_SECONDS


def test_addresses_far_apart_do_not_excuse_overlap(tmp_path: Path) -> None:
    raw = bytearray(_elf(_frames(5000, 0xF0000, b"\x41\x0d\x06")))
    struct.pack_into("<H", raw, 56, 2)  # a second program header, where the first pages are empty
    raw[120:176] = struct.pack("<IIQQQQQQ", 1, 5, 0, 1 << 60, 0, 64, 64, 4096)
    path = tmp_path / "apart"
    path.write_bytes(raw)
    started = time.process_time()
    with pytest.raises(BinaryError, match="damaged"):
        read_frames(path)
    assert time.process_time() - started < DEADLINE_SECONDS


def test_a_table_of_nothing_but_common_parts_takes_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "cies"
    path.write_bytes(_elf(CIE * 50_000 + _frames(0, 0, b"")))
    started = time.process_time()
    with pytest.raises(BinaryError, match="tells no frame sizes"):
        read_frames(path)
    assert time.process_time() - started < DEADLINE_SECONDS


def test_a_function_larger_than_any_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(_elf(_frames(1, 1 << 28, b"\x41\x0d\x06")))
    with pytest.raises(BinaryError) as caught:
        read_frames(path)
    assert "claims 268,435,456 bytes" in caught.value.why


def test_many_functions_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "many"
    path.write_bytes(_elf(_frames(100_000, 1, b"\x41\x0e\x40")))
    table = read_frames(path, top=5)
    assert table.functions == 100_000
    assert len(table.frames) == 5


@pytest.mark.parametrize(
    ("eh_frame", "words"),
    [
        (b"\xff\xff\xff\x7f" + bytes(40), "past the end"),
        (b"\xff\xff\xff\xff" + b"\xff" * 40, "past the end"),
        (CIE + _fde(0x5000, 0x1000, 16, b"\x41\x0e\x40"), "CIE"),
        (CIE + _fde(len(CIE), 0x1000, 16, b"\x41\x1c\x40"), "unknown instruction"),
        (CIE + _fde(len(CIE), 0x1000, 16, b"\x41\x0e" + b"\xff" * 11), "ten bytes"),
        (CIE + _fde(len(CIE), 0x1000, 16, b"\x41\x0e" + b"\xff" * 8 + b"\1"), "a frame of"),
        (CIE.replace(b"zR\0", b"zQ\0") + _fde(24, 0x1000, 16, b""), "augmentation"),
        (CIE.replace(b"\x01zR", b"\x09zR") + _fde(24, 0x1000, 16, b""), "version 9"),
        (CIE[:16] + b"\x9b" + CIE[17:] + _fde(24, 0x1000, 16, b""), "pointer encoding"),
    ],
    ids=["long", "longer", "no CIE", "opcode", "number", "size", "letter", "version", "pointer"],
)
def test_damaged_tables_are_named(tmp_path: Path, eh_frame: bytes, words: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(_elf(eh_frame))
    with pytest.raises(BinaryError) as caught:
        read_frames(path)
    assert words in f"{caught.value.what} {caught.value.why}"


def test_a_hole_of_a_tebibyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    raw = bytearray(_elf(_frames(3, 16, b"\x41\x0e\x40")))
    section = struct.unpack_from("<Q", raw, 40)[0] + 64
    struct.pack_into("<Q", raw, section + 32, 1 << 40)  # sh_size
    path.write_bytes(raw)
    with path.open("r+b") as stream:
        stream.truncate((1 << 40) + (1 << 30))
    with pytest.raises(BinaryError, match="damaged"):
        read_frames(path)
