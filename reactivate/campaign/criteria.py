"""Which checks a phase has, and which criteria each of its gates holds."""

from __future__ import annotations

from reactivate.checklist.model import (
    Arithmetic,
    Checklist,
    Criterion,
    Expression,
    PercentOf,
    Phase,
    PhaseKind,
    ReferenceValue,
)
from reactivate.errors import ChecklistError
from reactivate.evidence import Check, Role

_GUARDED = frozenset({PhaseKind.COMPONENT, PhaseKind.INTEGRATION})


def checks_of(phase: Phase) -> tuple[Check, ...]:
    """The checks a phase must pass, in order.

    Setup has none; the minimal build those that the checklist has a gate for; a component and
    the integration all of them.
    """
    if phase.kind in _GUARDED:
        return tuple(Check)
    if phase.kind is PhaseKind.BASELINE:
        return tuple(check for check in Check if phase.gate(check))
    return ()


def components_of(checklist: Checklist, phase: Phase) -> tuple[str, ...]:
    """The components that are on in this phase's build, in the checklist's order."""
    if phase.kind is PhaseKind.INTEGRATION:
        return checklist.components
    if phase.kind is PhaseKind.COMPONENT:
        return checklist.components[: checklist.components.index(phase.id) + 1]
    return ()


def suites_of(checklist: Checklist, phase: Phase) -> tuple[str, ...]:
    """The suites that exercise this phase's build: plain files, and those of all that is on."""
    suites = {"posix": None}
    if phase.kind in _GUARDED:
        earlier = checklist.phases[: checklist.phases.index(phase) + 1]
        suites.update(dict.fromkeys(suite for each in earlier for suite in each.workload))
    return tuple(suites)


def scenarios_of(checklist: Checklist, phase: Phase) -> tuple[str, ...]:
    """The overflow scenarios of this phase; the integration runs those of all components, too."""
    if phase.kind is not PhaseKind.INTEGRATION:
        return phase.scenarios
    before = checklist.phases[: checklist.phases.index(phase)]
    return tuple(dict.fromkeys(name for each in (*before, phase) for name in each.scenarios))


def gate_criteria(checklist: Checklist, phase: Phase, check: Check) -> tuple[Criterion, ...]:
    """Everything a gate holds: the phase's own criteria and, for the integration, inherited ones.

    This is what is judged, and what the machine demands a verdict for.
    """
    return integration_criteria(checklist, phase, check)


def integration_criteria(checklist: Checklist, phase: Phase, check: Check) -> tuple[Criterion, ...]:
    """The phase's own criteria of a check, then those of every component before it.

    Inherited criteria keep their ids, so waivers of them carry over. Those that are relative to
    the previous build are left out, see `left_out`. A phase that is no integration inherits
    nothing.
    """
    inherited = _earlier(checklist, phase, check)
    return phase.gate(check) + tuple(c for c in inherited if not relative_to(c, Role.PREVIOUS))


def left_out(checklist: Checklist, phase: Phase, check: Check) -> tuple[Criterion, ...]:
    """Criteria of earlier components that the integration cannot judge again.

    They compare with the build before the component, and the integration has another one.
    """
    inherited = _earlier(checklist, phase, check)
    return tuple(c for c in inherited if relative_to(c, Role.PREVIOUS))


def relative_to(criterion: Criterion, role: Role) -> bool:
    """Whether a criterion compares with this other build."""
    return _mentions(criterion.comparison.left, role) or _mentions(criterion.comparison.right, role)


def require_passable(checklist: Checklist) -> None:
    """Refuse a checklist through which there is no way.

    Raises:
        ChecklistError: no phases, one that needs what does not come before it, phases out of
            order, or a gate without criteria, which could never open.
    """
    faults = _faults(checklist)
    if faults:
        raise ChecklistError(
            f"{checklist.path} cannot be passed through",
            why="\n".join(faults),
            hint=f"reactivate checklist check {checklist.path}",
        )


def _faults(checklist: Checklist) -> list[str]:
    if not checklist.phases:
        return ["it has no phases"]
    faults: list[str] = []
    order = list(PhaseKind)
    before: list[Phase] = []
    for phase in checklist.phases:
        where = f"line {phase.line}: `{phase.id}`"
        if phase.id in {earlier.id for earlier in before}:
            faults.append(f"{where} is there twice")
        if before and order.index(phase.kind) < order.index(before[-1].kind):
            faults.append(f"{where} ({phase.kind.value}) comes after {before[-1].kind.value}")
        known = {earlier.id for earlier in before if earlier.kind is PhaseKind.COMPONENT}
        faults += [
            f"{where} needs `{need}`, which does not come before it"
            for need in phase.needs
            if need not in known
        ]
        faults += [
            f"{where} has no criterion for the {check.value} gate, so it could never open"
            for check in checks_of(phase)
            if not gate_criteria(checklist, phase, check)
        ]
        before.append(phase)
    return faults


def _earlier(checklist: Checklist, phase: Phase, check: Check) -> tuple[Criterion, ...]:
    if phase.kind is not PhaseKind.INTEGRATION:
        return ()
    found: list[Criterion] = []
    for earlier in checklist.phases:
        if earlier.id == phase.id:
            break
        if earlier.kind is PhaseKind.COMPONENT:
            found += earlier.gate(check)
    return tuple(found)


def _mentions(expression: Expression, role: Role) -> bool:
    match expression:
        case ReferenceValue(role=found):
            return found is role
        case PercentOf(whole=whole):
            return _mentions(whole, role)
        case Arithmetic(left=left, right=right):
            return _mentions(left, role) or _mentions(right, role)
    return False
