"""A checklist as the machine sees it: a state diagram, and data for `checklist show`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from reactivate.checklist.language import render
from reactivate.checklist.model import Checklist, Criterion, Item, Phase, PhaseKind
from reactivate.evidence import Check


def mermaid(checklist: Checklist) -> str:
    """A mermaid `stateDiagram-v2`: the phases in their order, and the states within each.

    A state that stands for a gate says how many criteria it holds. Phases without gates are
    plain states; the same checklist gives the same text.
    """
    phases = checklist.phases
    lines = ["stateDiagram-v2"]
    for phase in phases:
        lines += [f"    {line}" for line in _phase(phase)]
    ids = ["[*]", *(_id(phase) for phase in phases), "[*]"]
    lines += [f"    {here} --> {there}" for here, there in pairwise(ids)]
    return "\n".join(lines) + "\n"


def _phase(phase: Phase) -> Iterator[str]:
    own = _id(phase)
    gates = [check for check in Check if phase.gate(check)]
    yield f'state "{_quoted(phase.title)}" as {own}'
    if not gates:
        yield f"{own} : {_count(len(phase.before) + len(phase.after), 'item')} to confirm"
        return
    enabling = phase.kind in {PhaseKind.COMPONENT, PhaseKind.INTEGRATION}
    checks = [f"{check}_check" for check in gates]
    states = ["pending", "preparing", "activating", *checks, "documenting", "active"]
    yield f"state {own} {{"
    yield f"    {own}_pending : pending"
    yield f"    {own}_preparing : preparing, {_count(len(phase.before), 'item')}"
    yield f"    {own}_activating : {'activating' if enabling else 'building'}"
    for check, state in zip(gates, checks, strict=True):
        criteria = _count(len(phase.gate(check)), "criterion", "criteria")
        yield f"    {own}_{state} : {check} check, {criteria}"
    yield f"    {own}_documenting : documenting, {_count(len(phase.after), 'item')}"
    yield f"    {own}_active : {'active' if enabling else 'measured'}"
    yield f"    {own}_refused : refused"
    yield f"    [*] --> {own}_{states[0]}"
    for here, there in pairwise(states):
        label = " : every criterion passed" if here in checks else ""
        yield f"    {own}_{here} --> {own}_{there}{label}"
    for here, there in pairwise(states):
        if here in checks:
            yield f"    {own}_{here} --> {own}_refused : a criterion failed"
            yield f"    {own}_refused --> {own}_{there} : waive, if {here.split('_')[0]} refused"
    yield f"    {own}_refused --> {own}_activating : retry"
    if enabling:
        yield f"    {own}_refused --> {own}_pending : roll back"
    yield f"    {own}_active --> [*]"
    yield "}"


def _id(phase: Phase) -> str:
    """An id that is no keyword of the diagram language (`state`, `note`, `end` …)."""
    return f"phase_{phase.id}"


def _quoted(text: str) -> str:
    """Text within double quotes, where mermaid has character codes instead of escapes."""
    return text.replace("#", "#35;").replace('"', "#quot;")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def describe(checklist: Checklist) -> dict[str, object]:
    """The whole checklist as plain lists, dictionaries and texts, for tables and JSON."""
    return {
        "path": checklist.path,
        "title": checklist.title,
        "sha256": checklist.sha256,
        "phases": [_described(phase) for phase in checklist.phases],
    }


def _described(phase: Phase) -> dict[str, object]:
    return {
        "id": phase.id,
        "kind": phase.kind.value,
        "title": phase.title,
        "line": phase.line,
        "needs": list(phase.needs),
        "risk": phase.risk,
        "workload": list(phase.workload),
        "scenarios": list(phase.scenarios),
        "before": [_item(item) for item in phase.before],
        "gates": {
            check.value: [_criterion(criterion) for criterion in phase.gate(check)]
            for check in Check
            if phase.gate(check)
        },
        "after": [_item(item) for item in phase.after],
        "guidance": phase.guidance,
        "sha256": phase.sha256,
    }


def _item(item: Item) -> dict[str, object]:
    return {"id": item.id, "text": item.text, "checked": item.checked, "line": item.line}


def _criterion(criterion: Criterion) -> dict[str, object]:
    return {
        "id": criterion.id,
        "text": criterion.text,
        "criterion": render(criterion.comparison),
        "line": criterion.line,
        "column": criterion.column,
    }
