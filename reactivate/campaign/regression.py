"""What a failed criterion was before, and who has the bytes now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.measuring import Ground
from reactivate.checklist.model import Phase
from reactivate.evidence import Check, NotMeasured, Role
from reactivate.gate.evaluate import metric_names
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import AttemptRecord, AttemptStatus
from reactivate.places import format_place
from reactivate.run.explain import Explanation
from reactivate.units import format_quantity


def before(
    ground: Ground, phase: Phase, check: Check, failed: Sequence[Judgement]
) -> Mapping[str, str]:
    """The same values in the campaign's own evidence, by criterion: `11.6 KiB (attempt 4)`.

    What the campaign did not measure for the same operation and thread is left out.
    """
    source = ground.ledger.latest_attempt(phase.id, check.value, status=AttemptStatus.FINISHED)
    if source is None:
        return {}
    metrics = {
        criterion.id: [name.name for name in metric_names(criterion.comparison.left)]
        for criterion in gate_criteria(ground.checklist, phase, check)
    }
    earlier = {judged.criterion: judged for judged in ground.ledger.judgements(source.id)}
    found: dict[str, str] = {}
    for judged in failed:
        value = _measured(ground, source, metrics.get(judged.criterion, []), judged)
        then = earlier.get(judged.criterion)
        if then is not None and then.dimension is not judged.dimension:
            continue
        if value is None and then is not None and not isinstance(then.observed, NotMeasured):
            value = then.observed
        if value is not None:
            shown = format_quantity(value, judged.dimension)
            found[judged.criterion] = f"{shown} (attempt {source.number})"
    return found


def _measured(
    ground: Ground, source: AttemptRecord, metrics: Sequence[str], judged: Judgement
) -> float | None:
    """The largest value of the one metric at the place that decided; ratios have none."""
    if len(metrics) != 1 or judged.interval is not None:
        return None
    values = [
        m.value
        for m in ground.ledger.measurements(source.id, metric=metrics[0])
        if m.role is Role.SUBJECT
        and (m.operation, m.thread) == (judged.operation, judged.thread)
        and not isinstance(m.value, NotMeasured)
    ]
    return max(values, default=None)


def culprit(explanation: Explanation | None) -> str:
    """The entry of a call chain that takes most bytes, in words; "" without a chain."""
    if explanation is None or not explanation.rows:
        return ""
    row = max(explanation.rows, key=lambda row: row.size_bytes)
    place = f", {format_place(row.place)}" if row.place and row.place != row.location else ""
    return f"{row.location}: {row.size_bytes:,} bytes{place}"
