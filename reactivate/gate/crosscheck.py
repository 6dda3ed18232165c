"""Cross-check: what independent instruments say of the same stack must not contradict. Pure.

Each instrument's number becomes a statement about one depth, an interval, after corrections that
are named here and in docs/gates.md. Two statements agree where their intervals come within a page
of each other. All depths are counted from the idle stack pointer: from the top of the mapping they
would differ between two mounts, since the kernel moves the main thread's first frame by up to
8 KiB at each exec, and the arguments, the environment and a thread's control block lie above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from reactivate.evidence import Bound, Measurement, NotMeasured, Role, Verdict
from reactivate.gate.judgement import Judgement

METRIC = "stack.disagreement"
INSTRUMENT = "crosscheck"
PAGE_BYTES = 4096
"""The most by which instruments may differ: what page faults see is pages."""

PAINTED = "stack.painted"
UNWOUND = "stack.unwound"
_WATERMARK = "stack.operation"
_GROWTH = "growth.reach"
_MASSIF = "stack.massif_operation"

_WITNESSES = frozenset({"watermark", "growth", "deepest", "massif"})
"""Instruments whose numbers stand or fall with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one instrument says of how deep an operation went, below the idle stack pointer.

    Attributes:
        witness: the instrument, in words.
        least_bytes: it was at least so deep.
        most_bytes: it was at most so deep; infinite where the instrument does not say.
        correction: what was done to the number before it was compared.
    """

    witness: str
    least_bytes: float
    most_bytes: float
    correction: str

    def gap_bytes(self, other: Statement) -> float:
        """How far the two intervals are apart; 0 where they overlap."""
        return max(0.0, self.least_bytes - other.most_bytes, other.least_bytes - self.most_bytes)

    def __str__(self) -> str:
        if math.isinf(self.most_bytes):
            return f"{self.witness} ≥ {self.least_bytes:,.0f}"
        if self.least_bytes <= 0:
            return f"{self.witness} ≤ {self.most_bytes:,.0f}"
        if self.least_bytes == self.most_bytes:
            return f"{self.witness} {self.least_bytes:,.0f}"
        return f"{self.witness} {self.least_bytes:,.0f} to {self.most_bytes:,.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All statements about one operation on one thread.

    Attributes:
        missing: why there are too few to compare, "" if there are enough.
    """

    operation: str
    thread: str
    statements: tuple[Statement, ...]
    missing: str = ""

    @property
    def gap_bytes(self) -> int:
        """The widest gap between two of them."""
        gaps = (a.gap_bytes(b) for a, b in combinations(self.statements, 2))
        return int(max(gaps, default=0.0))


def compare(
    run: Iterable[Measurement], recorded: Iterable[Measurement] = ()
) -> tuple[Comparison, ...]:
    """Compare what is said of each operation that was painted and unwound.

    Args:
        run: measurements of this run.
        recorded: the watermark's, of the same build in an earlier check.
    """
    own = [m for m in run if m.role is Role.SUBJECT]
    watermark = {
        (m.operation, m.thread): m
        for m in recorded
        if m.metric == _WATERMARK and m.role is Role.SUBJECT
    }
    by_metric: dict[str, list[Measurement]] = {}
    for m in own:
        by_metric.setdefault(m.metric, []).append(m)
    unwound = {(m.operation, m.thread): m for m in by_metric.get(UNWOUND, ())}
    deepest = _deepest(by_metric.get(PAINTED, ()), watermark)
    found = []
    for painted in by_metric.get(PAINTED, ()):
        place = (painted.operation, painted.thread)
        if isinstance(painted.value, NotMeasured):
            found.append(
                Comparison(
                    operation=painted.operation, thread=painted.thread, statements=(),
                    missing=painted.value.reason,
                )
            )  # fmt: skip
            continue
        statements = [
            _exactly("paint", painted.value, "one repetition"),
            *_unwound(unwound.get(place)),
            *_watermark(watermark.get(place)),
            *_growth(by_metric.get(_GROWTH, ()), painted.thread),
        ]
        if painted is deepest:
            statements += _massif(by_metric)
        found.append(
            Comparison(
                operation=painted.operation,
                thread=painted.thread,
                statements=tuple(statements),
                missing="" if len(statements) > 1 else "no second instrument measured it",
            )
        )
    return tuple(found)


def _exactly(witness: str, value: float, correction: str) -> Statement:
    return Statement(witness=witness, least_bytes=value, most_bytes=value, correction=correction)


def _unwound(measurement: Measurement | None) -> list[Statement]:
    if measurement is None or isinstance(measurement.value, NotMeasured):
        return []
    note = (
        "the bytes of all frames that are known, without those above the sleeping stack pointer "
        "and without what the innermost frame left unwritten"
    )
    return [_exactly("unwound frames", measurement.value, note)]


def _watermark(measurement: Measurement | None) -> list[Statement]:
    if measurement is None or isinstance(measurement.value, NotMeasured):
        return []
    least = min(measurement.samples, default=measurement.value)
    # A bound instead of a value says less, so it contradicts less.
    return [
        Statement(
            witness="watermark",
            least_bytes=0 if measurement.bound is Bound.UPPER else least,
            most_bytes=math.inf if measurement.bound is Bound.LOWER else measurement.value,
            correction="from the shallowest to the deepest repetition of the baseline check",
        )
    ]


def _growth(measurements: Sequence[Measurement], thread: str) -> list[Statement]:
    for m in measurements:
        if m.thread == thread and not isinstance(m.value, NotMeasured):
            note = (
                "to the lower end of the deepest page touched or resident; start-up may have "
                "touched it, so it says only what no operation went beyond"
            )
            return [Statement(witness="growth", least_bytes=0, most_bytes=m.value, correction=note)]
    return []


def _massif(by_metric: Mapping[str, Sequence[Measurement]]) -> list[Statement]:
    """Massif sums all threads, so it speaks only where one thread did everything."""
    if {m.thread for m in by_metric.get(PAINTED, ()) if m.thread} != {"main"}:
        return []
    return [
        Statement(
            witness="massif",
            least_bytes=m.value,
            most_bytes=math.inf,
            correction="at its deepest snapshot, for the deepest operation; between snapshots "
            "it may have been deeper",
        )
        for m in by_metric.get(_MASSIF, ())
        if not isinstance(m.value, NotMeasured)
    ]


def _deepest(
    painted: Sequence[Measurement], watermark: Mapping[tuple[str, str], Measurement]
) -> Measurement | None:
    """The operation that went deepest, by either painting."""

    def depth(m: Measurement) -> float:
        other = watermark.get((m.operation, m.thread))
        values = [x.value for x in (m, other) if x is not None]
        return max((v for v in values if not isinstance(v, NotMeasured)), default=-1.0)

    return max(painted, key=depth, default=None)


def measurements(compared: Sequence[Comparison], *, evidence: str) -> tuple[Measurement, ...]:
    """`stack.disagreement` of every operation that was compared.

    An upper bound: part of the gap may be that two runs differed, so beyond a limit it leaves
    the criterion open and does not fail it.
    """
    return tuple(
        Measurement(
            metric=METRIC,
            value=NotMeasured(reason=c.missing) if c.missing else c.gap_bytes,
            bound=Bound.UPPER,
            operation=c.operation,
            thread=c.thread,
            instrument=INSTRUMENT,
            samples=() if c.missing else (c.gap_bytes,),
            evidence=evidence,
            note="below idle: " + "; ".join(map(str, c.statements)),
        )
        for c in compared
    )


def as_json(compared: Sequence[Comparison]) -> list[dict[str, object]]:
    """Everything, for the evidence."""
    return [
        {
            "operation": c.operation,
            "thread": c.thread,
            "disagreement_bytes": None if c.missing else c.gap_bytes,
            "not_compared": c.missing,
            "statements": [
                {
                    "witness": s.witness,
                    "least_bytes": int(s.least_bytes),
                    "most_bytes": None if math.isinf(s.most_bytes) else int(s.most_bytes),
                    "correction": s.correction,
                }
                for s in c.statements
            ],
        }
        for c in compared
    ]


def dispute(judgements: Iterable[Judgement], run: Iterable[Measurement]) -> tuple[Judgement, ...]:
    """Leave open what rests on instruments that contradict each other by more than a page.

    A FAIL stays: one of the instruments has seen the limit exceeded.
    """
    beyond = [
        m
        for m in run
        if m.metric == METRIC
        and m.role is Role.SUBJECT
        and not isinstance(m.value, NotMeasured)
        and not m.value <= PAGE_BYTES
    ]
    return tuple(_disputed(judgement, beyond) for judgement in judgements)


def _disputed(judgement: Judgement, beyond: Sequence[Measurement]) -> Judgement:
    if judgement.verdict is not Verdict.PASS or judgement.instrument not in _WITNESSES:
        return judgement
    # A bad instrument is bad for every operation of the threads it looked at.
    against = [m for m in beyond if not judgement.thread or m.thread == judgement.thread]
    if not against:
        return judgement
    worst = max(against, key=lambda m: 0 if isinstance(m.value, NotMeasured) else m.value)
    return replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        reason=f"{judgement.reason}; but the instruments disagree by {worst.value:,} bytes of "
        f"`{worst.operation}`: {worst.note}",
    )
