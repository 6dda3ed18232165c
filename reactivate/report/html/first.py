"""The first screen: how it stands, what was refused, what fixed it, and what is in doubt.

Whoever reads nothing else must not be misled: it is green only if nothing is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import PhaseKind
from reactivate.errors import ChecklistError
from reactivate.evidence import Check, NotMeasured, Verdict
from reactivate.gate.evaluate import metric_names
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import AttemptRecord, AttemptStatus, Decision
from reactivate.metrics import COMPUTED, METRICS
from reactivate.report.analysis.evidence import FileState
from reactivate.report.analysis.markup import code, prose
from reactivate.report.analysis.refusals import changed_settings, limit, observed, texts
from reactivate.report.html.facts import Facts, among
from reactivate.report.html.links import Links
from reactivate.report.html.page import markdown, verdict
from reactivate.report.html.refused import Refusal, passes, picture_of, refusals
from reactivate.report.html.sections import Stale, state_of

_MOST = 5
"""Of one kind of thing; the rest is counted, and stands further down."""
_UNDECIDED = (Verdict.INCONCLUSIVE, Verdict.INVALID, Verdict.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """A verdict of the newest finished attempt of a check."""

    phase: str
    attempt: AttemptRecord
    judged: Judgement


def first_screen(
    facts: Facts,
    links: Links,
    stale: Stale,
    only: Sequence[str] = (),
    picture: Callable[[Refusal], str] = lambda _: "",
) -> str:
    """The first screen, as HTML.

    Args:
        facts: the campaign.
        links: to decisions and phases.
        stale: what `status` says of the evidence.
        only: the phases that are asked for; all if none is named.
        picture: where the picture of a refusal lies as a file, "" if there is none.
    """
    found = refusals(facts, only)
    doubts = [*_doubts(facts, links, stale, only), *_nothing_changed(facts, found)]
    kind, headline = _standing(facts, only, doubts)
    lines = [headline, "", *_counted(facts, only), "", "## What was refused, and what fixed it", ""]
    # What is refused now first, else the newest.
    ordered = sorted(found, key=lambda each: (_answered(facts, each), -each.decision.number))
    lines += [line for each in ordered[:_MOST] for line in _refused(facts, links, each, picture)]
    lines += _rest(len(ordered), "refusals") if ordered else ["Nothing was refused."]
    lines += ["", "## What is in doubt", ""]
    nothing = "Nothing that the ledger or its evidence files would show."
    lines += [f"- {doubt}" for doubt in doubts] or [nothing]
    return verdict(kind, markdown(lines))


def _standing(facts: Facts, only: Sequence[str], doubts: Sequence[str]) -> tuple[str, str]:
    """The kind of the verdict, and its sentence."""
    if not facts.evidence.reader.counts().events:
        return "look", "**Nothing was begun.** The ledger is empty: nothing below is measured."
    states = _states(facts, only)
    active = sum(state == "active" for state in states.values())
    phases = "phases are" if len(states) > 1 else "phase is"
    far = f"{active:,} of {len(states):,} measured {phases} active"
    refused = [code(name) for name, state in states.items() if state == "refused"]
    if refused:
        return "bad", f"**Refused** at {', '.join(refused)}. Not complete: {far}."
    open_ = [code(name) for name, state in states.items() if state != "active"]
    completed = next((d for d in facts.decisions if d.kind == "completed"), None)
    if open_ or not states or (completed is None and not only):
        at = f"; open: {', '.join(open_)}" if open_ else ""
        return "look", f"**Not complete.** {far}{at}. Nothing is refused now."
    word = f"Complete since {completed.at[:16].replace('T', ' ')} UTC" if completed else ""
    if only:
        # A part of a campaign is not the campaign.
        word, far = "Active", f"{far}; of the other phases nothing is said here"
    if doubts:
        return "look", f"**{word}, with doubts.** {far}; read below what is in doubt."
    return "good", f"**{word}, and nothing is in doubt.** {far}."


def _states(facts: Facts, only: Collection[str]) -> Mapping[str, str]:
    """Where each phase stands that measures something."""
    return {
        phase.id: state_of(facts, phase)
        for phase in facts.shape.phases
        if phase.kind is not PhaseKind.SETUP and among(phase.id, only)
    }


def _counted(facts: Facts, only: Collection[str]) -> list[str]:
    attempts = sum(among(a.phase, only) for a in facts.attempts.values())
    own = [d for d in facts.decisions if among(d.phase, only)]
    refused = sum(d.kind == "refused" for d in own)
    counts: dict[Verdict, int] = {}
    for each in _newest(facts, only):
        counts[each.judged.verdict] = counts.get(each.judged.verdict, 0) + 1
    verdicts = ", ".join(f"{counts[v]:,} {v.value}" for v in Verdict if v in counts) or "none"
    return [
        f"Newest verdicts: {verdicts}. {attempts:,} attempts, {len(own):,} decisions, "
        f"refusals: {refused:,}."
    ]


def _rest(total: int, what: str) -> list[str]:
    more = total - _MOST
    return [f"- and {more:,} more {what}, below"] if more > 0 else []


# Refusals


def _refused(
    facts: Facts, links: Links, found: Refusal, picture: Callable[[Refusal], str]
) -> list[str]:
    decision = found.decision
    failed = _failed(facts, found)
    why = [f"{code(j.source)}: {observed(j)} against {limit(j)}" for j in failed[:_MOST]]
    why = why or [prose(text) for text in texts(decision.context.get("failed"))[:_MOST]]
    told = "; ".join(why or [prose(decision.reason)])
    return [
        f"- **{code(decision.phase)}** was refused ([why](#refusal-{decision.number}), "
        f"{links.decision(decision)}): {told}.{_who(facts, found, picture)}",
        f"    - {_fixed(facts, links, found)}",
    ]


def _failed(facts: Facts, found: Refusal) -> list[Judgement]:
    judged = facts.judged(found.before) if found.before is not None else ()
    return [each for each in judged if each.verdict is Verdict.FAIL]


def _who(facts: Facts, found: Refusal, picture: Callable[[Refusal], str]) -> str:
    chain = found.chain
    if isinstance(chain, NotMeasured) or not chain.shares:
        return ""
    name, share = max(chain.shares.items(), key=lambda pair: (pair[1].bytes, pair[0]))
    file = picture(found) if picture_of(facts, found) is not None else ""
    seen = f", [picture]({file})" if file else ""
    return f" Who used the stack: {code(f'{name} × {share.times}')}{seen}."


def _fixed(facts: Facts, links: Links, found: Refusal) -> str:
    decision, after = found.decision, found.after
    later = [d for d in facts.decisions if d.phase == decision.phase and d.number > decision.number]
    waived = [d for d in later if d.kind == "waived"]
    if found.before is None or after is None or not _failed(facts, found):
        if waived:
            return _waived(waived[0], links)
        rolled = [d for d in later if d.kind == "rolled_back"]
        if rolled:
            return f"Not fixed: rolled back ({links.decision(rolled[0])})."
        return "**Not fixed:** it was not measured again."
    cited = facts.evidence.attempt(after)
    if not passes(facts, found):
        if waived:
            return _waived(waived[0], links)
        return f"**Not fixed:** measured again in {cited}, it was not met."
    newer = {judged.criterion: judged for judged in facts.judged(after)}
    values = "; ".join(
        f"{observed(now)} against {limit(now)}"
        for judged in _failed(facts, found)
        if (now := newer.get(judged.criterion)) is not None
    )
    changed = _changes(facts, found.before, after)
    by = f"Fixed by {changed}" if changed else "Passed later with nothing changed that is on record"
    return f"{by}: {cited} passed, {values}."


def _waived(decision: Decision, links: Links) -> str:
    return (
        f"**Not fixed but waived** by {prose(decision.who)}: {prose(decision.reason)} "
        f"({links.decision(decision)})."
    )


def _changes(facts: Facts, before: AttemptRecord, after: AttemptRecord) -> str:
    """What differs between two attempts in words; "" if nothing does."""
    reader = facts.evidence.reader
    settings = changed_settings(reader, before, after)
    if settings:
        return ", ".join(
            f"the setting {code(name)}, {code(was) or 'not set'} → {code(now) or 'not set'}"
            for name, was, now in settings
        )
    then, now = (reader.environment(each.environment_sha256) for each in (before, after))
    names = ("artifact", "configuration", "checklist")
    differ = [name for name in names if then.get(f"{name}_sha256") != now.get(f"{name}_sha256")]
    return f"another {' and '.join(differ)}" if differ else ""


def _answered(facts: Facts, found: Refusal) -> bool:
    later = (d for d in facts.decisions if d.phase == found.decision.phase)
    return any(d.kind != "confirmed" and d.number > found.decision.number for d in later)


# Doubts


def _newest(facts: Facts, only: Collection[str]) -> Iterator[Newest]:
    for phase in facts.shape.phases:
        for check in Check if among(phase.id, only) else ():
            attempt = facts.latest(phase.id, check)
            for judged in () if attempt is None else facts.judged(attempt):
                assert attempt is not None
                yield Newest(phase=phase.id, attempt=attempt, judged=judged)


def _doubts(facts: Facts, links: Links, stale: Stale, only: Collection[str]) -> list[str]:
    waived = _in_force(facts, only)
    found = [f"the checklist: {prose(facts.shape.missing)}"] if facts.shape.missing else []
    found += _listed(
        "undecided",
        (
            f"{code(each.judged.source)} of {code(each.phase)} is {each.judged.verdict.value} "
            f"({facts.evidence.attempt(each.attempt)})"
            for each in _newest(facts, only)
            if each.judged.verdict in _UNDECIDED and each.judged.criterion not in waived
        ),
    )
    active = [phase.id for phase in facts.shape.phases if state_of(facts, phase) == "active"]
    found += _listed(
        "failing",
        (
            f"{code(each.judged.source)} of {code(each.phase)} "
            f"({facts.evidence.attempt(each.attempt)})"
            for each in _newest(facts, only)
            if each.judged.verdict is Verdict.FAIL
            and each.phase in active
            and each.judged.criterion not in waived
        ),
    )
    found += _listed(
        "waived",
        (
            f"{code(decision.criterion or '')} by {prose(decision.who)}: "
            f"{prose(decision.reason)} ({links.decision(decision)})"
            for decision in waived.values()
        ),
    )
    found += _listed("interrupted", _interrupted(facts, only))
    found += _red(facts, only)
    if isinstance(stale, NotMeasured):
        found.append(f"**stale:** cannot be told: {prose(stale.reason)}")
    else:
        own = {name: why for name, why in stale.items() if among(name, only)}
        found += _listed(
            "stale", (f"{links.phase(name)}: {prose(why)}" for name, why in own.items())
        )
    found += _listed("evidence", _odd_files(facts, only))
    unattended = [d for d in facts.decisions if d.unattended and among(d.phase, only)]
    if unattended:
        found.append(
            f"**unattended:** {len(unattended):,} of the decisions were made without a person, the "
            f"first is {links.decision(unattended[0])}: what people were to promise, nobody did"
        )
    return found


def _listed(word: str, things: Iterator[str]) -> list[str]:
    every = list(dict.fromkeys(things))
    more = f"; and {len(every) - _MOST:,} more" if len(every) > _MOST else ""
    return [f"**{word}:** {'; '.join(every[:_MOST])}{more}"] if every else []


def _in_force(facts: Facts, only: Collection[str]) -> Mapping[str, Decision]:
    """The newest waiver of each criterion, unless it passes by now without one."""
    passing = {
        each.judged.criterion
        for each in _newest(facts, ())
        if each.judged.verdict is Verdict.PASS and _newest_of(facts, each)
    }
    return {
        decision.criterion: decision
        for decision in facts.decisions
        if decision.kind == "waived"
        and decision.criterion
        and decision.criterion not in passing
        and among(decision.phase, only)
    }


def _newest_of(facts: Facts, found: Newest) -> bool:
    """Whether no later attempt judged the same criterion: integrations judge it again."""
    return all(
        each.attempt.id <= found.attempt.id
        for each in _newest(facts, ())
        if each.judged.criterion == found.judged.criterion
    )


def _interrupted(facts: Facts, only: Collection[str]) -> Iterator[str]:
    """Attempts that did not finish, and were not made again."""
    for attempt in facts.attempts.values():
        again = any(
            later.id > attempt.id
            and later.step == attempt.step
            and later.status is AttemptStatus.FINISHED
            for later in facts.of(attempt.phase)
        )
        if (
            attempt.status is not AttemptStatus.FINISHED
            and not again
            and among(attempt.phase, only)
        ):
            yield (
                f"{facts.evidence.attempt(attempt)} of {code(attempt.phase)}, "
                f"{prose(attempt.step)}: {attempt.status.value}"
            )


def _red(facts: Facts, only: Collection[str]) -> list[str]:
    """Instruments that a criterion leans on and that no calibration can vouch for."""
    used = {name: None for each in _newest(facts, only) for name in _instruments(each.judged)}
    if not used:
        return []
    events = facts.evidence.reader.events(kind="calibrated")
    if not events:
        return ["**not seen red:** no instrument; no calibration is on record"]
    trusted: dict[str, bool] = {}
    for event in events:
        listed = event.data.get("instruments")
        # One calibration may be of some instruments only; an older one of others still holds.
        if event.data.get("valid_for") == events[-1].data.get("valid_for"):
            for row in listed if isinstance(listed, list) else []:
                if isinstance(row, Mapping):
                    trusted[str(row.get("instrument"))] = row.get("trusted") is True
    return _listed("not seen red", (code(name) for name in used if not trusted.get(name)))


def _instruments(judged: Judgement) -> list[str]:
    try:
        asked = parse_criterion(judged.source)
    except ChecklistError:
        return [judged.instrument] if judged.instrument else []
    names = [each.name for each in (*metric_names(asked.left), *metric_names(asked.right))]
    found = {METRICS[name].instrument if name in METRICS else judged.instrument for name in names}
    return sorted(found - COMPUTED)


def _odd_files(facts: Facts, only: Collection[str]) -> Iterator[str]:
    for attempt in facts.attempts.values():
        if among(attempt.phase, only):
            for each in facts.evidence.checks(attempt).values():
                if each.state is not FileState.INTACT:
                    yield f"{code(each.path)} is {each.state.value}"


def _nothing_changed(facts: Facts, found: Sequence[Refusal]) -> list[str]:
    return _listed(
        "passed with nothing changed",
        (
            f"{code(each.decision.phase)} ([why](#refusal-{each.decision.number}))"
            for each in found
            if each.before is not None
            and each.after is not None
            and passes(facts, each)
            and not _changes(facts, each.before, each.after)
        ),
    )
