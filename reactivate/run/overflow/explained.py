"""The call chain at a death, in the form in which every refusal shows one."""

from __future__ import annotations

from reactivate.instrument.chain import fold
from reactivate.run.explain import ChainRow, Explanation
from reactivate.run.overflow.result import StepResult


def explanation_of(step: StepResult, evidence: str) -> Explanation:
    """The folded chain of a step's death.

    Args:
        step: one whose daemon died.
        evidence: the evidence file that has all of it.
    """
    death = f"{step.step.label}: {step.text}" if step.text else ""
    chain = None if step.cause is None else step.cause.chain
    if step.cause is None or chain is None:
        missing = step.text if step.cause is None else step.cause.chain_missing
        return Explanation(operation=step.during, missing=missing, evidence=evidence, death=death)
    return Explanation(
        operation=step.during,
        thread=step.cause.thread,
        depth_bytes=chain.top - chain.deepest,
        attributed=chain.attributed_ratio,
        rows=tuple(
            ChainRow(
                depth_bytes=row.depth_bytes,
                size_bytes=row.size_bytes,
                location=row.location,
                place=row.place,
            )
            for row in fold(chain)
        ),
        evidence=evidence,
        death=death,
        remarks=_remarks(step),
    )


def _remarks(step: StepResult) -> tuple[str, ...]:
    """The class of the overflow, and what helps against it."""
    found = step.classification
    if found is None:
        return ()
    lines = [f"{found.kind.value.replace('_', ' ')}: {found.evidence}"]
    if step.advice:
        lines.append(f"what helps, in {step.advice[0].applies_to}:")
    return (*lines, *(f"· {one.text}" for one in step.advice))
