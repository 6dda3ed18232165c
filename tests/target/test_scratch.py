"""Temporary folders: gone with their maker, however it ends; others' are not touched."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from reactivate.errors import WorkspaceError
from reactivate.evidence import Pid
from reactivate.procfs import process_start_ticks
from reactivate.target.reap import reap, reap_scratch
from reactivate.target.scratch import kept_folder, scratch_folder, temporary_folder
from reactivate.target.unmount import detach_below
from reactivate.workspace import Workspace
from tests.target.test_reap import record

HOLDER = """
from reactivate.target.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_text("x")
    (folder / "link").symlink_to("/etc")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@contextmanager
def holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that holds a scratch folder until it is told, or killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().rstrip("\n"))
        finally:
            process.kill()


def test_gone_afterwards_and_for_us_alone(base: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o7777 == 0o700
        (folder / "f").touch()
        assert reap_scratch() == []
        assert folder.is_dir()
    assert list(base.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_call(base: Path, tmp_path: Path) -> None:
    with holder() as (killed, left), holder() as (living, kept):
        killed.kill()
        killed.wait()
        assert left.is_dir()
        assert reap(Workspace(tmp_path / "w")) == ()
        assert list(base.iterdir()) == [kept]
        assert (kept / "inner" / "file").read_text() == "x"
        living.communicate("\n")
    assert living.returncode == 0
    assert list(base.iterdir()) == []
    assert Path("/etc/passwd").exists()


def dead(base: Path, name: str = "reactivate-1-aaaaaaaa") -> Path:
    folder = base / name
    folder.mkdir(0o700)
    (folder / "file").touch()
    return folder


@pytest.mark.parametrize("planted", ["link", "file", "open to others", "another name"])
def test_what_only_looks_like_one_is_left_alone(base: Path, tmp_path: Path, planted: str) -> None:
    precious = dead(tmp_path, "precious")
    path = base / "reactivate-1-aaaaaaaa"
    if planted == "link":
        path.symlink_to(precious)
    elif planted == "file":
        path.touch(0o700)
    elif planted == "open to others":
        dead(base).chmod(0o770)
    else:
        path = dead(base, "reactivate-tour-aaaaaaaa")
    assert reap_scratch() == []
    assert os.path.lexists(path)
    assert (precious / "file").exists()


@pytest.mark.root
def test_another_users_is_left_alone(base: Path, needs_root: None) -> None:
    folder = dead(base)
    os.chown(folder, 65534, 65534)
    assert reap_scratch() == []
    assert (folder / "file").exists()
    os.chown(folder, 0, 0)
    assert reap_scratch() == []
    assert not folder.exists()


@pytest.mark.parametrize("living", [False, True])
def test_daemons_of_a_workspace_in_one_end_unless_their_tool_goes_on(
    base: Path, living: bool
) -> None:
    folder = dead(base)
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as sleeper:
        try:
            ticks = process_start_ticks(Pid(sleeper.pid))
            tool = {
                "owner_pid": os.getpid(),
                "owner_start_ticks": process_start_ticks(Pid(os.getpid())),
            }
            run = Workspace(folder / "w").run
            record(run / "1-x", sleeper.pid, ticks, **(tool if living else {}))
            said = reap_scratch()
            assert folder.exists() == living
            assert (sleeper.poll() is None) == living
            assert said == ([] if living else [f"ended pid {sleeper.pid}: sleep 1000"])
        finally:
            sleeper.kill()


@contextmanager
def bound(source: Path, mountpoint: Path) -> Iterator[None]:
    mountpoint.mkdir()
    subprocess.run(["mount", "--bind", source, mountpoint], check=True)
    try:
        yield
    finally:
        detach_below(mountpoint)


@pytest.mark.root
def test_what_is_mounted_there_is_taken_away_and_not_emptied(
    base: Path, tmp_path: Path, needs_root: None
) -> None:
    precious, folder = dead(tmp_path, "precious"), dead(base)
    with bound(precious, folder / "mnt"):
        assert reap_scratch() == [f"unmounted {folder / 'mnt'}"]
        assert not folder.exists()
    assert (precious / "file").exists()


@pytest.mark.root
def test_what_is_still_mounted_there_in_the_end_is_not_emptied(
    base: Path, tmp_path: Path, needs_root: None
) -> None:
    precious = dead(tmp_path, "precious")
    with ExitStack() as mounts:
        with scratch_folder() as folder:
            mounts.enter_context(bound(precious, folder / "mnt"))
        assert (precious / "file").exists()
        assert reap_scratch() == [f"unmounted {folder / 'mnt'}"]
    assert not folder.exists()


@pytest.mark.parametrize(("module", "name"), [(tempfile, "mkdtemp"), (fcntl, "flock")])
def test_one_that_is_swept_before_it_is_locked_is_made_again(
    base: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    made: list[Path] = []
    function = getattr(module, name)

    def swept(*given: object, **named: object) -> object:
        result = function(*given, **named) if name == "mkdtemp" else None
        if not made:
            made.extend(base.iterdir())
            assert reap_scratch() == []
        return result or function(*given, **named)

    monkeypatch.setattr(module, name, swept)
    with scratch_folder() as folder:
        assert folder.is_dir()
        assert made[0] != folder
    assert len(made) == 1
    assert list(base.iterdir()) == []


def test_nothing_is_written_to_find_a_folder(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = base.stat().st_mtime_ns
    assert temporary_folder() == base.resolve()
    assert base.stat().st_mtime_ns == before
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert temporary_folder() == Path("/tmp").resolve()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WorkspaceError, match="no folder for temporary files"):
        temporary_folder()


def test_a_folder_for_the_user_stays(base: Path) -> None:
    folder = kept_folder("tour")
    assert reap_scratch() == []
    assert folder.is_dir()
