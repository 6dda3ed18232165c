"""Links out of a workspace, folders of strangers, and files that root leaves in a user's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reactivate.errors import PrivilegeError, WorkspaceError
from reactivate.files import replace_file
from reactivate.ledger import Ledger
from reactivate.target.reap import reap
from reactivate.trust import give_back, require_no_links, require_trusted
from reactivate.workspace import Workspace
from tests.reliability.leftovers import of_root

STRANGER = 65534


def test_reaping_removes_only_what_it_can_have_made(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    outside = tmp_path / "precious" / "4194303-x"
    (outside / "mnt").mkdir(parents=True)
    workspace.results.mkdir(parents=True)
    workspace.run.symlink_to(outside.parent)
    (said,) = reap(workspace)
    assert "left alone" in said
    assert (outside / "mnt").is_dir()
    workspace.run.unlink()
    workspace.run.mkdir()
    (workspace.run / "4194303-y").symlink_to(outside)
    (workspace.run / "notes").mkdir()
    assert reap(workspace) == ()
    assert (outside / "mnt").is_dir()
    assert (workspace.run / "notes").is_dir()


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / ".README.md.part").symlink_to(precious)
    (tmp_path / "README.md").symlink_to(precious)
    assert replace_file(tmp_path / "README.md", b"ours")
    assert precious.read_text() == "mine"
    assert (tmp_path / "README.md").read_text() == "ours"
    assert not (tmp_path / "README.md").is_symlink()


@pytest.mark.root
def test_a_sticky_folder_above_is_no_fault_and_an_open_one_is(
    needs_root: None, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    workspace = Workspace(shared / "w")
    workspace.configs.mkdir(parents=True)
    shared.chmod(0o1777)
    require_trusted(workspace, [workspace.configs])
    shared.chmod(0o777)
    with pytest.raises(PrivilegeError, match="shared can be changed"):
        require_trusted(workspace, [workspace.configs])
    shared.chmod(0o755)
    # The folder itself must be ours, sticky or not.
    workspace.configs.chmod(0o1777)
    with pytest.raises(PrivilegeError, match="configs can be changed"):
        require_trusted(workspace, [workspace.configs])


@pytest.mark.root
def test_what_lies_behind_a_link_counts_too(needs_root: None, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.root.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    elsewhere.chmod(0o777)
    (workspace.root / "probes").symlink_to(elsewhere)
    with pytest.raises(PrivilegeError, match="elsewhere can be changed"):
        require_trusted(workspace, [workspace.probes])


def test_a_plain_workspace_has_no_fault(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    require_trusted(workspace, [workspace.configs])
    require_no_links(workspace)
    (tmp_path / "results").symlink_to(tmp_path / "nowhere")
    with pytest.raises(WorkspaceError):
        require_no_links(workspace)


@pytest.mark.root
def test_the_ledger_is_the_users_while_root_still_writes(needs_root: None, tmp_path: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)
    with Ledger.open(tmp_path / "ledger.db", writer=True):
        assert of_root(tmp_path) == []


@pytest.mark.root
def test_only_roots_own_files_are_given_away_and_no_link_is_followed(
    needs_root: None, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("root's")
    folder = tmp_path / "users"
    folder.mkdir()
    os.chown(folder, STRANGER, STRANGER)
    (folder / "made").mkdir()
    (folder / "made" / "file").touch()
    (folder / "link").symlink_to(precious)
    (folder / "another's").touch()
    os.chown(folder / "another's", 1234, 1234)
    assert give_back(folder, [folder]) == 3  # the folder, the file, the link itself
    assert precious.stat().st_uid == 0
    assert (folder / "link").lstat().st_uid == STRANGER
    assert (folder / "another's").stat().st_uid == 1234
    assert give_back(folder, [folder]) == 0
