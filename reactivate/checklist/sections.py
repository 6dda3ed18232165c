"""Markdown to an outline: sections, their parts, blocks and task items. No meaning yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from reactivate.checklist.blocks import BLOCKS, Block
from reactivate.checklist.faults import did_you_mean, nearest
from reactivate.checklist.source import CodeSpan, Source

# A box with something else in it, with nothing after it, or with no space after it.
_ODD_MARKER = re.compile(r"\[(?:[^\]\w]{0,3}|[^\W\d])\](?=\s|$)|\[[ xX]?\](?=\S)")
_NO_SPACE = re.compile(r"[-*+]\[[ xX-]?\]")
_OPENING = re.compile(r" {0,3}(?:`{3,}|~{3,})\s*[^\s`]")
_FENCE_CLOSED = re.compile(r"(`{3,}|~{3,})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task-list item.

    Attributes:
        text: the sentence, inline code in backticks, line breaks as spaces.
        before_code: the sentence up to its first inline code.
        after_code: what follows its first inline code.
        codes: the inline code in it, with places.
        checked: whether its box is ticked.
        line: 1-based line.
    """

    text: str
    before_code: str
    after_code: str
    codes: tuple[CodeSpan, ...]
    checked: bool
    line: int


@dataclass(slots=True, kw_only=True)
class Part:
    """What stands under one `###` heading, or under the `##` before the first of them."""

    title: str
    line: int
    end: int = 0
    tasks: list[Task] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Section:
    """One `##` heading with all that follows; `end` is the line after its last."""

    title: str
    line: int
    end: int = 0
    parts: list[Part] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def tasks(self) -> list[Task]:
        """All its task items."""
        return [task for part in self.parts for task in part.tasks]


@dataclass(slots=True, kw_only=True)
class Outline:
    """A checklist's sections. `complete` is False where an open fence hides the rest."""

    title: str = ""
    sections: list[Section] = field(default_factory=list)
    complete: bool = True
    task_lines: set[int] = field(default_factory=set)


def outline(source: Source) -> Outline:
    """Read the document's structure; what is odd about it is recorded in `source`."""
    tokens = MarkdownIt("commonmark", {"tasklists": True}).parse(source.text)
    return _Walk(source, tokens).run()


class _Walk:
    """One pass over the tokens, knowing which section, part and container it is in."""

    def __init__(self, source: Source, tokens: Sequence[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._result = Outline()
        self._titles: list[int] = []
        self._section: Section | None = None
        self._items = 0
        self._quotes = 0

    def run(self) -> Outline:
        for index, token in enumerate(self._tokens):
            match token.type:
                case "heading_open" if token.level == 0:
                    self._heading(token, self._tokens[index + 1])
                case "fence":
                    self._fence(token)
                case "blockquote_open" | "blockquote_close":
                    self._quotes += token.nesting
                case "list_item_open":
                    self._item(index)
                    self._items += 1
                case "list_item_close":
                    self._items -= 1
                case "inline":
                    self._paragraph(token)
        self._close(len(self._source.lines) + 1)
        if not self._titles and self._result.complete:
            self._source.fault(1, 1, "the checklist has no title", "begin with `# Title`")
        return self._result

    # Headings

    def _heading(self, token: Token, inline: Token) -> None:
        line, title = _line(token), _plain(inline)
        match token.tag:
            case "h1":
                self._close(line)
                if self._titles:
                    advice = f"the first is in line {self._titles[0]}; phases begin with `##`"
                    self._source.fault_at(line, "a checklist has one title", advice)
                self._result.title = self._result.title or title
                self._titles.append(line)
            case "h2":
                self._close(line)
                self._section = Section(title=title, line=line)
                self._section.parts.append(Part(title="", line=line))
                self._result.sections.append(self._section)
            case "h3" if self._section is not None:
                self._section.parts[-1].end = line
                self._section.parts.append(Part(title=title, line=line))

    def _close(self, line: int) -> None:
        if self._section is not None:
            self._section.end = self._section.parts[-1].end = line
        self._section = None

    # Blocks

    def _fence(self, token: Token) -> None:
        first, after = token.map or [0, 0]
        closed = self._closed(token, first, after)
        if not closed:
            self._source.fault_at(
                first + 1,
                "the block that is opened here is never closed",
                f"end it with a line of {token.markup}",
            )
            self._result.complete = False
        words = token.info.split()
        if not words or words[0].lower() != "toml" or len(words) == 1:
            return
        if words[0] != "toml" or len(words) != 2 or words[1] not in BLOCKS:
            self._source.fault_at(
                first + 1,
                f"unknown kind of block `{token.info.strip()}`",
                did_you_mean(
                    f"toml {words[1]}",
                    [f"toml {word}" for word in BLOCKS],
                    otherwise="`toml component` or `toml phase`",
                ),
            )
            # What was probably meant is read as such, so that its other faults are told too.
            words = ["toml", nearest(words[1], BLOCKS) or BLOCKS[0]]
        if self._section is None or token.level:
            where = "stands in a list or a quotation" if token.level else "belongs to no phase"
            self._source.fault_at(
                first + 1, f"this block {where}", "put it right under a `##` heading"
            )
            return
        opening = self._source.line(first + 1)
        indent = len(opening) - len(opening.lstrip(" "))
        self._section.blocks.append(
            Block(
                word=words[1], content=token.content, line=first + 1, indent=indent, closed=closed
            )
        )

    def _closed(self, token: Token, first: int, after: int) -> bool:
        last = self._source.line(after).strip(" >\t")
        swallowed = self._source.lines[first + 1 : after - 1]
        if token.info.startswith("toml") and any(map(_OPENING.match, swallowed)):
            # The fence that closes this block was meant for a later one.
            return False
        return (
            after - 1 > first
            and _FENCE_CLOSED.fullmatch(last) is not None
            and last.strip().startswith(token.markup)
        )

    # Items

    def _item(self, index: int) -> None:
        token = self._tokens[index]
        line = _line(token)
        inline = _sentence(self._tokens, index)
        if "checked" not in token.meta:
            if inline is not None:
                self._odd_marker(inline, line)
            return
        self._result.task_lines.add(line)
        if self._quotes:
            self._source.fault_at(line, "an item in a quotation is not run", "take away the `>`")
        elif self._items:
            self._source.fault_at(
                line, "an item within another is not run", "write it as an item of its own"
            )
        elif inline is None:
            self._source.fault_at(line, "an item must be a sentence", "e.g. `- [ ] Backups exist`")
        elif self._section is None:
            self._source.fault_at(
                line, "this item belongs to no phase", "put it under a `##` heading"
            )
        else:
            self._section.parts[-1].tasks.append(self._task(token, inline, line))

    def _task(self, token: Token, inline: Token, line: int) -> Task:
        children = inline.children or []
        codes = [i for i, child in enumerate(children) if child.type == "code_inline"]
        first = codes[0] if codes else len(children)
        start, after = inline.map or [line - 1, line]
        spans = self._source.code_spans(start + 1, after + 1)
        if len(spans) != len(codes):
            # Raw HTML may hold backticks that are no code; the line is then all we know.
            spans = tuple(
                CodeSpan(text=children[i].content, line=line, column=1, broken=False) for i in codes
            )
        return Task(
            text=_words(children),
            before_code=_words(children[:first]),
            after_code=_words(children[first + 1 :]),
            codes=spans,
            checked=bool(token.meta["checked"]),
            line=line,
        )

    def _odd_marker(self, inline: Token, line: int) -> None:
        children = inline.children or []
        if not children or children[0].type != "text":
            return
        found = _ODD_MARKER.match(inline.content)
        if found is None:
            return
        empty = not inline.content[found.end() :].strip()
        known = found.group() in {"[ ]", "[x]", "[X]"}
        column = self._source.line(line).find(found.group()) + 1
        self._source.fault(
            line,
            max(1, column),
            "an item without text" if empty and known else f"`{found.group()}` is no box to tick",
            "write `- [ ] ` and a sentence" if known else "write `[ ]` or `[x]`",
            length=len(found.group()),
        )

    def _paragraph(self, inline: Token) -> None:
        first = (inline.map or [0, 0])[0]
        for offset, text in enumerate(inline.content.split("\n")):
            if _NO_SPACE.match(text):
                self._source.fault_at(
                    first + 1 + offset,
                    "this looks like an item, but is plain text",
                    "write a space before the box: `- [ ] `",
                )


def _line(token: Token) -> int:
    return (token.map or [0])[0] + 1


def _sentence(tokens: Sequence[Token], index: int) -> Token | None:
    """The inline token of a list item's first paragraph."""
    following = [token.type for token in tokens[index + 1 : index + 3]]
    return tokens[index + 2] if following == ["paragraph_open", "inline"] else None


def _plain(inline: Token) -> str:
    return _words(inline.children or [])


def _words(children: Sequence[Token]) -> str:
    """What a reader sees, as one line."""
    shown = []
    for child in children:
        match child.type:
            case "code_inline":
                shown.append(f"`{child.content}`")
            case "softbreak" | "hardbreak":
                shown.append(" ")
            case "image":
                shown.append(child.content)
            case "text":
                shown.append(child.content)
    return " ".join("".join(shown).split())
