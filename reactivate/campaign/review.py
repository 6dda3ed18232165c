"""Gathers the status of a campaign. Reads ledger, checklist and configuration; runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reactivate.campaign.advice import advice
from reactivate.campaign.calibrated import standing
from reactivate.campaign.criteria import checks_of
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.passage import Passage
from reactivate.campaign.staleness import stale
from reactivate.campaign.states import CampaignState, PhaseState
from reactivate.campaign.status import CampaignStatus, PhaseStatus
from reactivate.checklist.model import Checklist, Phase
from reactivate.checklist.parse import load
from reactivate.errors import ExitCode
from reactivate.evidence import Check, Measurement, Verdict
from reactivate.ledger.origin import MERGE, by_hand, origin_of
from reactivate.ledger.records import AttemptStatus, Event
from reactivate.ledger.store import Ledger
from reactivate.workspace import Workspace


def review(workspace: Workspace) -> CampaignStatus:
    """Where the workspace's campaign stands.

    Raises:
        ChecklistError, ConfigurationError, LedgerError: as from reading them.
    """
    settings = workspace.settings()
    checklist = load(settings.checklist)
    with Ledger.open(workspace.ledger, writer=False) as ledger, ledger.snapshot():
        return _status(workspace, settings.target, checklist, ledger)


def _status(
    workspace: Workspace, target: str, checklist: Checklist, ledger: Ledger
) -> CampaignStatus:
    events = ledger.events()
    passage = replay(events, now=checklist)
    attempts = [a for a in ledger.attempts() if not origin_of(a.phase)]
    counts, head = ledger.counts(), ledger.head()
    phase_id = passage.phase.id if passage.phase else ""
    evidence = [a for a in attempts if a.step in {c.value for c in Check}]
    return CampaignStatus(
        title=checklist.title,
        target=target,
        state="complete"
        if passage.campaign is CampaignState.COMPLETE
        else passage.state.value.replace("_", " "),
        current=phase_id,
        since=_since(events),
        done=sum(state is PhaseState.ACTIVE for state in passage.states.values()),
        total=len(checklist.phases),
        phases=tuple(
            _phase(workspace, target, passage, phase, ledger) for phase in checklist.phases
        ),
        open_items=tuple((item.id, item.text) for item in passage.open_items),
        failed=() if passage.refusal is None else passage.refusal.standing,
        waivers=tuple(sorted(passage.waivers.values(), key=lambda waiver: waiver.seq)),
        interrupted=sum(a.status is AttemptStatus.INTERRUPTED for a in attempts),
        calibrated=standing(ledger).text,
        verified=_verified(events),
        evidence=f"results/{evidence[-1].folder}/" if evidence else "",
        events=counts.events,
        measurements=counts.measurements,
        head="" if head is None else head.sha256,
        next_command=advice(passage)[0][0],
    )


def _since(events: Sequence[Event]) -> str:
    """When the campaign last moved; what was merged or run by hand is no move of it."""
    own = (
        event
        for event in reversed(events)
        if not (origin_of(event.phase) or by_hand(event.phase) or event.data.get("about") == MERGE)
    )
    newest = next(own, None)
    return "" if newest is None else newest.at[11:16] + " UTC"


def _verified(events: Sequence[Event]) -> str:
    newest = next(
        (e for e in reversed(events) if e.kind == EventKind.NOTE and "verification" in e.data), None
    )
    if newest is None:
        return ""
    code = newest.data.get("exit_code")
    failed = newest.data.get("failed")
    when = f"{newest.at[:10]} {newest.at[11:16]} UTC"
    if code == ExitCode.DONE:
        return f"{when}, passed"
    told = [str(each) for each in failed] if isinstance(failed, list) else []
    more = f" and {len(told) - 1} more" if len(told) > 1 else ""
    return f"{when}, FAILED with exit {code}: {told[0] if told else 'not said'}{more}"


def _phase(
    workspace: Workspace, target: str, passage: Passage, phase: Phase, ledger: Ledger
) -> PhaseStatus:
    worst = ledger.worst_stack(phase.id)
    verdicts: Counter[Verdict] = Counter()
    for check in checks_of(phase):
        verdicts.update(j.verdict for j in ledger.latest_judgements(phase.id, check.value))
    state = passage.states[phase.id]
    return PhaseStatus(
        id=phase.id,
        kind=phase.kind.value,
        state=state.value.replace("_", " "),
        worst=worst,
        limit_bytes=None if worst is None else _limit(ledger, phase.id, worst),
        verdicts={verdict: verdicts[verdict] for verdict in Verdict if verdicts[verdict]},
        waived=sum(w.phase == phase.id for w in passage.waivers.values()),
        stale=""
        if state is PhaseState.PENDING
        else stale(workspace, target, passage.checklist, phase, ledger, passage.stale),
    )


def _limit(ledger: Ledger, phase_id: str, worst: Measurement) -> int | None:
    found = ledger.latest_measurements(phase_id, Check.BASELINE.value, "stack.limit")
    same = [m.value for m in found if m.thread == worst.thread and isinstance(m.value, int)]
    return same[0] if same else None
