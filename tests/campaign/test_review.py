"""What `status` says of evidence that no longer describes what is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reactivate.campaign import staleness
from reactivate.campaign.campaign import opened
from reactivate.campaign.review import review
from reactivate.checklist.parse import load
from reactivate.cli.progress import SilentReporter
from reactivate.cli.status_view import bar, status_json
from reactivate.ledger import Ledger
from reactivate.run import environment
from reactivate.target.inputs import inputs_sha256
from reactivate.target.source import prepare
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, SET_UP, begun, small
from tests.target.fiveways import checkout, target

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
    target = workspace.configs / "targets" / "own.toml"
    described = target.read_text()
    target.write_text(described.replace('"-f",', '"-f", "--realistic-permissions",'))
    assert "what builds and runs the target" in stale(workspace)
    target.write_text("# a comment\n" + described)
    assert stale(workspace) == ""
    shutil.copy(shutil.which("true") or "", tmp_path / "bindfs")
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert "the target's program" in stale(workspace)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(environment, "__version__", "9.9")
        assert "reactivate" in stale(workspace)
    checklist = workspace.checklists / "small.md"
    text = checklist.read_text()
    checklist.write_text(text.replace("## Together", "## All together"))
    assert stale(workspace) == "", "another phase's part does not matter"
    checklist.write_text(text.replace("25% of stack.limit", "20% of stack.limit", 1))
    assert "checklist" in stale(workspace)
    shown = status_json(review(workspace))
    assert "checklist" in shown["phases"][1]["stale"]


def test_patches_and_uncommitted_changes_are_evidence_too(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    source = checkout(tmp_path / "source")
    spec = target(workspace.root, "patch", source, names=("vector_storage",))
    core = source / "fiveways.c"
    committed = core.read_text()
    core.write_text(f"{committed}// one\n")
    (patch,) = (workspace.configs / "patches").glob("vector_storage.patch")
    names = ("vector_storage",)
    made = prepare(source, tmp_path / "copy", [patch])
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        then = {
            **environment.machine(),
            "target": "own",
            "phase_sha256": section(workspace, "vector_storage"),
            "components": list(names),
            "configuration_sha256": "",
            "commit": f"{made.commit}+",
            "source_sha256": made.fingerprint,
            "inputs_sha256": inputs_sha256(spec, workspace, names),
        }
        ledger.finish(ledger.begin_attempt("vector_storage", "baseline", then), "passed")

    def said() -> str:
        with Ledger.open(workspace.ledger, writer=False) as ledger:
            checklist = load(workspace.settings().checklist)
            (own,) = (p for p in checklist.phases if p.id == "vector_storage")
            return staleness.stale(workspace, "own", checklist, own, ledger, {})

    assert said() == ""
    core.write_text(f"{committed}// two\n")
    assert said() == "changed since it was measured: the target's source"
    core.write_text(f"{committed}// one\n")
    patch.write_text(patch.read_text().replace("@@ -", "A comment.\n@@ -", 1) + "\n")
    assert "what builds and runs the target" in said()


def section(workspace: Workspace, phase: str) -> str:
    checklist = load(workspace.settings().checklist)
    return next(p.sha256 for p in checklist.phases if p.id == phase)


@pytest.mark.parametrize(
    ("share", "cells"), [(0.0001, "▏"), (0.25, "██████"), (0.5, "█" * 12), (1.0, "█" * 24)]
)
def test_bar(share: float, cells: str) -> None:
    assert bar(share) == cells.ljust(24)
    assert bar(share * 100) == bar(min(share * 100, 1.0))
