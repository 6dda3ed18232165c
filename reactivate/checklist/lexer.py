"""The words of the criterion language: text to tokens with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_LENGTH = 300
"""Characters of one criterion. A longer one is not readable in a table, and bounds the parser."""


class TokenKind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    NAME = "name"
    COMPARATOR = "comparator"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word of a criterion.

    Attributes:
        kind: what it is.
        text: as written.
        start: 0-based place of its first character.
        end: place after its last character.
    """

    kind: TokenKind
    text: str
    start: int
    end: int

    @property
    def shown(self) -> str:
        """How a message names it."""
        return "the end" if self.kind is TokenKind.END else f"`{self.text}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong in a criterion; places are 0-based within it."""

    start: int
    end: int
    message: str
    suggestion: str = ""


class CannotReadError(Exception):
    """Stops reading at the first thing that has no place in the grammar."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


_WORD = re.compile(
    r"""
      (?P<number>     [0-9]+ (?:\.[0-9]+)? )
    | (?P<name>       [^\W\d]\w* (?:\.[^\W\d]\w*)* )
    | (?P<comparator> <= | >= | == | < | > )
    | (?P<symbol>     [-+*/%(),] )
    """,
    re.VERBOSE,
)

# What people write from habit, and what it is here.
_HABITS = {
    "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "=": "==",
    "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-",
}  # fmt: skip
_UNKNOWN = {"!=": "there is no comparison for difference", "<>": "there is none for difference"}


def tokens(source: str) -> tuple[Token, ...]:
    """Split a criterion into tokens; the last one is always END.

    Raises:
        CannotReadError: a character that the language does not have, or too many of them.
    """
    if len(source) > MAX_LENGTH:
        message = f"a criterion has at most {MAX_LENGTH} characters, this one {len(source)}"
        raise CannotReadError(Problem(start=0, end=len(source), message=message))
    found: list[Token] = []
    at = 0
    while at < len(source):
        if source[at].isspace():
            at += 1
            continue
        _refuse_habits(source, at)
        match = _WORD.match(source, at)
        if match is None:
            message = f"`{source[at]}` has no meaning in a criterion"
            raise CannotReadError(Problem(start=at, end=at + 1, message=message))
        kind = TokenKind(str(match.lastgroup))
        found.append(Token(kind=kind, text=match.group(), start=at, end=match.end()))
        at = match.end()
    found.append(Token(kind=TokenKind.END, text="", start=at, end=at + 1))
    return tuple(found)


def _refuse_habits(source: str, at: int) -> None:
    two, one = source[at : at + 2], source[at]
    if two == "==":
        return
    written = next((text for text in (two, one) if text in _HABITS or text in _UNKNOWN), "")
    if written:
        meant = _HABITS.get(written, "")
        raise CannotReadError(
            Problem(
                start=at,
                end=at + len(written),
                message=f"`{written}` is not an operator of the criterion language",
                suggestion=f"did you mean `{meant}`?" if meant else _UNKNOWN[written],
            )
        )
