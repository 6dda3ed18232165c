"""Links out of a workspace, files of strangers, and what root leaves in a user's workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.target.reap import reap
from tests.cli.workspaces import BINDFS, Make
from tests.reliability.leftovers import digest, of_root

STRANGER = 65534

LINKED = (
    "results", "results/.run", "results/build", "results/build/own", "results/source",
    "results/baseline", "results/baseline/attempt-002", "results/logs", "docs", "docs/decisions",
    "docs/decisions/README.md",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_a_link_out_of_the_workspace_is_refused_by_every_verb_that_writes(
    make: Make, tmp_path: Path, name: str
) -> None:
    here = make(target=BINDFS)
    outside = tmp_path / "precious"
    # What a reaper, a build and an attempt would take for their own.
    for inner in ("4194303-x/mnt", "own/minimal", "attempt-001", "decisions"):
        (outside / inner).mkdir(parents=True)
    (outside / "README.md").write_text("mine")
    planted = here.root / name
    if planted.is_dir():
        shutil.rmtree(planted)
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(outside / "README.md" if name.endswith(".md") else outside)
    before = digest(outside)
    for verb in (["next", "--yes"], ["log", "--write"]):
        told = here(*verb)
        assert told.code == ExitCode.ENVIRONMENT, told
        assert f"{planted} is a symbolic link to" in told.err
        assert f"rm {planted}" in told.err
    reap(here.workspace)
    assert digest(outside) == before


@pytest.mark.fuse
@pytest.mark.root
def test_evidence_that_lay_there_before_is_not_taken_for_an_attempts_own(
    needs_fuse: None, needs_root: None, make: Make
) -> None:
    here = make(target=BINDFS)
    (here.workspace.results / "baseline" / "attempt-002").mkdir(parents=True)
    told = here("next", "--yes", "--until", "blocked")
    assert told.code == ExitCode.ENVIRONMENT
    assert "attempt-002 is there already" in told.err
    assert "mv " in told.err


def everybody_may_write(path: Path) -> None:
    path.chmod(0o777)


def belongs_to_a_stranger(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


@pytest.mark.root
@pytest.mark.parametrize("spoil", [everybody_may_write, belongs_to_a_stranger])
@pytest.mark.parametrize("name", ["configs", "configs/targets/own.toml", "probes", "results/build"])
def test_nothing_is_executed_that_others_could_have_put_there(
    needs_root: None, make: Make, name: str, spoil: Callable[[Path], None]
) -> None:
    marker = '[build]\ncommands = [["touch", "{build}/../../../../built"]]\n'
    here = make(target=BINDFS + marker)
    (here.root / name).mkdir(parents=True, exist_ok=True) if "." not in name else None
    spoil(here.root / name)
    told = here("target", "check", "own")
    assert told.code == ExitCode.ENVIRONMENT
    assert str(here.root / name) in told.out
    assert ("chmod o-w" if spoil is everybody_may_write else "chown root") in told.out
    assert not (here.root / "built").exists()


@pytest.mark.root
def test_an_artifact_that_others_may_change_is_not_started(needs_root: None, make: Make) -> None:
    here = make(
        target='title = "t"\nartifact = "{build}/d"\n'
        '[run]\ncommand = ["{build}/d", "{mountpoint}"]\n'
        '[build]\ncommands = [["install", "-m", "777", "/bin/true", "{build}/d"]]\n'
        '[[component]]\nid = "vector_storage"\n'
    )
    told = here("target", "check", "own")
    assert told.code == ExitCode.ENVIRONMENT
    assert "can be changed by every user" in told.out


@pytest.mark.fuse
@pytest.mark.root
def test_what_root_does_in_a_users_workspace_belongs_to_the_user(
    needs_fuse: None, needs_root: None, make: Make, tmp_path: Path
) -> None:
    here = make(target=BINDFS)
    for path in (here.root, *here.root.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    told = here("next", "--yes", "--until", "blocked")
    # As far as the component, which this target cannot switch.
    assert told.code == ExitCode.INCONCLUSIVE, told
    assert (here.workspace.results / "baseline" / "attempt-002" / "watermark").is_dir()
    assert (here.workspace.decisions / "README.md").is_file()
    assert here("target", "set", "search_engine.ef", "60").code in set(ExitCode)
    assert of_root(here.root) == []
