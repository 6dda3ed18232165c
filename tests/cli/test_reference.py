"""docs/cli.md is what the command line says of itself."""

from __future__ import annotations

from pathlib import Path

from reactivate.cli.reference import reference


def test_the_page_is_up_to_date(project_root: Path) -> None:
    page = (project_root / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "make it anew: python -m reactivate.cli.reference > docs/cli.md"
