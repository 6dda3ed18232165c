"""What `status` says of evidence that no longer describes what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.campaign.campaign import opened
from reactivate.campaign.review import review
from reactivate.cli.progress import SilentReporter
from reactivate.cli.status_view import bar, status_json
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, SET_UP, begun, small

OWN = f'configuration = "configs/own.toml"\n{BINDFS}'


def measured(folder: Path) -> Workspace:
    """A workspace whose baseline was measured and passed."""
    workspace = small(folder, target=OWN)
    (workspace.configs / "own.toml").write_text("depth = 1\n[vector_storage]\nsize = 1\n")
    begun(workspace, steps=SET_UP)
    with opened(workspace) as campaign:
        for _ in range(2):
            campaign.step(who="tester", yes=False, reporter=SilentReporter())
    return workspace


def stale(workspace: Workspace) -> str:
    return {phase.id: phase.stale for phase in review(workspace).phases}["baseline"]


@pytest.mark.fuse
@pytest.mark.root
def test_evidence_is_stale_when_what_it_depends_on_changes(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    workspace = measured(tmp_path / "w")
    assert stale(workspace) == ""
    configuration = workspace.configs / "own.toml"
    configuration.write_text("# a comment\ndepth = 1\n[vector_storage]\nsize = 2\n")
    assert stale(workspace) == "", "neither comments nor components that are off matter"
    configuration.write_text("depth = 2\n")
    assert "the target's configuration" in stale(workspace)
    configuration.write_text("depth = 1\n")
    assert stale(workspace) == ""
    checklist = workspace.checklists / "small.md"
    text = checklist.read_text()
    checklist.write_text(text.replace("## Together", "## All together"))
    assert stale(workspace) == "", "another phase's part does not matter"
    checklist.write_text(text.replace("25% of stack.limit", "20% of stack.limit", 1))
    assert "checklist" in stale(workspace)
    shown = status_json(review(workspace))
    assert "checklist" in shown["phases"][1]["stale"]


@pytest.mark.parametrize(
    ("share", "cells"), [(0.0001, "▏"), (0.25, "██████"), (0.5, "█" * 12), (1.0, "█" * 24)]
)
def test_bar(share: float, cells: str) -> None:
    assert bar(share) == cells.ljust(24)
    assert bar(share * 100) == bar(min(share * 100, 1.0))
