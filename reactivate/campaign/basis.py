"""What a phase's evidence stands on in the checklist; when it changes, the evidence is stale."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.campaign.criteria import (
    checks_of,
    components_of,
    gate_criteria,
    scenarios_of,
    suites_of,
)
from reactivate.checklist.model import Checklist, Phase, PhaseKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Everything in a checklist that decides what is measured for a phase, and against what.

    Order does not count: it changes neither what is on nor what is asked.

    Attributes:
        section: hash of the phase's own section.
        components: what is on, by the phases before it.
        suites: what its build is exercised with; earlier phases give some of them.
        scenarios: what its overflow check runs; the integration has those of earlier phases, too.
        criteria: id and source of all that its gates hold; the integration inherits some.
    """

    section: str
    components: frozenset[str]
    suites: frozenset[str]
    scenarios: frozenset[str]
    criteria: frozenset[tuple[str, str]]


def basis_of(checklist: Checklist, phase: Phase) -> Basis:
    """What the evidence of a phase stands on."""
    built = phase.kind is not PhaseKind.SETUP
    return Basis(
        section=phase.sha256,
        components=frozenset(components_of(checklist, phase)),
        suites=frozenset(suites_of(checklist, phase) if built else ()),
        scenarios=frozenset(scenarios_of(checklist, phase)),
        criteria=frozenset(
            (criterion.id, criterion.source)
            for check in checks_of(phase)
            for criterion in gate_criteria(checklist, phase, check)
        ),
    )


def differences(then: Basis, now: Basis) -> tuple[str, ...]:
    """What of it is another; each as it stands in a sentence. A cause hides what it causes."""
    if then.section != now.section:
        return ("its part of the checklist",)
    found = []
    if then.components != now.components:
        found.append("the components before it")
    elif then.criteria != now.criteria:
        found.append("criteria of earlier components")
    if then.components == now.components and then.suites != now.suites:
        found.append("the workload of earlier components")
    if then.components == now.components and then.scenarios != now.scenarios:
        found.append("the scenarios of earlier components")
    return tuple(found)
