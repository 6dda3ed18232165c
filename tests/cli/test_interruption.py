"""Ctrl-C, SIGTERM, SIGKILL and a second call while a step runs: nothing left, nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import AttemptStatus, Ledger
from reactivate.procfs import fuse_mounts
from tests.cli.workspaces import BINDFS, INSTRUMENTS, SET_UP, Here, Make, begun
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.fuse

LONG = "[watermark]\nrepeats = 1000000\ndeadline_seconds = 100\n"
SLOW_BUILD = f'{BINDFS}[build]\ncommands = [["sleep", "1000"]]\n'.replace(
    'artifact = "bindfs"', 'artifact = "{build}/never"'
)


def running(here: Here) -> bool:
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        return bool(ledger.attempts(status=AttemptStatus.RUNNING))


def mounted(here: Here) -> bool:
    return any(m.mountpoint.is_relative_to(here.root) for m in fuse_mounts())


def processes(here: Here) -> list[str]:
    """Command lines that name the workspace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(here.root) in line:
                found.append(line)
    return found


def children(pid: int) -> list[str]:
    """Process ids of the children of all threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += (task / "children").read_text().split()
    return found


def assert_nothing_left(here: Here) -> None:
    assert not mounted(here)
    until(lambda: not processes(here), f"processes still run: {processes(here)}")
    run = here.workspace.run
    assert not run.is_dir() or not list(run.iterdir())


@pytest.fixture
def measuring(needs_fuse: None, make: Make) -> Iterator[tuple[Here, subprocess.Popen[str]]]:
    """A call of `next` in the middle of a check that would take hours."""
    here = make(target=BINDFS)
    here.write("configs/instruments.toml", LONG)
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    process = here.process("next", "--json")
    try:
        until(lambda: running(here) and mounted(here), "the check begins")
        yield here, process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_130_an_interrupted_check_leaves_nothing(
    needs_root: None, measuring: tuple[Here, subprocess.Popen[str]], number: signal.Signals
) -> None:
    here, process = measuring
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    assert json.loads(out)["exit_code"] == ExitCode.INTERRUPTED
    assert err == ""
    assert_nothing_left(here)
    status = here("status")
    assert "interrupted   1 attempt" in status.out
    assert status.out.splitlines()[-1] == "next: reactivate next"
    # The state did not move: the same step can be run again.
    assert here("status", "--json").json()["state"] == "baseline check"


@pytest.mark.root
def test_130_impatience_does_not_cut_the_cleaning_up_off(
    needs_root: None, measuring: tuple[Here, subprocess.Popen[str]]
) -> None:
    here, process = measuring
    while process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    assert json.loads(out)["exit_code"] == ExitCode.INTERRUPTED
    assert err.count("Cleaning up") <= 1
    assert_nothing_left(here)


TYPES = """\
import sys
from pathlib import Path
from reactivate.cli.tour import Narrator
Narrator(Path(sys.argv[1]), keep=sys.argv[2] == "keep").type(["next"])
"""


@pytest.mark.root
@pytest.mark.parametrize("keep", ["keep", "pass on"])
def test_an_interrupted_tour_lets_its_command_tidy_up(
    needs_fuse: None, needs_root: None, make: Make, keep: str
) -> None:
    here = make(target=BINDFS)
    here.write("configs/instruments.toml", LONG)
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    process = subprocess.Popen(
        [sys.executable, "-c", TYPES, str(here.root), keep],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: running(here) and mounted(here), "the check begins")
        # To the tour alone, as `kill` does; a terminal tells the whole group.
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "[exit 130]" in err
    assert_nothing_left(here)


@pytest.mark.root
def test_8_a_second_call_is_told_who_writes(
    needs_root: None, measuring: tuple[Here, subprocess.Popen[str]]
) -> None:
    here, process = measuring
    for verb in (["next"], ["confirm", "--all"], ["retry"]):
        second = here(*verb)
        assert second.code == ExitCode.LEDGER
        assert f"process {process.pid} " in second.err
        assert "reactivate" in second.err
    assert here("next", "--json").json()["error"] == "LedgerLockedError"
    # Whoever only reads does not wait.
    assert here("status").code == ExitCode.DONE
    assert here("log").code == ExitCode.DONE
    assert process.poll() is None
    assert mounted(here)


@pytest.mark.root
def test_after_a_kill_the_next_call_tells_and_clears(
    needs_root: None, measuring: tuple[Here, subprocess.Popen[str]]
) -> None:
    here, process = measuring
    process.kill()
    process.communicate()
    here.write("configs/instruments.toml", INSTRUMENTS)
    following = here("next", "--json")
    assert following.code == ExitCode.DONE
    lines = following.json()["steps"][0]["lines"]
    told = [line for line in lines if line["label"] == "recovered"]
    assert told[0]["text"] == "attempt 2 of baseline (baseline) did not end"
    assert told[0]["result"] == "on record as interrupted"
    assert_nothing_left(here)
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        statuses = [attempt.status for attempt in ledger.attempts()]
    assert statuses == ["finished", "interrupted", "finished"]


def test_an_interrupted_build_leaves_no_compiler(needs_fuse: None, make: Make) -> None:
    here = make(target=SLOW_BUILD)
    begun(here.workspace, steps=SET_UP)
    process = here.process("next")
    try:
        until(lambda: running(here), "the build begins")
        until(lambda: children(process.pid), "the compiler runs")
        (child,) = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert err.endswith("[exit 130]\nnext: reactivate next\n")
    until(lambda: not Path(f"/proc/{child}").exists(), "the compiler ends")
    assert_nothing_left(here)
