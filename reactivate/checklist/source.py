"""The text of a checklist and the places in it, which Markdown tokens know only by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reactivate.checklist.faults import Fault

_LINE_END = re.compile(r"\r\n?|\n")
_ESCAPABLE = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSpan:
    """Inline code and where its first character stands.

    Attributes:
        text: the code, as Markdown reads it.
        line: 1-based line.
        column: 1-based column of the code's first character.
        broken: whether it goes over more than one line.
    """

    text: str
    line: int
    column: int
    broken: bool


class Source:
    """A checklist's lines, and the faults found in them.

    Attributes:
        path: the file as the user named it.
        text: the whole text, with `\\n` as the only line end.
        lines: its lines.
        faults: everything found so far, in the order of finding.
    """

    def __init__(self, text: str, path: str) -> None:
        # Markdown knows three line ends and no others; str.splitlines would know eight more.
        self.lines = _LINE_END.split(text.removeprefix("\ufeff"))
        self.text = "\n".join(self.lines)
        self.path = path
        self.faults: list[Fault] = []

    def line(self, number: int) -> str:
        """The 1-based line, "" beyond the end."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    def fault(
        self, line: int, column: int, message: str, suggestion: str = "", *, length: int = 1
    ) -> None:
        """Record a fault; the carets never go beyond the line."""
        text = self.line(line)
        column = min(column, len(text) + 1)
        self.faults.append(
            Fault(
                path=self.path,
                line=line,
                column=column,
                length=max(1, min(length, len(text) + 1 - column)),
                message=message,
                suggestion=suggestion,
                source_line=text,
            )
        )

    def fault_at(self, line: int, message: str, suggestion: str = "") -> None:
        """Record a fault about all that stands in a line."""
        text = self.line(line)
        column = len(text) - len(text.lstrip()) + 1
        self.fault(line, column, message, suggestion, length=len(text.strip()))

    def code_spans(self, first: int, after: int) -> tuple[CodeSpan, ...]:
        """The inline code in the 1-based lines from `first` up to, not including, `after`.

        Spans are found as CommonMark section 6.1 finds them: a run of backticks is closed by
        the next run of equal length, and a backslash hides a backtick outside code only.
        """
        text = "\n".join(self.lines[first - 1 : after - 1])
        spans = []
        for start, end in _code_ranges(text):
            code = text[start:end].replace("\n", " ")
            if len(code) > 1 and code.startswith(" ") and code.endswith(" ") and code.strip():
                code, start = code[1:-1], start + 1
            before = text[:start]
            spans.append(
                CodeSpan(
                    text=code,
                    line=first + before.count("\n"),
                    column=start - (before.rfind("\n") + 1) + 1,
                    broken="\n" in text[start:end],
                )
            )
        return tuple(spans)


def _code_ranges(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of what stands between matching runs of backticks."""
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPABLE:
            at += 2
        elif text[at] == "`":
            inside = at + _run(text, at)
            end = _closing(text, inside, inside - at)
            if end < 0:
                at = inside
                continue
            yield inside, end
            at = end + inside - at
        else:
            at += 1


def _run(text: str, at: int) -> int:
    return len(text[at:]) - len(text[at:].lstrip("`"))


def _closing(text: str, at: int, length: int) -> int:
    while (at := text.find("`", at)) >= 0:
        run = _run(text, at)
        if run == length:
            return at
        at += run
    return -1
