"""The newest values in the text format of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reactivate.evidence import Check, Dimension, NotMeasured
from reactivate.ledger.records import AttemptRecord
from reactivate.metrics import METRICS
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import latest, read_shape
from reactivate.report.analysis.values import dimension_of
from reactivate.texts import visible

_SUFFIX = {
    Dimension.BYTES: "bytes",
    Dimension.NANOSECONDS: "seconds",
    Dimension.COUNT: "number",
    Dimension.RATIO: "ratio",
    None: "value",
}
_NS_PER_SECOND = 1_000_000_000
Labels = Mapping[str, str]


def prometheus_export(reader: LedgerReader) -> Iterator[str]:
    """Gauges of the newest finished attempt of every check, in pieces.

    What was not measured has no sample of its metric; it is counted in
    `reactivate_not_measured`. Nanoseconds become seconds.
    """
    shape = read_shape(reader)
    attempts = [
        attempt
        for phase in shape.phases
        for check in Check
        if (attempt := latest(reader, phase.id, check)) is not None
    ]
    missing: list[tuple[AttemptRecord, str]] = []
    for metric in reader.metrics():
        yield from _metric(reader, metric, attempts, missing)
    yield from _family(
        "reactivate_not_measured",
        "values that the newest finished attempts could not measure",
        _counted(missing),
    )
    yield from _verdicts(reader, attempts)
    yield from _ledger(reader)


def metric_name(metric: str) -> str:
    """`reactivate_stack_peak_bytes`: the metric's name with its base unit."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", metric)
    return f"reactivate_{plain}_{_SUFFIX[dimension_of(metric)]}"


def _metric(
    reader: LedgerReader,
    metric: str,
    attempts: Sequence[AttemptRecord],
    missing: list[tuple[AttemptRecord, str]],
) -> Iterator[str]:
    known = METRICS.get(metric)
    scale = _NS_PER_SECOND if dimension_of(metric) is Dimension.NANOSECONDS else 1
    samples: list[tuple[Labels, float]] = []
    for attempt in attempts:
        for worst in reader.worst(attempt.id, metric=metric):
            found = worst.measurement
            if isinstance(found.value, NotMeasured):
                missing.append((attempt, metric))
                continue
            labels = {
                "phase": attempt.phase,
                "check": attempt.step,
                "operation": found.operation,
                "thread": found.thread,
                "instrument": found.instrument,
                "role": found.role.value,
                "bound": found.bound.value,
            }
            samples.append((labels, found.value / scale if scale > 1 else found.value))
    meaning = metric if known is None else known.meaning
    yield from _family(metric_name(metric), meaning, samples)


def _counted(missing: Sequence[tuple[AttemptRecord, str]]) -> list[tuple[Labels, float]]:
    counts: dict[tuple[str, str, str], int] = {}
    for attempt, metric in missing:
        key = attempt.phase, attempt.step, metric
        counts[key] = counts.get(key, 0) + 1
    return [
        ({"phase": phase, "check": check, "metric": metric}, count)
        for (phase, check, metric), count in counts.items()
    ]


def _verdicts(reader: LedgerReader, attempts: Sequence[AttemptRecord]) -> Iterator[str]:
    samples: dict[tuple[str, ...], tuple[Labels, float]] = {}
    for attempt in attempts:
        for judgement in reader.judgements(attempt.id):
            labels = {
                "phase": attempt.phase,
                "check": attempt.step,
                "criterion": judgement.criterion,
                "verdict": judgement.verdict.value,
            }
            samples[tuple(labels.values())] = labels, 1
    yield from _family(
        "reactivate_verdict", "1 for each criterion with its newest verdict", samples.values()
    )


def _ledger(reader: LedgerReader) -> Iterator[str]:
    counts = reader.counts()
    rows = {"events": counts.events, "attempts": counts.attempts}
    rows |= {"measurements": counts.measurements, "decisions": counts.decisions}
    samples = [({"table": table}, float(rows[table])) for table in rows]
    yield from _family("reactivate_ledger_rows", "rows of the ledger", samples)


def _family(name: str, meaning: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    listed = list(samples)
    if not listed:
        return
    text = visible(meaning).replace("\\", "\\\\")
    yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for labels, value in listed:
        inside = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value!r}\n"


def _label(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')
