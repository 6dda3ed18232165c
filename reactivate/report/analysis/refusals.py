"""What the gates said of a component, why it was refused, and what changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from reactivate.evidence import Check, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import JSON, AttemptRecord, Decision
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, code_block, prose, table
from reactivate.units import format_quantity, format_ratio

AFTER_REFUSAL = ("retried", "waived", "rolled_back", "advanced")
"""Kinds of decisions that answer a refusal."""
_BOUND_TO = ("artifact_sha256", "configuration_sha256", "checklist_sha256", "kernel")
Attempts = Mapping[Check, AttemptRecord | None]


def verdict_section(evidence: Evidence, attempts: Attempts) -> list[str]:
    """The newest verdicts of every check."""
    lines = ["## Verdicts", ""]
    rows = []
    for attempt in attempts.values():
        for judgement in () if attempt is None else evidence.reader.judgements(attempt.id):
            assert attempt is not None
            cited = evidence.cite(attempt, judgement.evidence)
            row = [code(judgement.source), observed(judgement), limit(judgement)]
            rows.append([*row, f"{judgement.samples:,}", verdict(judgement), cited])
    if not rows:
        return [*lines, "No criterion was judged.", ""]
    return lines + table(["criterion", "observed", "limit", "n", "verdict", "evidence"], rows)


def refusal_section(evidence: Evidence, phase: str, attempts: Attempts) -> list[str]:
    """Every refusal: by what, the call chain behind it, what was done, and what it changed."""
    decisions = evidence.reader.decisions(phase)
    refusals = [d for d in decisions if d.kind == "refused"]
    lines = ["## Refusals", ""]
    if not refusals:
        return [*lines, "It was never refused.", ""]
    for refusal in refusals:
        lines += [f"### Decision {refusal.number}: {prose(refusal.reason)}", ""]
        lines += [f"- {prose(text)}" for text in texts(refusal.context.get("failed"))]
        lines.append("")
        chain = texts(refusal.context.get("chain"))
        lines += code_block(chain) if chain else []
        lines += _afterwards(refusal, decisions)
        lines += _before_and_after(evidence, refusal, attempts)
    return lines


def _afterwards(refusal: Decision, decisions: Sequence[Decision]) -> list[str]:
    later = [d for d in decisions if d.number > refusal.number and d.kind in AFTER_REFUSAL]
    if not later:
        return ["Nothing was decided since.", ""]
    lines = ["What was done:", ""]
    for decision in later:
        kind = code(decision.kind.replace("_", " "))
        about = f" {code(decision.criterion)}" if decision.criterion else ""
        who = prose(decision.who)
        lines.append(
            f"- decision {decision.number}, {kind}{about} by {who}: {prose(decision.reason)}"
        )
        if decision.kind == "advanced":
            break
    return [*lines, ""]


def _before_and_after(evidence: Evidence, refusal: Decision, attempts: Attempts) -> list[str]:
    reader = evidence.reader
    if refusal.attempt is None:
        return []
    before = reader.attempt(refusal.attempt)
    after = next((a for a in attempts.values() if a is not None and a.step == before.step), None)
    if after is None or after.id <= before.id:
        return ["It was not measured again since.", ""]
    newer = {j.criterion: j for j in reader.judgements(after.id)}
    rows = []
    for judged in reader.judgements(before.id):
        if judged.verdict is not Verdict.FAIL:
            continue
        now = newer.get(judged.criterion)
        row = [code(judged.source), observed(judged), evidence.cite(before, judged.evidence)]
        if now is None:
            row += ["not judged again", "", ""]
        else:
            row += [observed(now), evidence.cite(after, now.evidence), verdict(now)]
        rows.append(row)
    headers = ["criterion", "at the refusal", "evidence", "now", "evidence", "verdict"]
    lines = table(headers, rows) if rows else []
    return [*lines, what_changed(evidence, before, after), ""]


def what_changed(evidence: Evidence, before: AttemptRecord, after: AttemptRecord) -> str:
    """What two attempts were measured on, as far as it differs, in a sentence."""
    then = evidence.reader.environment(before.environment_sha256)
    now = evidence.reader.environment(after.environment_sha256)
    settings = changed_settings(evidence.reader, before, after)
    changed = [
        f"{code(name)} {code(was) or 'nothing'} → {code(is_) or 'nothing'}"
        for name, was, is_ in settings
    ]
    changed += [
        f"{key.replace('_', ' ')} {code(str(then.get(key)))} → {code(str(now.get(key)))}"
        for key in _BOUND_TO
        if then.get(key) != now.get(key)
    ]
    if not changed:
        return (
            f"Artifact, configuration, checklist and kernel are the same ({_pair(before, after)})."
        )
    return f"What differs ({_pair(before, after)}): {'; '.join(changed)}."


def changed_settings(
    reader: LedgerQueries, before: AttemptRecord, after: AttemptRecord
) -> tuple[tuple[str, str, str], ...]:
    """Settings of the target that differ: name, value then and now; "" where there was none.

    They are on record with the activation that came before an attempt.
    """
    then, now = settings_of(reader, before), settings_of(reader, after)
    if then is None or now is None:
        return ()
    return tuple(
        (name, _setting(then, name), _setting(now, name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    )


def settings_of(reader: LedgerQueries, attempt: AttemptRecord) -> Mapping[str, JSON] | None:
    """The target's settings that an attempt was measured with; None if they are not on record."""
    activations = reader.events(kind="activated", phase=attempt.phase)
    earlier = [e for e in activations if e.attempt is not None and e.attempt <= attempt.id]
    found = earlier[-1].data.get("configuration") if earlier else None
    return found if isinstance(found, Mapping) else None


def _setting(settings: Mapping[str, JSON], name: str) -> str:
    return json.dumps(settings[name], ensure_ascii=False) if name in settings else ""


def _pair(before: AttemptRecord, after: AttemptRecord) -> str:
    return f"attempt {before.number} → {after.number}"


def observed(judgement: Judgement) -> str:
    """The deciding value, its interval, and where it was seen."""
    text = _value(judgement.observed, judgement)
    if judgement.interval is not None:
        low, high = judgement.interval
        text += f" \\[{format_ratio(low)}, {format_ratio(high)}\\]"
    where = " ".join(code(part) for part in (judgement.operation, judgement.thread) if part)
    return f"{text} ({where})" if where else text


def limit(judgement: Judgement) -> str:
    """What it was held against."""
    return _value(judgement.limit, judgement)


def verdict(judgement: Judgement) -> str:
    """The verdict; why, where it is not a pass."""
    name = judgement.verdict.value.upper()
    if judgement.verdict is Verdict.PASS or not judgement.reason:
        return name
    return f"{name}: {prose(judgement.reason)}"


def texts(value: JSON) -> tuple[str, ...]:
    """The texts of a list in a decision's context; none for anything else."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ()
    return tuple(str(each) for each in value)


def _value(value: float | NotMeasured, judgement: Judgement) -> str:
    if isinstance(value, NotMeasured):
        return f"not measured: {prose(value.reason)}"
    return format_quantity(value, judgement.dimension)
