"""What people get wrong: a clear message, its exit code, and nothing lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from reactivate.workspace import Workspace
from tests.cli.workspaces import (
    BINDFS,
    CHECKLIST,
    SET_UP,
    Here,
    Make,
    Result,
    begun,
    command,
    small,
)
from tests.target.daemons import SILENT_MOUNT, run_late, said

FAST = "mount_timeout_seconds = 1\nstop_timeout_seconds = 1\n"


def assert_told(result: Result, code: ExitCode, *words: str) -> None:
    """What happened, why, and what to type, in this order; no traceback."""
    assert result.code == code, result
    assert "Traceback" not in result.err
    assert "next:" not in result.out
    lines = result.err.rstrip().splitlines()
    where = lines.index(f"[exit {int(code)}]")
    assert where >= 1, "it says what happened"
    for word in words:
        assert word in result.err, result.err


def assert_hint(result: Result, hint: str) -> None:
    assert hint in result.err.rstrip().splitlines()[-1]


# Names


def test_unknown_target(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun(here.workspace)
    here.write("configs/campaign.toml", 'target = "modle"\nchecklist = "checklists/small.md"\n')
    assert_told(here("next"), ExitCode.USAGE, "campaign.toml:1", "`modle`", "did you mean `model`")
    other = here("init", str(tmp_path / "new"), "--target", "modle")
    assert_told(other, ExitCode.USAGE, "There is no target `modle`", "did you mean `model`")
    assert not (tmp_path / "new").exists()


def test_unknown_component(make: Make) -> None:
    here = make(target=BINDFS.replace("vector_storage", "compression"))
    result = here("next")
    assert_told(result, ExitCode.USAGE, "has no component vector_storage", "compression")
    assert_hint(result, "correct the checklist")
    assert not here.workspace.ledger.exists()


def test_a_folder_that_is_not_empty(here: Here) -> None:
    result = here("init", str(here.root))
    assert_told(result, ExitCode.USAGE, "is not an empty folder", "nothing can be overwritten")
    assert_hint(result, "name a new folder")


# Checklists

FAULTY = {
    "broken TOML": ('id = "vector_storage"', 'id = "vector_storage', "TOML"),
    "unknown metric": ("`stack.recursion <= 100`", "`stack.recursoin <= 100`", "stack.recursion"),
    "bad unit": ("`LIMIT`", "`stack.peak <= 64 KB`", "KiB"),
    "missing block": ('```toml component\nid = "vector_storage"\n', "```text\n", "component"),
    "cycle": ('risk = "medium"', 'needs = ["vector_storage"]', "vector_storage"),
    "duplicate id": (
        "## Together",
        '## Again\n\n```toml component\nid = "vector_storage"\n```\n\n## Together',
        "vector_storage",
    ),
}


@pytest.mark.parametrize("fault", FAULTY, ids=lambda name: name.replace(" ", "-"))
def test_faulty_checklist(make: Make, fault: str) -> None:
    old, new, named = FAULTY[fault]
    assert old in CHECKLIST
    here = make(checklist=CHECKLIST.replace(old, new, 1))
    for arguments in (["next"], ["checklist", "check"], ["status"]):
        result = here(*arguments)
        assert_told(result, ExitCode.USAGE, "small.md:", named)
        assert "Nothing was run." in result.err
    found = here("checklist", "check", "--json").json()
    assert found["schema"] == "reactivate.error/1"
    lines = (here.workspace.checklists / "small.md").read_text().splitlines()
    assert found["faults"]
    for entry in found["faults"]:
        assert entry["source_line"] == lines[entry["line"] - 1]
        assert 1 <= entry["column"] <= len(entry["source_line"]) + 1
    assert any(named in f"{e['message']} {e['suggestion']}" for e in found["faults"])
    assert not here.workspace.ledger.exists()


def test_a_checklist_that_is_not_there(here: Here) -> None:
    result = here("checklist", "check", "checklists/nowhere.md")
    assert_told(result, ExitCode.USAGE, "nowhere.md")


def test_faulty_instrument_settings_are_told_before_anything_runs(here: Here) -> None:
    begun(here.workspace, steps=SET_UP)
    before = here.recorded()
    here.write("configs/instruments.toml", "[watermark]\nrepeat = 2\n")
    result = here("next")
    assert_told(result, ExitCode.USAGE, "instruments.toml:2", "did you mean `repeats`")
    assert_hint(result, "correct it")
    assert here.recorded() == before


# Daemons


def target(run: str, *, build: str = "", extra: str = FAST) -> str:
    return (
        f'title = "own"\nartifact = "{sys.executable}"\n{build}'
        f'[run]\ncommand = {run}\n{extra}[[component]]\nid = "vector_storage"\n'
    )


DAEMONS = {
    "ends at once": (
        target('["/bin/false", "{mountpoint}"]'),
        ["exited with status 1 before it was mounted"],
    ),
    "never mounts": (
        target('["sh", "-c", "sleep 1000", "{mountpoint}"]'),
        ["did not mount", "within 1 s"],
    ),
    "is no program": (target('["/no/such/daemon", "{mountpoint}"]'), ["/no/such/daemon"]),
}


@pytest.mark.fuse
@pytest.mark.parametrize("manner", DAEMONS, ids=lambda name: name.replace(" ", "-"))
def test_a_daemon_that(needs_fuse: None, make: Make, manner: str) -> None:
    content, words = DAEMONS[manner]
    here = make(target=content)
    begun(here.workspace, steps=SET_UP)
    before = here.recorded()[0]
    result = here("next")
    assert_told(result, ExitCode.ENVIRONMENT, *words)
    assert not list(here.workspace.run.iterdir())
    assert here.recorded()[0] == before + 3
    # The attempt is on record, the state did not move.
    assert here("status", "--json").json()["state"] == "activating"


@pytest.mark.fuse
@pytest.mark.root
def test_a_daemon_that_mounts_and_never_answers(
    needs_fuse: None, needs_root: None, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make(target=target(f'["{sys.executable}", "{{probes}}/silent.py", "{{mountpoint}}"]'))
    here.write("probes/silent.py", SILENT_MOUNT)
    begun(here.workspace, steps=SET_UP)
    run = here.workspace.run

    def late(main: Callable[..., Awaitable[object]], *given: object) -> object:
        return run_late(partial(main, *given), lambda: said(run, "mounted and silent"))

    monkeypatch.setattr(trio, "run", late)
    result = here("next")
    assert_told(result, ExitCode.ENVIRONMENT, "mounted and silent")
    assert not list(here.workspace.run.iterdir())


@pytest.mark.fuse
@pytest.mark.root
def test_a_daemon_that_dies_in_an_operation(needs_fuse: None, needs_root: None, make: Make) -> None:
    # A mirror that may not make files larger than a block dies of it when one is written.
    here = make(target=BINDFS.replace('["bindfs", ', '["prlimit", "--fsize=16", "bindfs", '))
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    result = here("next")
    assert_told(result, ExitCode.ENVIRONMENT, "SIGXFSZ")
    assert not list(here.workspace.run.iterdir())
    assert here("status", "--json").json()["state"] == "baseline check"


# The machine


def test_compiler_missing(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(here.workspace, steps=SET_UP)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh", "mkdir", "pkg-config", "fusermount3", "true", "rm", "mv"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))
    result = here("next")
    assert_told(result, ExitCode.ENVIRONMENT, "cc")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_told(here("next"), ExitCode.ENVIRONMENT, "make")


@pytest.mark.fuse
def test_fusermount_missing(
    needs_fuse: None, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make(target=BINDFS)
    begun(here.workspace, steps=SET_UP)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "bindfs").symlink_to(str(shutil.which("bindfs")))
    monkeypatch.setenv("PATH", str(tools))
    result = here("next")
    assert_told(result, ExitCode.ENVIRONMENT, "fusermount3")


@pytest.mark.fuse
@pytest.mark.root
def test_fuse_device_missing(
    needs_fuse: None, needs_root: None, on_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Here(small(on_disk / "w", target=BINDFS), capsys)  # nothing below /dev is seen
    begun(here.workspace, steps=SET_UP)
    script = 'mount -t tmpfs none /dev && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command(["-C", str(here.root), "next"])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    result = Result(code=done.returncode, out=done.stdout, err=done.stderr)
    assert_told(result, ExitCode.ENVIRONMENT, "/dev/fuse")


# The disk


@pytest.fixture
def tiny_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tiny", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
def test_a_full_workspace(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(small(tiny_disk / "w"), capsys)
    begun(here.workspace)
    before = here.recorded()
    fill(tiny_disk)
    result = here("confirm", "--all")
    assert_told(result, ExitCode.LEDGER)
    (tiny_disk / "filler").unlink()
    assert here.recorded() == before
    assert here("confirm", "--all").code == ExitCode.DONE


@pytest.mark.fuse
@pytest.mark.root
def test_a_disk_that_fills_up_before_a_check(
    needs_fuse: None, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Here(small(tiny_disk / "w", target=BINDFS), capsys)
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    before = here.recorded()
    fill(tiny_disk)
    result = here("next")
    assert result.code in (ExitCode.ENVIRONMENT, ExitCode.LEDGER)
    assert_told(result, ExitCode(result.code))
    (tiny_disk / "filler").unlink()
    assert here.recorded()[1:] == before[1:]
    assert here("status", "--json").json()["state"] == "baseline check"
    assert here("next").code == ExitCode.DONE
    assert not list(here.workspace.run.iterdir())


@pytest.mark.root
def test_no_room_for_a_workspace(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = Here(Workspace(tiny_disk), capsys)
    fill(tiny_disk)
    result = outside("init", str(tiny_disk / "w"))
    assert_told(result, ExitCode.ENVIRONMENT, "No space left")
    assert [entry.name for entry in tiny_disk.iterdir()] == ["filler"]


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(1))
        except OSError:
            pass


@pytest.mark.root
def test_a_read_only_workspace(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(small(tiny_disk / "w"), capsys)
    begun(here.workspace, steps=1)
    (here.workspace.decisions / "README.md").unlink()
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    assert_told(here("next"), ExitCode.LEDGER)
    # Reading goes on.
    assert here("status").code == ExitCode.DONE
    assert here("log").code == ExitCode.DONE
    assert_told(here("log", "--write"), ExitCode.ENVIRONMENT, "decision log", "Read-only")
    assert_told(here("target", "set", "search_engine.ef", "60"), ExitCode.ENVIRONMENT, "Read-only")


@pytest.mark.root
def test_no_permission(here: Here, needs_root: None) -> None:
    begun(here.workspace)
    here.root.chmod(0o700)
    here.workspace.ledger.chmod(0o600)
    for folder in here.root.resolve().parents:
        if folder.stat().st_uid == 0 and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    here.root.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for verb in ("next", "status"):
        done = subprocess.run(
            [*nobody, *command(["-C", str(here.root), verb])],
            capture_output=True,
            text=True,
            timeout=60,
        )
        result = Result(code=done.returncode, out=done.stdout, err=done.stderr)
        assert_told(result, ExitCode.LEDGER, "ermission")


# The ledger


def test_a_ledger_from_a_newer_version(here: Here) -> None:
    begun(here.workspace)
    with sqlite3.connect(here.workspace.ledger) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    for verb in ("next", "status", "log"):
        result = here(verb)
        assert_told(result, ExitCode.LEDGER, "newer version", "schema 999")
        assert_hint(result, "upgrade")


def test_a_damaged_ledger(here: Here) -> None:
    begun(here.workspace)
    content = bytearray(here.workspace.ledger.read_bytes())
    content[100:4096] = os.urandom(3996)
    here.workspace.ledger.write_bytes(content)
    for verb in ("next", "status", "log"):
        assert_told(here(verb), ExitCode.LEDGER, "damaged")
    assert here.workspace.ledger.read_bytes() == bytes(content)


def test_events_that_cannot_have_happened(here: Here) -> None:
    begun(here.workspace)
    with Ledger.open(here.workspace.ledger, writer=True) as ledger:
        event = ledger.append("gate_passed", "baseline", {"check": "baseline"})
    for verb in ("next", "status"):
        assert_told(here(verb), ExitCode.LEDGER, f"event {event.seq} ", "cannot have happened")


def test_a_locked_ledger(here: Here) -> None:
    begun(here.workspace)
    with Path(f"{here.workspace.ledger}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = here("next")
        assert_told(result, ExitCode.LEDGER, "another process")
        assert here("status").code == ExitCode.DONE


@pytest.mark.parametrize(
    "arguments",
    [
        ["history", "stack.peak", "--operation", "a", "--operation", "b"],
        ["export", "--format", "csv", "--format", "json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_of_two_values_for_one_thing_none_is_dropped_in_silence(
    here: Here, arguments: list[str]
) -> None:
    result = here(*arguments)
    assert result.code == ExitCode.USAGE
    assert f"{arguments[-2]} was given 2 times" in result.err
    assert f"next: reactivate {arguments[0]} --help" in result.err
    assert here(*arguments[:-2]).code == ExitCode.DONE


# Files and names that are none


def test_a_pipe_is_no_file(here: Here) -> None:
    pipe = here.root / "pipe"
    os.mkfifo(pipe)
    assert_told(here("checklist", "check", str(pipe)), ExitCode.USAGE, "named pipe, not a file")
    assert_told(here("frames", str(pipe)), ExitCode.USAGE, "pipe")
    assert_told(here("ledger", "merge", str(pipe)), ExitCode.USAGE, "can be merged")
    os.mkfifo(here.workspace.configs / "targets" / "piped.toml")
    told = here("target", "show", "piped")
    assert_told(told, ExitCode.ENVIRONMENT, "named pipe, not a file")


def test_a_name_too_long_for_a_file(here: Here) -> None:
    told = here("ledger", "merge", "a" * 5000)
    assert_told(told, ExitCode.USAGE, "File name too long")
    assert len(told.err) < 500


def test_what_was_typed_is_never_obeyed_by_the_terminal(here: Here) -> None:
    told = here("target", "show", "\x1b[2J")
    assert_told(told, ExitCode.USAGE, "\\x1b[2J")
    assert "\x1b" not in told.err
