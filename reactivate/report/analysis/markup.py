"""Markdown from text that is not trusted: names, reasons and paths of a measured program.

Whatever a text holds, it is shown and never obeyed: no HTML, no link, no heading, no cell of its
own, and no control character that a terminal or an editor would act on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from reactivate.texts import visible

_MEANING = re.compile(r"[\\`*\[\]<>~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
"""What can begin markup anywhere. An underscore inside a word cannot."""
_BLOCK = re.compile(r"^(\d{0,9})([.)](?=\s|$)|[#+=-])")
"""What can begin a heading, a list or a rule at the start of a line."""
_FENCE = re.compile(r"`+")


def prose(text: str) -> str:
    """A sentence that stays a sentence, on one line."""
    flat = visible(" ".join(text.split()))
    escaped = _MEANING.sub(lambda found: "\\" + found[0], flat)
    return _BLOCK.sub(r"\1\\\2", escaped)


def code(text: str) -> str:
    """A code span that shows exactly this text; nothing for no text."""
    shown = visible(text)
    if not shown:
        return ""
    longest = max((len(run) for run in _FENCE.findall(shown)), default=0)
    fence = "`" * (longest + 1)
    # One space on both sides is taken away again when it is shown.
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_block(lines: Iterable[str]) -> list[str]:
    """Lines as they are, and an empty line.

    Fenced: after a list an indented line belongs to its last item, and is markup there.
    """
    shown = [visible(line) for line in lines]
    longest = max((len(run) for line in shown for run in _FENCE.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *shown, fence, ""]


def file_part(name: str) -> str:
    """As much of a name as may be a file's; never the same for two of a campaign's own names."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:100]


def link(label: str, path: str) -> str:
    """A link to a file by its relative path."""
    return f"[{prose(label)}]({quote(path, safe='/._-~', errors='replace')})"


def results_link(path: str, *, label: str = "") -> str:
    """A link from a file of the decision log to evidence; right wherever the workspace lies.

    Args:
        path: relative to the folder of all results.
        label: shown instead of the path from the workspace.
    """
    return link(label or f"results/{path}", f"../../results/{path}")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, one line per row, and an empty line; cells are Markdown already."""
    lines = [_line(headers), _line(["---"] * len(headers))]
    # A bar ends a cell even inside code; only there is it written with a backslash.
    lines += [_line([_cell(cell) for cell in row]) for row in rows]
    return [*lines, ""]


def _cell(markdown: str) -> str:
    return markdown.replace("|", "\\|")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
