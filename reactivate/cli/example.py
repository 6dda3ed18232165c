"""The pages of a campaign for a folder without its evidence: `reactivate tour --example`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

MOST_BYTES = 200 << 10
"""A file of the example that is larger is left out."""

_HTML_LINK = re.compile(r'<a href="([^"#][^"]*)">(.*?)</a>', re.DOTALL)
_MARKDOWN_LINK = re.compile(r"\[((?:[^\[\]\\]|\\.)*)\]\(([^)\s]+)\)")
_LEFT_OUT = (
    "<p>In this example the evidence files are left out; where they would be linked, their names "
    "are text.</p>"
)


def write_pages(workspace: Path, example: Path, *, name: str = "campaign") -> None:
    """Copy decision log, analyses, report and pictures; links that would dangle become text.

    Args:
        workspace: where the campaign was.
        example: folders `decisions`, `analysis` and `report` in it are replaced.
        name: shown instead of the workspace's path.
    """
    sources = {
        "decisions": workspace / "docs" / "decisions",
        "analysis": workspace / "results" / "analysis",
        "report": workspace / "results" / "report",
    }
    for part, source in sources.items():
        target = example / part
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for file in (path for path in sorted(source.rglob("*")) if path.is_file()):
            text = file.read_text(encoding="utf-8").replace(str(workspace), name)
            copy = target / file.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(text, encoding="utf-8")
    for part in sources:
        for file in (path for path in sorted((example / part).rglob("*")) if path.is_file()):
            _mend(file)
            if file.stat().st_size > MOST_BYTES:
                file.unlink()


def _mend(file: Path) -> None:
    text = file.read_text(encoding="utf-8")

    def html(found: re.Match[str]) -> str:
        target = _there(file.parent, found[1])
        return f'<a href="{target}">{found[2]}</a>' if target else found[2]

    def markdown(found: re.Match[str]) -> str:
        target = _there(file.parent, found[2])
        return f"[{found[1]}]({target})" if target else found[1]

    if file.suffix == ".html":
        text = _HTML_LINK.sub(html, text).replace("</h1>", f"</h1>\n{_LEFT_OUT}", 1)
    elif file.suffix == ".md":
        text = _MARKDOWN_LINK.sub(markdown, text)
    file.write_text(text, encoding="utf-8")


def _there(folder: Path, target: str) -> str:
    """The target as it is in the example, "" if it is not there."""
    moved = target.replace("../../docs/decisions/", "../decisions/")
    return moved if (folder / moved).is_file() else ""
