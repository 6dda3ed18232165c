from __future__ import annotations

import errno
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactivate.workload.exercises.contract import Exercise, Outcome, Progress, Value
from reactivate.workload.exercises.parallel import in_parallel
from reactivate.workload.exercises.registry import EXERCISES
from reactivate.workload.posix import POSIX


def run(exercise: Exercise, folder: Path, **values: Value) -> Outcome:
    """Do it with some parameters, the others at their defaults."""
    defaults = {name: one.default for name, one in exercise.parameters.items()}
    filled = {name: value for name, value in {**defaults, **values}.items() if value is not None}
    assert filled.keys() == exercise.parameters.keys()
    progress = Progress()
    outcome = exercise.run(folder, filled, progress)
    assert outcome == progress.outcome()
    return outcome


@contextmanager
def full_folder(path: Path, size_bytes: int) -> Iterator[None]:
    """A real filesystem that has only so much room."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no filesystem may be mounted here, so none can be full")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=20)


def test_every_exercise_is_named_and_described() -> None:
    for name, exercise in EXERCISES.items():
        assert exercise.name == name
        assert exercise.summary
        for parameter in exercise.parameters.values():
            assert parameter.meaning
            assert parameter.default is None or (isinstance(parameter.default, parameter.kind))


def test_plain_ones_count_what_they_do(tmp_path: Path) -> None:
    assert run(EXERCISES["initialise"], tmp_path).operations == 2
    assert run(EXERCISES["suite"], tmp_path, suite="posix", repeats=2).operations == 2 * len(POSIX)
    assert run(EXERCISES["clients"], tmp_path, clients=3, rounds=2).operations == 6 * len(POSIX)
    rounds = run(EXERCISES["endurance"], tmp_path, rounds=3, suites=("posix", "transaction"))
    assert rounds.operations == 3 * (len(POSIX) + 2)
    # Again on the same mount: nothing of the first time is in the way.
    assert run(EXERCISES["suite"], tmp_path, suite="posix", repeats=2).operations == 2 * len(POSIX)


def test_what_they_need() -> None:
    assert EXERCISES["suite"].needs({"suite": "search"}) == ("search_engine",)
    assert EXERCISES["suite"].needs({"suite": "posix"}) == ()
    assert EXERCISES["endurance"].needs({"suites": ("posix", "cache")}) == ("cache_manager",)
    assert EXERCISES["search"].needs({}) == ("vector_storage", "search_engine")


def test_an_operation_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "suite-posix").mkdir()
    (tmp_path / "suite-posix" / "readdir").mkdir()
    (tmp_path / "suite-posix" / "readdir" / "one too many").touch()
    with pytest.raises(OSError, match="of 64 entries were listed"):
        run(EXERCISES["suite"], tmp_path, suite="posix")


def test_durable_files_are_compared_after_a_restart(tmp_path: Path) -> None:
    exercise = EXERCISES["durable_writes"]
    assert exercise.durable
    outcome = run(exercise, tmp_path, files=5, rounds=2, bytes=70_000)
    assert outcome.operations == 10
    assert len(outcome.durable) == 5
    for name, sha256 in outcome.durable.items():
        content = (tmp_path / name).read_bytes()
        assert len(content) == 70_000
        assert hashlib.sha256(content).hexdigest() == sha256
    assert exercise.verify(tmp_path, outcome) == 0
    gone, torn, older, *_ = (tmp_path / name for name in outcome.durable)
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:-1])
    older.write_bytes(b"\0" + older.read_bytes()[1:])
    assert exercise.verify(tmp_path, outcome) == 3
    # A mount that does not answer is no loss of data, and no proof that there was none.
    with pytest.raises(FileNotFoundError):
        exercise.verify(tmp_path / "absent", outcome)


def test_what_was_acknowledged_before_a_failure_is_on_record(tmp_path: Path) -> None:
    (tmp_path / "durable" / "file-2").mkdir(parents=True)
    exercise, progress = EXERCISES["durable_writes"], Progress()
    with pytest.raises(IsADirectoryError):
        exercise.run(tmp_path, {"files": 4, "rounds": 1, "bytes": 10}, progress)
    assert set(progress.outcome().durable) == {"durable/file-0", "durable/file-1"}
    # While a file is written again, neither content is promised.
    progress.begins("durable/file-0")
    assert set(progress.outcome().durable) == {"durable/file-1"}


@pytest.mark.root
def test_errors_from_below_are_counted_and_nothing_acknowledged_is_lost(
    tmp_path: Path, needs_root: None
) -> None:
    exercise = EXERCISES["errors"]
    with full_folder(tmp_path / "small", 256 << 10):
        outcome = run(exercise, tmp_path / "small", files=40, bytes=16_384, allow=("ENOSPC",))
        assert outcome.operations + outcome.refused["ENOSPC"] == 40
        assert outcome.operations == len(outcome.durable) == 16
        assert exercise.verify(tmp_path / "small", outcome) == 0
    with full_folder(tmp_path / "other", 256 << 10), pytest.raises(OSError) as caught:
        run(exercise, tmp_path / "other", files=40, bytes=16_384, allow=("EIO",))
    assert caught.value.errno == errno.ENOSPC


def test_a_fault_that_never_came_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none of ENOSPC, EIO came"):
        run(EXERCISES["errors"], tmp_path, allow=("ENOSPC", "EIO"))
    outcome = run(EXERCISES["errors"], tmp_path, allow=("ENOSPC",), expected=False)
    assert outcome.operations == 64
    assert outcome.refused == {}


def test_callers_are_really_side_by_side() -> None:
    together = threading.Barrier(5, timeout=60)
    in_parallel(lambda _: together.wait() and None, 5)


def test_the_first_caller_that_failed_is_told_when_all_have_ended(tmp_path: Path) -> None:
    ended = []

    def call(caller: int) -> None:
        if caller % 2:
            raise OSError(errno.EIO, f"caller {caller}")
        (tmp_path / str(caller)).touch()
        ended.append(caller)

    with pytest.raises(OSError, match="caller 1"):
        in_parallel(call, 4)
    assert sorted(ended) == [0, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]
