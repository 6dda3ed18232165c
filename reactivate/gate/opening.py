"""When a gate is open: from verdicts alone, without measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reactivate.evidence import Verdict
from reactivate.gate.judgement import Judgement

WAIVABLE = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE})
"""What a waiver opens: the risk was taken that the limit is exceeded, not that nothing is known."""


def gate_open(judgements: Iterable[Judgement], waived: Collection[str]) -> bool:
    """Whether the way is free: every criterion passed or is waived. An empty gate is shut.

    Args:
        judgements: one for each criterion of the gate.
        waived: ids of criteria whose risk was taken on record. A waiver opens a criterion that
            failed or is inconclusive, never one that was not measured or proves nothing.
    """
    return verdicts_open(((j.criterion, j.verdict) for j in judgements), waived)


def verdicts_open(verdicts: Iterable[tuple[str, Verdict]], waived: Collection[str]) -> bool:
    """As `gate_open`, from pairs of criterion id and verdict."""
    every = list(verdicts)
    return bool(every) and all(
        verdict is Verdict.PASS or (verdict in WAIVABLE and criterion in waived)
        for criterion, verdict in every
    )
