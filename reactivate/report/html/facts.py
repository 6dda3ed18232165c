"""What pictures are drawn of: chains, depths and sweeps, as ledger and evidence have them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reactivate.evidence import Check, Dimension, NotMeasured
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import AttemptRecord, AttemptStatus, Decision
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.frames import ChainFacts, read_chains
from reactivate.report.analysis.scenarios import ScenarioFacts, whole
from reactivate.report.analysis.shape import Shape
from reactivate.report.analysis.values import Values, number
from reactivate.report.picture.bars import Bar
from reactivate.report.picture.curve import Series
from reactivate.report.picture.icicle import Chain, Frame
from reactivate.units import format_bytes

_BUDGET = re.compile(r"stack\.peak\s*<=?\s")


@dataclass(slots=True, kw_only=True)
class Facts:
    """A campaign as the report sees it. What is asked for twice is read once.

    Attributes:
        evidence: the files.
        shape: the phases.
        attempts: all, by id.
        decisions: all, in order.
    """

    evidence: Evidence
    shape: Shape
    attempts: Mapping[int, AttemptRecord]
    decisions: Sequence[Decision]
    _values: dict[int, Values] = field(default_factory=dict)
    _judged: dict[int, tuple[Judgement, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, evidence: Evidence, shape: Shape) -> Facts:
        """The facts of a ledger."""
        reader = evidence.reader
        return cls(
            evidence=evidence,
            shape=shape,
            attempts={attempt.id: attempt for attempt in reader.attempts()},
            decisions=reader.decisions(),
        )

    def latest(self, phase: str, check: Check) -> AttemptRecord | None:
        """The newest finished attempt of a check."""
        found = [a for a in self.of(phase) if a.step == check.value]
        return next((a for a in reversed(found) if a.status is AttemptStatus.FINISHED), None)

    def of(self, phase: str) -> list[AttemptRecord]:
        """All attempts of a phase, oldest first."""
        return [attempt for attempt in self.attempts.values() if attempt.phase == phase]

    def values(self, attempt: AttemptRecord | None) -> Values:
        """What an attempt measured."""
        if attempt is None:
            return Values(self.evidence.reader, None)
        if attempt.id not in self._values:
            self._values[attempt.id] = Values(self.evidence.reader, attempt)
        return self._values[attempt.id]

    def judged(self, attempt: AttemptRecord) -> tuple[Judgement, ...]:
        """The verdicts of an attempt."""
        if attempt.id not in self._judged:
            self._judged[attempt.id] = self.evidence.reader.judgements(attempt.id)
        return self._judged[attempt.id]

    def chains(self, attempt: AttemptRecord) -> Mapping[str, ChainFacts | NotMeasured]:
        """The call chains of an attempt, by operation."""
        return read_chains(self.evidence, attempt)

    def deepest(self, attempt: AttemptRecord | None) -> ChainFacts | NotMeasured:
        """The deepest call chain of an attempt, or why there is none."""
        if attempt is None:
            return NotMeasured(reason="no finished trace check is on record")
        found = self.chains(attempt)
        known = [chain for chain in found.values() if isinstance(chain, ChainFacts)]
        if known:
            return max(known, key=lambda chain: (chain.total_bytes, chain.operation))
        missing = [chain for chain in found.values() if isinstance(chain, NotMeasured)]
        return (
            missing[0]
            if missing
            else NotMeasured(reason=f"attempt {attempt.id} has no call chain on record")
        )

    def limit_bytes(self, phase: str, thread: str = "") -> float | None:
        """The stack limit of a phase's newest baseline check; of the main thread, or the least."""
        values = self.values(self.latest(phase, Check.BASELINE))
        found = [each for each in values.all("stack.limit") if number(each) is not None]
        own = [each for each in found if each.measurement.thread == (thread or "main")]
        known = [value for each in own or found if (value := number(each)) is not None]
        return min(known, default=None)

    def budget_bytes(self, attempt: AttemptRecord, thread: str) -> float | None:
        """The least limit that a criterion of `stack.peak` set for a thread; None if none did."""
        limits = [
            judged.limit
            for judged in self.judged(attempt)
            if _BUDGET.match(judged.source)
            and judged.dimension is Dimension.BYTES
            and not isinstance(judged.limit, NotMeasured)
            and judged.thread in ("", thread)
        ]
        return min(limits, default=None)


def among(phase: str, only: Collection[str]) -> bool:
    """Whether a phase is one of those that were asked for; all are if none was named."""
    return not only or phase in only


def picture_chain(title: str, chain: ChainFacts, limit_bytes: float | None) -> Chain:
    """A chain as it is drawn."""
    frames = tuple(
        Frame(function=name, place=share.place, size_bytes=share.bytes, count=share.frames)
        for name, share in chain.runs
    )
    return Chain(title=title, frames=frames, limit_bytes=limit_bytes)


def attempt_bars(facts: Facts) -> list[Bar]:
    """The worst stack of every attempt that measured one, oldest first."""
    found = []
    for moment in facts.evidence.reader.moments("stack.peak"):
        attempt, measured = facts.attempts[moment.attempt], moment.measurement
        refused = attempt.outcome == "refused"
        value = measured.value
        missing = value.reason if isinstance(value, NotMeasured) else ""
        found.append(
            Bar(
                name=f"{attempt.phase}, attempt {attempt.number}{', refused' if refused else ''}",
                value_bytes=None if isinstance(value, NotMeasured) else value,
                budget_bytes=facts.budget_bytes(attempt, measured.thread),
                missing=missing,
                note=f"({measured.operation})" if measured.operation else "",
            )
        )
    return found


def operation_bars(facts: Facts, attempt: AttemptRecord) -> list[Bar]:
    """Depth of each operation of an attempt, deepest first."""
    values = facts.values(attempt)
    found = []
    for operation, thread in values.operations("stack.peak"):
        worst = values.one("stack.peak", operation, thread)
        value = None if worst is None else worst.measurement.value
        found.append(
            Bar(
                name=f"{operation} ({thread})" if thread else operation,
                value_bytes=number(worst),
                budget_bytes=facts.budget_bytes(attempt, thread),
                missing=value.reason if isinstance(value, NotMeasured) else "",
            )
        )
    return sorted(found, key=lambda bar: (-(bar.value_bytes or 0.0), bar.name))


def sweeps(scenario: ScenarioFacts) -> Mapping[str, tuple[Series, ...]]:
    """The sweeps of a scenario: for each parameter a series under every stack limit."""
    steps: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for step in scenario.steps:
        parameter, value = step.get("parameter"), step.get("value")
        if isinstance(parameter, str) and parameter and _real(value):
            key = parameter, whole(step.get("stack_limit_bytes"))
            steps.setdefault(key, []).append(step)
    found: dict[str, list[Series]] = {}
    for (parameter, limit), own in steps.items():
        if len({step["value"] for step in own}) > 1:
            found.setdefault(parameter, []).append(_series(limit, own))
    return {parameter: tuple(series) for parameter, series in found.items()}


def _series(limit: int | None, steps: Sequence[Mapping[str, Any]]) -> Series:
    name = "unknown limit" if limit is None else f"limit {format_bytes(limit)}"
    return Series(
        name=name,
        points=tuple(
            (float(step["value"]), float(depth))
            for step in steps
            if step.get("ending") == "survived"
            and (depth := whole(step.get("depth_bytes"))) is not None
        ),
        deaths=tuple(float(step["value"]) for step in steps if step.get("death") is not None),
        limit_bytes=limit,
    )


def _real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
