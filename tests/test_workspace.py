from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reactivate import workspace as workspace_module
from reactivate.errors import ConfigurationError, UsageError, WorkspaceError
from reactivate.workspace import INSTRUMENT_KEYS, Workspace, create, find, template_folder


def test_create_lays_out_everything(tmp_path: Path) -> None:
    workspace = create(tmp_path / "new" / "one", "bindfs")
    assert workspace.root == tmp_path / "new" / "one"
    assert (workspace.configs / "targets" / "model.toml").is_file()
    assert (workspace.probes / "model" / "Makefile").is_file()
    assert workspace.checklists.is_dir()
    assert list(workspace.results.iterdir()) == []
    assert list(workspace.decisions.iterdir()) == []
    assert "ledger.db" in (workspace.root / ".gitignore").read_text()
    assert not workspace.ledger.exists()
    settings = tomllib.loads((workspace.configs / "campaign.toml").read_text())
    assert settings["target"] == "bindfs"
    template = template_folder() / "configs" / "campaign.toml"
    ours = (workspace.configs / "campaign.toml").read_text().splitlines()
    changed = [
        (a, b) for a, b in zip(template.read_text().splitlines(), ours, strict=True) if a != b
    ]
    assert len(changed) == 1  # comments are kept


def test_create_in_an_empty_folder(tmp_path: Path) -> None:
    assert create(tmp_path, "model").settings().target == "model"


def test_create_copies_no_build_products_and_nothing_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "reactivate"
    template = package / "_template"
    for name in ("checklists", "configs", "probes"):
        shutil.copytree(
            template_folder() / name, template / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    model = template / "probes" / "model"
    for name in ("__pycache__/x.pyc", "build/x", "lib.so", "core.o", "core.d", ".cache/x"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).touch()
    (model / "program").touch(mode=0o555)
    (model / "Makefile").chmod(0o444)
    monkeypatch.setattr(workspace_module, "__file__", str(package / "workspace.py"))
    workspace = create(tmp_path / "workspace", "model")
    names = {path.name for path in (workspace.probes / "model").iterdir()}
    assert "Makefile" in names
    assert not names & {"__pycache__", "build", "lib.so", "core.o", "core.d", ".cache"}
    # An installation may be read-only; a workspace is there to be edited.
    assert (workspace.probes / "model" / "Makefile").stat().st_mode & 0o777 == 0o644
    assert (workspace.probes / "model" / "program").stat().st_mode & 0o700 == 0o700


def test_create_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        create(tmp_path, "model")
    with pytest.raises(UsageError, match="not an empty folder"):
        create(tmp_path / "file", "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_create_refuses_an_unknown_target_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean `model`"):
        create(tmp_path / "new", "modle")
    assert not (tmp_path / "new").exists()


def test_create_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[object] = []
    copyfile = shutil.copyfile

    def full(source: Path, destination: Path) -> None:
        if len(copied) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(destination))
        copied.append(copyfile(source, destination))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(WorkspaceError) as caught:
        create(tmp_path / "new" / "one", "model")
    assert "No space left" in caught.value.why
    assert len(copied) == 5
    assert list(tmp_path.iterdir()) == []


def test_create_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="no workspace can be made") as caught:
        create(tmp_path / "file" / "below", "model")
    assert "Not a directory" in caught.value.why
    if os.geteuid() == 0:
        with pytest.raises(WorkspaceError):
            create(Path("/proc/none"), "model")


def test_find_walks_up(tmp_path: Path) -> None:
    workspace = create(tmp_path / "one", "model")
    assert find(workspace.root) == workspace
    assert find(workspace.probes / "model") == workspace
    assert find(workspace.root / "not" / "there") == workspace
    with pytest.raises(WorkspaceError, match="not in a workspace") as caught:
        find(tmp_path)
    assert caught.value.hint == "reactivate init DIR"


def campaign(tmp_path: Path, text: str) -> Workspace:
    workspace = Workspace(tmp_path)
    (workspace.configs / "targets").mkdir(parents=True)
    (workspace.configs / "targets" / "model.toml").touch()
    (workspace.configs / "campaign.toml").write_text(text)
    (tmp_path / "list.md").touch()
    return workspace


def test_settings(tmp_path: Path) -> None:
    workspace = campaign(tmp_path, 'target = "model"\nchecklist = "list.md"\nwho = "Ada"\n')
    settings = workspace.settings()
    assert settings.target == "model"
    assert settings.checklist == tmp_path / "list.md"
    assert settings.who == "Ada"


def test_settings_know_who_without_being_told(tmp_path: Path) -> None:
    workspace = campaign(tmp_path, 'target = "model"\nchecklist = "list.md"\n')
    assert workspace.settings().who


def test_settings_tell_all_faults(tmp_path: Path) -> None:
    workspace = campaign(tmp_path, 'target = "modell"\nchecklist = "none.md"\nwhom = "Ada"\n')
    with pytest.raises(ConfigurationError) as caught:
        workspace.settings()
    first, second, third = caught.value.why.splitlines()
    assert ":1: there is no target `modell`; did you mean `model`?" in first
    assert ":2: there is no checklist" in second
    assert ":3: unknown key `whom`; did you mean `who`?" in third
    (tmp_path / "configs" / "campaign.toml").write_text("")
    with pytest.raises(ConfigurationError, match="2 faults"):
        workspace.settings()


def test_the_shipped_instrument_settings_are_complete_and_sound(project_root: Path) -> None:
    workspace = Workspace(project_root)
    for name, kinds in INSTRUMENT_KEYS.items():
        assert workspace.instrument_settings(name).keys() == kinds.keys()
    assert workspace.instrument_settings("procfs") == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[watermarks]\n", ":1: unknown key `watermarks`; did you mean `watermark`?"),
        ("[watermark]\nrepeat = 3\n", ":2: unknown key `watermark.repeat`; did you mean `repeats`"),
        ("[watermark]\nrepeats = 2.5\n", ":2: `watermark.repeats` must be a whole number"),
        ("[watermark]\nrepeats = -1\n", ":2: `watermark.repeats` must be 0 or more"),
        (
            "[lifecycle]\nlarge_bytes = 1048577\n",
            ":2: `lifecycle.large_bytes` must be at most 1,048,576",
        ),
        ("[memory]\ndeadline_seconds = inf\n", ":2: `memory.deadline_seconds` must be 0 or more"),
        ("[memory]\ndeadline_seconds = nan\n", ":2: `memory.deadline_seconds` must be 0 or more"),
        ("[memory]\ndeadline_seconds = true\n", ":2: `memory.deadline_seconds` must be a number"),
        ("[growth]\n\ntracer = 'x'\n", ":3: `growth.tracer` must be one of auto, bpftrace, perf"),
        ("growth = 3\n", ":1: `growth` must be a table"),
    ],
)
def test_instrument_settings_refuse(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "instruments.toml").write_text(text)
    # Whichever instrument asks: a fault anywhere in the file is told.
    with pytest.raises(ConfigurationError) as caught:
        Workspace(tmp_path).instrument_settings("latency")
    assert fault in caught.value.why


def test_instrument_settings_need_their_file(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"instruments\.toml cannot be read"):
        Workspace(tmp_path).instrument_settings("memory")


@pytest.mark.root
def test_a_folder_that_may_not_be_entered_is_an_environment_error(
    tmp_path: Path, needs_root: None, project_root: Path
) -> None:
    hidden = tmp_path / "hidden"
    create(hidden / "workspace", "model")
    hidden.chmod(0o700)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from reactivate.errors import WorkspaceError\n"
        "from reactivate.workspace import find\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    find(Path(sys.argv[1]))\n"
        "except WorkspaceError as error:\n"
        "    print(int(error.exit_code), error.what)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(hidden / "workspace")],
        capture_output=True, text=True, timeout=60, cwd=project_root,
    )  # fmt: skip
    assert done.stdout.startswith("6 "), done.stderr
    assert "cannot be looked into" in done.stdout
