"""Files that are no ledger, damaged, forbidden or busy: named, and left as they are."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import (
    ExitCode,
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
)
from reactivate.evidence import Measurement
from reactivate.ledger import Ledger

BOTH = pytest.mark.parametrize("writer", [False, True], ids=["reader", "writer"])


def fill(path: Path, measurements: int = 3000) -> None:
    with Ledger.open(path, writer=True) as ledger:
        attempt = ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
        many = [
            Measurement(metric="stack.peak", value=n, instrument="watermark", note="n" * 50)
            for n in range(measurements)
        ]
        ledger.finish(attempt, "passed", measurements=many)


@BOTH
@pytest.mark.parametrize(
    "content",
    [b"x", b"not a database\n" * 1000, b"\x00" * 4096, b"SQLite format 3\x00" + b"\xff" * 4080],
    ids=["one byte", "text", "zeros", "bad header"],
)
def test_what_is_no_database_is_refused_and_kept(path: Path, writer: bool, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerCorruptError) as caught:
        Ledger.open(path, writer=writer)
    assert caught.value.exit_code is ExitCode.LEDGER
    assert caught.value.hint
    assert path.read_bytes() == content


@BOTH
@pytest.mark.parametrize("application_id", [0, 77])
def test_another_programs_database_is_refused_and_kept(
    path: Path, writer: bool, application_id: int
) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE events (seq INTEGER)")
    connection.execute(f"PRAGMA application_id = {application_id}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerCorruptError, match="not a ledger"):
        Ledger.open(path, writer=writer)
    assert path.read_bytes() == before


def test_a_damaged_page_is_found_before_anything_is_written(path: Path) -> None:
    fill(path)
    content = bytearray(path.read_bytes())
    for offset in range(4096 * 20, 4096 * 30):
        content[offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(LedgerCorruptError):
        Ledger.open(path, writer=True)
    assert path.read_bytes() == bytes(content)
    with pytest.raises(LedgerCorruptError), Ledger.open(path, writer=False) as reader:
        reader.measurements(1)


def test_a_writer_looks_at_every_page(path: Path) -> None:
    """Damage among the values, where nothing that opening needs would meet it."""
    fill(path)
    content = bytearray(path.read_bytes())
    page = content.rfind(b"n" * 50) // 4096 * 4096
    content[page : page + 8] = b"\xff" * 8
    path.write_bytes(content)
    with Ledger.open(path, writer=False) as reader:
        assert len(reader.events()) == 2
    with pytest.raises(LedgerCorruptError):
        Ledger.open(path, writer=True)


def test_a_cut_off_ledger_is_found(path: Path) -> None:
    fill(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LedgerCorruptError):
        Ledger.open(path, writer=True)


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bytes_never_end_in_anything_but_a_ledger_error(path: Path, seed: int) -> None:
    fill(path, measurements=50)
    generator = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(200):
        content[generator.randrange(len(content))] = generator.randrange(256)
    path.write_bytes(content)
    for writer in (False, True):
        try:
            with Ledger.open(path, writer=writer) as ledger:
                ledger.counts()
                ledger.events()
                for attempt in ledger.attempts():
                    ledger.measurements(attempt.id)
                    ledger.environment(attempt.environment_sha256)
        except LedgerError as error:
            assert error.what


def test_a_row_that_cannot_be_understood_is_damage(path: Path) -> None:
    fill(path, measurements=0)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO events VALUES (99, 'now', 'odd', '', NULL, '{')")
    connection.commit()
    connection.close()
    with Ledger.open(path, writer=False) as reader, pytest.raises(LedgerCorruptError):
        reader.events()


def test_a_ledger_not_begun_reads_as_empty_and_is_not_made(path: Path) -> None:
    with Ledger.open(path, writer=False) as reader:
        assert reader.events() == ()
        assert reader.counts().measurements == 0
        assert reader.worst_stack("a") is None
    assert not path.exists()
    path.touch()  # what a writer killed before its first commit leaves
    with Ledger.open(path, writer=False) as reader:
        assert reader.attempts() == ()
    with Ledger.open(path, writer=True) as writer:
        assert writer.append("e", "", {}).seq == 1


@BOTH
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, writer: bool) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger.open(tmp_path / "absent" / "ledger.db", writer=writer)
    assert "absent" in caught.value.what
    assert caught.value.hint


@BOTH
def test_a_folder_in_its_place_is_no_ledger(path: Path, writer: bool) -> None:
    path.mkdir()
    with pytest.raises(LedgerError):
        Ledger.open(path, writer=writer)


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=memory#%41" / "le%20dger.db"
    path.parent.mkdir()
    with Ledger.open(path, writer=True) as ledger:
        ledger.append("e", "", {})
    assert path.stat().st_size > 0
    with Ledger.open(path, writer=False) as reader:
        assert len(reader.events()) == 1


def test_a_reader_works_while_a_writer_writes(path: Path) -> None:
    with Ledger.open(path, writer=True) as writer, Ledger.open(path, writer=False) as reader:
        writer.append("first", "", {})
        assert [e.kind for e in reader.events()] == ["first"]
        with reader.snapshot():
            before = reader.counts()
        writer.append("second", "", {})
        assert reader.counts().events == before.events + 1


def test_a_reader_is_not_kept_out_while_a_large_result_is_prepared(path: Path) -> None:
    fill(path, measurements=1)
    many = [Measurement(metric="m", value=n, instrument="i", note="n" * 200) for n in range(20_000)]
    seen: list[int] = []

    class Looking(tuple):  # type: ignore[type-arg]
        """Events that look, while they are taken, at what a reader can see."""

        def __iter__(self) -> Iterator[tuple[str, dict[str, int]]]:
            with Ledger.open(path, writer=False) as reader:
                seen.append(reader.counts().measurements)
            yield ("looked", {})

    with Ledger.open(path, writer=True) as ledger:
        attempt = ledger.begin_attempt("b", "baseline", {})
        ledger.finish(attempt, "passed", measurements=many, events=Looking())
        assert ledger.counts().measurements == 20_001
    assert seen == [1]


def test_connections_are_what_the_guarantees_need(path: Path) -> None:
    with Ledger.open(path, writer=True) as ledger:
        for pragma, value in (("synchronous", 3), ("journal_mode", "delete"), ("foreign_keys", 1)):
            assert ledger._connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    with Ledger.open(path, writer=False) as reader, pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("INSERT INTO events VALUES (1, '', 'e', '', NULL, '{}')")


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_ledger_that_is_no_longer_there_is_told_as_such(path: Path, how: str) -> None:
    with Ledger.open(path, writer=True) as writer:
        writer.append("e", "", {})
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        path.unlink()
        if how == "replaced":
            other.rename(path)
        with pytest.raises(LedgerError, match="was replaced or removed while it was written"):
            writer.append("e", "", {})
    if how == "replaced":
        with Ledger.open(path, writer=False) as reader:
            assert len(reader.events()) == 1


def test_a_snapshot_is_one_moment(path: Path) -> None:
    with Ledger.open(path, writer=True) as ledger:
        ledger.append("first", "", {})
    with Ledger.open(path, writer=False) as reader:
        started, done = threading.Event(), threading.Event()

        def write() -> None:
            with Ledger.open(path, writer=True) as ledger:
                started.set()
                ledger.append("second", "", {})
                done.set()

        writing = threading.Thread(target=write)
        with reader.snapshot():
            assert len(reader.events()) == 1
            writing.start()
            assert started.wait(60)
            assert len(reader.events()) == 1
            assert not done.is_set()
        writing.join(60)
        assert done.is_set()
        assert len(reader.events()) == 2


def test_a_program_in_the_middle_of_a_transaction_is_waited_for_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactivate.ledger.connection._WRITER_PATIENCE_SECONDS", 0.05)
    with Ledger.open(path, writer=True) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerLockedError, match="cannot record the event e"):
            ledger.append("e", "", {})
        other.execute("ROLLBACK")
        other.close()
        assert ledger.append("e", "", {}).seq == 1


@pytest.fixture
def read_only(tmp_path: Path, needs_root: None) -> Iterator[Path]:
    """A ledger on a file system that root cannot write either."""
    place = tmp_path / "mounted"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        fill(place / "ledger.db", measurements=10)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / "ledger.db"
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_a_read_only_ledger_can_be_read_and_says_why_not_written(read_only: Path) -> None:
    with Ledger.open(read_only, writer=False) as reader:
        assert reader.counts().measurements == 10
    with pytest.raises(LedgerError) as caught:
        Ledger.open(read_only, writer=True)
    assert "Read-only file system" in caught.value.why
    assert str(read_only.parent) in caught.value.hint


def test_a_folder_one_may_not_write_is_named() -> None:
    """In a process without root's right to pass over permissions."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from reactivate.errors import LedgerError\n"
        "from reactivate.ledger import Ledger\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "path = Path(sys.argv[1])\n"
        "with Ledger.open(path, writer=False) as reader: print(reader.counts().measurements)\n"
        "try: Ledger.open(path, writer=True)\n"
        "except LedgerError as error: print(error.what, error.why)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "ledger.db", measurements=10)
        (folder / "ledger.db.lock").unlink()
        folder.chmod(0o555)
        try:
            result = subprocess.run(
                [sys.executable, "-c", code, str(folder / "ledger.db")],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        finally:
            folder.chmod(0o755)
    assert result.returncode == 0, result.stderr
    read, refused = result.stdout.splitlines()
    assert read == "10"
    assert "cannot be locked for writing" in refused
    assert "Permission denied" in refused
