"""What must hold between phases: their order, their ids, their needs, their gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.checklist.blocks import place
from reactivate.checklist.faults import did_you_mean
from reactivate.checklist.model import PhaseKind
from reactivate.checklist.phases import Draft
from reactivate.checklist.source import Source
from reactivate.evidence import Check

_ORDER = list(PhaseKind)
_REQUIRED: Mapping[PhaseKind, tuple[Check, ...]] = {
    PhaseKind.SETUP: (),
    PhaseKind.BASELINE: (Check.BASELINE,),
    PhaseKind.COMPONENT: tuple(Check),
    PhaseKind.INTEGRATION: tuple(Check),
}


def check_phases(drafts: Sequence[Draft], source: Source, *, complete: bool) -> None:
    """Check each phase for completeness and all of them together; faults go to `source`.

    Args:
        drafts: the phases in the order of the document.
        source: where faults go.
        complete: False if a part of the document could not be read.
    """
    _check_kinds(drafts, source)
    _check_ids(drafts, source)
    _check_needs(drafts, source, complete=complete)
    for draft in drafts:
        _check_gates(draft, source)
        _check_workload(draft, source)


def check_presence(drafts: Sequence[Draft], source: Source) -> None:
    """Check that the phases without which there is no passage are there."""
    if not drafts:
        source.fault(
            1, 1, "the checklist has no phases",
            "a phase is a `##` section with a `toml component` or `toml phase` block",
        )  # fmt: skip
        return
    kinds = {draft.head.kind for draft in drafts}
    if None in kinds:
        return
    if PhaseKind.BASELINE not in kinds:
        source.fault_at(
            drafts[0].section.line,
            "the checklist has no baseline phase",
            'add a `##` section with a `toml phase` block: kind = "baseline"',
        )
    if PhaseKind.COMPONENT not in kinds:
        source.fault_at(
            drafts[-1].section.line,
            "the checklist has no component, so there is nothing to reactivate",
            "add a `##` section with a `toml component` block",
        )


def _check_kinds(drafts: Sequence[Draft], source: Source) -> None:
    last: Draft | None = None
    firsts: dict[PhaseKind, int] = {}
    for draft in drafts:
        kind, line = draft.head.kind, draft.section.line
        if kind is None:
            continue
        first = firsts.setdefault(kind, line)
        if kind is not PhaseKind.COMPONENT and first != line:
            source.fault_at(line, f"a second {kind} phase", f"the first is in line {first}")
            continue
        if last is not None and last.head.kind is not None and _before(kind, last.head.kind):
            source.fault_at(
                line,
                f"a {kind} phase cannot come after the {last.head.kind} phase",
                "the order is: setup, baseline, components, integration",
            )
            continue
        last = draft


def _before(kind: PhaseKind, other: PhaseKind) -> bool:
    return _ORDER.index(kind) < _ORDER.index(other)


def _check_ids(drafts: Sequence[Draft], source: Source) -> None:
    seen: dict[str, Draft] = {}
    for draft in drafts:
        phase_id, kind = draft.head.id, draft.head.kind
        if not phase_id:
            continue
        line, column, length = place(draft.head.block, source, "id", phase_id)
        reserved = {PhaseKind.SETUP.value, PhaseKind.BASELINE.value}
        if phase_id in reserved and kind in {PhaseKind.COMPONENT, PhaseKind.INTEGRATION}:
            message = f"`{phase_id}` is the id of the {phase_id} phase"
            source.fault(line, column, message, "choose another", length=length)
            continue
        first = seen.setdefault(phase_id, draft)
        # A second setup, baseline or integration phase has been refused as such already.
        if first is not draft and (kind is PhaseKind.COMPONENT or kind is not first.head.kind):
            where = f"it is the phase of line {first.section.line}"
            source.fault(line, column, f"the id `{phase_id}` is taken", where, length=length)


def _check_needs(drafts: Sequence[Draft], source: Source, *, complete: bool) -> None:
    components = [d for d in drafts if d.head.kind is PhaseKind.COMPONENT and d.head.id]
    # A component whose id could not be read may be the very one that is needed.
    complete = complete and all(draft.head.id for draft in drafts)
    needs: dict[str, tuple[str, ...]] = {}
    for draft in components:
        needs.setdefault(draft.head.id, draft.head.needs)
    known_before: set[str] = set()
    for draft in components:
        for need in draft.head.needs:
            if need not in needs and not complete:
                continue
            message, suggestion = _about_need(draft.head.id, need, needs, known_before)
            if message:
                line, column, length = place(draft.head.block, source, "needs", need)
                source.fault(line, column, message, suggestion, length=length)
        known_before.add(draft.head.id)


def _about_need(
    component: str, need: str, needs: Mapping[str, tuple[str, ...]], before: set[str]
) -> tuple[str, str]:
    """What is wrong with one need and what to do; both "" if it is met."""
    if need == component:
        return f"`{component}` needs itself", "take it away"
    if need not in needs:
        others = [name for name in needs if name != component]
        known = f"known: {', '.join(others)}" if others else "it is the only component here"
        message = f"`{component}` needs the unknown component `{need}`"
        return message, did_you_mean(need, others, otherwise=known)
    if need in before:
        return "", ""
    way = _way(need, component, needs)
    if way:
        circle = " needs ".join(f"`{name}`" for name in (component, *way))
        return f"needs go in a circle: {circle}", "one of them must do without the other"
    return f"`{component}` needs `{need}`, which comes later", "change the order of the phases"


def _way(start: str, goal: str, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A chain of needs from one component to another, () if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for need in needs.get(way[-1], ()):
            if need == goal:
                return (*way, goal)
            if need not in seen:
                seen.add(need)
                ways.append((*way, need))
    return ()


def _check_gates(draft: Draft, source: Source) -> None:
    kind = draft.head.kind
    missing = (
        [check for check in _REQUIRED.get(kind, ()) if check not in draft.gates] if kind else []
    )
    for check in missing:
        source.fault_at(
            draft.section.line,
            f"{draft.name} has no {check} gate",
            f"add `### Gate: {check}` with at least one criterion",
        )


def _check_workload(draft: Draft, source: Source) -> None:
    """A component that no workload touches would be green whatever it does."""
    head = draft.head
    if head.kind is PhaseKind.COMPONENT and head.keys and not head.workload:
        if "workload" in head.keys:
            line, column, length = place(head.block, source, "workload")
        else:
            line, column = head.block.line, 1
            length = len(source.line(line))
        source.fault(
            line, column, f"{draft.name} has no workload, so nothing would exercise it",
            'e.g. `workload = ["search"]`', length=length,
        )  # fmt: skip
