"""The documents as the tests see them: pages, blocks, code in lines, links, anchors, commands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_SKIPPED = {".venv", "node_modules", "results", "dist", "build", ".git"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced or indented block: where it stands, what its fence says, what is in it."""

    page: str
    line: int
    info: str
    text: str

    @property
    def where(self) -> str:
        """Where a person looks."""
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """Its first line, by which a list names it."""
        return self.text.lstrip("\n").partition("\n")[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line of `reactivate` as a page shows it, without the program's name."""

    where: str
    text: str
    page: str


def markdown_files() -> list[str]:
    """Every Markdown file of the checkout, relative to it."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(str(path) for path in found if not _SKIPPED & set(path.parts))


def pages() -> list[str]:
    """README and what is in docs/, without the example campaign, which a program wrote."""
    return [
        name
        for name in markdown_files()
        if name == "README.md"
        or (name.startswith("docs/") and not name.startswith("docs/example/"))
    ]


@cache
def text_of(page: str) -> str:
    """A file's text."""
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def tokens(page: str) -> tuple[Token, ...]:
    """A file, parsed."""
    return tuple(_MARKDOWN.parse(text_of(page)))


def blocks(*names: str) -> Iterator[Block]:
    """All blocks of these pages, or of all."""
    for page in names or pages():
        for token in tokens(page):
            if token.type in ("fence", "code_block"):
                assert token.map is not None
                yield Block(
                    page=page,
                    line=token.map[0] + 1,
                    info=token.info.strip(),
                    text=token.content,
                )


def _inline(page: str) -> Iterator[tuple[int, Token]]:
    for token in tokens(page):
        for child in token.children or []:
            yield (token.map or [0])[0] + 1, child


def code_in_lines(page: str) -> Iterator[tuple[int, str]]:
    """Every piece of code within text, with its line."""
    for line, token in _inline(page):
        if token.type == "code_inline":
            yield line, " ".join(token.content.split())


def links(page: str) -> Iterator[tuple[int, str]]:
    """Every target of a link or a picture, with its line."""
    for line, token in _inline(page):
        if token.type in ("link_open", "image"):
            yield line, str(token.attrs["href" if token.type == "link_open" else "src"])


@cache
def anchors(page: str) -> frozenset[str]:
    """What `#…` may name in a page: its headings as GitHub spells them."""
    found: list[str] = []
    parsed = tokens(page)
    for index, token in enumerate(parsed):
        if token.type == "heading_open":
            words = "".join(
                child.content
                for child in parsed[index + 1].children or []
                if child.type in ("text", "code_inline")
            )
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            again = sum(1 for other in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
            found.append(f"{slug}-{again}" if again else slug)
    return frozenset(found)


SESSION = "$ "
PROGRAM = "reactivate"


def shell_lines(block: Block) -> list[str]:
    """What a person would type of a block: all of it, or after `$ ` where it shows a session."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if any(line.startswith(SESSION) for line in lines):
        return [line[len(SESSION) :] for line in lines if line.startswith(SESSION)]
    return [line.strip() for line in lines if line.strip()]


def commands(page: str) -> Iterator[Command]:
    """Every command line of `reactivate` in a page: in blocks, and as code within its text."""
    for block in blocks(page):
        if block.info.startswith("yaml"):
            joined = re.sub(r">\n\s+(.*)\n\s+(--)", r"\1 \2", block.text)
            found = re.findall(rf"\b{PROGRAM} (\S.*)", joined)
        elif block.info in ("", "sh", "console"):
            found = [
                line[len(PROGRAM) :].strip()
                for line in shell_lines(block)
                if re.match(rf"{PROGRAM}(\s|$)", line)
            ]
        else:
            found = []
        for text in found:
            yield Command(where=block.where, text=without_remark(text), page=page)
    for line, code in code_in_lines(page):
        if code.startswith(f"{PROGRAM} ") and not code.startswith(f"{PROGRAM} …"):
            text = code[len(PROGRAM) + 1 :]
            yield Command(where=f"{page}:{line}", text=text, page=page)


def without_remark(text: str) -> str:
    """A line without what is said about it: after two blanks, or after `#`."""
    return re.split(r"\s{2,}|\s#\s", text, maxsplit=1)[0].strip()


_WORDS = {
    "N": "3", "S": "1.5", "PID": "4711", "SIZE": "64KiB", "REV": "HEAD", "YYYY-MM-DD": "2026-11-22",
    "KEY": "search_engine.ef", "VALUE": "60", "METRIC": "stack.peak", "CRITERION": "stack.peak",
}  # fmt: skip
"""What a word that stands for something may be, where any word would not do."""


def spellings(text: str) -> list[str]:
    """What may be typed where a line says `[--this X | --that]` and `NAME…`."""
    text = re.sub(r"\b(?!\.\.)…", "", text).replace("ARGS…", "ARGS")
    pieces: list[list[str]] = []
    for group, word in re.findall(r"\[([^\]]*)\]|([^\[]+)", text):
        if group:
            pieces.append([choice.strip() for choice in group.split(" | ")] + [""])
        else:
            pieces.append([word.strip()])
    lines = (" ".join(filter(None, chosen)) for chosen in itertools.product(*pieces))
    return [" ".join(_WORDS.get(word, word) for word in line.split(" ")) for line in lines]
