"""What a campaign says: headings, sentences, and the commands that can be typed next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reactivate.campaign.advice import advice, decisions, heading
from reactivate.campaign.criteria import checks_of
from reactivate.campaign.outcome import Command, Line, Outcome, StepReport
from reactivate.campaign.states import Step, StepKind, Waiting
from reactivate.checklist.model import Checklist, Criterion, Phase, PhaseKind
from reactivate.evidence import Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import JSON, AttemptRecord
from reactivate.places import format_place
from reactivate.units import format_quantity

if TYPE_CHECKING:
    from reactivate.campaign.measuring import Checked, Stage
    from reactivate.campaign.passage import Passage
    from reactivate.run.activation import Activation
    from reactivate.run.explain import Explanation
    from reactivate.target.model import Build

_SHOWN_TO_THE_BYTE = 16 * 1024
_WILL = {
    StepKind.ACTIVATE: "builds it, mounts it, and proves that it is on",
    StepKind.CHECK: "measures the mounted daemon and judges every criterion of the gate",
}


def announcement(passage: Passage) -> tuple[str, str]:
    """Heading and intent of a step that takes time; empty for what is done in a moment."""
    step = passage.next_step()
    if isinstance(step, Step) and step.kind in _WILL:
        return heading(step), f"{_WILL[step.kind]} …"
    return "", ""


def waiting(checklist: Checklist, step: Waiting, lines: Sequence[Line]) -> StepReport:
    """A person must act."""
    items = [Line(label="open", text=item.id, result=item.text) for item in step.items]
    guidance = checklist.phase(step.phase).guidance if not step.items else ""
    return StepReport(
        phase=step.phase,
        heading=f"{step.phase} · step {step.number} of {step.total} · waits for a person",
        outcome=Outcome.WAITING,
        lines=(*lines, *items),
        summary=f"{step.reason[0].upper()}{step.reason[1:]}.\n\n{guidance}".strip(),
        commands=tuple(Command(command=text, effect=effect) for text, effect in decisions(step)),
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
    return tuple(Command(command=text, effect=effect) for text, effect in advice(passage))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenChange:
    """What changed since a refusal, as far as it is known before anything is built.

    Attributes:
        reason: for the record, where the person gave none.
        hint: a sentence for the screen on a line of its own, or "".
    """

    reason: str
    hint: str = ""


def seen_change(refused: Mapping[str, JSON], configuration_sha256: str) -> SeenChange:
    """Compare what a refusal was measured on with what is there now.

    Args:
        refused: the environment of the refused attempt; empty if there was no refusal.
        configuration_sha256: what the target's configuration says now to the same components.
    """
    if not refused:
        return SeenChange(reason="begun again")
    if refused.get("configuration_sha256") != configuration_sha256:
        return SeenChange(reason="the target's configuration changed since the refusal")
    return SeenChange(
        reason="no reason given; the target's configuration is the one that was refused",
        hint="\nThe target's configuration is the one that was refused; unless its source changed, "
        "the gate will refuse again.",
    )


def same_build(refused: Mapping[str, JSON], build: Build) -> list[Line]:
    """A line that says so if what was built is what was refused."""
    same = refused.get("artifact_sha256") == build.artifact_sha256 and (
        refused.get("configuration_sha256") == build.configuration_sha256
    )
    text = "artifact and configuration are those that were refused: only chance can differ"
    return [Line(label="note", text=text)] if same else []


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
    *,
    uncalibrated: Collection[str] = (),
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
        if uncalibrated:
            text += (
                f"\nNever seen red on this machine: {', '.join(uncalibrated)}; reactivate calibrate"
            )
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


_MOST_ROWS = 24


def chain_lines(explanation: Explanation) -> list[str]:
    """The folded call chain as aligned text, deepest first; long ones are cut in the middle."""
    what = f"died during `{explanation.operation}`: {explanation.death}"
    if explanation.missing:
        missing = f"no call chain of `{explanation.operation}`: {explanation.missing}"
        return [what, missing] if explanation.death else [missing]
    head = (
        what
        if explanation.death
        else (
            f"deepest point of `{explanation.operation}`, thread {explanation.thread}, "
            f"{explanation.depth_bytes:,} bytes below the top "
            f"({explanation.attributed:.2%} attributed)".replace("%", " %")
        )
    )
    # What took no bytes of its own (inlined code) explains no bytes.
    rows = [
        (f"{r.depth_bytes:,}", f"{r.size_bytes:,}", r.location, format_place(r.place))
        for r in explanation.rows
        if r.size_bytes
    ]
    if len(rows) > _MOST_ROWS:
        left = len(rows) - _MOST_ROWS
        cut = ("…", "…", f"{left} more frames", explanation.evidence)
        rows = [*rows[: _MOST_ROWS - 4], cut, *rows[-4:]]
    table = [("depth", "size", "location", ""), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    lines = [
        f"{depth:>{widths[0]}}  {size:>{widths[1]}}  {location:<{widths[2]}}  {place}".rstrip()
        for depth, size, location, place in table
    ]
    return [head, *lines, *map(format_place, explanation.remarks)]


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
