"""`reactivate target` and `reactivate init --source`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from reactivate.target.config import load_target, target_names
from tests.cli.workspaces import BINDFS, CHECKLIST, Here, Make, in_process
from tests.target.fiveways import WAYS, checkout, git, needs_libfuse, target

OWN = BINDFS.partition("[[component]]")[0]


def test_init_points_the_target_at_a_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / 'Größe und "Maß"'
    source.mkdir()
    arguments = ["init", str(tmp_path / "new"), "--target", "vexfs", "--source", str(source)]
    done = in_process(arguments, capsys)
    assert done.code == 0, done
    assert "reactivate target check vexfs" in done.out
    path = tmp_path / "new" / "configs" / "targets" / "vexfs.toml"
    assert load_target(path).source == source
    assert "# In the order of their reactivation." in path.read_text()


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [("vexfs", "nowhere", "There is no folder"), ("model", ".", "not built from a source")],
)
def test_init_refuses_a_source_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, source: str, words: str
) -> None:
    new = tmp_path / "new"
    arguments = ["init", str(new), "--target", name, "--source", str(tmp_path / source)]
    done = in_process(arguments, capsys)
    assert done.code == ExitCode.USAGE
    assert words in done.err
    assert not new.exists()


def test_the_template_is_sound_and_no_target(here: Here) -> None:
    template = here.workspace.configs / "targets" / "template.toml"
    assert load_target(template).source is not None
    assert "template" not in target_names(here.workspace)
    refused = here("target", "show", "template")
    assert refused.code == ExitCode.USAGE
    assert "`template`;" not in refused.err.partition("known are")[2]


def test_show(here: Here) -> None:
    shown = here("target", "show", "vexfs")
    assert shown.code == 0
    assert "cargo build" in shown.out
    assert "next: reactivate target check vexfs" in shown.out
    found = here("target", "show", "vexfs", "--json").json()
    assert found["threads"] == "main"
    assert [c["id"] for c in found["components"]][:2] == ["vector_storage", "search_engine"]
    assert here("target", "show", "--json").json()["target"] == "model"


def test_a_faulty_file_is_exit_2(here: Here) -> None:
    here.write("configs/targets/own.toml", OWN.replace("title", "titel"))
    for verb in ("check", "show"):
        done = here("target", verb, "own")
        assert done.code == ExitCode.USAGE
        assert "own.toml:1: unknown key `titel`; did you mean `title`?" in done.err


def test_doctor_asks_for_what_the_target_is_built_with(
    here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    here.write("configs/campaign.toml", 'target = "vexfs"\nchecklist = "checklists/vexfs.md"\n')
    done = here("doctor")
    assert done.code == ExitCode.ENVIRONMENT
    assert "sudo apt-get install cargo" in done.out
    found = {f["subject"]: f for f in here("doctor", "--json").json()["findings"]}
    assert found["cargo"]["condition"] == found["source"]["condition"] == "missing"
    assert "pyfuse3" not in found, "it is the embedded filesystem's"


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_check_and_its_exit_codes(make: Make) -> None:
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")
    here = make(target=OWN)
    good = here("target", "check")
    assert good.code == ExitCode.DONE, good
    assert "ended by itself" in good.out
    here.write("configs/targets/own.toml", BINDFS)
    nothing = here("target", "check", "own")
    assert nothing.code == ExitCode.INCONCLUSIVE
    assert "changed nothing" in nothing.out
    assert "[exit 5]" in nothing.out
    found = here("target", "check", "--json").json()
    assert found["exit_code"] == 5
    assert found["components"][0]["problem"]["error"] == "ComponentNotEnabledError"
    assert found["facts"]["optimisation"] == {"not_known": "no debug information"}
    here.write("configs/targets/own.toml", f"debug_information = true\n{OWN}")
    lacking = here("target", "check")
    assert lacking.code == ExitCode.INCONCLUSIVE
    assert "says `debug_information = true`, and the artifact holds none" in lacking.out
    here.write("configs/targets/own.toml", OWN + '[build]\ncommands = [["false"]]\n')
    broken = here("target", "check")
    assert broken.code == ExitCode.ENVIRONMENT
    assert "The build failed: false exited with status 1" in broken.out
    assert here("target", "check", "--json").json()["problem"]["error"] == "BuildError"


@pytest.mark.fuse
@pytest.mark.slow(6)
@pytest.mark.usefixtures("needs_fuse", "needs_root")
@pytest.mark.parametrize("way", WAYS)
def test_a_campaign_in_every_way_of_switching(make: Make, tmp_path: Path, way: str) -> None:
    needs_libfuse()
    here = make(checklist=CHECKLIST.replace(', "vector"', ""), target=OWN)
    source = checkout(tmp_path / "source")
    target(here.root, way, source, names=("vector_storage",))
    done = here("next", "--until", "blocked", "--yes")
    assert done.code == ExitCode.DONE, done
    assert "every phase is active" in done.out
    assert "w.sum read '6'" in done.out
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        (advanced,) = ledger.decisions(phase="vector_storage", kind="advanced")
    assert "build, optimisation: -O1" in advanced.context["build"]  # type: ignore[operator]
    moved = here("history", "stack.peak", "--json").json()
    assert {p["commit"] for p in moved["points"]} == {git(source, "rev-parse", "HEAD").strip()}
