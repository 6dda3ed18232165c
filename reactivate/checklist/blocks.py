"""The TOML block of a phase: what it may say, and every way of saying it wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

from reactivate.checklist.faults import did_you_mean
from reactivate.checklist.model import PhaseKind
from reactivate.checklist.source import Source

RISKS = ("low", "medium", "high", "very high")
BLOCKS = ("component", "phase")
DEFAULT_INTEGRATION_ID = "all_components"

_KINDS = (PhaseKind.SETUP, PhaseKind.BASELINE, PhaseKind.INTEGRATION)
_KEYS = {
    "component": ("id", "needs", "risk", "workload", "scenarios"),
    "phase": ("kind", "id", "risk", "workload", "scenarios"),
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WHERE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block as it stands in the file.

    Attributes:
        word: "component" or "phase".
        content: the TOML.
        line: 1-based line of the opening fence; the content begins in the next.
        indent: characters before the content on each line.
        closed: whether the fence is closed.
    """

    word: str
    content: str
    line: int
    indent: int = 0
    closed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a phase's block says. `id` is "" and `kind` None where that could not be read."""

    kind: PhaseKind | None
    id: str
    block: Block
    needs: tuple[str, ...] = ()
    risk: str = ""
    workload: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    keys: frozenset[str] = field(default=frozenset())


def read_block(block: Block, source: Source) -> Head:
    """Read a block; what is wrong in it is recorded in `source`."""
    is_component = block.word == "component"
    table = _toml(block, source)
    if table is None:
        return Head(kind=PhaseKind.COMPONENT if is_component else None, id="", block=block)
    reader = _Reader(block, source, table)
    reader.refuse_unknown(_KEYS[block.word])
    kind = PhaseKind.COMPONENT if is_component else reader.kind()
    return Head(
        kind=kind,
        id=reader.id(kind),
        block=block,
        needs=reader.names("needs"),
        risk=reader.risk(),
        workload=reader.names("workload"),
        scenarios=reader.names("scenarios"),
        keys=frozenset(table),
    )


def place(block: Block, source: Source, key: str, value: str = "") -> tuple[int, int, int]:
    """Line, column and length of a key in a block, or of a quoted value after it."""
    lines = range(block.line + 1, block.line + 1 + block.content.count("\n"))
    for number in lines:
        found = re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", source.line(number))
        if found is None:
            continue
        if not value:
            start = found.group().index(key)
            return number, start + 1, len(key)
        for later in range(number, lines.stop):
            text = source.line(later)
            at = re.search(rf"""["']{re.escape(value)}["']""", text)
            if at:
                return later, at.start() + 1, len(at.group())
        return number, found.end() + 1, len(source.line(number)) - found.end()
    return block.line, 1, len(source.line(block.line))


def _toml(block: Block, source: Source) -> Mapping[str, object] | None:
    try:
        return tomllib.loads(block.content)
    except tomllib.TOMLDecodeError as error:
        found = _WHERE.search(str(error))
        message = _WHERE.sub("", str(error))
        if found and found["line"]:
            line, column = block.line + int(found["line"]), int(found["column"]) + block.indent
        else:
            line = max(block.line, block.line + block.content.count("\n"))
            column = len(source.line(line)) + 1
        source.fault(line, column, f"broken TOML in the {block.word} block: {message}")
    except ValueError as error:  # a number with more digits than Python takes
        source.fault_at(block.line, f"broken TOML in the {block.word} block: {error}")
    except RecursionError:
        source.fault_at(block.line, f"broken TOML in the {block.word} block: nested too deep")
    return None


class _Reader:
    """Takes typed values out of a table, and records what is not as it should be."""

    def __init__(self, block: Block, source: Source, table: Mapping[str, object]) -> None:
        self._block = block
        self._source = source
        self._table = table

    def _fault(self, key: str, message: str, suggestion: str = "", *, value: str = "") -> None:
        line, column, length = place(self._block, self._source, key, value)
        self._source.fault(line, column, message, suggestion, length=length)

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for key in self._table:
            if key not in known:
                self._fault(
                    key,
                    f"unknown key `{key}` in a {self._block.word} block",
                    did_you_mean(key, known, otherwise=f"known: {', '.join(known)}"),
                )

    def _text(self, key: str) -> str:
        value = self._table.get(key, "")
        if key in self._table and (not isinstance(value, str) or not value):
            self._fault(key, f"`{key}` must be a text", f'e.g. `{key} = "…"`')
        return value if isinstance(value, str) else ""

    def _choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self._text(key)
        if value and value not in known:
            self._fault(
                key,
                f"unknown {key} `{value}`",
                did_you_mean(value, known, otherwise=f"known: {', '.join(known)}"),
                value=value,
            )
            return ""
        return value

    def _required(self, key: str, suggestion: str) -> None:
        if key not in self._table:
            message = f"the {self._block.word} block has no `{key}`"
            self._source.fault_at(self._block.line, message, suggestion)

    def kind(self) -> PhaseKind | None:
        known = tuple(kind.value for kind in _KINDS)
        self._required("kind", f"one of {', '.join(known)}")
        value = self._choice("kind", known)
        return PhaseKind(value) if value else None

    def id(self, kind: PhaseKind | None) -> str:
        value = self._text("id")
        if kind is PhaseKind.COMPONENT:
            self._required("id", 'e.g. `id = "search_engine"`')
        if value and not _NAME.fullmatch(value):
            self._fault(
                "id",
                f"`{value}` is not an id",
                "lower-case letters, digits and underscores, a letter first",
                value=value,
            )
            return ""
        if kind in {PhaseKind.SETUP, PhaseKind.BASELINE}:
            if value and value != kind:
                self._fault("id", f"the {kind} phase is always called `{kind}`", value=value)
            return str(kind)
        if kind is PhaseKind.INTEGRATION and "id" not in self._table:
            return DEFAULT_INTEGRATION_ID
        return value

    def risk(self) -> str:
        return self._choice("risk", RISKS)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names, each once."""
        values = self._table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
            self._fault(key, f"`{key}` must be a list of names", f'e.g. `{key} = ["search"]`')
            return ()
        for name in sorted({v for v in values if values.count(v) > 1}):
            self._fault(key, f"`{name}` is named twice in `{key}`", value=name)
        return tuple(dict.fromkeys(values))
