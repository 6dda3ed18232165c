"""Standard streams that whoever starts the tool has closed: no file of ours gets their numbers."""

from __future__ import annotations

import subprocess

import pytest

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here, command


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=str)
def test_a_step_is_recorded_as_always(here: Here, closed: tuple[int, ...]) -> None:
    line = command(["-C", str(here.root), "next", "--yes"])
    shut = " ".join(f"{number}>&-" for number in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {shut}', "sh", *line], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    assert ("next: reactivate next" in done.stdout) is (1 not in closed)
    assert here("ledger", "verify", "--no-git").code == ExitCode.DONE
