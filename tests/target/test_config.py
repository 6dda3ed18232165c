from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import ConfigurationError, UsageError
from reactivate.target.config import load_target, target_names, target_path
from reactivate.workload.witness import WITNESSES
from reactivate.workspace import Workspace

GOOD = """\
title = "Test"
artifact = "{build}/lib.so"

[build]
commands = [["make", "OUT={build}", "{components}"]]

[run]
command = ["daemon", "{mountpoint}"]
for_each_component = ["--on", "{component}"]

[environment]
LIBRARY = "{probes}"

[[component]]
id = "storage"

[[component]]
id = "search"
needs = ["storage"]
witness = "search_engine"
"""


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "configs" / "targets" / "test.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_target(path)


def test_a_sound_file(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    spec = load_target(tmp_path / "configs" / "targets" / "test.toml")
    assert spec.name == "test"
    assert spec.title == "Test"
    assert spec.build == (("make", "OUT={build}", "{components}"),)
    assert spec.build_timeout_seconds == 300
    assert spec.run == ("daemon", "{mountpoint}")
    assert spec.run_component == ("--on", "{component}")
    assert spec.environment == {"LIBRARY": "{probes}"}
    assert spec.configuration is None
    assert [(c.id, c.needs, c.witness) for c in spec.components] == [
        ("storage", (), "storage"),
        ("search", ("storage",), "search_engine"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('title = "Test"', "title = 3", ":1: `title` must be text, not 3"),
        ('title = "Test"', 'titel = "Test"', ":1: unknown key `titel`; did you mean `title`?"),
        ('artifact = "{build}/lib.so"\n', "", ":1: `artifact` is missing"),
        ("{build}/lib.so", "{built}/lib.so", ":2: unknown field {built} in"),
        ("{build}/lib.so", "{mountpoint}/lib.so", ":2: unknown field {mountpoint} in"),
        ("OUT={build}", "OUT={biuld}", ":5: unknown field {biuld} in 'OUT={biuld}'; did you mean"),
        ("OUT={build}", "{mountpoint}", ":5: unknown field {mountpoint}"),
        ("OUT={build}", "{}", ":5: unknown field {}"),
        ('[["make", "OUT={build}", "{components}"]]', '["make"]', ":5: every command of"),
        ('[["make", "OUT={build}", "{components}"]]', "[[]]", ":5: every command of"),
        ('[["make", "OUT={build}", "{components}"]]', '[["make", 3]]', ":5: every command of"),
        ('"daemon", "{mountpoint}"', '"daemon"', ":8: `run.command` does not say where to mount"),
        ('["daemon", "{mountpoint}"]', "[]", ":8: a command must name a program"),
        ('["daemon", "{mountpoint}"]', '"daemon"', ":8: `run.command` must be a list"),
        ('command = ["daemon", "{mountpoint}"]', "", ":7: `run.command` is missing"),
        ("[run]", "[run]\nmount_timeout_seconds = 0", "`run.mount_timeout_seconds` must be more"),
        ("[run]", "[run]\nstop_timeout_seconds = inf", "`run.stop_timeout_seconds` must be more"),
        ('LIBRARY = "{probes}"', "LIBRARY = 1", ":12: `environment.LIBRARY` must be text"),
        ('LIBRARY = "{probes}"', '"A=B" = "1"', ":12: 'A=B' cannot be an environment variable"),
        ('"storage"]', '"starage"]', ":19: component `search` needs `starage`, which does not"),
        ('id = "search"', 'id = "storage"', ":18: component `storage` comes twice"),
        ('id = "search"', 'id = "a b"', ":18: a component's id has letters"),
        ('id = "search"', "", ":17: `component.2.id` is missing"),
        ('id = "search"', 'id = "search"\nrisk = 1', ":19: unknown key `component.2.risk`"),
        ('[[component]]\nid = "storage"', '[component]\nid = "storage"', "is not TOML"),
    ],
)
def test_each_fault_has_its_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert fault in f"{caught.value.what}\n{caught.value.why}"


def test_all_faults_at_once(tmp_path: Path) -> None:
    broken = GOOD.replace("title", "titel").replace("{probes}", "{probe}").replace("needs", "need")
    with pytest.raises(ConfigurationError, match="has 4 faults") as caught:
        load(tmp_path, broken)
    assert len(caught.value.why.splitlines()) == 4


def test_configuration_is_looked_for_in_the_workspace(tmp_path: Path) -> None:
    text = 'configuration = "configs/own.toml"\n' + GOOD
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert ":1: there is no configuration file" in caught.value.why
    (tmp_path / "configs" / "own.toml").touch()
    load(tmp_path, text)


def test_components_must_be_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="fault"):
        load(tmp_path, GOOD.partition("[[component]]")[0].replace("title", "component = 1\ntitle"))
    with pytest.raises(ConfigurationError, match="fault"):
        load(tmp_path, 'component = ["a"]\n' + GOOD.partition("[[component]]")[0])


def test_shipped_targets_are_sound(project_root: Path) -> None:
    workspace = Workspace(project_root)
    assert {"bindfs", "model"} <= set(target_names(workspace))
    for name in target_names(workspace):
        spec = load_target(target_path(workspace, name))
        assert spec.name == name
        assert {switch.witness for switch in spec.components} <= WITNESSES.keys()


def test_an_unknown_target_names_the_nearest(project_root: Path) -> None:
    with pytest.raises(UsageError, match="did you mean `model`"):
        target_path(Workspace(project_root), "modle")
