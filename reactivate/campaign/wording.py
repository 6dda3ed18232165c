"""What a campaign says: headings, sentences, and the commands that can be typed next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from reactivate.campaign.criteria import checks_of
from reactivate.campaign.outcome import Command, Line, Outcome, StepReport
from reactivate.campaign.states import Complete, Step, StepKind, Waiting
from reactivate.checklist.model import Checklist, Criterion, Phase, PhaseKind
from reactivate.evidence import Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import AttemptRecord
from reactivate.units import format_quantity

if TYPE_CHECKING:
    from reactivate.campaign.measuring import Checked, Stage
    from reactivate.campaign.passage import Passage
    from reactivate.run.activation import Activation

_STEPS = {
    StepKind.PREPARE: "prepare",
    StepKind.ACTIVATE: "activate",
    StepKind.DOCUMENT: "document",
    StepKind.COMPLETE: "complete",
}
_SHOWN_TO_THE_BYTE = 16 * 1024
_WILL = {
    StepKind.PREPARE: "records that everything before it is confirmed",
    StepKind.ACTIVATE: "builds it, mounts it, and proves that it is on",
    StepKind.CHECK: "measures the mounted daemon and judges every criterion of the gate",
    StepKind.DOCUMENT: "writes down the decision to go on",
    StepKind.COMPLETE: "closes the campaign",
}


def heading(step: Step) -> str:
    """`search_engine · step 3 of 6 · baseline check`."""
    name = f"{step.check.value} check" if step.check is not None else _STEPS[step.kind]
    return f"{step.phase or 'campaign'} · step {step.number} of {step.total} · {name}"


def announcement(passage: Passage) -> str:
    """What `next` will do now."""
    step = passage.next_step()
    if isinstance(step, Step):
        return f"{heading(step)}: {_WILL[step.kind]} …"
    if isinstance(step, Waiting):
        return f"{step.phase} · waits for a person"
    return "campaign · complete"


def waiting(checklist: Checklist, step: Waiting, lines: Sequence[Line]) -> StepReport:
    """A person must act."""
    items = [Line(label="open", text=item.text, result=item.id) for item in step.items]
    guidance = checklist.phase(step.phase).guidance if not step.items else ""
    return StepReport(
        phase=step.phase,
        heading=f"{step.phase} · step {step.number} of {step.total} · waits for a person",
        outcome=Outcome.WAITING,
        lines=(*lines, *items),
        summary=f"{step.reason}\n\n{guidance}".strip(),
        commands=tuple(Command(command=c) for c in step.commands),
    )


def complete(checklist: Checklist, lines: Sequence[Line]) -> StepReport:
    """The end."""
    return StepReport(
        phase="",
        heading="campaign · complete",
        outcome=Outcome.COMPLETE,
        lines=tuple(lines),
        summary=f"{checklist.title}: every phase is active.",
        commands=(
            Command(command="reactivate status"),
            Command(command="reactivate log --write", effect="the decision log as Markdown"),
        ),
    )


def commands(passage: Passage) -> tuple[Command, ...]:
    """What can be typed now, the likeliest first."""
    step = passage.next_step()
    if isinstance(step, Complete):
        return (Command(command="reactivate status"),)
    if isinstance(step, Step):
        return (Command(command="reactivate next", effect=f"{heading(step)}"),)
    return tuple(Command(command=c) for c in step.commands)


def recovered(interrupted: Iterable[AttemptRecord], removed: Iterable[str]) -> list[Line]:
    """What a killed call left behind, and what became of it."""
    lines = [
        Line(
            label="recovered",
            text=f"attempt {attempt.number} of {attempt.phase} ({attempt.step}) did not end",
            result="on record as interrupted",
        )
        for attempt in interrupted
    ]
    return lines + [Line(label="recovered", text=text, result="removed") for text in removed]


def activation_lines(done: Activation) -> list[Line]:
    """Build, mount and proof."""
    build = done.build
    artifact = f"artifact {build.artifact_sha256[:8]}"
    if done.previous is not None:
        artifact += f" (was {done.previous.artifact_sha256[:8]})"
    lines = [
        Line(
            label="build",
            text=" ".join(build.components) or "no component",
            seconds=build.seconds,
            result=artifact,
        ),
        Line(label="mount", text=f"pid {done.pid}", seconds=done.mount_seconds, result="answering"),
    ]
    lines += [
        Line(label="witness", text=sentence, result=f"{component} enabled")
        for component, sentence in done.witnesses.items()
    ]
    if done.witnesses:
        lines.append(
            Line(label="witness", text="silent on the build without it", result="red test")
        )
    return lines


def enabled(stage: Stage, done: Activation) -> str:
    """What was proven."""
    if not stage.added:
        return "The minimal build answers. It holds no component."
    return f"Proven to be on: {', '.join(done.witnesses)}."


def check_lines(done: Checked) -> list[Line]:
    """One line per instrument."""
    return [
        Line(label=run.instrument, text=run.summary, seconds=run.seconds)
        for run in done.run.instruments
    ]


def verdict(
    done: Checked,
    step: Step,
    outcome: Outcome,
    waived: Collection[str],
    unjudged: Sequence[Criterion],
) -> str:
    """The decision of a gate in words."""
    judged = done.judgements
    if outcome is Outcome.REFUSED:
        failed = [j for j in judged if j.verdict is Verdict.FAIL and j.criterion not in waived]
        text = refusal(failed)
    elif outcome is Outcome.INCONCLUSIVE:
        open_ = sum(j.verdict not in (Verdict.PASS, Verdict.FAIL) for j in judged)
        text = (
            f"Not decided: {open_} of {len(judged)} criteria are neither passed nor failed. "
            "The state did not move; the same step can be run again."
        )
    else:
        used = [j.criterion for j in judged if j.verdict is not Verdict.PASS]
        text = f"Passed: {len(judged) - len(used)} of {len(judged)} criteria."
        if used:
            text += f" Waived: {', '.join(used)}."
    if unjudged:
        names = ", ".join(c.id for c in unjudged)
        text += (
            "\nNot judged again, because they compare with the build before their component: "
            f"{names}."
        )
    assert step.check is not None
    return text


def refusal(failed: Sequence[Judgement]) -> str:
    """The first failed criterion with operation, thread, bytes and limit; and how many more."""
    worst = failed[0]
    where = []
    if worst.operation:
        where.append(f"operation `{worst.operation}`")
    if worst.thread:
        where.append(f"thread {worst.thread}")
    place = f" The decisive measurement is {', '.join(where)}:" if where else ""
    observed = _quantity(worst, worst.observed)
    limit = _quantity(worst, worst.limit)
    text = (
        f"Refused by `{worst.source}`.{place} {observed} against a limit of {limit}"
        f" (evidence: {worst.evidence or 'in the ledger'})."
    )
    if len(failed) > 1:
        text += f" {len(failed) - 1} more failed: {', '.join(j.criterion for j in failed[1:])}."
    return text


def _quantity(judgement: Judgement, value: float | NotMeasured) -> str:
    if isinstance(value, NotMeasured):
        return f"nothing ({value.reason})"
    text = format_quantity(value, judgement.dimension)
    whole = judgement.dimension is Dimension.BYTES and value >= _SHOWN_TO_THE_BYTE
    return f"{text} ({round(value):,} B)" if whole else text


def advance_reason(passage: Passage, phase_id: str) -> str:
    """Why the phase goes on, for the log's index."""
    waived = [w for w in passage.waivers.values() if w.phase == phase_id]
    if waived:
        return f"every gate passed, {len(waived)} criteria waived"
    measured = checks_of(passage.checklist.phase(phase_id))
    return "every gate passed" if measured else "everything is confirmed"


def advance_context(phase: Phase, attempts: Sequence[int]) -> str:
    """What the decision to go on rests on."""
    if phase.kind is PhaseKind.SETUP:
        return f"{phase.title}: every item is confirmed by a person."
    return (
        f"{phase.title}: built, mounted, proven and measured on the running daemon; "
        f"{len(attempts)} checks ran and their gates are open."
    )


def completion(passage: Passage) -> str:
    """What a finished campaign has."""
    count = len(passage.waivers)
    return f"All phases are active; {count or 'no'} criteria are waived."
