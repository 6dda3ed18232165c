"""What a check is held against: recorded measurements of other builds, from the same machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reactivate.campaign.criteria import relative_to
from reactivate.campaign.outcome import VERIFICATION, VERIFIED, Outcome
from reactivate.checklist.model import Checklist, Criterion
from reactivate.errors import MeasurementError
from reactivate.evidence import Check, Measurement, Role
from reactivate.ledger.records import JSON, AttemptRecord, AttemptStatus

_JUDGED = frozenset({Outcome.ADVANCED.value, Outcome.REFUSED.value, VERIFIED})
"""Outcomes of attempts whose measurements are whole."""


class Recorded(Protocol):
    """What is asked of a ledger."""

    def attempts(self, phase: str) -> Sequence[AttemptRecord]:
        """All attempts of a phase, oldest first."""

    def measurements(self, attempt_id: int) -> Sequence[Measurement]:
        """What an attempt measured."""

    def environment(self, sha256: str) -> Mapping[str, JSON]:
        """What an attempt ran in."""


def recorded_references(
    ledger: Recorded,
    checklist: Checklist,
    criteria: Sequence[Criterion],
    check: Check,
    attempt: AttemptRecord,
    *,
    here: Mapping[str, JSON],
    prefix: str = "",
) -> dict[Role, tuple[Measurement, ...]]:
    """Measurements of the baseline and of the previous phase, from the same environment.

    Args:
        ledger: where they are; only attempts before this one count, so that the same ones are
            found whenever it is asked again.
        checklist: the edition in force.
        criteria: what is judged.
        check: the kind of gate run.
        attempt: the one that is judged.
        here: the machine that it runs on.
        prefix: before the names of its steps; that of a verification, or "".

    Raises:
        MeasurementError: a reference was measured on another machine.
    """
    phases = [phase.id for phase in checklist.phases]
    before = phases[: phases.index(attempt.phase)]
    sources = {
        Role.BASELINE: next((p.id for p in checklist.phases if p.kind == "baseline"), ""),
        Role.PREVIOUS: before[-1] if before else "",
    }
    found: dict[Role, tuple[Measurement, ...]] = {}
    for role, phase in sources.items():
        if not any(relative_to(criterion, role) for criterion in criteria):
            continue
        earlier = [
            a
            for a in ledger.attempts(phase)
            if a.id < attempt.id and a.status is AttemptStatus.FINISHED
        ]
        source = _reference(ledger, role, earlier, check, here, prefix)
        if source is not None:
            found[role] = tuple(m for m in ledger.measurements(source.id) if m.role is Role.SUBJECT)
    return found


def _reference(
    ledger: Recorded,
    role: Role,
    earlier: Sequence[AttemptRecord],
    check: Check,
    here: Mapping[str, JSON],
    prefix: str,
) -> AttemptRecord | None:
    """The attempt whose numbers stand for a phase; one measured on another machine does not.

    The campaign refers to its own attempts, and to a verification where the machine is another by
    now; a verification to whatever is newest, which is what it measured itself if it did.
    """
    own = _newest(earlier, check.value)
    again = _newest(earlier, f"{VERIFICATION}{check.value}")
    # A refused run measured as well as a passed one: its phase went on by a waiver.
    judged = [a for a in (own, again) if a is not None and a.outcome in _JUDGED]
    if not judged or (judged[0] is not own and not prefix):
        return None
    if prefix:
        judged.sort(key=lambda attempt: -attempt.id)
    differs = [_differs(ledger, attempt, here) for attempt in judged]
    for attempt, difference in zip(judged, differs, strict=True):
        if not difference:
            return attempt
    raise MeasurementError(
        f"The {role.value} was measured in another environment",
        why=f"{differs[0]}; their numbers do not compare",
        hint="reactivate verify measures it here",
    )


def _newest(attempts: Sequence[AttemptRecord], step: str) -> AttemptRecord | None:
    return next((attempt for attempt in reversed(attempts) if attempt.step == step), None)


def _differs(ledger: Recorded, attempt: AttemptRecord, here: Mapping[str, JSON]) -> str:
    """What is not as it was when an attempt measured; "" if all of it is."""
    then = ledger.environment(attempt.environment_sha256)
    changed = [
        f"{key} was {then.get(key)}, is {value}"
        for key, value in here.items()
        if then.get(key) != value
    ]
    return changed[0] if changed else ""
