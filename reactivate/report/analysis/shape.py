"""What a campaign consists of: its phases in order, and the attempts that speak for them."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.checklist.model import PhaseKind
from reactivate.checklist.parse import parse
from reactivate.errors import ChecklistError, UsageError
from reactivate.evidence import Check
from reactivate.ledger.origin import by_hand, origin_of
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import AttemptRecord, AttemptStatus
from reactivate.tomlfile import nearest

_EDITIONS = ("campaign_started", "checklist_changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseShape:
    """A phase as far as analyses need it.

    Attributes:
        id: its name.
        kind: see `PhaseKind`.
        title: the heading.
        needs: components that must be on before.
    """

    id: str
    kind: PhaseKind
    title: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The phases of a campaign, in the checklist's order.

    Attributes:
        title: of the checklist, "" if unknown.
        phases: all of them.
        missing: why the checklist could not be asked, "" if it was; the phases are then those
            of which there are attempts.
    """

    title: str
    phases: tuple[PhaseShape, ...]
    missing: str = ""

    def phase(self, name: str) -> PhaseShape:
        """The phase of this name.

        Raises:
            UsageError: there is none.
        """
        for phase in self.phases:
            if phase.id == name:
                return phase
        names = [phase.id for phase in self.phases]
        raise UsageError(
            f"the ledger knows no component `{name}`{nearest(name, names)}",
            why=f"its phases: {', '.join(names) or 'none'}",
            hint="reactivate status",
        )

    @property
    def baseline(self) -> PhaseShape | None:
        """The phase that measures the minimal build."""
        return next((p for p in self.phases if p.kind is PhaseKind.BASELINE), None)

    @property
    def measured(self) -> tuple[PhaseShape, ...]:
        """The phases with components, the integration included."""
        kinds = (PhaseKind.COMPONENT, PhaseKind.INTEGRATION)
        return tuple(phase for phase in self.phases if phase.kind in kinds)

    def previous(self, phase: PhaseShape) -> PhaseShape | None:
        """The phase whose build came before; the minimal build before the first component."""
        before = self.phases[: self.phases.index(phase)]
        return next((p for p in reversed(before) if p.kind is not PhaseKind.SETUP), None)


def read_shape(reader: LedgerQueries) -> Shape:
    """The phases by the checklist that is in force, else by what was attempted."""
    editions = [event for kind in _EDITIONS for event in reader.events(kind=kind)]
    if not editions:
        return _attempted(reader, "no campaign was started")
    newest = max(editions, key=lambda event: event.seq)
    text, path = newest.data.get("checklist_text"), newest.data.get("checklist")
    if not isinstance(text, str):
        return _attempted(reader, f"event {newest.seq} holds no checklist")
    try:
        checklist = parse(text, str(path))
    except ChecklistError as error:
        return _attempted(reader, f"the checklist of event {newest.seq}: {error.what}")
    phases = tuple(
        PhaseShape(id=p.id, kind=p.kind, title=p.title, needs=tuple(p.needs))
        for p in checklist.phases
    )
    return Shape(title=checklist.title, phases=phases)


def latest(reader: LedgerQueries, phase: str, check: Check) -> AttemptRecord | None:
    """The newest finished attempt of a check."""
    return reader.latest_attempt(phase, check.value, status=AttemptStatus.FINISHED)


def _attempted(reader: LedgerQueries, why: str) -> Shape:
    attempted = dict.fromkeys(attempt.phase for attempt in reader.attempts())
    names = [name for name in attempted if not (origin_of(name) or by_hand(name))]
    kinds = {"setup": PhaseKind.SETUP, "baseline": PhaseKind.BASELINE}
    phases = tuple(
        PhaseShape(id=name, kind=kinds.get(name, PhaseKind.COMPONENT), title=name) for name in names
    )
    return Shape(title="", phases=phases, missing=why)
