"""`reactivate report` writes one page and its pictures, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here
from tests.report.hostile import build


@pytest.fixture
def measured(here: Here) -> Here:
    build(here.root)
    return here


def test_it_is_written_and_then_unchanged(measured: Here) -> None:
    first, second = measured("report"), measured("report")
    assert first.code == second.code == ExitCode.DONE
    page = measured.root / "results" / "report" / "index.html"
    assert first.out.startswith(f"{page}   written, ")
    assert second.out.startswith(f"{page}   unchanged, ")
    assert first.out.splitlines()[-1] == f"next: open {page.as_uri()} in a browser, or add --open"
    assert (page.parent / "depth-search.svg").is_file()


def test_json_and_a_page_elsewhere(measured: Here, tmp_path: Path) -> None:
    page = tmp_path / "new folder" / "page.html"
    found = measured("report", "--html", str(page), "--component", "search", "--json").json()
    assert found["file"] == str(page)
    assert found["size_bytes"] == page.stat().st_size
    assert all((measured.root / each).is_file() for each in found["pictures"])
    assert not (measured.root / "results" / "report" / "index.html").exists()


def test_one_page_holds_all_components_that_are_named(measured: Here) -> None:
    components = ("--component", "search", "--component", "baseline")
    found = measured("report", *components, "--json").json()
    assert Path(found["file"]).name == "component-search+baseline.html"
    text = Path(found["file"]).read_text(encoding="utf-8")
    for phase in ("search", "baseline"):
        assert re.search(rf"<h2><code>{phase}</code>", text), phase
    result = measured("report", "--component", "search", "--component", "serch")
    assert result.code == ExitCode.USAGE


def test_an_unknown_component_and_a_place_that_cannot_be_written(measured: Here) -> None:
    result = measured("report", "--component", "serch")
    assert result.code == ExitCode.USAGE
    assert "did you mean `search`" in result.err
    (measured.root / "results" / "report").write_text("a file")
    result = measured("report")
    assert result.code == ExitCode.ENVIRONMENT
    assert "cannot be written" in result.err


def test_a_campaign_that_was_not_begun_has_a_page_that_says_so(here: Here) -> None:
    assert here("report").code == ExitCode.DONE
    text = (here.root / "results" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Nothing was begun." in text


def test_open_asks_the_users_browser_and_says_if_there_is_none(
    measured: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}\n')
    browser.chmod(0o755)
    process = measured.process("report", "--open", BROWSER=str(browser), DISPLAY=":0")
    assert process.wait(60) == ExitCode.DONE
    page = measured.root / "results" / "report" / "index.html"
    assert asked.read_text().strip() == page.as_uri()
    process.communicate()
