"""In which order components cost least stack first, as far as they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reactivate.checklist.model import PhaseKind
from reactivate.evidence import Check, NotMeasured
from reactivate.ledger.origin import BY_HAND
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, table
from reactivate.report.analysis.scenarios import Death
from reactivate.report.analysis.shape import PhaseShape, Shape, latest
from reactivate.report.analysis.values import Values, cell, number
from reactivate.units import format_bytes, format_count

_METRIC = "stack.operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a component was seen to cost.

    Attributes:
        phase: the component.
        takes: the cell for the deepest operation now, and its evidence.
        added_bytes: by how much that is deeper than in the build before; None if unknown.
        deaths: that nobody asked for.
        refusals: by its gates.
        by_hand: deaths by hand that nobody asked for, in the newest runs with this component as
            the last one on.
    """

    phase: PhaseShape
    takes: tuple[str, str]
    added_bytes: float | None
    deaths: int
    refusals: int
    by_hand: int = 0

    @property
    def rank(self) -> tuple[bool, int, int, float]:
        """Cheapest first; what was not measured last."""
        added = self.added_bytes
        dead = self.deaths + self.by_hand
        return added is None, dead, self.refusals, added if added is not None else 0.0


def order_section(evidence: Evidence, shape: Shape, deaths: Sequence[Death]) -> list[str]:
    """The order of reactivation that the numbers suggest; what components need stays before."""
    components = [p for p in shape.phases if p.kind is PhaseKind.COMPONENT]
    lines = ["## Order that the numbers suggest", ""]
    if not components:
        return [*lines, "None: the ledger knows no component.", ""]
    costs = {phase.id: _cost(evidence, shape, phase, deaths) for phase in components}
    ordered = suggested(costs)
    lines += [
        "Fewest deaths first, those by hand among them, then fewest refusals, then what the "
        "deepest operation gained over the build before; a component never comes before one that "
        "it needs. Each was measured on top of those before it in the checklist, not alone.",
        "",
    ]
    rows = []
    for place, cost in enumerate(ordered, start=1):
        added = cost.added_bytes
        told = "not measured" if added is None else _signed(added)
        row = [f"{place}", code(cost.phase.id), cost.takes[0], told]
        row += [format_count(n) for n in (cost.deaths, cost.by_hand, cost.refusals)]
        rows.append([*row, " ".join(code(n) for n in cost.phase.needs) or "–", cost.takes[1]])
    headers = [
        "",
        "component",
        "deepest operation",
        "added",
        "deaths",
        "by hand",
        "refusals",
        "needs",
    ]
    return lines + table([*headers, "evidence"], rows)


def suggested(costs: Mapping[str, Cost]) -> tuple[Cost, ...]:
    """Cheapest first, each after what it needs; needs in a circle keep the checklist's order."""
    waiting = dict(costs)
    found: list[Cost] = []
    while waiting:
        ready = [
            cost
            for cost in waiting.values()
            if not any(need in waiting for need in cost.phase.needs)
        ] or list(waiting.values())[:1]
        chosen = min(ready, key=lambda cost: cost.rank)
        found.append(waiting.pop(chosen.phase.id))
    return tuple(found)


def _cost(evidence: Evidence, shape: Shape, phase: PhaseShape, deaths: Sequence[Death]) -> Cost:
    reader = evidence.reader
    values = Values(reader, latest(reader, phase.id, Check.BASELINE))
    deepest = values.largest(_METRIC)
    previous = shape.previous(phase)
    earlier = None if previous is None else latest(reader, previous.id, Check.BASELINE)
    before = Values(reader, earlier)
    now, then = number(deepest), number(before.largest(_METRIC))
    operation = "" if deepest is None else deepest.measurement.operation
    measured = deepest is not None and not isinstance(deepest.measurement.value, NotMeasured)
    shown = f"{cell(deepest)} ({code(operation)})" if measured else cell(deepest)
    cited = [values.cite(evidence, deepest), before.cite(evidence, before.largest(_METRIC))]
    return Cost(
        phase=phase,
        takes=(shown, " ".join(each for each in cited if each)),
        added_bytes=None if now is None or then is None else now - then,
        deaths=sum(d.attempt.phase == phase.id and not d.provoked for d in deaths),
        refusals=len(reader.decisions(phase.id, kind="refused")),
        by_hand=sum(
            d.attempt.phase == BY_HAND
            and d.newest
            and not d.provoked
            and _last(shape, d) == phase.id
            for d in deaths
        ),
    )


def _last(shape: Shape, death: Death) -> str:
    """Which of the components that were on comes last in the checklist; "" if none is in it."""
    return next((p.id for p in reversed(shape.phases) if p.id in death.components), "")


def _signed(added: float) -> str:
    sign = "+" if added > 0 else "−" if added < 0 else "±"
    return f"{sign}{format_bytes(abs(added))}"
