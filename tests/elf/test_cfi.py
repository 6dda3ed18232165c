"""Frame tables, against readelf's own interpretation of the C library."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from frame_programs import c_library

from reactivate.elf.cfi import read_tables
from reactivate.elf.encoding import EncodingError, sleb, uleb
from reactivate.elf.image import open_image
from reactivate.elf.rows import Factors, Rows, Start, execute

_ENTRY = re.compile(r"^\w+ \w+ \w+ FDE .*pc=(\w+)\.\.(\w+)$")
_ROW = re.compile(r"^([0-9a-f]{16}) (\S+) ")
AT_ENTRY, FACTORS = Start(7, 8), Factors(code=1, data=-8)


def interpreted(path: Path) -> dict[int, tuple[int, list[tuple[int, str]]]]:
    """begin → (bytes, rows as (place, CFA)), from readelf."""
    if shutil.which("readelf") is None:
        pytest.fail("readelf is not installed (Debian package binutils)")
    text = subprocess.run(
        ["readelf", "--wide", "--debug-dump=no-follow-links,frames-interp", str(path)],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    found: dict[int, tuple[int, list[tuple[int, str]]]] = {}
    rows: list[tuple[int, str]] = []
    begin = 0
    for line in text.splitlines():
        if entry := _ENTRY.match(line):
            begin, end = int(entry[1], 16), int(entry[2], 16)
            rows = []
            found[begin] = (end - begin, rows)
        elif row := _ROW.match(line):
            rows.append((int(row[1], 16) - begin, row[2]))
        elif not line:
            rows = []
    return found


def test_every_table_of_the_c_library_is_as_readelf_reads_it() -> None:
    with open_image(c_library()) as image:
        (table,) = [t for t in read_tables(image) if t.section == ".eh_frame"]
    theirs = interpreted(c_library())
    assert len(theirs) > 3000
    compared = 0
    for begin, (size, rows) in theirs.items():
        if begin not in table.functions:
            assert any(cfa == "exp" for _, cfa in rows), hex(begin)
            continue
        ours = table.functions[begin]
        assert ours[0] == size
        told = [int(c[4:]) for _, c in rows if c.startswith("rsp+")]
        # readelf prints no row for a table that is all in its CIE.
        deepest = max(told, default=8)
        others = [(at, c) for at, c in rows if not c.startswith(("rsp+", "r11+"))]
        if not others:
            assert ours[1].untold is None
            assert ours[1].deepest_bytes == deepest, hex(begin)
        else:
            assert ours[1].untold is not None
            assert ours[1].untold[0] == others[0][0], hex(begin)
            assert ours[1].deepest_bytes >= deepest
            if others[0][1].startswith("rbp+"):
                assert ours[1].frame_pointer_bytes == int(others[0][1][4:])
        compared += 1
    assert compared > 3000
    assert len(theirs) - compared == table.left_out
    assert set(table.functions) <= set(theirs)


def run(program: str) -> Rows:
    return execute(bytes.fromhex(program), AT_ENTRY, FACTORS)


def test_a_frame_pointer_leaves_the_rest_to_the_code() -> None:
    rows = run("41 0e 10 86 02 43 0d 06 50 0c 07 08")
    assert rows.untold == (4, None)
    assert (rows.depth_bytes, rows.frame_pointer_bytes, rows.headless) == (16, 16, False)
    assert run("41 0e 10 86 02 43 0c 06 10 50 0c 07 08").untold == (4, 20)


def test_a_probe_loop_counts_from_r11() -> None:
    assert run("41 0c 0b 88 a0 04 47 0d 07 50 0e 08").deepest_bytes == 69640


def test_remembered_states_come_back() -> None:
    rows = run("41 0e 10 41 0e 20 0a 50 0e 08 41 0b 48 0e 30")
    assert (rows.deepest_bytes, rows.untold) == (48, None)


def test_a_part_without_a_beginning_is_told_as_such() -> None:
    assert run("0e 40").headless
    rows = run("0c 06 10")
    assert (rows.headless, rows.untold, rows.depth_bytes) == (True, (0, None), 16)
    assert not run("").headless


@pytest.mark.parametrize(
    "program",
    ["41 0b 0c", "0b", "0e", "41 0c 07", "1f", "0f 05 77", "02", "0e 80 80 80 80 80 80 80 01",
     "0e ff ff ff ff ff ff ff ff ff ff 01"],
)  # fmt: skip
def test_broken_programs_are_refused(program: str) -> None:
    with pytest.raises(EncodingError):
        run(program)


def test_numbers() -> None:
    assert uleb(bytes.fromhex("e5 8e 26"), 0) == (624485, 3)
    assert sleb(bytes.fromhex("c0 bb 78"), 0) == (-123456, 3)
    assert sleb(b"\x78", 0) == (-8, 1)
    with pytest.raises(EncodingError):
        uleb(b"\xff" * 11, 0)
