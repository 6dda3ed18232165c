"""One section to one phase: its items, its gates, its guidance."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reactivate.checklist.blocks import Head, read_block
from reactivate.checklist.faults import did_you_mean
from reactivate.checklist.kinds import metric_names
from reactivate.checklist.language import examine
from reactivate.checklist.model import Comparison, Criterion, Item, Phase, PhaseKind
from reactivate.checklist.sections import Part, Section, Task
from reactivate.checklist.source import CodeSpan, Source
from reactivate.evidence import Check, Role
from reactivate.metrics import BUILT_IN_METRICS

SLUG_WORDS = 5
"""Words of an item's text that make its id, unless more are needed to tell two items apart."""

_GATE = re.compile(r"gate\b\s*:?\s*(?P<check>.*)", re.IGNORECASE)
_FAMILIES = "|".join(sorted({name.partition(".")[0] for name in BUILT_IN_METRICS}))
_CRITERION_LIKE = re.compile(rf"\b(?:{_FAMILIES})\.\w.*[<>=≤≥]|[<>=≤≥].*\b(?:{_FAMILIES})\.\w")
_TICK = re.compile(r"(?P<marker>[\s>]*(?:[-*+]|\d+[.)])\s+)\[[xX]\]")

_FORBIDDEN: Mapping[PhaseKind, Mapping[Role, str]] = {
    PhaseKind.BASELINE: {
        Role.BASELINE: "this phase is the baseline itself",
        Role.PREVIOUS: "there is no build before the baseline",
    },
    PhaseKind.INTEGRATION: {
        Role.PREVIOUS: "the build before is this very build; use `baseline`",
    },
}


class Place(StrEnum):
    """The headings that mean something within a phase, in lower case."""

    DIRECT = ""
    BEFORE = "before"
    GATE = "gate: "
    AFTER = "after"
    REFUSAL = "when a gate refuses"
    OTHER = "other"


@dataclass(slots=True, kw_only=True)
class Draft:
    """A phase as far as it could be read.

    Attributes:
        gates: the line of each gate's heading.
        empty: the gates without any item.
    """

    section: Section
    head: Head
    before: list[Item] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    after: list[Item] = field(default_factory=list)
    guidance: str = ""
    gates: dict[Check, int] = field(default_factory=dict)
    sha256: str = ""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"`{self.head.id}`" if self.head.id else f"`{self.section.title}`"

    def phase(self) -> Phase:
        """The finished phase; only for a draft without faults."""
        assert self.head.kind is not None
        return Phase(
            id=self.head.id,
            kind=self.head.kind,
            title=self.section.title,
            needs=self.head.needs,
            risk=self.head.risk,
            workload=self.head.workload,
            scenarios=self.head.scenarios,
            before=tuple(self.before),
            criteria=tuple(self.criteria),
            after=tuple(self.after),
            guidance=self.guidance,
            line=self.section.line,
            sha256=self.sha256,
        )


def read_phase(section: Section, source: Source, task_lines: set[int]) -> Draft | None:
    """Read a section; None if it is prose. What is wrong in it is recorded in `source`."""
    if not section.blocks:
        if section.tasks:
            source.fault_at(
                section.line,
                "this section has items, but no block that says which phase it is",
                "add a fenced block `toml component` or `toml phase` under the heading",
            )
        return None
    for block in section.blocks[1:]:
        source.fault_at(
            block.line, f"a phase has one block; the first is in line {section.blocks[0].line}"
        )
    block = section.blocks[0]
    if not block.closed:
        return None
    draft = Draft(section=section, head=read_block(block, source))
    draft.sha256 = digest(
        source.lines[section.line - 1 : section.end - 1], section.line, task_lines
    )
    _PhaseReader(draft, source).read()
    return draft


def digest(lines: Iterable[str], first: int, task_lines: set[int]) -> str:
    """Hash of text that does not change when a box is ticked or an editor trims line ends."""
    kept = [
        _unticked(line.rstrip()) if number in task_lines else line.rstrip()
        for number, line in enumerate(lines, start=first)
    ]
    return hashlib.sha256("\n".join(kept).strip("\n").encode("utf-8", "surrogatepass")).hexdigest()


def _unticked(line: str) -> str:
    found = _TICK.match(line)
    return f"{found['marker']}[ ]{line[found.end() :]}" if found else line


def slug(text: str) -> list[str]:
    """The words of a text as they may stand in an id: lower case, ASCII where there is one."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return re.findall(r"[^\W_]+", plain.lower()) or ["item"]


class _PhaseReader:
    """Gives each part of a section its meaning."""

    def __init__(self, draft: Draft, source: Source) -> None:
        self._draft = draft
        self._source = source
        self._headings: dict[str, int] = {}
        self._slugs: set[str] = set()
        self._metrics: Counter[tuple[Check, str]] = Counter()
        self._seen: dict[tuple[Check, Comparison], int] = {}

    def read(self) -> None:
        for part in self._draft.section.parts:
            place, check = self._place(part)
            self._refuse_second(part, place, check)
            match place:
                case Place.DIRECT:
                    self._direct(part)
                case Place.BEFORE:
                    self._draft.before += self._items(part)
                case Place.AFTER:
                    self._draft.after += self._items(part)
                case Place.GATE if check is not None:
                    self._gate(part, check)
                case Place.REFUSAL:
                    self._refusal(part)
                case Place.OTHER:
                    self._other(part)

    def _place(self, part: Part) -> tuple[Place, Check | None]:
        title = " ".join(part.title.lower().split())
        gate = _GATE.fullmatch(title)
        if gate is None:
            known = {place.value: place for place in Place if place is not Place.OTHER}
            return known.get(title, Place.OTHER), None
        name = gate["check"]
        checks = [check.value for check in Check]
        if name in checks:
            return Place.GATE, Check(name)
        self._source.fault_at(
            part.line,
            f"unknown gate `{name}`" if name else "which gate?",
            did_you_mean(name, checks, otherwise=f"known: {', '.join(checks)}"),
        )
        return Place.GATE, None

    def _refuse_second(self, part: Part, place: Place, check: Check | None) -> None:
        if place in {Place.DIRECT, Place.OTHER} or (place is Place.GATE and check is None):
            return
        first = self._headings.setdefault(f"{place}{check or ''}", part.line)
        if first != part.line:
            self._source.fault_at(
                part.line, "a phase has this heading once", f"the first is in line {first}"
            )

    def _direct(self, part: Part) -> None:
        if self._draft.head.kind is PhaseKind.SETUP:
            self._draft.before += self._items(part)
            return
        for task in part.tasks:
            self._source.fault_at(
                task.line,
                "this item stands under no heading of its phase",
                "put it under `### Before`, `### Gate: …` or `### After`",
            )

    def _other(self, part: Part) -> None:
        if part.tasks:
            known = {"Before": "before", "After": "after"} | {
                f"Gate: {check}": f"gate: {check}" for check in Check
            }
            self._source.fault_at(
                part.line,
                f"items under `{part.title}` belong to nothing",
                did_you_mean(part.title, known, otherwise=f"known: {', '.join(known)}"),
            )

    def _refusal(self, part: Part) -> None:
        self._draft.guidance = "\n".join(self._source.lines[part.line : part.end - 1]).strip("\n")
        for task in part.tasks:
            self._source.fault_at(
                task.line, "an item here is never asked for", "write it as a plain list or text"
            )

    # Items

    def _items(self, part: Part) -> list[Item]:
        items = []
        for task in part.tasks:
            for code in task.codes:
                if _CRITERION_LIKE.search(code.text):
                    self._fault_in(
                        code,
                        "a criterion outside a gate is never judged",
                        "put it under `### Gate: …`",
                    )
            items.append(
                Item(id=self._item_id(task), text=task.text, checked=task.checked, line=task.line)
            )
        return items

    def _item_id(self, task: Task) -> str:
        words = slug(task.text)
        for count in range(min(SLUG_WORDS, len(words)), len(words) + 1):
            name = "-".join(words[:count])
            if name not in self._slugs:
                self._slugs.add(name)
                return f"{self._draft.head.id}.{name}"
        self._source.fault_at(
            task.line, "another item of this phase has the same words", "tell them apart"
        )
        return f"{self._draft.head.id}.{'-'.join(words)}"

    # Gates

    def _gate(self, part: Part, check: Check) -> None:
        if self._draft.head.kind is PhaseKind.SETUP:
            self._source.fault_at(part.line, "the setup phase has no gates: nothing is built yet")
            return
        self._draft.gates[check] = part.line
        if not part.tasks:
            self._source.fault_at(
                part.line, f"the {check} gate is empty, so it would never open", "add a criterion"
            )
        for task in part.tasks:
            self._criterion(task, check)

    def _criterion(self, task: Task, check: Check) -> None:
        if not task.codes:
            self._source.fault_at(
                task.line,
                "an item under a gate needs a criterion in backticks",
                "or belongs under `### Before` or `### After`",
            )
            return
        code = task.codes[0]
        if len(task.codes) > 1:
            self._fault_in(
                task.codes[1],
                "an item under a gate has one criterion and no other code",
                "write a second item, or take away these backticks",
            )
            return
        if code.broken:
            self._fault_in(code, "a criterion must stand in one line")
            return
        kind = self._draft.head.kind
        forbidden = _FORBIDDEN.get(kind, {}) if kind else {}
        comparison, problems = examine(code.text, check=check, forbidden=forbidden)
        for problem in problems:
            self._source.fault(
                code.line,
                code.column + problem.start,
                problem.message,
                problem.suggestion,
                length=problem.end - problem.start,
            )
        if comparison is not None:
            self._keep(task, code, check, comparison)

    def _keep(self, task: Task, code: CodeSpan, check: Check, comparison: Comparison) -> None:
        first = self._seen.setdefault((check, comparison), task.line)
        if first != task.line:
            self._fault_in(code, f"the same criterion stands in line {first}")
        metric = metric_names(comparison.left)[0]
        self._metrics[check, metric] += 1
        count = self._metrics[check, metric]
        before = task.before_code.removesuffix(":").strip()
        self._draft.criteria.append(
            Criterion(
                id=f"{self._draft.head.id}.{check}.{metric}" + (f"-{count}" if count > 1 else ""),
                text=" ".join(filter(None, (before, task.after_code))),
                source=code.text.strip(),
                comparison=comparison,
                check=check,
                line=code.line,
                column=code.column,
            )
        )

    def _fault_in(self, code: CodeSpan, message: str, suggestion: str = "") -> None:
        self._source.fault(
            code.line, code.column, message, suggestion, length=max(1, len(code.text))
        )
