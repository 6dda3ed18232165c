"""memcheck's report against programs with known faults, and broken files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_programs import built, under

from reactivate.errors import MeasurementError
from reactivate.instrument.memcheck import FATAL, Report, parse_memcheck
from reactivate.instrument.valgrind import memcheck_arguments

HEAD = '<?xml version="1.0"?>\n<valgrindoutput>\n'
END = "<status><state>FINISHED</state></status>\n</valgrindoutput>\n"


def report(folder: Path, *program: str, artifact: Path | None = None) -> Report:
    path = folder / "memcheck.xml"
    under("memcheck", *memcheck_arguments(path), program=program)
    return parse_memcheck(path, artifact or built() / "leaks")


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 1000), (40, 33)])
def test_lost_bytes_are_counted_exactly(tmp_path: Path, count: int, size: int) -> None:
    found = report(tmp_path, "leak", str(count), str(size))
    assert found.leaked_bytes() == count * size
    assert found.leaked_bytes("Leak_DefinitelyLost") == count * size
    assert sum(f.count for f in found.findings) == count
    assert found.findings[0].frames[1].function == "lose"
    assert not found.errors


def test_what_is_lost_through_a_lost_block_counts_once(tmp_path: Path) -> None:
    found = report(tmp_path, "chain", "500")
    assert found.leaked_bytes("Leak_DefinitelyLost") == 500
    assert found.leaked_bytes("Leak_IndirectlyLost") == 500
    assert found.leaked_bytes() == 1000


def test_an_invalid_read_is_one_place_however_often_it_happens(tmp_path: Path) -> None:
    found = report(tmp_path, "read", "9")
    (error,) = found.errors
    assert (error.kind, error.count) == ("InvalidRead", 9)
    assert error.frames[0].function == "read_past"
    assert error.frames[0].file == "leaks.c"
    assert found.leaked_bytes() == 0


def test_a_clean_program_is_clean(tmp_path: Path) -> None:
    found = report(tmp_path, "clean")
    assert not found.findings
    assert not found.elsewhere


def test_findings_outside_the_artifact_are_counted_apart(tmp_path: Path) -> None:
    found = report(tmp_path, "leak", "3", "50", artifact=built() / "libleaks.so")
    assert not found.findings
    assert found.elsewhere == {"Leak_DefinitelyLost": 1}
    assert found.elsewhere_leaked_bytes == 150


def test_the_artifact_may_be_named_by_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(built() / "leaks")
    assert report(tmp_path, "leak", "1", "8", artifact=link).leaked_bytes() == 8


def test_thousands_are_written_with_commas(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    what = "3,150 (3,000 direct, 150 indirect) bytes in 3 blocks are definitely lost"
    path.write_text(
        f"{HEAD}<error><unique>0x1</unique><kind>Leak_DefinitelyLost</kind><xwhat><text>{what}"
        "</text><leakedbytes>3150</leakedbytes><leakedblocks>3</leakedblocks></xwhat>"
        f"<stack><frame><obj>/x/y</obj></frame></stack></error>"
        "<suppcounts><pair><count>4</count><name>n</name></pair></suppcounts>"
        f"<fatal_signal><signame>SIGSEGV</signame><event>Bad</event></fatal_signal>{END}"
    )
    found = parse_memcheck(path, Path("/x/y"))
    assert found.leaked_bytes() == 3000
    assert found.suppressed == 4
    assert [f.kind for f in found.errors] == [FATAL]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        HEAD,
        f"{HEAD}<status><state>RUNNING</state></status></valgrindoutput>",
        f"{HEAD}<error><kind>InvalidRead</kind>",
        f"{HEAD}<errorcounts><pair><count>x</count></pair></errorcounts>{END}",
    ],
)
def test_an_unfinished_report_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(MeasurementError, match="did not finish"):
        parse_memcheck(path, Path("/x"))


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="did not finish"):
        parse_memcheck(tmp_path / "none", Path("/x"))


@given(cut=st.integers(0, 4000))
@settings(max_examples=60, deadline=None)
def test_a_report_that_is_cut_short_is_never_a_clean_one(cut: int) -> None:
    folder = built() / "cut"
    folder.mkdir(exist_ok=True)
    whole = folder / "memcheck.xml"
    if not whole.exists():
        report(folder, "leak", "2", "10")
    data = whole.read_bytes()
    part = folder / "part.xml"
    part.write_bytes(data[: min(cut, len(data.rstrip()) - 1)])
    with pytest.raises(MeasurementError):
        parse_memcheck(part, built() / "leaks")
