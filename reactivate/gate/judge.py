"""Criteria × measurements → judgements. Pure: the same measurements give the same verdicts.

What is missing, ambiguous, not a number or not sampled never passes. The worst operation or
thread decides, and the judgement names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reactivate.checklist.model import Criterion
from reactivate.evidence import Measurement, Role, Verdict
from reactivate.gate.crosscheck import dispute
from reactivate.gate.findings import Builds, Finding, find_all
from reactivate.gate.judgement import Judgement, SampleNeed

_PRECEDENCE = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.INVALID,
    Verdict.INCONCLUSIVE,
    Verdict.PASS,
)
"""A limit that was exceeded is exceeded, whatever else is unknown; then the unknown counts."""


def judge(
    criterion: Criterion,
    subject: Sequence[Measurement],
    references: Mapping[Role, Sequence[Measurement]],
) -> Judgement:
    """Judge one criterion.

    Args:
        criterion: what is asked.
        subject: everything measured in this run, of the build under test and, with another
            role, of the builds it was compared with in the same run.
        references: recorded measurements of other builds. A metric that this run measured on
            a build itself is never taken from here.
    """
    findings = find_all(criterion.comparison, Builds(subject, references))
    decisive = min(findings, key=_rank)
    verdict = decisive.verdict
    needs: tuple[SampleNeed, ...] = ()
    if verdict is Verdict.INCONCLUSIVE:
        needs = tuple(f.need for f in findings if f.need is not None)
    return Judgement(
        criterion=criterion.id,
        source=criterion.source,
        check=criterion.check,
        verdict=verdict,
        observed=decisive.observed,
        limit=decisive.limit,
        dimension=decisive.dimension,
        interval=decisive.interval,
        samples=decisive.samples,
        operation=decisive.operation,
        thread=decisive.thread,
        instrument=decisive.instrument,
        evidence=decisive.evidence,
        reason=_reason(decisive, findings),
        needs=needs,
    )


def judge_all(
    criteria: Iterable[Criterion],
    subject: Sequence[Measurement],
    references: Mapping[Role, Sequence[Measurement]],
) -> tuple[Judgement, ...]:
    """Judge every criterion, in order; what rests on disputed numbers stays open."""
    judged = (judge(criterion, subject, references) for criterion in criteria)
    return dispute(judged, subject)


def needs_more_samples(judgements: Iterable[Judgement]) -> tuple[SampleNeed, ...]:
    """What to sample further, because an interval still spans its limit.

    Each metric and operation comes once, with the largest number wanted. Empty when more samples
    would change nothing: all is decided, or what is undecided is so for another reason.
    """
    largest: dict[tuple[str, str], SampleNeed] = {}
    for need in (need for judgement in judgements for need in judgement.needs):
        key = (need.metric, need.operation)
        if key not in largest or largest[key].wanted < need.wanted:
            largest[key] = need
    return tuple(largest.values())


def _rank(finding: Finding) -> tuple[int, float]:
    return _PRECEDENCE.index(finding.verdict), -finding.severity


def _reason(decisive: Finding, findings: Sequence[Finding]) -> str:
    same = sum(f.verdict is decisive.verdict for f in findings)
    if len(findings) == 1:
        return decisive.reason
    if decisive.verdict is Verdict.PASS:
        return f"{decisive.reason}; the nearest to it of {len(findings)} compared"
    verb = "fail" if decisive.verdict is Verdict.FAIL else f"are {decisive.verdict.value}"
    return f"{decisive.reason}; {same} of {len(findings)} compared {verb}"
