"""Why a component was refused, and what fixed it: the part that a newcomer reads first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reactivate.evidence import Check, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import AttemptRecord, AttemptStatus, Decision
from reactivate.report.analysis.frames import ChainFacts
from reactivate.report.analysis.markup import code, code_block, prose
from reactivate.report.analysis.refusals import (
    AFTER_REFUSAL,
    changed_settings,
    limit,
    observed,
    texts,
    verdict,
    what_changed,
)
from reactivate.report.html.facts import Facts, among, picture_chain
from reactivate.report.html.links import Links
from reactivate.report.html.page import figure, folded, markdown, refusal
from reactivate.report.picture.icicle import comparison, icicle
from reactivate.report.picture.svg import Picture
from reactivate.units import format_bytes, format_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refusal with what came after it.

    Attributes:
        decision: the refusal.
        before: the attempt it rests on; None if it names none.
        after: the newest finished attempt of the same check since; None if there is none.
        chain: the deepest chain of the refused build, or why there is none.
        fixed: the chain of the same operation in the newest trace since, or why there is none.
    """

    decision: Decision
    before: AttemptRecord | None
    after: AttemptRecord | None
    chain: ChainFacts | NotMeasured
    fixed: ChainFacts | NotMeasured


def refusals(facts: Facts, only: Collection[str] = ()) -> tuple[Refusal, ...]:
    """All refusals, oldest first; of some phases if they are named."""
    return tuple(
        _refusal(facts, decision)
        for decision in facts.decisions
        if decision.kind == "refused" and among(decision.phase, only)
    )


def _refusal(facts: Facts, decision: Decision) -> Refusal:
    before = facts.attempts.get(decision.attempt or 0)
    nothing = NotMeasured(reason="the refusal names no attempt")
    if before is None:
        return Refusal(decision=decision, before=None, after=None, chain=nothing, fixed=nothing)
    later = [
        attempt
        for attempt in facts.of(before.phase)
        if attempt.id > before.id and attempt.status is AttemptStatus.FINISHED
    ]
    after = [attempt for attempt in later if attempt.step == before.step]
    traced = [attempt for attempt in later if attempt.step == Check.TRACE.value]
    chain = facts.deepest(before)
    fixed: ChainFacts | NotMeasured = NotMeasured(reason="no finished trace check since")
    if isinstance(chain, NotMeasured):
        fixed = NotMeasured(reason="there is no chain to compare it with")
    elif traced:
        missing = NotMeasured(reason=f"attempt {traced[-1].id} has no chain of this operation")
        fixed = facts.chains(traced[-1]).get(chain.operation, missing)
    return Refusal(
        decision=decision,
        before=before,
        after=after[-1] if after else None,
        chain=chain,
        fixed=fixed,
    )


def told(facts: Facts, links: Links, found: Refusal, *, level: int) -> str:
    """The story of a refusal, with its picture, as HTML."""
    decision = found.decision
    head = [f"### {code(decision.phase)} was refused: {links.decision(decision)}", ""]
    lines = [*head, *_why(facts, found), *_who(facts, found)]
    lines += [*_done(facts, links, found), *_afterwards(facts, links, found), ""]
    chain = texts(decision.context.get("chain"))
    return refusal(
        f"refusal-{decision.number}",
        markdown(lines, deeper=level),
        _picture(facts, found),
        folded("the call chain as it was recorded", markdown(code_block(chain))) if chain else "",
    )


def _why(facts: Facts, found: Refusal) -> list[str]:
    before = found.before
    judged = [j for j in facts.judged(before) if j.verdict is Verdict.FAIL] if before else []
    if before is None or not judged:
        reasons = texts(found.decision.context.get("failed")) or (found.decision.reason,)
        return [f"- **Why:** {prose(reason)}" for reason in reasons]
    return [
        f"- **Why:** {code(each.source)} was not met: {observed(each)} against a limit of "
        f"{limit(each)} ({facts.evidence.cite(before, each.evidence)})."
        for each in judged
    ]


def _who(facts: Facts, found: Refusal) -> list[str]:
    chain, before = found.chain, found.before
    if isinstance(chain, NotMeasured) or before is None or not chain.runs:
        reason = chain.reason if isinstance(chain, NotMeasured) else "the chain is empty"
        return [f"- **Who used the stack:** not measured: {prose(reason)}."]
    name, share = max(chain.shares.items(), key=lambda pair: (pair[1].bytes, pair[0]))
    times = f", called {share.frames:,} times inside itself," if share.frames > 1 else ""
    place = f" ({code(share.place)})" if share.place else ""
    part = format_percent(share.bytes / chain.total_bytes) if chain.total_bytes else ""
    return [
        f"- **Who used the stack:** {code(name)}{place}{times} took {format_bytes(share.bytes)}, "
        f"{part} of the {format_bytes(chain.total_bytes)} of operation {code(chain.operation)} "
        f"({facts.evidence.cite(before, chain.path)})."
    ]


def _done(facts: Facts, links: Links, found: Refusal) -> list[str]:
    later = [
        d
        for d in facts.decisions
        if d.phase == found.decision.phase
        and d.number > found.decision.number
        and d.kind in AFTER_REFUSAL
    ]
    if not later:
        return ["- **What was done:** nothing was decided since. It is still refused."]
    lines = []
    for decision in later:
        if decision.kind == "advanced":
            break
        about = f" {code(decision.criterion)}" if decision.criterion else ""
        lines.append(
            f"- **What was done:** {prose(decision.kind.replace('_', ' '))}{about} by "
            f"{prose(decision.who)}: {prose(decision.reason)} ({links.decision(decision)})."
        )
    if found.before is not None and found.after is not None:
        reader = facts.evidence.reader
        lines += [
            f"- **What was changed:** the target's setting {code(name)} was "
            f"{code(was) or 'not set'}, is {code(now) or 'not set'}."
            for name, was, now in changed_settings(reader, found.before, found.after)
        ]
        lines.append(f"- {what_changed(facts.evidence, found.before, found.after)}")
    return lines


def _afterwards(facts: Facts, links: Links, found: Refusal) -> list[str]:
    before, after = found.before, found.after
    if before is None or after is None:
        return ["- **Afterwards:** it was not measured again."]
    newer = {judged.criterion: judged for judged in facts.judged(after)}
    lines = []
    for judged in facts.judged(before):
        if judged.verdict is not Verdict.FAIL:
            continue
        now = newer.get(judged.criterion)
        lines.append(f"- **Afterwards:** {_judged_now(facts, after, judged, now)}")
    advanced = [
        d
        for d in facts.decisions
        if d.phase == found.decision.phase
        and d.number > found.decision.number
        and d.kind == "advanced"
    ]
    if advanced:
        lines.append(f"- **Now:** it is active ({links.decision(advanced[-1])}).")
    return lines


def _judged_now(
    facts: Facts, after: AttemptRecord, judged: Judgement, now: Judgement | None
) -> str:
    if now is None:
        return f"{code(judged.source)} was not judged again in {facts.evidence.attempt(after)}."
    cited = facts.evidence.cite(after, now.evidence)
    return f"{code(judged.source)}: {observed(now)} against {limit(now)}, {verdict(now)} ({cited})."


def picture_of(facts: Facts, found: Refusal) -> Picture | None:
    """Refused and fixed side by side; the refused alone where nothing can be put beside it."""
    if isinstance(found.chain, NotMeasured) or found.before is None:
        return None
    operation = found.chain.operation
    limit_bytes = facts.limit_bytes(found.decision.phase)
    before = picture_chain(f"refused, {operation}", found.chain, limit_bytes)
    name = "fixed" if passes(facts, found) else "newest, not passed"
    if isinstance(found.fixed, NotMeasured):
        return icicle(before)
    return comparison(before, picture_chain(f"{name}, {operation}", found.fixed, limit_bytes))


def passes(facts: Facts, found: Refusal) -> bool:
    """Whether everything that failed passes now."""
    if found.before is None or found.after is None:
        return False
    newer = {judged.criterion: judged.verdict for judged in facts.judged(found.after)}
    failed = [j.criterion for j in facts.judged(found.before) if j.verdict is Verdict.FAIL]
    return bool(failed) and all(newer.get(each) is Verdict.PASS for each in failed)


def _picture(facts: Facts, found: Refusal) -> str:
    picture = picture_of(facts, found)
    if picture is None:
        return ""
    if isinstance(found.fixed, NotMeasured):
        return figure(
            picture,
            "The refused call chain: width is bytes, from the thread's start (left) to the deepest "
            f"point (right). Nothing is beside it: {found.fixed.reason}.",
        )
    return figure(
        picture,
        "Left the refused build, right the newest one: width is bytes, from the thread's start to "
        "the deepest point; the thin lines compare the totals. − shrank or went (teal), + grew or "
        "appeared (violet).",
    )
