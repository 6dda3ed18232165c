"""What can be typed next, and what a step is called; as text, for `status` to be quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactivate.campaign.states import Complete, Step, StepKind, Waiting

if TYPE_CHECKING:
    from reactivate.campaign.passage import Passage

Advice = tuple[str, str]
"""A command, and what it does or when to type it."""

_STEPS = {
    StepKind.PREPARE: "prepare",
    StepKind.ACTIVATE: "activate",
    StepKind.DOCUMENT: "document",
    StepKind.COMPLETE: "complete",
}
_EFFECTS = {
    "reactivate retry": "after a fix",
    "reactivate waive": "take the risk, on record",
    "reactivate rollback": "switch it off again",
}


def heading(step: Step) -> str:
    """`search_engine · step 3 of 6 · baseline check`."""
    name = f"{step.check.value} check" if step.check is not None else _STEPS[step.kind]
    return f"{step.phase or 'campaign'} · step {step.number} of {step.total} · {name}"


def advice(passage: Passage) -> tuple[Advice, ...]:
    """What can be typed now, the likeliest first; never nothing."""
    step = passage.next_step()
    if isinstance(step, Complete):
        return (("reactivate log", "every decision, as Markdown"),)
    if isinstance(step, Step):
        return (("reactivate next", heading(step)),)
    return decisions(step)


def decisions(step: Waiting) -> tuple[Advice, ...]:
    """What a person can decide, the likeliest first."""
    if len(step.items) > 1:
        return (
            ("reactivate confirm --all", f"all {len(step.items)} of them"),
            ("reactivate confirm ITEM …", "one by one"),
        )
    if step.items:
        return ((f"reactivate confirm {step.items[0].id}", ""),)
    return tuple((c, _EFFECTS.get(" ".join(c.split()[:2]), "")) for c in step.commands)
