"""An older ledger beside a newer decision log: nobody writes over what it does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from tests.campaign.made_campaigns import go_on, workspace_for
from tests.cli.workspaces import Here
from tests.reliability.leftovers import digest

VERBS = (
    ["next", "--yes"], ["confirm", "--all"], ["retry"], ["rollback", "--reason", "it waits"],
    ["waive", "stack.peak", "--reason", "known"], ["verify"], ["log", "--write"],
)  # fmt: skip


@pytest.mark.parametrize("older", ["a copy", "none"])
def test_7_nothing_is_written_beside_the_log_of_a_newer_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], older: str
) -> None:
    workspace = workspace_for(tmp_path / "w")
    go_on(workspace, 3, steps=2)
    kept = shutil.copy(workspace.ledger, tmp_path / "older.db")
    go_on(workspace, 3, steps=4)
    here = Here(workspace, capsys)
    newer = workspace.ledger.rename(tmp_path / "newer.db")
    if older == "a copy":
        shutil.copy(kept, workspace.ledger)
    before = digest(workspace.root)
    for verb in VERBS:
        if verb == ["verify"] and older == "none":
            continue
        told = here(*verb)
        assert told.code == ExitCode.TAMPERED, (verb, told)
        assert "is not the ledger that wrote" in told.err
        assert f"mv {workspace.decisions} {workspace.decisions}.old" in told.err
        assert digest(workspace.root) == before, verb
    # With the newer one, or with another folder for the log, it goes on.
    workspace.decisions.rename(tmp_path / "old")
    assert here("log", "--write").code == ExitCode.DONE
    shutil.rmtree(workspace.decisions)
    (tmp_path / "old").rename(workspace.decisions)
    shutil.copy(newer, workspace.ledger)
    assert here("log", "--write").code == ExitCode.DONE


def test_a_clone_of_a_campaign_is_verified_beside_its_committed_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = workspace_for(tmp_path / "w")
    go_on(workspace, 3, steps=4)
    workspace.ledger.unlink()
    before = digest(workspace.decisions)
    told = Here(workspace, capsys)("verify")
    assert told.code == ExitCode.USAGE, told  # nothing is active in its new ledger
    assert "nothing to verify" in told.err
    assert workspace.ledger.exists() and digest(workspace.decisions) == before
