"""Every link in every Markdown file leads somewhere, and every page can be found."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, anchors, links, markdown_files, pages

OUTSIDE = ("http://", "https://", "mailto:")


def target(page: str, link: str) -> tuple[str, str]:
    """The file that a relative link names, relative to the checkout, and its anchor."""
    path, _, anchor = unquote(link).partition("#")
    full = (ROOT / page).parent / path if path else ROOT / page
    return str(Path(full).resolve().relative_to(ROOT)), anchor


@pytest.mark.parametrize("page", markdown_files())
def test_every_relative_link_leads_somewhere(page: str) -> None:
    broken = []
    for line, link in links(page):
        if link.startswith(OUTSIDE):
            continue
        name, anchor = target(page, link)
        if not (ROOT / name).exists():
            broken.append(f"{page}:{line}: {link}: there is no {name}")
        elif anchor and anchor not in anchors(name):
            broken.append(f"{page}:{line}: {link}: no such heading in {name}")
    assert not broken, "\n".join(broken)


def test_every_page_is_reached_from_readme_or_architecture() -> None:
    reached: set[str] = set()
    open_ = ["README.md", "docs/architecture.md"]
    while open_:
        page = open_.pop()
        if page in reached or not page.endswith(".md"):
            continue
        reached.add(page)
        open_ += [target(page, link)[0] for _, link in links(page) if not link.startswith(OUTSIDE)]
    assert not set(pages()) - reached, "link to them"


def test_an_anchor_is_spelled_as_its_heading() -> None:
    found = anchors("docs/safety.md")
    assert {"what-is-cleaned-up", "the-box"} <= found
    assert "the-bax" not in found
