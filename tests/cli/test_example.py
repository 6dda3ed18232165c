"""The pages of an example lead nowhere that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from reactivate.cli.example import MOST_BYTES, write_pages
from reactivate.errors import ExitCode
from tests.cli.workspaces import Here
from tests.report.hostile import build

LINK = re.compile(r'<a href="([^"#][^"]*)"')


def test_links_are_kept_where_their_file_is_and_are_text_elsewhere(
    here: Here, tmp_path: Path
) -> None:
    build(here.root)
    for arguments in (("log", "--write"), ("report",), ("analyze", "--component", "search")):
        assert here(*arguments).code == ExitCode.DONE
    example = tmp_path / "example"
    write_pages(here.root, example)
    kept = 0
    for file in sorted(example.rglob("*.*")):
        assert file.stat().st_size <= MOST_BYTES
        text = file.read_text(encoding="utf-8")
        assert str(here.root) not in text
        if file.suffix == ".html":
            for found in LINK.finditer(text):
                assert (file.parent / found[1]).is_file(), found[0]
                kept += 1
        elif file.suffix == ".md":
            assert "../results/" not in re.sub(r"`[^`]*`", "", text)
    assert kept >= 3
    assert "names are text" in (example / "report" / "index.html").read_text(encoding="utf-8")
    assert "[0001](0001-" in (example / "decisions" / "README.md").read_text(encoding="utf-8")
