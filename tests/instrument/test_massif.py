"""massif's file against a program of known stack depth, and broken files."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_programs import under

from reactivate.errors import MeasurementError
from reactivate.instrument.massif import between, parse_massif

WHOLE = """desc: --stacks=yes
cmd: ./a
time_unit: i
#-----------
snapshot=0
#-----------
time=0
mem_heap_B=0
mem_heap_extra_B=0
mem_stacks_B=0
heap_tree=empty
#-----------
snapshot=1
#-----------
time=7
mem_heap_B=24
mem_heap_extra_B=8
mem_stacks_B=344
heap_tree=peak
n1: 24 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
 n0: 24 0x10: time=1 (a.c:3)
#-----------
snapshot=2
#-----------
time=9
mem_heap_B=0
mem_heap_extra_B=0
mem_stacks_B=100
heap_tree=empty
"""


def peak(folder: Path, bytes_deep: int, *options: str) -> int:
    path = folder / f"massif-{bytes_deep}"
    arguments = ("--stacks=yes", "--heap=no", f"--massif-out-file={path}", *options)
    under("massif", *arguments, program=("stack", str(bytes_deep)))
    return max(s.stacks_bytes for s in parse_massif(path.read_text().splitlines()).snapshots)


def test_a_deeper_stack_is_deeper_by_exactly_as_much(tmp_path: Path) -> None:
    large = "--max-stackframe=8388608"
    shallow, middle, deep = (peak(tmp_path, n, large) for n in (65_536, 262_144, 4_194_304))
    assert middle - shallow == 262_144 - 65_536
    assert deep - middle == 4_194_304 - 262_144
    assert 0 < shallow - 65_536 < 4096


def test_without_that_option_a_large_frame_is_taken_for_another_stack(tmp_path: Path) -> None:
    assert peak(tmp_path, 4_194_304) < 65_536


def test_snapshots_and_trees() -> None:
    profile = parse_massif(WHOLE.splitlines())
    assert profile.time_unit == "i"
    assert [(s.number, s.time, s.heap_bytes, s.stacks_bytes) for s in profile.snapshots] == [
        (0, 0, 0, 0),
        (1, 7, 24, 344),
        (2, 9, 0, 100),
    ]
    assert [s.number for s in between(profile, 7, 9)] == [1, 2]
    assert not between(profile, 8, 8)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no snapshot"),
        ("not massif at all\n", "no snapshot"),
        (WHOLE.replace("time_unit: i\n", ""), "no snapshot"),
        (WHOLE.partition("mem_stacks_B=100")[0], "in the middle"),
        (WHOLE.replace("mem_stacks_B=344\n", ""), "not whole"),
        (WHOLE.replace("=344", "=-3"), "no number"),
    ],
)
def test_a_broken_file_is_an_error(text: str, why: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        parse_massif(text.splitlines())
    assert why in caught.value.why
