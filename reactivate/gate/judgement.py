"""What the gate says about one criterion."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.evidence import Check, Dimension, NotMeasured, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNeed:
    """A comparison that more samples could decide.

    Attributes:
        metric: the metric that is compared.
        operation: the operation to sample, "" where the metric has none.
        samples: what the poorer of the two builds has.
        wanted: an estimate of how many each build needs in all.
    """

    metric: str
    operation: str
    samples: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One criterion judged, with all a reader needs to follow it.

    Attributes:
        criterion: the criterion's id.
        source: the criterion as written.
        check: the gate it belongs to.
        verdict: see `Verdict`.
        observed: the decisive value in base units (a ratio for relative criteria), or why none.
        limit: what it was held against, same unit, or why none.
        dimension: unit of both; RATIO where the criterion is relative to a reference.
        interval: confidence interval of `observed` where one was computed.
        samples: number of samples behind `observed`.
        operation: the operation that decided, "" if none.
        thread: the thread that decided, "" if none.
        instrument: where the observed value comes from.
        evidence: evidence file relative to the attempt's folder, "" if none.
        reason: one sentence: why this verdict.
        needs: the comparisons that stay open because their interval spans the limit; for the
            run in progress, not for the record.
    """

    criterion: str
    source: str
    check: Check
    verdict: Verdict
    observed: float | int | NotMeasured
    limit: float | int | NotMeasured
    dimension: Dimension
    samples: int
    interval: tuple[float, float] | None = None
    operation: str = ""
    thread: str = ""
    instrument: str = ""
    evidence: str = ""
    reason: str = ""
    needs: tuple[SampleNeed, ...] = ()
