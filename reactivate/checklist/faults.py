"""What is wrong with a checklist: where, what was expected, and what was probably meant."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reactivate.errors import ChecklistError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that keeps a checklist from being run.

    Attributes:
        path: the file as the user named it.
        line: 1-based line; 0 where the fault is about the file itself.
        column: 1-based column in characters.
        length: how many characters the carets mark, at least 1.
        message: what is wrong, without a full stop.
        suggestion: what was probably meant or what to write, "" if nothing is known.
        source_line: the line as written, "" where there is none to show.
    """

    path: str
    line: int
    column: int
    message: str
    length: int = 1
    suggestion: str = ""
    source_line: str = ""

    def __str__(self) -> str:
        """Three lines: place and message, the source line, carets and suggestion."""
        if not self.line:
            return f"{self.path}: {self.message}" + (
                f"\n{self._advice()}" if self.suggestion else ""
            )
        message = "".join(_printable(char) for char in self.message)
        place = f"{self.path}:{self.line}:{self.column}: {message}"
        number = f"{self.line:>5}"
        shown = "".join(_printable(char) for char in self.source_line)
        before = self.source_line[: self.column - 1]
        marked = self.source_line[self.column - 1 : self.column - 1 + self.length]
        padding = "".join("\t" if char == "\t" else " " * _cells(char) for char in before)
        carets = "^" * max(1, sum(_cells(char) for char in marked))
        pointer = f"{' ' * len(number)}   {padding}{carets} {self.suggestion}".rstrip()
        return f"{place}\n{number} | {shown}\n{pointer}"

    def _advice(self) -> str:
        return f"      {self.suggestion}"


class FaultyChecklistError(ChecklistError):
    """A checklist that cannot be run, with all its faults.

    Attributes:
        faults: every fault, in the order of the document.
    """

    def __init__(self, faults: Iterable[Fault], *, path: str) -> None:
        ordered = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))
        count = "1 fault" if len(ordered) == 1 else f"{len(ordered)} faults"
        super().__init__(
            f"{path} cannot be run: {count}",
            why="\n".join(str(fault) for fault in ordered),
            hint=_hint(ordered),
        )
        self.faults = ordered


def _hint(faults: Sequence[Fault]) -> str:
    if any("metric" in fault.message or "measured" in fault.message for fault in faults):
        return "Nothing was run. See `reactivate checklist metrics`."
    return "Nothing was run. Mend it, then type `reactivate checklist check FILE`."


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name most like `name`, or "" if none is."""
    known = list(valid)
    if name.lower() in known:
        return name.lower()
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else ""


def did_you_mean(name: str, valid: Iterable[str], *, otherwise: str = "") -> str:
    """A question with the nearest valid name, or `otherwise`."""
    near = nearest(name, valid)
    return f"did you mean `{near}`?" if near else otherwise


def _printable(char: str) -> str:
    """Control characters would move the cursor of the reader's terminal."""
    return char if char == "\t" or not unicodedata.category(char).startswith("C") else "\ufffd"


def _cells(char: str) -> int:
    """Columns of a terminal that a character takes, so that carets stand under what they mark."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
