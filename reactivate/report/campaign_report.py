"""The campaign in one page: every component, and what the integration found.

From the ledger alone, as the decision log is: the same ledger gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.checklist.model import PhaseKind
from reactivate.evidence import Check, Measurement, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import AttemptRecord, AttemptStatus, Decision
from reactivate.report.analysis.markup import code, prose, results_link, table
from reactivate.report.analysis.refusals import limit, observed, texts
from reactivate.report.analysis.shape import PhaseShape, Shape, latest, read_shape
from reactivate.report.analysis.values import cell, change, number

FILE_NAME = "CAMPAIGN.md"
CHAINS = "deepest/deepest-"
"""How the paths of call chains begin, in the folder of an attempt."""
_DEPTH = "stack.operation"
_RESOURCES = (
    (Check.BASELINE, _DEPTH, "stack of the deepest operation, below idle"),
    (Check.BASELINE, "rss.peak", "resident memory at its peak"),
    (Check.OVERFLOW, "stack.minimum", "smallest stack that it survives with"),
)
_ACTIONS = frozenset({"retried", "waived", "rolled_back"})
_ENDS = {"advanced": "active", "refused": "refused", "rolled_back": "rolled back"}


def render_campaign(ledger: LedgerQueries, names: Mapping[int, str]) -> str:
    """The report, as Markdown.

    Args:
        ledger: read only.
        names: the files of the decision log, by number of the decision.
    """
    shape = read_shape(ledger)
    decisions = ledger.decisions()
    completed = next((d for d in decisions if d.kind == "completed"), None)
    lines = [
        "# Campaign report",
        "",
        "Generated from the ledger by `reactivate log --write`. Times are UTC. "
        "Every decision is in the [decision log](README.md).",
        "",
        *_summary(ledger, shape, decisions, completed, names),
    ]
    for phase in shape.phases:
        if phase.kind is PhaseKind.COMPONENT:
            lines += _component(ledger, shape, phase, decisions, names)
    integration = [p for p in shape.phases if p.kind is PhaseKind.INTEGRATION]
    for phase in integration:
        lines += _integration(ledger, shape, phase, decisions, names)
    if not integration:
        lines += ["## Final integration", "", "The checklist has no integration phase.", ""]
    lines += _limitations(ledger, shape, decisions, names)
    return "\n".join(lines)


def _summary(
    ledger: LedgerQueries,
    shape: Shape,
    decisions: Sequence[Decision],
    completed: Decision | None,
    names: Mapping[int, str],
) -> list[str]:
    if shape.missing:
        return [f"The checklist could not be asked: {prose(shape.missing)}.", ""]
    if completed is not None:
        state = f"complete since {completed.at[:16].replace('T', ' ')}: every phase is active"
    else:
        state = "**not complete**: what is said below is how far it came"
    rows = []
    for phase in shape.phases:
        own = [d for d in decisions if d.phase == phase.id]
        refused = sum(d.kind == "refused" for d in own)
        decided = _decision(own, names)
        rows.append([code(phase.id), prose(phase.title), decided, f"{refused:,}"])
    counts = ledger.counts()
    return [
        f"{prose(shape.title)}: {state}. {counts.attempts:,} attempts, "
        f"{counts.measurements:,} measurements, {counts.decisions:,} decisions.",
        "",
        *table(["phase", "", "decision", "refusals"], rows),
    ]


def _component(
    ledger: LedgerQueries,
    shape: Shape,
    phase: PhaseShape,
    decisions: Sequence[Decision],
    names: Mapping[int, str],
) -> list[str]:
    own = [d for d in decisions if d.phase == phase.id]
    lines = [f"## {prose(phase.title)} ({code(phase.id)})", "", "### Resource change", ""]
    lines += _resources(ledger, shape, phase)
    lines += _history(ledger, phase, own, names)
    lines += ["### Remaining risk", "", *_risks(own, names)]
    return lines


def _history(
    ledger: LedgerQueries, phase: PhaseShape, own: Sequence[Decision], names: Mapping[int, str]
) -> list[str]:
    lines = ["### Issues met", "", *_issues(ledger, phase, own, names)]
    lines += ["### What was done", "", *_actions(own, names)]
    return [*lines, "### Decision", "", f"{_decision(own, names)}.", ""]


def _resources(ledger: LedgerQueries, shape: Shape, phase: PhaseShape) -> list[str]:
    previous = shape.previous(phase)
    rows = []
    for check, metric, meaning in _RESOURCES:
        attempt = latest(ledger, phase.id, check)
        now = _largest(ledger, attempt, metric)
        row = [meaning, cell(now, why=f"no finished {check.value} check" if not attempt else "")]
        for other in (shape.baseline, previous):
            earlier = None if other is None else latest(ledger, other.id, check)
            row.append(change(metric, number(now), number(_largest(ledger, earlier, metric))))
        rows.append([*row, _source(attempt, now)])
    headers = ["", "value", "against the baseline", "against the build before", "evidence"]
    return table(headers, rows)


def _largest(
    ledger: LedgerQueries, attempt: AttemptRecord | None, metric: str
) -> Measurement | None:
    found = () if attempt is None else ledger.measurements(attempt.id, metric=metric)
    own = [m for m in found if m.role.value == "subject"]
    measured = [(value, m) for m in own if (value := number(m)) is not None]
    if not measured:
        return own[0] if own else None
    return max(measured, key=lambda pair: pair[0])[1]


def _source(attempt: AttemptRecord | None, measurement: Measurement | None) -> str:
    if attempt is None or measurement is None:
        return ""
    place = f"{attempt.folder}/{measurement.evidence}".rstrip("/")
    operation = f" ({code(measurement.operation)})" if measurement.operation else ""
    return results_link(place) + operation


def _issues(
    ledger: LedgerQueries, phase: PhaseShape, own: Sequence[Decision], names: Mapping[int, str]
) -> list[str]:
    lines = []
    for decision in own:
        if decision.kind == "refused":
            lines.append(f"- {_link(decision, names)} refused: {prose(decision.reason)}")
            lines += [f"    - {prose(text)}" for text in texts(decision.context.get("failed"))]
            lines += _evidence(ledger, decision)
    for attempt in ledger.attempts(phase.id):
        if attempt.status is AttemptStatus.INTERRUPTED:
            lines.append(f"- attempt {attempt.number} ({prose(attempt.step)}) was interrupted")
        elif attempt.status is AttemptStatus.FINISHED:
            lines += [
                f"- attempt {attempt.number} ({prose(attempt.step)}), {code(judged.source)}: "
                f"{judged.verdict.value}: {prose(judged.reason)} "
                f"({results_link(f'{attempt.folder}/{judged.evidence}'.rstrip('/'))})"
                for judged in ledger.judgements(attempt.id)
                if judged.verdict not in (Verdict.PASS, Verdict.FAIL)
            ]
    return [*lines, ""] if lines else ["None on record.", ""]


def _evidence(ledger: LedgerQueries, decision: Decision) -> list[str]:
    """The files that a refusal rests on: those of its failed criteria, and the call chain's."""
    if decision.attempt is None:
        return []
    attempt = ledger.attempt(decision.attempt)
    failed = [j for j in ledger.judgements(attempt.id) if j.verdict is Verdict.FAIL]
    paths = [judged.evidence for judged in failed if judged.evidence]
    paths += [a.path for a in ledger.artifacts(attempt.id) if a.path.startswith(CHAINS)]
    cited = [results_link(f"{attempt.folder}/{path}") for path in dict.fromkeys(paths)]
    return [f"    - evidence: {', '.join(cited)}"] if cited else []


def _actions(own: Sequence[Decision], names: Mapping[int, str]) -> list[str]:
    lines = []
    for decision in own:
        if decision.kind in _ACTIONS:
            about = f" {code(decision.criterion)}" if decision.criterion else ""
            kind = decision.kind.replace("_", " ")
            lines.append(
                f"- {_link(decision, names)} {prose(kind)}{about} by {prose(decision.who)}: "
                f"{prose(decision.reason)}"
            )
    return [*lines, ""] if lines else ["Nothing had to be done.", ""]


def _decision(own: Sequence[Decision], names: Mapping[int, str]) -> str:
    ends = [d for d in own if d.kind in _ENDS or d.kind == "retried"]
    if not ends:
        items = [d for d in own if d.kind == "confirmed"]
        return f"confirmed ({_link(items[-1], names)})" if items else "none yet"
    last = ends[-1]
    state = _ENDS.get(last.kind, "tried again")
    unattended = ", unattended" if last.unattended else ""
    return f"{state} ({_link(last, names)}, by {prose(last.who)}{unattended})"


def _risks(own: Sequence[Decision], names: Mapping[int, str]) -> list[str]:
    advanced = [d for d in own if d.kind == "advanced"]
    if not advanced:
        return ["It did not advance; nothing of it is accepted.", ""]
    newest = advanced[-1]
    risks = texts(newest.context.get("remaining_risk"))
    if not risks:
        return [f"{_link(newest, names)} names none.", ""]
    return [*(f"- {prose(text)}" for text in risks), ""]


def _integration(
    ledger: LedgerQueries,
    shape: Shape,
    phase: PhaseShape,
    decisions: Sequence[Decision],
    names: Mapping[int, str],
) -> list[str]:
    own = [d for d in decisions if d.phase == phase.id]
    lines = [f"## Final integration ({code(phase.id)})", "", "### Totals", ""]
    lines += _resources(ledger, shape, phase)
    lines += ["### Limits", "", *_limits(ledger, phase)]
    return [*lines, *_history(ledger, phase, own, names)]


def _limits(ledger: LedgerQueries, phase: PhaseShape) -> list[str]:
    """Every criterion once, by its nearest to failing: the same one is inherited many times."""
    found: dict[str, tuple[AttemptRecord, Judgement]] = {}
    for check in Check:
        attempt = latest(ledger, phase.id, check)
        for judged in () if attempt is None else ledger.judgements(attempt.id):
            assert attempt is not None
            known = found.get(judged.source)
            if known is None or known[1].verdict is Verdict.PASS is not judged.verdict:
                found[judged.source] = attempt, judged
    if not found:
        return ["Not measured: no gate of the integration was judged.", ""]
    rows = []
    for source, (attempt, judged) in found.items():
        where = f"{attempt.folder}/{judged.evidence}".rstrip("/")
        row = [code(source), observed(judged), limit(judged), judged.verdict.value.upper()]
        rows.append([*row, results_link(where)])
    return table(["criterion", "observed", "limit", "verdict", "evidence"], rows)


def _limitations(
    ledger: LedgerQueries,
    shape: Shape,
    decisions: Sequence[Decision],
    names: Mapping[int, str],
) -> list[str]:
    lines = []
    for phase in shape.measured:
        own = [d for d in decisions if d.phase == phase.id]
        advanced = [d for d in own if d.kind == "advanced"]
        risks = texts(advanced[-1].context.get("remaining_risk")) if advanced else ()
        lines += [f"- {code(phase.id)}: {prose(text)}" for text in risks]
        for check in Check:
            attempt = latest(ledger, phase.id, check)
            if attempt is None:
                lines.append(f"- {code(phase.id)}: no finished {check.value} check")
                continue
            lines += [
                f"- {code(phase.id)}: {code(judged.source)}: not measured: "
                f"{prose(judged.observed.reason)}"
                for judged in ledger.judgements(attempt.id)
                if isinstance(judged.observed, NotMeasured)
            ]
    unattended = [d for d in decisions if d.unattended]
    if unattended:
        first = _link(unattended[0], names)
        lines.append(f"- {len(unattended):,} decisions were unattended, the first is {first}")
    lines = list(dict.fromkeys(lines))
    return ["## Known limitations", "", *(lines or ["None on record."]), ""]


def _link(decision: Decision, names: Mapping[int, str]) -> str:
    return f"[{decision.number:04}]({names[decision.number]})"
