from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reactivate.errors import ConfigurationError, UsageError, WorkspaceError
from reactivate.target.configuration import configuration_sha256
from reactivate.target.settings import set_value
from reactivate.workspace import Workspace

OWN = """\
# What the daemon reads.
level = 3          # top

[storage]
size = 128         # bytes
ratio = 0.5

[search]           # the walk
implementation = "recursive"   # or "iterative"
fast = true
names = ["a", "b"]
"""

TARGET = """\
title = "Test"
artifact = "daemon"
configuration = "configs/own.toml"
[run]
command = ["daemon", "{mountpoint}"]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    (workspace.configs / "targets").mkdir(parents=True)
    (workspace.configs / "targets" / "test.toml").write_text(TARGET)
    (workspace.configs / "campaign.toml").write_text('target = "test"\nchecklist = "list.md"\n')
    (tmp_path / "list.md").touch()
    (workspace.configs / "own.toml").write_text(OWN)
    return workspace


def own(workspace: Workspace) -> Path:
    return workspace.configs / "own.toml"


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("search.implementation", "iterative", '"recursive"', '"iterative"'),
        ("search.implementation", 'say "x"\n', '"recursive"', '"say \\"x\\"\\n"'),
        ("search.fast", "false", "fast = true", "fast = false"),
        ("storage.size", "256", "128", "256"),
        ("storage.ratio", "0.25", "0.5", "0.25"),
        ("level", "-4", "level = 3", "level = -4"),
    ],
)
def test_one_value_changes_and_nothing_else(
    workspace: Workspace, key: str, value: str, old: str, new: str
) -> None:
    own(workspace).chmod(0o640)
    change = set_value(workspace, key, value)
    assert own(workspace).read_text() == OWN.replace(old, new, 1)
    assert own(workspace).stat().st_mode & 0o777 == 0o640
    assert change.path == own(workspace)
    assert change.key == key
    assert str(change.before).lower() in old
    assert [path.name for path in workspace.configs.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("serch.implementation", "x", "no section `serch`; did you mean `search`?"),
        ("search.implementatoin", "x", "no key `implementatoin`; did you mean `implementation`?"),
        ("levle", "4", "no key `levle`; did you mean `level`?"),
        ("search", "x", "no key `search`"),
        ("", "x", "no key ``"),
        ("storage.size", "many", "'many' cannot be the value of `storage.size`"),
        ("storage.size", "1.5", "cannot be the value"),
        ("storage.ratio", "half", "cannot be the value"),
        ("storage.ratio", "nan", "'nan' cannot be the value"),
        ("storage.ratio", "1e400", "cannot be the value"),
        ("storage.size", "٣", "cannot be the value"),
        ("storage.size", "9" * 5000, "cannot be the value"),
        ("search.fast", "1", "cannot be the value"),
        ("search.names", "c", "`search.names` is a list"),
    ],
)
def test_what_is_refused_changes_nothing(
    workspace: Workspace, key: str, value: str, fault: str
) -> None:
    with pytest.raises(UsageError) as caught:
        set_value(workspace, key, value)
    assert fault in caught.value.what
    assert own(workspace).read_text() == OWN


def test_a_target_without_configuration(workspace: Workspace) -> None:
    path = workspace.configs / "targets" / "test.toml"
    path.write_text(TARGET.replace('configuration = "configs/own.toml"\n', ""))
    with pytest.raises(ConfigurationError, match="has no configuration file"):
        set_value(workspace, "level", "4")


def test_a_full_disk_keeps_the_old_content(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match="cannot be written"):
        set_value(workspace, "level", "4")
    assert own(workspace).read_text() == OWN
    assert [path.name for path in workspace.configs.iterdir() if path.name[0] == "."] == []


def test_a_symbolic_link_stays_one(workspace: Workspace, tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    own(workspace).rename(real)
    own(workspace).symlink_to(real)
    set_value(workspace, "level", "4")
    assert own(workspace).is_symlink()
    assert "level = 4" in real.read_text()


class TestDigest:
    def digest(self, workspace: Workspace, *components: str) -> str:
        return configuration_sha256(own(workspace), components)

    def test_only_what_concerns_the_enabled_components_counts(self, workspace: Workspace) -> None:
        none = self.digest(workspace)
        storage = self.digest(workspace, "storage")
        both = self.digest(workspace, "storage", "search")
        assert len({none, storage, both}) == 3
        set_value(workspace, "search.implementation", "iterative")
        assert self.digest(workspace) == none
        assert self.digest(workspace, "storage") == storage
        assert self.digest(workspace, "storage", "search") != both

    def test_a_top_level_value_concerns_all(self, workspace: Workspace) -> None:
        before = self.digest(workspace)
        set_value(workspace, "level", "4")
        assert self.digest(workspace) != before

    def test_comments_layout_and_order_do_not_count(self, workspace: Workspace) -> None:
        before = self.digest(workspace, "search", "storage")
        head, storage, search = OWN.partition("[storage]")[0], "[storage]", "[search]"
        middle, end = OWN.partition(storage)[2].split(search)
        own(workspace).write_text(f"{head}{search}{end}# more words\n{storage}{middle}")
        assert self.digest(workspace, "storage", "search") == before

    def test_no_file(self) -> None:
        assert configuration_sha256(None, ("a",)) == ""


def test_a_number_too_long_to_show(workspace: Workspace) -> None:
    own(workspace).write_text("level = 0x" + "f" * 5000 + "\n")
    with pytest.raises(UsageError, match="cannot be the value") as caught:
        set_value(workspace, "level", "many")
    assert "too long to show" in caught.value.why
