"""The parts of the page, each from the facts of the campaign."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from reactivate.checklist.model import PhaseKind
from reactivate.evidence import Check, NotMeasured, Verdict
from reactivate.ledger.records import AttemptRecord, AttemptStatus
from reactivate.report.analysis.baseline import (
    depth_section,
)
from reactivate.report.analysis.baseline import (
    latency_section as absolute_latency,
)
from reactivate.report.analysis.baseline import (
    memory_section as absolute_memory,
)
from reactivate.report.analysis.component import (
    crosscheck_section,
    latency_section,
    memory_section,
    stack_section,
)
from reactivate.report.analysis.frames import frames_section
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.refusals import verdict_section
from reactivate.report.analysis.requests import requests_section
from reactivate.report.analysis.shape import PhaseShape
from reactivate.report.analysis.values import Values, cell, number, source_line
from reactivate.report.html.facts import (
    Facts,
    among,
    attempt_bars,
    operation_bars,
    picture_chain,
)
from reactivate.report.html.links import Links
from reactivate.report.html.page import figure, folded, markdown, section
from reactivate.report.html.refused import refusals, told
from reactivate.report.picture.bars import bars
from reactivate.report.picture.icicle import icicle
from reactivate.report.picture.svg import Picture
from reactivate.texts import visible
from reactivate.units import format_percent

Stale = Mapping[str, str] | NotMeasured
"""Why evidence of a phase no longer describes what is there; or why nobody can say."""

_ENDS = {"advanced": "active", "refused": "refused", "rolled_back": "rolled back"}


def state_of(facts: Facts, phase: PhaseShape) -> str:
    """Where a phase stands, by what was decided of it."""
    own = [d for d in facts.decisions if d.phase == phase.id]
    ends = [d.kind for d in own if d.kind in _ENDS or d.kind == "retried"]
    if ends:
        return _ENDS.get(ends[-1], "being tried again")
    # The setup is for people: confirming it is all there is.
    if phase.kind is PhaseKind.SETUP and own:
        return "confirmed"
    return "begun" if own or facts.of(phase.id) else "not begun"


def summary(facts: Facts, links: Links, stale: Stale) -> str:
    """What is active and what is refused, phase by phase."""
    rows = []
    for phase in facts.shape.phases:
        attempt = facts.latest(phase.id, Check.BASELINE)
        values = facts.values(attempt)
        worst = values.largest("stack.peak")
        depth = number(worst)
        limit = facts.limit_bytes(phase.id, worst.measurement.thread) if worst else None
        state = state_of(facts, phase)
        row = [links.phase(phase.id), state, cell(worst) if attempt else "–"]
        row += [format_percent(depth / limit) if depth is not None and limit else "–"]
        row += [code(worst.measurement.operation) if worst else "–", _counted(facts, phase)]
        refused = sum(d.kind == "refused" and d.phase == phase.id for d in facts.decisions)
        row += [f"{refused:,}", _today(stale, phase, state), values.cite(facts.evidence, worst)]
        rows.append(row)
    headers = ["phase", "state", "worst stack", "of limit", "operation", "newest verdicts"]
    headers += ["refusals", "evidence today", "evidence"]
    lines = table(headers, rows) if rows else ["The ledger knows no phase.", ""]
    if isinstance(stale, NotMeasured):
        lines += [f"Whether evidence is stale cannot be told: {prose(stale.reason)}.", ""]
    picture = worst_picture(facts)
    drawn = (
        ""
        if picture is None
        else figure(picture, "Every attempt that measured depths, oldest first, against its budget")
    )
    return section("summary", "Where it stands", markdown(lines), drawn)


def worst_picture(facts: Facts) -> Picture | None:
    """The worst stack of every attempt; None where there is none."""
    found = attempt_bars(facts)
    return bars("Worst stack of every attempt", found) if found else None


def _today(stale: Stale, phase: PhaseShape, state: str) -> str:
    if isinstance(stale, NotMeasured):
        return "cannot be told"
    why = stale.get(phase.id, "")
    if why:
        return f"stale: {prose(why)}"
    return "–" if state in ("not begun", "confirmed") else "current"


def _counted(facts: Facts, phase: PhaseShape) -> str:
    counts: dict[Verdict, int] = {}
    for check in Check:
        attempt = facts.latest(phase.id, check)
        for judged in () if attempt is None else facts.judged(attempt):
            counts[judged.verdict] = counts.get(judged.verdict, 0) + 1
    return ", ".join(f"{counts[v]:,} {v.value}" for v in Verdict if v in counts) or "none"


def refused_section(facts: Facts, links: Links) -> str:
    """Every refusal with what became of it."""
    found = refusals(facts)
    stories = [told(facts, links, each, level=0) for each in found]
    nothing = markdown(["Nothing was refused, as far as the ledger goes."])
    return section("refusals", "Refusals, and what became of them", *(stories or [nothing]))


def phase_section(facts: Facts, links: Links, phase: PhaseShape, *, alone: bool) -> str:
    """One phase: verdicts, depths, chain, memory, latency, requests."""
    attempts = {check: facts.latest(phase.id, check) for check in Check}
    title = prose(phase.title) if phase.title != phase.id else ""
    heading = f"{code(phase.id)} {title}".strip()
    state = state_of(facts, phase)
    lines = [f"State: {state}.", ""]
    lines += [source_line(facts.evidence, attempts[check], phase, check.value) for check in Check]
    content = [markdown(lines)]
    if alone:
        content += [told(facts, links, each, level=0) for each in refusals(facts, (phase.id,))]
    elif any(d.kind == "refused" and d.phase == phase.id for d in facts.decisions):
        again = "It was refused before: [why, and what became of it](#refusals)."
        content.append(markdown([again]))
    content.append(_part(verdict_section(facts.evidence, attempts)))
    content += _stack(facts, phase, attempts[Check.BASELINE])
    content += _chain(facts, phase, attempts[Check.TRACE])
    content += _others(facts, phase, attempts)
    return section(links.phases[phase.id], heading, *content)


def _part(lines: Sequence[str]) -> str:
    return markdown(lines, deeper=1)


def _stack(facts: Facts, phase: PhaseShape, attempt: AttemptRecord | None) -> list[str]:
    picture = None if attempt is None else depth_picture(facts, attempt)
    content = []
    if picture is not None:
        content.append(markdown(["### Depth of each operation"]))
        content.append(figure(picture, "From the top of the thread's stack, against the budget"))
    now = facts.values(attempt)
    if phase.kind is PhaseKind.BASELINE:
        return [*content, folded("depths as a table", _part(depth_section(facts.evidence, now)))]
    others = _others_of(facts, phase)
    return [
        *content,
        folded(
            "what each operation takes, against other builds",
            _part(stack_section(facts.evidence, now, others)),
        ),
    ]


def depth_picture(facts: Facts, attempt: AttemptRecord) -> Picture | None:
    """Depth of each operation as bars; None where none was measured."""
    found = operation_bars(facts, attempt)
    return bars(f"Depth of each operation of {attempt.phase}", found) if found else None


def _others_of(facts: Facts, phase: PhaseShape) -> dict[str, Values]:
    others = (("baseline", facts.shape.baseline), ("previous", facts.shape.previous(phase)))
    return {
        label: facts.values(None if other is None else facts.latest(other.id, Check.BASELINE))
        for label, other in others
    }


def _chain(facts: Facts, phase: PhaseShape, attempt: AttemptRecord | None) -> list[str]:
    content = [markdown(["### Deepest call chain"])]
    picture = chain_picture(facts, phase, attempt)
    if isinstance(picture, NotMeasured):
        content.append(markdown([f"Not measured: {prose(picture.reason)}."]))
        return content
    deepest = facts.deepest(attempt)
    assert not isinstance(deepest, NotMeasured) and attempt is not None
    caption = (
        "Each row is a frame, called by the row above. The strong part is its own bytes, the pale "
        "part what it called; left is the thread's start, right the deepest point."
    )
    content.append(figure(picture, caption))
    content.append(markdown([f"Evidence: {facts.evidence.cite(attempt, deepest.path)}"]))
    return content


def chain_picture(
    facts: Facts, phase: PhaseShape, attempt: AttemptRecord | None
) -> Picture | NotMeasured:
    """The deepest chain of a trace check, or why it cannot be drawn."""
    chain = facts.deepest(attempt)
    if isinstance(chain, NotMeasured):
        return chain
    limit_bytes = facts.limit_bytes(phase.id)
    return icicle(picture_chain(f"{phase.id}, {chain.operation}", chain, limit_bytes))


def _others(
    facts: Facts, phase: PhaseShape, attempts: Mapping[Check, AttemptRecord | None]
) -> list[str]:
    evidence = facts.evidence
    now, traced = facts.values(attempts[Check.BASELINE]), facts.values(attempts[Check.TRACE])
    why = f"{phase.id} has no finished trace check"
    if phase.kind is PhaseKind.BASELINE:
        found = [
            ("memory", absolute_memory(evidence, now)),
            ("latency", absolute_latency(evidence, now)),
        ]
    else:
        previous = facts.shape.previous(phase)
        then = None if previous is None else facts.latest(previous.id, Check.TRACE)
        name = "none" if previous is None else previous.id
        grown = frames_section(
            evidence,
            attempts[Check.TRACE],
            then,
            title="Frames that appeared or grew",
            missing_now=why,
            missing_then=f"the build before ({name}) has no finished trace check",
        )
        found = [
            ("functions that appeared or grew, against the build before", grown),
            ("memory", memory_section(evidence, now, _others_of(facts, phase))),
            ("latency", latency_section(evidence, now)),
            ("cross-check of the instruments", crosscheck_section(evidence, traced)),
        ]
    found.append(("requests from the kernel", requests_section(evidence, traced, why)))
    return [folded(title, _part(lines)) for title, lines in found]


def decision_section(facts: Facts, links: Links, only: Collection[str] = ()) -> str:
    """The decisions with links."""
    rows = []
    for each in facts.decisions:
        if not among(each.phase, only):
            continue
        attempt = facts.attempts.get(each.attempt or 0)
        row = [links.decision(each), each.at[:19].replace("T", " "), links.phase(each.phase)]
        row += [prose(each.kind.replace("_", " "))]
        row += [prose(each.who) + (" (unattended)" if each.unattended else "")]
        row += [prose(each.reason), facts.evidence.attempt(attempt) if attempt else "–"]
        rows.append(row)
    headers = ["number", "date, UTC", "phase", "state", "who", "why", "rests on"]
    lines = table(headers, rows) if rows else ["Nothing was decided yet.", ""]
    return section("decisions", "Decisions", markdown(lines))


def attempt_section(facts: Facts, links: Links, only: Collection[str] = ()) -> str:
    """Every attempt, where its files are and on what it ran."""
    own = [a for a in facts.attempts.values() if among(a.phase, only)]
    rows = []
    for each in own:
        files = facts.evidence.checks(each)
        row = [f"{each.id}", links.phase(each.phase), prose(each.step), f"{each.number:,}"]
        row += [each.started_at[:19].replace("T", " ")]
        row += [prose(each.outcome) or each.status.value]
        row += [_folder(facts, each) if files else "no file", f"{len(files):,}"]
        rows.append([*row, code(each.environment_sha256[:8])])
    headers = ["attempt", "phase", "step", "number", "began, UTC", "state", "files in", "files"]
    lines = table([*headers, "environment"], rows) if rows else ["Nothing was attempted yet.", ""]
    html = markdown(lines)
    for each in own:
        # Where links to an attempt lead to. The number is ours; nothing of data goes in here.
        row_start = f'<th scope="row">{each.id}</th>'
        html = html.replace(row_start, f'<th scope="row" id="attempt-{each.id}">{each.id}</th>', 1)
    environments = dict.fromkeys(each.environment_sha256 for each in own)
    return section("attempts", "Attempts", html, *_environments(facts, list(environments)))


def _folder(facts: Facts, attempt: AttemptRecord) -> str:
    from reactivate.report.analysis.markup import link

    return link(f"{attempt.folder}/", f"{facts.evidence.up}{attempt.folder}/")


def _environments(facts: Facts, digests: Sequence[str]) -> list[str]:
    """What all attempts have in common once, and by what they differ."""
    found = {sha: facts.evidence.reader.environment(sha) for sha in digests}
    if not found:
        return []
    keys = list(dict.fromkeys(key for each in found.values() for key in each))
    flat = {sha: {key: _flat(each.get(key)) for key in keys} for sha, each in found.items()}
    same = [key for key in keys if len({each[key] for each in flat.values()}) == 1]
    first = flat[digests[0]]
    shared = [[prose(key.replace("_", " ")), code(first[key])] for key in same if first[key]]
    content = [markdown(["### Environment", "", *table(["in all attempts", ""], shared)])]
    differ = [key for key in keys if key not in same]
    if differ:
        headers = ["environment", *(prose(key.replace("_", " ")) for key in differ)]
        rows = [
            [code(sha[:8]), *(code(_digest(each[key])) for key in differ)]
            for sha, each in flat.items()
        ]
        content.append(folded("what differs", markdown(table(headers, rows))))
    return content


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(each)}" for key, each in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return " ".join(_flat(each) for each in value)
    return "" if value is None else str(value)


def _digest(text: str) -> str:
    hexadecimal = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if hexadecimal else text


def missing_section(facts: Facts, only: Collection[str] = ()) -> str:
    """What the campaign has not, and what it could not measure."""
    lines = [f"- {prose(facts.shape.missing)}"] if facts.shape.missing else []
    for each in facts.shape.phases:
        if not among(each.id, only) or each.kind is PhaseKind.SETUP:
            continue
        for check in Check:
            attempt = facts.latest(each.id, check)
            if attempt is None:
                lines.append(f"- {code(each.id)}: no finished {check.value} check")
                continue
            lines += [
                f"- {code(each.id)}: {code(judged.source)}: {prose(judged.observed.reason)} "
                f"({facts.evidence.attempt(attempt)})"
                for judged in facts.judged(attempt)
                if isinstance(judged.observed, NotMeasured)
            ]
    lines += [
        f"- {facts.evidence.attempt(each)} of {code(each.phase)}, {prose(each.step)}: "
        f"{'still running' if each.status is AttemptStatus.RUNNING else 'interrupted'}"
        for each in facts.attempts.values()
        if each.status is not AttemptStatus.FINISHED and among(each.phase, only)
    ]
    if not facts.evidence.reader.events(kind="calibrated"):
        lines.append("- no calibration of the instruments is on record")
    nothing = ["Every phase of the checklist has finished all its checks, and all were measured."]
    lines = list(dict.fromkeys(lines)) or nothing
    return section("missing", "What is missing", markdown(lines))


def page_title(facts: Facts) -> str:
    """What the page is about, plain text."""
    return visible(facts.shape.title) or "Reactivation campaign"
