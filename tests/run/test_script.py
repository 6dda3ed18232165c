"""A user's script as an operation."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import UsageError
from reactivate.evidence import Pid
from reactivate.procfs import process_runs
from reactivate.run.script import script_operation
from tests.waiting import until


def script(folder: Path, text: str) -> Path:
    path = folder / "work.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_it_runs_in_its_folder_and_knows_its_repetition(tmp_path: Path) -> None:
    operation = script_operation(
        script(tmp_path, "echo $REACTIVATE_REPETITION > said"), deadline_seconds=60
    )
    folder = tmp_path / "in"
    folder.mkdir()
    operation.run(folder, 7)
    assert operation.name == "work"
    assert (folder / "said").read_text() == "7\n"


def test_its_failure_is_the_operations_with_its_words(tmp_path: Path) -> None:
    failing = script_operation(script(tmp_path, "echo no room >&2; exit 3"), deadline_seconds=60)
    with pytest.raises(OSError, match=r"exited with status 3: no room"):
        failing.run(tmp_path, 0)


def test_what_never_ends_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    endless = script_operation(script(tmp_path, "cat /dev/zero | cat"), deadline_seconds=0.2)
    with pytest.raises(OSError, match=r"not finished after 0\.2 s"):
        endless.run(tmp_path, 0)


def test_what_is_left_running_ends_with_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    leaving = script_operation(
        script(tmp_path, f"mkfifo {fifo}; cat {fifo} & echo $! > pid"), deadline_seconds=60
    )
    leaving.run(tmp_path, 0)
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not process_runs(Pid(pid)))


def test_no_script_no_operation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no script"):
        script_operation(tmp_path / "none", deadline_seconds=1)
    path = script(tmp_path, "")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="not executable") as caught:
        script_operation(path, deadline_seconds=1)
    assert caught.value.hint.startswith("chmod +x")
