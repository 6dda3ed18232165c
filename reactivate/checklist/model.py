"""What a checklist says, as the machine sees it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reactivate.evidence import Check, Dimension, Role


class Comparator(StrEnum):
    """How the left side of a criterion must stand to the right one."""

    LE = "<="
    LT = "<"
    GE = ">="
    GT = ">"
    EQ = "=="


class Operator(StrEnum):
    """Arithmetic of the criterion language."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A literal in base units; `64 KiB` is 65536 BYTES, `5 ms` is 5000000 NANOSECONDS."""

    value: float
    dimension: Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """`25%`. As an addend relative to what it is added to: `baseline + 20%` is 1.2 baseline."""

    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricName:
    """A metric, for all its operations or, `latency.p50(read, getattr)`, for the named ones."""

    name: str
    operations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """`baseline` or `previous`: the left side's metric as measured on that build."""

    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PercentOf:
    """`25% of stack.limit`."""

    percent: float
    whole: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Two expressions and what joins them."""

    left: Expression
    operator: Operator
    right: Expression


Expression = Number | Percent | MetricName | ReferenceValue | PercentOf | Arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A whole criterion: what is observed, how it must stand, and to which limit."""

    left: Expression
    comparator: Comparator
    right: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A task for a person.

    Attributes:
        id: stable slug, unique in the checklist: phase id, a dot, and words of the text.
        text: the text without the task marker.
        checked: whether the document has it ticked (informative; the ledger decides).
        line: 1-based line in the file.
    """

    id: str
    text: str
    checked: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A checklist line that a machine can judge.

    Attributes:
        id: `PHASE.CHECK.METRIC`, with `-2`, `-3` … where a metric comes again; unique.
        text: the sentence before the code.
        source: the code, as written.
        comparison: the parsed code.
        check: the gate it belongs to.
        line: 1-based line in the file.
        column: 1-based column of the code's first character.
    """

    id: str
    text: str
    source: str
    comparison: Comparison
    check: Check
    line: int
    column: int


class PhaseKind(StrEnum):
    """The kinds of phases, in the order a campaign passes them."""

    SETUP = "setup"
    BASELINE = "baseline"
    COMPONENT = "component"
    INTEGRATION = "integration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One `##` section of the checklist.

    Attributes:
        id: component id, or "setup", "baseline", or the integration's id.
        kind: see `PhaseKind`.
        title: the heading's text.
        needs: ids of components that must be active before.
        risk: "low", "medium", "high", "very high" or "".
        workload: names of the suites that exercise this phase's component.
        scenarios: names of the overflow scenarios that its overflow check runs.
        before: items to confirm before the component is enabled.
        criteria: all criteria in document order.
        after: items to confirm after the gates.
        guidance: Markdown under "When a gate refuses", "" if none.
        line: 1-based line of the heading.
        sha256: hash of the section's text: evidence is bound to it.
    """

    id: str
    kind: PhaseKind
    title: str
    needs: tuple[str, ...] = ()
    risk: str = ""
    workload: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    before: tuple[Item, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    after: tuple[Item, ...] = ()
    guidance: str = ""
    line: int = 1
    sha256: str = ""

    def gate(self, check: Check) -> tuple[Criterion, ...]:
        """The criteria of one check, in document order."""
        return tuple(c for c in self.criteria if c.check is check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A whole passage: setup, baseline, components in order, integration.

    Attributes:
        path: the file's name, as it was asked for.
        title: the text of the first heading.
        sha256: hash of the whole text, which ticks do not change.
        phases: in the order of the document.
        text: the Markdown itself, with `\\n` as the only line end; parsed again it gives the same.
    """

    path: str
    title: str
    sha256: str
    phases: tuple[Phase, ...] = field(default=())
    text: str = field(default="", repr=False, compare=False)

    def phase(self, phase_id: str) -> Phase:
        """The phase with this id; KeyError if there is none."""
        for phase in self.phases:
            if phase.id == phase_id:
                return phase
        raise KeyError(phase_id)

    @property
    def components(self) -> tuple[str, ...]:
        """Ids of the component phases, in order."""
        return tuple(p.id for p in self.phases if p.kind is PhaseKind.COMPONENT)
