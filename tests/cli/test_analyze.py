"""`reactivate analyze` writes Markdown of what was measured, and says what was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.workspace import Workspace
from tests.cli.workspaces import Here
from tests.report.hostile import build


@pytest.fixture
def measured(here: Here) -> Here:
    build(here.root)
    return here


def test_all_three_are_written_and_then_unchanged(measured: Here) -> None:
    arguments = ("analyze", "--baseline", "--component", "search", "--stack-overflow-analysis")
    first, second = measured(*arguments), measured(*arguments)
    assert first.code == second.code == ExitCode.DONE
    names = ["baseline.md", "component-search.md", "stack-overflow.md"]
    assert first.out.splitlines()[:3] == [f"results/analysis/{name}   written" for name in names]
    assert second.out.count("unchanged") == 3
    folder = measured.root / "results" / "analysis"
    assert sorted(path.name for path in folder.glob("*.*")) == names
    assert "3 pictures" in first.out
    pictures = measured(*arguments, "--json").json()["pictures"]
    assert all((measured.root / each).is_file() for each in pictures)


def test_each_of_several_components_has_its_analysis(measured: Here) -> None:
    result = measured("analyze", "--component", "search", "--component", "baseline", "--json")
    names = ["component-search.md", "component-baseline.md"]
    assert [Path(each["path"]).name for each in result.json()["files"]] == names


def test_a_changed_artifact_is_named(measured: Here) -> None:
    chain = measured.root / "results/search/attempt-002/deepest/deepest-op.json"
    chain.write_text("{}")
    assert measured("analyze", "--component", "search").code == ExitCode.DONE
    text = (measured.root / "results/analysis/component-search.md").read_text(encoding="utf-8")
    assert "`search/attempt-002/deepest/deepest-op.json`: **changed**" in text


def test_nothing_named_and_nothing_known_are_usage_errors(measured: Here) -> None:
    result = measured("analyze")
    assert result.code == ExitCode.USAGE
    assert "--stack-overflow-analysis" in result.err
    result = measured("analyze", "--component", "serch")
    assert result.code == ExitCode.USAGE
    assert "did you mean `search`" in result.err
    assert not (measured.root / "results" / "analysis").exists()


def test_a_folder_that_cannot_be_written_is_said(measured: Here) -> None:
    (measured.root / "results" / "analysis").write_text("a file")
    result = measured("analyze", "--baseline")
    assert result.code == ExitCode.ENVIRONMENT
    assert "cannot be written" in result.err


def test_the_report_of_the_campaign_is_written_with_the_log(measured: Here) -> None:
    result = measured("log", "--write")
    assert result.code == ExitCode.DONE
    folder: Path = Workspace(measured.root).decisions
    assert "# Campaign report" in (folder / "CAMPAIGN.md").read_text(encoding="utf-8")
    assert "[campaign report](CAMPAIGN.md)" in (folder / "README.md").read_text(encoding="utf-8")
