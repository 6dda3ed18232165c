"""`reactivate tour`: what is told, without measuring; tests/test_packaging.py tells the whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from reactivate.cli.tour import Narrator, tell
from reactivate.errors import ExitCode, UsageError
from tests.cli.workspaces import Here, begun


class Listener(Narrator):
    """Writes down what is typed, and says that all went as it must."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace, keep=False)
        self.typed: list[list[str]] = []

    def type(self, arguments: Sequence[str], *, expect: ExitCode = ExitCode.DONE) -> None:
        self.typed.append([*arguments])

    def go_on(self, *, expect: ExitCode) -> None:
        self.typed.append(["next", str(int(expect))])

    def ask(self, arguments: Sequence[str]) -> dict[str, object]:
        done = self.typed[-1] == ["status"]
        return {
            "current": "search_engine",
            "failed": ["a criterion"],
            "state": "complete" if done else "refused",
        }


def told(folder: Path) -> list[list[str]]:
    listener = Listener(folder)
    tell(listener, folder)
    return listener.typed


def test_a_workspace_is_made_unless_it_is_laid_out(here: Here, tmp_path: Path) -> None:
    new = told(tmp_path / "new")
    assert new[0] == ["init", str(tmp_path / "new"), "--target", "model", "--reduced"]
    assert [line for line in new if line[0] == "next"] == [["next", "3"], ["next", "0"]]
    # A folder within a workspace is none itself.
    assert told(here.root / "within") == [
        ["init", str(here.root / "within"), "--target", "model", "--reduced"], *new[1:],
    ]  # fmt: skip
    assert told(here.root) == new[1:]


def test_a_campaign_that_has_begun_is_no_tour(here: Here) -> None:
    begun(here.workspace)
    with pytest.raises(UsageError, match="has a ledger already"):
        told(here.root)
