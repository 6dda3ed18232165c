"""A real daemon that answers nonsense: the right numbers, or an error in time, and nothing left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.run import guest
from reactivate.workload import drive
from tests.cli.test_hostile_daemon import IMPATIENT, assert_nothing_left, hostile, library
from tests.cli.workspaces import Here, Make, Result, in_process
from tests.reliability.leftovers import living_children, mounts, sole_ancestor
from tests.waiting import until

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.usefixtures("needs_fuse", "tally")]

_DONE, _INVALID, _HUNG = ExitCode.DONE, ExitCode.INCONCLUSIVE, ExitCode.ENVIRONMENT
_HALF = "the kernel's to one that it cannot use"

MEASURED = {
    "unique": (_HUNG, "making a folder for the operations in the mount was not finished"),
    "unknown": (_INVALID, "failed with error 511"),
    "eintr": (_INVALID, "failed with EINTR"),
    "init": (_INVALID, _HALF),
    "noise": (_INVALID, _HALF),
    "empty": (_INVALID, _HALF),
    "long": (_INVALID, _HALF),
    "size": (_INVALID, _HALF),
    "other": (_INVALID, _HALF),
    "number": (_INVALID, _HALF),
    "more": (_INVALID, "painting and scanning `read` failed with EIO"),
    "slash": (_INVALID, "painting and scanning `readdir` failed with EIO"),
    "bytes": (_INVALID, "1 of 64 entries were listed"),
    "times": (_DONE, ""),
    "statfs": (_DONE, ""),
    "notify": (_DONE, ""),
}
"""What the kernel lets through is measured; what it does not is no number."""

STEPPED = {
    "length": (_HUNG, "`create` was not finished after 0.5 s; the daemon was killed"),
    "huge": (_HUNG, "`create` was not finished after 0.5 s; the daemon was killed"),
    "beyond": (_HUNG, "`create` was not finished after 0.5 s; the daemon was killed"),
    "type": (_INVALID, _HALF),
    "nameless": (_INVALID, "painting and scanning `readdir` failed with EIO"),
    # The gate is passed; the component cannot be switched.
    "twice": (_INVALID, "Switching on vector_storage changed nothing"),
}

CHECKED = {
    "endless": (_HUNG, "listing the mount failed with EIO"),
    "init": (_HUNG, "listing the mount failed with ECONNREFUSED"),
}


@pytest.fixture(scope="module", autouse=True)
def _library_removed() -> Iterator[None]:
    yield
    if library.cache_info().currsize:
        shutil.rmtree(library().parent)
    library.cache_clear()


@pytest.fixture(autouse=True)
def _short_patience(needs_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # No daemon dies of its own here: its death need not be waited for.
    monkeypatch.setattr(drive, "_DEATH_SECONDS", 0.05)


def garbage(make: Make, word: str) -> Here:
    here = hostile(make, "")
    path = here.workspace.configs / "targets" / "own.toml"
    text = path.read_text().replace("hostile.so", "garbage.so")
    told = f'GARBAGE = "{word}"\nGARBAGE_TALLY = "{os.environ["GARBAGE_TALLY"]}"'
    path.write_text(text.replace('HOSTILE = ""', told))
    return here


@pytest.fixture
def tally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails if the daemon answered honestly all the time."""
    path = tmp_path / "tally"
    monkeypatch.setenv("GARBAGE_TALLY", str(path))
    yield
    assert path.stat().st_size > 0


def assert_said(told: Result, code: ExitCode, text: str) -> None:
    assert told.code == code, told
    assert text in told.out + told.err, told
    assert "Traceback" not in told.out + told.err
    assert f"[exit {int(code)}]" in told.out + told.err or code == ExitCode.DONE, told


@pytest.mark.parametrize("word", MEASURED)
def test_measure(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preload = f"LD_PRELOAD={library().with_name('garbage.so')}"
    for name in ("src", "mnt", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    if MEASURED[word][0] == _HUNG:
        monkeypatch.setattr(guest, "_FOLDER_SECONDS", 0.5)
    with sole_ancestor():
        told = in_process(
            ["measure", "--repeats", "1", "--deadline", "60", "--", "env", f"GARBAGE={word}",
             preload, "bindfs", "-f", str(tmp_path / "src"), str(tmp_path / "mnt")],
            capsys,
        )  # fmt: skip
        assert_said(told, *MEASURED[word])
        until(lambda: not living_children(), "all have ended")
    assert mounts(tmp_path) == {}
    assert list((tmp_path / "temporary").iterdir()) == []
    rows = [line for line in told.out.splitlines() if line.startswith("  statfs ")]
    assert len(rows) == (told.code == ExitCode.DONE), told


@pytest.mark.parametrize("word", STEPPED)
def test_next(make: Make, word: str) -> None:
    with sole_ancestor():
        here = garbage(make, word)
        if STEPPED[word][0] == _HUNG:
            here.write("configs/instruments.toml", IMPATIENT)
        assert_said(here("next", "--yes", "--until", "blocked"), *STEPPED[word])
        assert_nothing_left(here)


@pytest.mark.parametrize("word", CHECKED)
def test_target_check(make: Make, word: str) -> None:
    with sole_ancestor():
        here = garbage(make, word)
        assert_said(here("target", "check", "own"), *CHECKED[word])
        assert_nothing_left(here)


def test_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preload = f"LD_PRELOAD={library().with_name('garbage.so')}"
    for name in ("src", "mnt"):
        (tmp_path / name).mkdir()
    with sole_ancestor():
        told = in_process(
            ["trace", "--without", "growth", "--without", "lifecycle", "--operation", "readdir",
             "--", "env", "GARBAGE=slash", preload, "bindfs", "-f",
             str(tmp_path / "src"), str(tmp_path / "mnt")],
            capsys,
        )  # fmt: skip
        assert_said(told, _INVALID, "failed with EIO")
        until(lambda: not living_children(), "all have ended")
    assert mounts(tmp_path) == {}
