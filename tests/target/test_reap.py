from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from reactivate import procfs
from reactivate.evidence import Pid
from reactivate.target.reap import reap
from reactivate.target.record import RECORD_NAME, read_record, write_record
from reactivate.workspace import Workspace
from tests.waiting import PATIENCE_SECONDS

DEAD = 2**22 - 1
"""No process has this number on a machine that is not about to run out of them."""


def record(folder: Path, pid: int, start_ticks: int, **changes: object) -> None:
    folder.mkdir(parents=True)
    (folder / "mnt").mkdir()
    data = {
        "pid": pid,
        "start_ticks": start_ticks,
        "owner_pid": DEAD,
        "owner_start_ticks": 1,
        "mountpoint": str(folder / "mnt"),
        "command": ["sleep", "1000"],
    } | changes
    (folder / RECORD_NAME).write_text(json.dumps(data))


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_nothing_to_do(tmp_path: Path) -> None:
    assert reap(Workspace(tmp_path)) == ()


def test_a_process_that_was_left_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    workspace = Workspace(tmp_path)
    ticks = procfs.process_start_ticks(Pid(sleeper.pid))
    record(workspace.run / "1-x", sleeper.pid, ticks)
    assert reap(workspace) == (f"ended pid {sleeper.pid}: sleep 1000",)
    assert sleeper.wait(timeout=PATIENCE_SECONDS) == -9
    assert list(workspace.run.iterdir()) == []


def test_a_recycled_pid_is_not_touched(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    workspace = Workspace(tmp_path)
    ticks = procfs.process_start_ticks(Pid(sleeper.pid))
    record(workspace.run / "1-x", sleeper.pid, ticks + 1)
    assert reap(workspace) == (f"removed {workspace.run / '1-x'}",)
    assert sleeper.poll() is None
    assert list(workspace.run.iterdir()) == []


def test_the_run_of_a_living_tool_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    workspace = Workspace(tmp_path)
    ticks = procfs.process_start_ticks(Pid(sleeper.pid))
    own = Pid(os.getpid())
    record(
        workspace.run / "1-x",
        sleeper.pid,
        ticks,
        owner_pid=own,
        owner_start_ticks=procfs.process_start_ticks(own),
    )
    assert reap(workspace) == ()
    assert sleeper.poll() is None
    assert (workspace.run / "1-x").is_dir()


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    abandoned = workspace.run / f"{DEAD}-x"
    just_made = workspace.run / f"{os.getpid()}-x"
    broken = workspace.run / f"{DEAD}-y"
    for folder in (abandoned, just_made, broken):
        (folder / "mnt").mkdir(parents=True)
    (broken / RECORD_NAME).write_text("{")
    assert len(reap(workspace)) == 2
    assert list(workspace.run.iterdir()) == [just_made]


def test_a_mount_point_with_something_in_it_is_said_not_emptied(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    record(workspace.run / "1-x", DEAD, 1)
    precious = workspace.run / "1-x" / "mnt" / "file"
    precious.touch()
    assert reap(workspace) == (f"{workspace.run / '1-x'} cannot be removed",)
    assert precious.exists()


def test_records_come_back_as_written(tmp_path: Path) -> None:
    own = Pid(os.getpid())
    write_record(tmp_path, own, tmp_path / "mnt", ("a", "b c"))
    found = read_record(tmp_path)
    assert found is not None
    assert found.pid == found.owner_pid == own
    assert found.start_ticks == procfs.process_start_ticks(own)
    assert found.command == ("a", "b c")
    assert read_record(tmp_path / "none") is None
