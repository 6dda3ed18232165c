"""What a gate's verdicts decide, and the decision to go on: drafts for the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reactivate.campaign import wording
from reactivate.campaign.events import EventKind
from reactivate.campaign.measuring import Checked, Ground
from reactivate.campaign.outcome import Outcome
from reactivate.campaign.passage import Passage
from reactivate.campaign.states import Step
from reactivate.evidence import Check, Verdict
from reactivate.gate.opening import gate_open
from reactivate.ledger.records import JSON, AttemptStatus, DecisionDraft
from reactivate.target.configuration import switched_sha256


def gate_decision(
    step: Step, done: Checked, waived: frozenset[str], *, uncalibrated: Sequence[str] = ()
) -> tuple[list[tuple[str, dict[str, JSON]]], list[DecisionDraft], Outcome]:
    """What the verdicts of a check mean.

    Args:
        step: the step that ran the check.
        done: what it measured and how that was judged.
        waived: ids of criteria whose risk is taken.
        uncalibrated: instruments of this gate that were not seen red on this machine.

    Returns:
        The events to record, the decision if it is a refusal, and how the step ended.
    """
    assert step.check is not None
    check, judgements = step.check.value, done.judgements
    verdicts: dict[str, JSON] = {j.criterion: j.verdict.value for j in judgements}
    events: list[tuple[str, dict[str, JSON]]] = [
        (EventKind.CHECKED, {"check": check, "verdicts": verdicts})
    ]
    failed = [j for j in judgements if j.verdict is Verdict.FAIL and j.criterion not in waived]
    if failed:
        names = [j.criterion for j in failed]
        context: dict[str, JSON] = {
            "summary": wording.refusal(failed),
            "failed": [f"{j.criterion}: {j.reason}" for j in failed],
        }
        if done.explanation is not None:
            context["chain"] = wording.chain_lines(done.explanation)
        draft = DecisionDraft(
            kind="refused",
            phase=step.phase,
            reason=f"{len(names)} of {len(judgements)} criteria of the {check} gate failed",
            who="gate",
            context=context,
            event=(EventKind.REFUSED, {"check": check, "failed": list(names)}),
        )
        return events, [draft], Outcome.REFUSED
    if gate_open(judgements, waived):
        passed: dict[str, JSON] = {"check": check}
        if uncalibrated:
            passed["uncalibrated"] = list(uncalibrated)
        events.append((EventKind.GATE_PASSED, passed))
        return events, [], Outcome.ADVANCED
    undecided = [j for j in judgements if j.verdict not in (Verdict.PASS, Verdict.FAIL)]
    worst = next(
        v
        for v in (Verdict.ERROR, Verdict.INVALID, Verdict.INCONCLUSIVE)
        if any(j.verdict is v for j in undecided)
    )
    events.append(
        (
            EventKind.INCONCLUSIVE,
            {
                "check": check,
                "outcome": worst.value,
                "reason": "; ".join(f"{j.criterion}: {j.reason}" for j in undecided),
            },
        )
    )
    return events, [], Outcome.INCONCLUSIVE


def refused_environment(ground: Ground, phase: str) -> Mapping[str, JSON]:
    """What the latest refusal of a phase was measured on; empty if it was never refused."""
    refusals = ground.ledger.decisions(phase=phase, kind="refused")
    if not refusals or refusals[-1].attempt is None:
        return {}
    attempt = ground.ledger.attempt(refusals[-1].attempt)
    return ground.ledger.environment(attempt.environment_sha256)


def configuration_now(ground: Ground, then: Mapping[str, JSON]) -> str:
    """Digest of what the target's configuration says now to the components that were on then."""
    components = then.get("components")
    names = [str(c) for c in components] if isinstance(components, list) else []
    return switched_sha256(ground.spec, names)


def advance(ground: Ground, passage: Passage, phase: str, who: str) -> DecisionDraft:
    """The decision that a phase goes on, with the checks and the proof it rests on."""
    ledger = ground.ledger
    attempts = [
        found.id
        for check in Check
        if (found := ledger.latest_attempt(phase, check.value, status=AttemptStatus.FINISHED))
    ]
    activated = ledger.events(phase=phase, kind=EventKind.ACTIVATED)
    proof = activated[-1].data.get("witnesses", {}) if activated else {}
    facts = activated[-1].data.get("build_facts", {}) if activated else {}
    refusals = ledger.decisions(phase=phase, kind="refused")
    return DecisionDraft(
        kind="advanced",
        phase=phase,
        reason=wording.advance_reason(passage, phase),
        who=who,
        attempt=attempts[-1] if attempts else None,
        supersedes=refusals[-1].number if refusals else None,
        context={
            "summary": wording.advance_context(ground.checklist.phase(phase), attempts),
            "attempts": list(attempts),
            "proof": [f"{k}: {v}" for k, v in proof.items()] if isinstance(proof, dict) else [],
            "build": [*_known(facts)],
            "remaining_risk": [
                *(
                    f"waived by {w.who}: {w.criterion}: {w.reason}"
                    for w in passage.waivers.values()
                ),
                *_uncalibrated(ground, phase),
            ],
        },
        event=(EventKind.DOCUMENTED, {"who": who}),
    )


def _known(facts: JSON) -> Iterator[str]:
    """What an artifact told of how it was made, one fact each."""
    for name, fact in facts.items() if isinstance(facts, Mapping) else ():
        if isinstance(fact, Mapping) and "value" in fact:
            yield f"build, {name.replace('_', ' ')}: {fact['value']}"


def _uncalibrated(ground: Ground, phase: str) -> list[str]:
    """The gates of a phase that were passed with instruments never seen red here."""
    latest = {
        e.data["check"]: e for e in ground.ledger.events(phase=phase, kind=EventKind.GATE_PASSED)
    }
    return [
        f"{check} gate: not calibrated on this machine: {', '.join(map(str, names))}"
        for check, event in latest.items()
        if isinstance(names := event.data.get("uncalibrated"), list)
    ]
