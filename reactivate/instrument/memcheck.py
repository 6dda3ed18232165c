"""What memcheck writes as XML: errors, leaks, and which of them concern one object file.

A daemon that runs on an interpreter brings thousands of findings of the interpreter's own. Those
with no frame of the target's artifact in any of their stacks are counted, not judged. The file
can be hundreds of megabytes, so it is read as a stream (protocol 4, valgrind's
docs/internals/xml-output-protocol4.txt).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, iterparse

from reactivate.errors import MeasurementError

LEAK_KINDS = ("Leak_DefinitelyLost", "Leak_IndirectlyLost", "Leak_PossiblyLost")
"""Blocks that nothing, only lost blocks, or only a pointer into their middle leads to."""

FATAL = "FatalSignal"
"""The kind under which a deadly signal is reported."""

_DIRECT = re.compile(r"\(([\d,]+) direct, ([\d,]+) indirect\) bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of a call chain; "" and 0 where nothing is known."""

    function: str
    object: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One error or leak of the artifact.

    Attributes:
        kind: memcheck's word, e.g. "InvalidRead" or "Leak_DefinitelyLost".
        what: memcheck's sentence.
        count: how often the error happened; the number of blocks of a leak.
        leaked_bytes: of a leak, without what is lost indirectly through it; 0 of an error.
        frames: the first call chain, innermost first.
    """

    kind: str
    what: str
    count: int
    leaked_bytes: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything memcheck said.

    Attributes:
        findings: those with a frame of the artifact, in memcheck's order.
        elsewhere: number of the others, by kind.
        elsewhere_leaked_bytes: bytes of leaks among the others.
        suppressed: how often an error or leak was left out for a suppression file's sake,
            valgrind's own files included.
    """

    findings: tuple[Finding, ...]
    elsewhere: Mapping[str, int]
    elsewhere_leaked_bytes: int
    suppressed: int

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that are no leaks: one for each place, however often it happened."""
        return tuple(f for f in self.findings if not f.kind.startswith("Leak_"))

    def leaked_bytes(self, kind: str = "") -> int:
        """Bytes lost, of one kind or of all three."""
        kinds = (kind,) if kind else LEAK_KINDS
        return sum(f.leaked_bytes for f in self.findings if f.kind in kinds)


@dataclass(slots=True)
class _Reading:
    """What was read so far."""

    artifact: str
    found: list[tuple[str, Finding]] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)
    elsewhere_leaked_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0
    finished: bool = False

    def take(self, element: Element) -> None:
        if element.tag == "error":
            self._error(element)
        elif element.tag == "fatal_signal":
            self.found.append(("", _fatal(element)))
        elif element.tag == "errorcounts":
            self.counts = {
                pair.findtext("unique", ""): int(pair.findtext("count", "0"))
                for pair in element.iter("pair")
            }
        elif element.tag == "suppcounts":
            self.suppressed = sum(int(n.text or "0") for n in element.iter("count"))
        elif element.tag == "status":
            self.finished = element.findtext("state") == "FINISHED"

    def _error(self, element: Element) -> None:
        finding = _finding(element)
        if any(_real(o.text or "") == self.artifact for o in element.iter("obj")):
            self.found.append((element.findtext("unique", ""), finding))
        else:
            self.elsewhere[finding.kind] += 1
            self.elsewhere_leaked_bytes += finding.leaked_bytes


def parse_memcheck(path: Path, artifact: Path) -> Report:
    """Read memcheck's XML file.

    Args:
        path: the file; must be finished.
        artifact: findings are kept if one of their frames lies in this object file.

    Raises:
        MeasurementError: there is no such file, it is cut short, or it is not memcheck's.
    """
    reading = _Reading(os.path.realpath(artifact))
    try:
        for element in _children(path):
            reading.take(element)
    except (OSError, ParseError, ValueError) as error:
        raise _unfinished(str(error)) from error
    if not reading.finished:
        raise _unfinished("its last state is not FINISHED")
    counts = reading.counts
    return Report(
        findings=tuple(
            f if f.leaked_bytes or unique not in counts else replace(f, count=counts[unique])
            for unique, f in reading.found
        ),
        elsewhere=dict(reading.elsewhere),
        elsewhere_leaked_bytes=reading.elsewhere_leaked_bytes,
        suppressed=reading.suppressed,
    )


def _children(path: Path) -> Iterator[Element]:
    """Each child of the root when it is whole; forgotten afterwards."""
    events = iterparse(path, events=("start", "end"))
    _, root = next(events)
    depth = 1
    for event, element in events:
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 1:
            yield element
            root.clear()


def _finding(element: Element) -> Finding:
    what = element.findtext("what") or element.findtext("xwhat/text") or ""
    leaked = int(element.findtext("xwhat/leakedbytes", "0"))
    # What is lost through this block has records of its own and must not count twice.
    if split := _DIRECT.search(what):
        leaked = int(split[1].replace(",", ""))
    stack = element.find("stack")
    return Finding(
        kind=element.findtext("kind", ""),
        what=what,
        count=int(element.findtext("xwhat/leakedblocks", "1")),
        leaked_bytes=leaked,
        frames=() if stack is None else tuple(_frame(f) for f in stack.iter("frame")),
    )


def _fatal(element: Element) -> Finding:
    what = f"{element.findtext('signame', '')} {element.findtext('event', '')}".strip()
    return Finding(
        kind=FATAL,
        what=what,
        count=1,
        leaked_bytes=0,
        frames=tuple(_frame(f) for f in element.iter("frame")),
    )


def _frame(element: Element) -> Frame:
    return Frame(
        function=element.findtext("fn", ""),
        object=element.findtext("obj", ""),
        file=element.findtext("file", ""),
        line=int(element.findtext("line", "0")),
    )


@cache
def _real(path: str) -> str:
    return os.path.realpath(path)


def _unfinished(why: str) -> MeasurementError:
    return MeasurementError(
        "memcheck did not finish its report",
        why=why,
        hint="give it more time: stop_timeout_seconds in configs/valgrind.toml",
    )
