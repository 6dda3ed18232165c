"""Verdicts, states and documents, worked out once more from what is on record.

Nothing is measured, mounted or built: the same measurements, criteria and references must give
the same verdicts, and the same ledger the same documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from reactivate.campaign import wording
from reactivate.campaign.consistency import (
    Finding,
    Kind,
    attempt_name,
    contradiction,
    contradictions,
    not_replayed,
)
from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.edition import EDITIONS, read_edition
from reactivate.campaign.events import EventKind
from reactivate.campaign.outcome import VERIFICATION
from reactivate.campaign.references import recorded_references
from reactivate.campaign.replaying_documents import Documents, replay_documents
from reactivate.checklist.model import Checklist
from reactivate.errors import ExitCode, LedgerCorruptError, MeasurementError
from reactivate.evidence import Check, Measurement, NotMeasured, Verdict
from reactivate.gate.evaluate import metric_names
from reactivate.gate.judge import judge_all
from reactivate.gate.judgement import Judgement
from reactivate.ledger.origin import origin_of
from reactivate.ledger.records import JSON, AttemptRecord, Decision, Event
from reactivate.metrics import METRICS
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.comparison import MACHINE
from reactivate.workspace import Workspace

_CHECKS = {check.value: check for check in Check}
_COMPARED = tuple(field.name for field in fields(Judgement) if field.name != "needs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it.

    Attributes:
        events: how many there are; the states were rebuilt from all of them.
        attempts: attempts whose verdicts were rebuilt.
        verdicts: how many of those are what is on record.
        merged: attempts that were merged; their own ledger answers for their verdicts.
        documents: how many files on disk are what the ledger gives, and how many were compared.
        chains: how many call chains in decisions are what their evidence gives.
        findings: everything else.
    """

    events: int
    attempts: int
    verdicts: int
    merged: int
    documents: int
    chains: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """7 for a contradiction, 5 if something could not be told, else 0."""
        if any(found.kind is Kind.CONTRADICTION for found in self.findings):
            return ExitCode.TAMPERED
        return ExitCode.INCONCLUSIVE if self.findings else ExitCode.DONE


class _Recorded:
    """A ledger that is asked the same again and again."""

    def __init__(self, reader: LedgerReader, attempts: Sequence[AttemptRecord]) -> None:
        self._phases: dict[str, list[AttemptRecord]] = {}
        for attempt in attempts:
            self._phases.setdefault(attempt.phase, []).append(attempt)
        # References are few, and near to each other in time.
        self._measurements = lru_cache(maxsize=16)(reader.measurements)
        self._environment = lru_cache(maxsize=256)(reader.environment)

    def attempts(self, phase: str) -> Sequence[AttemptRecord]:
        """All attempts of a phase, oldest first."""
        return self._phases.get(phase, ())

    def measurements(self, attempt_id: int) -> Sequence[Measurement]:
        """What an attempt measured."""
        return self._measurements(attempt_id)

    def environment(self, sha256: str) -> Mapping[str, JSON]:
        """What an attempt ran in."""
        return self._environment(sha256)


def replay_ledger(workspace: Workspace) -> Replayed:
    """Rebuild everything that follows from the raw record, and compare.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with LedgerReader.opened(workspace.ledger) as reader:
        with reader.snapshot():
            events, attempts = reader.events(), reader.attempts()
            findings = list(contradictions(reader, events, attempts))
        editions, unread = _editions(events)
        findings += unread
        rebuilt: dict[int, tuple[Judgement, ...]] = {}
        same = 0
        own = [attempt for attempt in attempts if not origin_of(attempt.phase)]
        recorded = _Recorded(reader, own)
        for attempt in own:
            verdicts = reader.judgements(attempt.id)
            if not verdicts:
                continue
            again = _judged(recorded, attempt, editions)
            if isinstance(again, Finding):
                findings.append(again)
                continue
            rebuilt[attempt.id] = again
            wrong = list(_differences(attempt, verdicts, again))
            same += sum(a == replace(b, needs=()) for a, b in zip(verdicts, again, strict=False))
            findings += wrong
        findings += _refusals(reader.decisions(), events, rebuilt)
        documents: Documents = replay_documents(workspace, reader, events)
    return Replayed(
        events=len(events),
        attempts=len(rebuilt),
        verdicts=same,
        merged=len(attempts) - len(own),
        documents=documents.same,
        chains=documents.chains,
        findings=(*findings, *documents.findings),
    )


def _editions(events: Sequence[Event]) -> tuple[dict[str, Checklist], list[Finding]]:
    """Every checklist that was in force, by its digest."""
    found: dict[str, Checklist] = {}
    wrong: list[Finding] = []
    for event in events:
        if event.kind not in EDITIONS:
            continue
        try:
            checklist = read_edition(event)
        except LedgerCorruptError as error:
            wrong.append(contradiction(f"event {event.seq}", error.why))
            continue
        found[checklist.sha256] = checklist
    return found, wrong


def _judged(
    recorded: _Recorded, attempt: AttemptRecord, editions: Mapping[str, Checklist]
) -> tuple[Judgement, ...] | Finding:
    """The verdicts of an attempt as its measurements give them, or why there are none."""
    name = attempt_name(attempt)
    prefix = VERIFICATION if attempt.step.startswith(VERIFICATION) else ""
    check = _CHECKS.get(attempt.step.removeprefix(prefix))
    environment = recorded.environment(attempt.environment_sha256)
    checklist = editions.get(str(environment.get("checklist_sha256", "")))
    if check is None:
        return not_replayed(name, f"`{attempt.step}` is no check of a checklist")
    if checklist is None:
        return not_replayed(name, "the checklist it was judged by is not on record")
    if attempt.phase not in {phase.id for phase in checklist.phases}:
        return contradiction(name, "the checklist of its time has no such phase")
    criteria = gate_criteria(checklist, checklist.phase(attempt.phase), check)
    sides = [side for c in criteria for side in (c.comparison.left, c.comparison.right)]
    names = {found.name for side in sides for found in metric_names(side)}
    if unknown := sorted(names - METRICS.keys()):
        return not_replayed(name, f"the instrument of {', '.join(unknown)} is not installed here")
    here = {key: environment[key] for key in MACHINE if key in environment}
    try:
        references = recorded_references(
            recorded, checklist, criteria, check, attempt, here=here, prefix=prefix
        )  # fmt: skip
    except MeasurementError as error:
        return contradiction(name, f"it was judged although: {error.what}: {error.why}")
    return judge_all(criteria, recorded.measurements(attempt.id), references)


def _differences(
    attempt: AttemptRecord, recorded: Sequence[Judgement], rebuilt: Sequence[Judgement]
) -> Iterator[Finding]:
    name = attempt_name(attempt)
    then = {j.criterion: j for j in recorded}
    now = {j.criterion: j for j in rebuilt}
    if list(then) != list(now):
        yield contradiction(
            name, "other criteria were judged than its checklist asks", ", ".join(then),
            ", ".join(now),
        )  # fmt: skip
    for criterion in then.keys() & now.keys():
        for key in _COMPARED:
            before, after = getattr(then[criterion], key), getattr(now[criterion], key)
            if before != after:
                yield contradiction(
                    f"{name}, {criterion}", f"its {key} does not follow from what was measured",
                    _shown(before), _shown(after),
                )  # fmt: skip
                break


def _shown(value: object) -> str:
    return f"not measured: {value.reason}" if isinstance(value, NotMeasured) else str(value)


def _refusals(
    decisions: Sequence[Decision],
    events: Sequence[Event],
    rebuilt: Mapping[int, Sequence[Judgement]],
) -> Iterator[Finding]:
    """What refusals say of their reasons, from the verdicts as rebuilt."""
    by_seq = {event.seq: event for event in events}
    for decision in decisions:
        event = by_seq.get(decision.seq)
        if event is None or event.kind != EventKind.REFUSED or decision.attempt is None:
            continue
        verdicts = rebuilt.get(decision.attempt)
        if verdicts is None:
            continue
        named = event.data.get("failed")
        names = {str(each) for each in named} if isinstance(named, list) else set()
        failed = [
            judged
            for judged in verdicts
            if judged.verdict is Verdict.FAIL and judged.criterion in names
        ]
        if not failed:
            continue  # said of the verdicts already
        expected: dict[str, JSON] = {
            "summary": wording.refusal(failed),
            "failed": [f"{judged.criterion}: {judged.reason}" for judged in failed],
        }
        for key, value in expected.items():
            if decision.context.get(key, value) != value:
                yield contradiction(
                    f"decision {decision.number}, {key}", "it does not follow from the verdicts",
                    decision.context[key], value,
                )  # fmt: skip
