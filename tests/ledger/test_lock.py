"""One writer at a time, and the second learns who the first is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import ExitCode, LedgerError, LedgerLockedError
from reactivate.ledger import Ledger
from reactivate.ledger.lock import Holder, WriterLock, read_holder

from . import writer_process

DEADLINE_SECONDS = 60


@pytest.fixture
def lock(path: Path) -> Path:
    return path.with_name("ledger.db.lock")


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the ledger open for writing."""
    process = subprocess.Popen(
        [sys.executable, writer_process.__file__, str(path), "hold"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready {process.pid}\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_writer_is_told_who_the_first_is(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LedgerLockedError) as caught:
        Ledger.open(path, writer=True)
    assert caught.value.exit_code is ExitCode.LEDGER
    assert f"process {holder.pid} " in caught.value.what
    assert "writer_process.py" in caught.value.what
    assert " since 20" in caught.value.what
    assert caught.value.hint


def test_readers_need_no_lock(path: Path, holder: subprocess.Popen[str]) -> None:
    with Ledger.open(path, writer=False) as reader:
        assert reader.counts().events == 0


def test_the_lock_ends_with_a_killed_process(
    path: Path, lock: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(DEADLINE_SECONDS)
    assert read_holder(lock) is not None  # its name is still there, and means nothing
    with Ledger.open(path, writer=True):
        found = read_holder(lock)
        assert found is not None
        assert found.pid == os.getpid()


def test_the_lock_ends_with_the_writer(path: Path, lock: Path) -> None:
    for _ in range(2):
        with Ledger.open(path, writer=True) as first:
            with pytest.raises(LedgerLockedError, match=f"process {os.getpid()} "):
                Ledger.open(path, writer=True)
            first.append("e", "", {})
        assert lock.read_bytes() == b""
    first.close()  # a second close does no harm


def test_a_name_of_its_own_for_each_way_to_a_ledger_is_one_lock(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "elsewhere"
    link.mkdir()
    (link / "other.db").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    with Ledger.open(path, writer=True):
        for name in (link / "other.db", Path("ledger.db"), Path("elsewhere/../ledger.db")):
            with pytest.raises(LedgerLockedError):
                Ledger.open(name, writer=True)


def test_a_writer_that_cannot_open_gives_the_lock_back(path: Path, lock: Path) -> None:
    path.write_bytes(b"no ledger")
    for _ in range(2):
        with pytest.raises(LedgerError, match="not a ledger"):
            Ledger.open(path, writer=True)
    assert lock.read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_holder_without_a_name_still_holds(
    path: Path, lock: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactivate.ledger.lock._UNKNOWN_HOLDER_SECONDS", 0.05)
    with Ledger.open(path, writer=True):
        lock.write_bytes(content)
        with pytest.raises(LedgerLockedError, match="another process") as caught:
            Ledger.open(path, writer=True)
        assert "fuser" in caught.value.hint


def test_what_a_lock_says_is_shown_and_not_obeyed(path: Path, lock: Path) -> None:
    hostile = {"pid": os.getpid(), "command": "\x1b[2Jgone\nnext: rm -r ~", "since": "\r"}
    with Ledger.open(path, writer=True):
        lock.write_text(json.dumps(hostile))
        with pytest.raises(LedgerLockedError) as caught:
            Ledger.open(path, writer=True)
    assert caught.value.what.isprintable()
    assert r"`\x1b[2Jgone\x0anext: rm -r ~`" in caught.value.what


def test_another_file_under_the_name_of_the_lock_is_not_emptied(
    path: Path, lock: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    lock.hardlink_to(precious)
    with pytest.raises(LedgerError, match="cannot be locked") as caught:
        Ledger.open(path, writer=True)
    assert "second name" in caught.value.why
    assert precious.read_text() == "mine"


def test_the_name_of_a_dead_holder_locks_nobody_out(path: Path, lock: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(DEADLINE_SECONDS)
    lock.write_text(json.dumps({"pid": gone.pid, "command": "x", "since": "y"}))
    Ledger.open(path, writer=True).close()


def test_the_lock_says_what_it_was_given(lock: Path) -> None:
    mine = Holder(pid=os.getpid(), command="reactivate next “ü”\udcff", since="2026")
    held = WriterLock.acquire(lock, mine)
    assert read_holder(lock) == mine
    held.release()
    assert read_holder(lock) is None


def test_a_daemon_that_is_started_meanwhile_does_not_inherit_it(path: Path) -> None:
    ledger = Ledger.open(path, writer=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as daemon:
        ledger.close()
        Ledger.open(path, writer=True).close()
        assert daemon.poll() is None
        daemon.communicate(b"\n", timeout=DEADLINE_SECONDS)
