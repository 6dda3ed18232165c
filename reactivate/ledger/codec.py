"""Records to rows and back, exactly: what is read equals what was written, types included."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from reactivate.errors import LedgerError
from reactivate.evidence import Bound, Check, Dimension, Measurement, NotMeasured, Role, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import (
    JSON,
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    Decision,
    Event,
)

Row: TypeAlias = tuple[Any, ...]
"""A row as sqlite3 returns it; what it holds is checked by the functions below."""
Columns: TypeAlias = dict[str, int | float | str | None]
"""A row to write, by column."""

EVENT: Final = "seq, at, kind, phase, attempt, data"
ATTEMPT: Final = (
    "id, phase, step, number, started_at, ended_at, status, outcome, environment_sha256, folder"
)
MEASUREMENT: Final = (
    "metric, value, not_measured, instrument, bound, role, operation, thread, samples, "
    "evidence, note"
)
VERDICT: Final = (
    'criterion, source, "check", verdict, observed, observed_missing, "limit", limit_missing, '
    "dimension, interval_low, interval_high, samples, operation, thread, instrument, evidence, "
    "reason"
)
ARTIFACT: Final = "path, sha256, size_bytes, note"
DECISION: Final = (
    "number, at, seq, kind, phase, attempt, criterion, reason, who, unattended, supersedes, context"
)

_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**63 - 1


def dump(value: JSON, what: str) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII. Equal values give equal text.

    Raises:
        LedgerError: NaN, an infinity, a key that is not text, or a type JSON does not have.
    """
    try:
        _refuse_other_keys(value)
        return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerError(
            f"{what} cannot be recorded",
            why=str(error),
            hint="record plain finite data; a value that does not exist is NotMeasured",
        ) from error


def _refuse_other_keys(value: JSON) -> None:
    # json.dumps would turn the key 1 into "1" and so give back something else.
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not text")
            _refuse_other_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_other_keys(inner)


def _number(value: float | int, what: str) -> float | int:
    """The value, if SQLite gives it back as it is."""
    why = ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        why = f"{value!r} is not a number"
    elif isinstance(value, int):
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            why = f"an integer of {value.bit_length()} bits does not fit into 64"
    elif not math.isfinite(value):
        why = f"{value!r} is not a measured value"
    if why:
        raise LedgerError(
            f"{what} cannot be recorded",
            why=why,
            hint="a value that does not exist is recorded as NotMeasured with the reason",
        )
    return value


def _split(value: float | int | NotMeasured, what: str) -> tuple[float | int | None, str | None]:
    """Value and reason; exactly one of them exists."""
    if not isinstance(value, NotMeasured):
        return _number(value, what), None
    if not value.reason:
        raise LedgerError(f"{what} cannot be recorded", why="NotMeasured without a reason")
    return None, value.reason


def _join(value: float | int | None, reason: str | None) -> float | int | NotMeasured:
    if reason is not None:
        return NotMeasured(reason=reason)
    if isinstance(value, (int, float)):
        return value
    raise ValueError("neither a value nor a reason")


def measurement_row(attempt: int, m: Measurement) -> Columns:
    """Columns of one measurement.

    Raises:
        LedgerError: a value or sample is not a finite number of 64 bits.
    """
    what = f"{m.metric} of `{m.operation}`" if m.operation else m.metric
    value, reason = _split(m.value, what)
    for sample in m.samples:
        _number(sample, f"a sample of {what}")
    return {
        "attempt": attempt,
        "metric": m.metric,
        "value": value,
        "not_measured": reason,
        "instrument": m.instrument,
        "bound": m.bound.value,
        "role": m.role.value,
        "operation": m.operation,
        "thread": m.thread,
        "samples": dump(m.samples, f"the samples of {what}"),
        "evidence": m.evidence,
        "note": m.note,
    }


def judgement_row(attempt: int, j: Judgement) -> Columns:
    """Columns of one judgement.

    Raises:
        LedgerError: a number in it is not a finite number of 64 bits.
    """
    observed, observed_missing = _split(j.observed, f"the observed value of {j.criterion}")
    limit, limit_missing = _split(j.limit, f"the limit of {j.criterion}")
    low, high = (None, None) if j.interval is None else j.interval
    for end in () if j.interval is None else j.interval:
        _number(end, f"the interval of {j.criterion}")
    return {
        "attempt": attempt,
        "criterion": j.criterion,
        "source": j.source,
        "check": j.check.value,
        "verdict": j.verdict.value,
        "observed": observed,
        "observed_missing": observed_missing,
        "limit": limit,
        "limit_missing": limit_missing,
        "dimension": j.dimension.value,
        "interval_low": low,
        "interval_high": high,
        "samples": j.samples,
        "operation": j.operation,
        "thread": j.thread,
        "instrument": j.instrument,
        "evidence": j.evidence,
        "reason": j.reason,
    }


def artifact_row(attempt: int, a: ArtifactRecord) -> Columns:
    """Columns of one artifact."""
    return {
        "attempt": attempt,
        "path": a.path,
        "sha256": a.sha256,
        "size_bytes": a.size_bytes,
        "note": a.note,
    }


def load(text: str) -> Any:
    """What `dump` wrote."""
    return json.loads(text)


def event(row: Row) -> Event:
    """An event from the columns `EVENT`."""
    seq, at, kind, phase, attempt, data = row
    return Event(seq=seq, at=at, kind=kind, phase=phase, attempt=attempt, data=load(data))


def attempt(row: Row) -> AttemptRecord:
    """An attempt from the columns `ATTEMPT`."""
    identity, phase, step, number, started, ended, status, outcome, environment, folder = row
    return AttemptRecord(
        id=identity,
        phase=phase,
        step=step,
        number=number,
        started_at=started,
        ended_at=ended,
        status=AttemptStatus(status),
        outcome=outcome,
        environment_sha256=environment,
        folder=folder,
    )


def measurement(row: Row) -> Measurement:
    """A measurement from the columns `MEASUREMENT`."""
    metric, value, reason, instrument, bound, role, operation, thread, samples, evidence, note = row
    return Measurement(
        metric=metric,
        value=_join(value, reason),
        instrument=instrument,
        bound=Bound(bound),
        role=Role(role),
        operation=operation,
        thread=thread,
        # Most values come without samples; loading that text would double the time of a read.
        samples=() if samples == "[]" else tuple(load(samples)),
        evidence=evidence,
        note=note,
    )


def judgement(row: Row) -> Judgement:
    """A judgement from the columns `VERDICT`."""
    criterion, source, check, verdict, observed, observed_missing, limit, limit_missing = row[:8]
    dimension, low, high, samples, operation, thread, instrument, evidence, reason = row[8:]
    return Judgement(
        criterion=criterion,
        source=source,
        check=Check(check),
        verdict=Verdict(verdict),
        observed=_join(observed, observed_missing),
        limit=_join(limit, limit_missing),
        dimension=Dimension(dimension),
        interval=None if low is None else (low, high),
        samples=samples,
        operation=operation,
        thread=thread,
        instrument=instrument,
        evidence=evidence,
        reason=reason,
    )


def artifact(row: Row) -> ArtifactRecord:
    """An artifact from the columns `ARTIFACT`."""
    path, sha256, size_bytes, note = row
    return ArtifactRecord(path=path, sha256=sha256, size_bytes=size_bytes, note=note)


def decision(row: Row) -> Decision:
    """A decision from the columns `DECISION`."""
    number, at, seq, kind, phase, attempt_id, criterion, reason, who, unattended = row[:10]
    supersedes, context = row[10:]
    return Decision(
        number=number,
        at=at,
        seq=seq,
        kind=kind,
        phase=phase,
        attempt=attempt_id,
        criterion=criterion,
        reason=reason,
        who=who,
        unattended=bool(unattended),
        supersedes=supersedes,
        context=load(context),
    )
