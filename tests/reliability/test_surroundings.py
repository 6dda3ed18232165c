"""Readers beside a writer, two workspaces, names that are no text, a terminal that goes away."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import AttemptStatus, Ledger
from tests.cli.test_interruption import LONG, mounted, processes, running
from tests.cli.workspaces import BINDFS, INSTRUMENTS, SET_UP, Here, Make, begun, command, small
from tests.reliability.leftovers import mounts
from tests.waiting import until

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.usefixtures("needs_fuse")]


def test_readers_never_hold_up_a_step_and_see_whole_ones(needs_root: None, make: Make) -> None:
    here = make(target=BINDFS)
    begun(here.workspace)
    writer = here.process("next", "--yes", "--until", "blocked")
    looks = 0
    while writer.poll() is None:
        for verb in (["status", "--json"], ["log", "--json"]):
            told = here(*verb)
            assert told.code == ExitCode.DONE, told
            looks += 1
        # A result is there whole or not at all: its numbers, its verdicts, its events.
        with Ledger.open(here.workspace.ledger, writer=False) as ledger, ledger.snapshot():
            for attempt in ledger.attempts():
                ended = attempt.status is AttemptStatus.FINISHED
                events = [e.kind for e in ledger.events() if e.attempt == attempt.id]
                assert ("attempt_finished" in events) == ended
                if attempt.step == "baseline":
                    assert bool(ledger.measurements(attempt.id)) == ended
                    assert bool(ledger.judgements(attempt.id)) == ended
    out, err = writer.communicate()
    # As far as the component, which this target cannot switch; never "busy" or "locked".
    assert writer.returncode == ExitCode.INCONCLUSIVE, (out, err)
    assert "baseline is active" in out
    assert "busy" not in out + err
    assert looks >= 3


def test_two_workspaces_leave_each_other_alone(needs_root: None, make: Make) -> None:
    one, other = make(target=BINDFS), make(target=BINDFS)
    for here in (one, other):
        here.write("configs/instruments.toml", LONG)
        begun(here.workspace, steps=SET_UP)
        assert here("next").code == ExitCode.DONE
    measures = one.process("next")
    try:
        until(lambda: running(one) and mounted(one), "the check begins")
        before = mounts(one.root)
        killed = other.process("next")
        until(lambda: running(other) and mounted(other), "the other check begins")
        killed.kill()
        killed.communicate()
        other.write("configs/instruments.toml", INSTRUMENTS)
        assert other("next").code == ExitCode.DONE
        assert mounts(other.root) == {}
        assert mounts(one.root).items() >= before.items()
        assert measures.poll() is None
    finally:
        measures.terminate()
        measures.communicate()
    assert measures.returncode == ExitCode.INTERRUPTED
    assert not mounted(one)


@pytest.mark.parametrize("name", [b"two\nlines", b"a blank and \xff\xfe", b"\\040 $HOME;`x`"])
def test_a_workspace_whose_name_is_no_text(
    needs_root: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    here = Here(small(tmp_path / os.fsdecode(name), target=BINDFS), capsys)
    told = here("next", "--yes", "--until", "blocked", "--json")
    # As far as the component, which this target cannot switch.
    assert told.code == ExitCode.INCONCLUSIVE, told
    assert json.loads(told.out)
    assert here("status").code == ExitCode.DONE
    assert mounts(here.root) == {}
    assert not list(here.workspace.run.iterdir())
    assert not [p for p in tmp_path.iterdir() if p != here.root]


def test_6_without_proc_it_is_said(needs_root: None, make: Make) -> None:
    here = make(target=BINDFS)
    line = command(["-C", str(here.root), "next", "--yes"])
    begun(here.workspace, steps=SET_UP)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh", *line],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
    assert "There is no /proc here." in done.stderr


def test_a_terminal_that_goes_away_ends_the_step_as_ctrl_c_does(
    needs_root: None, make: Make
) -> None:
    here = make(target=BINDFS)
    here.write("configs/instruments.toml", LONG)
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    pid, terminal = pty.fork()
    if pid == 0:
        line = command(["-C", str(here.root), "next"])
        os.execvp(line[0], line)
    try:
        until(lambda: running(here) and mounted(here), "the check begins")
    finally:
        # What a closed window does: the kernel sends SIGHUP, and all writing fails with EIO.
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == ExitCode.INTERRUPTED
    assert not mounted(here)
    until(lambda: not processes(here), f"processes still run: {processes(here)}")
    assert not list(here.workspace.run.iterdir())
    assert "interrupted   1 attempt" in here("status").out
