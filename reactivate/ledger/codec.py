"""Records to rows and back, exactly: what is read equals what was written, types included."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import product
from typing import Any, Final, TypeAlias

from reactivate.documents import MOST_LEVELS, refuse_deep
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
    if value is None:
        raise ValueError("neither a value nor a reason")
    if not _finite(value):
        raise ValueError("a value is not finite")
    return value


def _interval(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None and high is None:
        return None
    if low is None or high is None or not (_finite(low) and _finite(high)):
        raise ValueError("an interval has no two ends")
    return low, high


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


def load(text: str, decode: Callable[[str], Any] | None = None) -> Any:
    """What `dump` wrote.

    Raises:
        ValueError: it is something else; `reactivate.documents` is stricter, and slower.
    """
    try:
        found = (decode or _DECODE)(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    # Brackets in texts are counted, too; then the slower look decides.
    if text.count("[") + text.count("{") > MOST_LEVELS:
        refuse_deep(found)
    return found


def table(text: str) -> dict[str, Any]:
    """As `load`, of data, a context or an environment: an object, not nested without end."""
    found = load(text, _DECODE_TABLE)
    if not isinstance(found, dict):
        raise ValueError("what should be a table is none")
    return found


def _samples(text: str) -> tuple[float | int, ...]:
    found = load(text)
    if not isinstance(found, list) or not _NUMBERS.issuperset(map(type, found)):
        raise ValueError("samples are something else than numbers")
    if not all(map(_finite, found)):
        raise ValueError("a sample is not finite")
    return tuple(found)


def _finite(value: float) -> bool:
    return -_LARGEST <= value <= _LARGEST


def plain(row: Row) -> bool:
    """Whether a row holds only what a ledger writes: texts, and numbers that are finite."""
    return _PLAIN.issuperset(map(type, row)) and all(
        _finite(value) for value in row if type(value) is float
    )


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no measured value")


def _float(digits: str) -> float:
    if not _finite(found := float(digits)):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return found


def _int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"{digits[:40]}... is too large for a number")
    return int(digits)


_DIGITS: Final = sys.float_info.max_10_exp
_DECODE: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode
_DECODE_TABLE: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_float, parse_int=_int
).decode
_NUMBERS: Final = frozenset({int, float})
_PLAIN: Final = frozenset({int, float, str, type(None)})
_LARGEST: Final = sys.float_info.max
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def _kinds(columns: str) -> frozenset[tuple[type, ...]]:
    """All rows of types that columns may hold: one letter for each, in capitals if also NULL."""
    types = {"i": (int,), "t": (str,), "n": (int, float)}
    return frozenset(
        product(*((*types[c.lower()], type(None)) if c.isupper() else types[c] for c in columns))
    )


_EVENT_KINDS: Final = _kinds("itttIt")
_ATTEMPT_KINDS: Final = _kinds("ittitTtttt")
_MEASUREMENT_KINDS: Final = _kinds("tNTtttttttt")
_VERDICT_KINDS: Final = _kinds("ttttNTNTtNNittttt")
_ARTIFACT_KINDS: Final = _kinds("ttit")
_DECISION_KINDS: Final = _kinds("ititt" + "I" + "TttiI" + "t")


def _of(kinds: frozenset[tuple[type, ...]], row: Row) -> Row:
    """The row, if each column holds what it is for; SQLite itself keeps anything anywhere."""
    if tuple(map(type, row)) not in kinds:
        raise ValueError("a column holds something that it is not for")
    return row


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no time")
    datetime.fromisoformat(text)
    return text


def event(row: Row) -> Event:
    """An event from the columns `EVENT`."""
    seq, at, kind, phase, attempt, data = _of(_EVENT_KINDS, row)
    return Event(seq=seq, at=_time(at), kind=kind, phase=phase, attempt=attempt, data=table(data))


def attempt(row: Row) -> AttemptRecord:
    """An attempt from the columns `ATTEMPT`."""
    identity, phase, step, number, started, ended = _of(_ATTEMPT_KINDS, row)[:6]
    status, outcome, environment, folder = row[6:]
    return AttemptRecord(
        id=identity,
        phase=phase,
        step=step,
        number=number,
        started_at=_time(started),
        ended_at=None if ended is None else _time(ended),
        status=AttemptStatus(status),
        outcome=outcome,
        environment_sha256=environment,
        folder=folder,
    )


def measurement(row: Row) -> Measurement:
    """A measurement from the columns `MEASUREMENT`."""
    metric, value, reason, instrument, bound, role = _of(_MEASUREMENT_KINDS, row)[:6]
    operation, thread, samples, evidence, note = row[6:]
    return Measurement(
        metric=metric,
        value=_join(value, reason),
        instrument=instrument,
        bound=Bound(bound),
        role=Role(role),
        operation=operation,
        thread=thread,
        # Most values come without samples; loading that text would double the time of a read.
        samples=() if samples == "[]" else _samples(samples),
        evidence=evidence,
        note=note,
    )


def judgement(row: Row) -> Judgement:
    """A judgement from the columns `VERDICT`."""
    criterion, source, check, verdict, observed, observed_missing = _of(_VERDICT_KINDS, row)[:6]
    limit, limit_missing = row[6:8]
    dimension, low, high, samples, operation, thread, instrument, evidence, reason = row[8:]
    return Judgement(
        criterion=criterion,
        source=source,
        check=Check(check),
        verdict=Verdict(verdict),
        observed=_join(observed, observed_missing),
        limit=_join(limit, limit_missing),
        dimension=Dimension(dimension),
        interval=_interval(low, high),
        samples=samples,
        operation=operation,
        thread=thread,
        instrument=instrument,
        evidence=evidence,
        reason=reason,
    )


def artifact(row: Row) -> ArtifactRecord:
    """An artifact from the columns `ARTIFACT`."""
    path, sha256, size_bytes, note = _of(_ARTIFACT_KINDS, row)
    return ArtifactRecord(path=path, sha256=sha256, size_bytes=size_bytes, note=note)


def decision(row: Row) -> Decision:
    """A decision from the columns `DECISION`."""
    number, at, seq, kind, phase, attempt_id, criterion, reason, who, unattended = _of(
        _DECISION_KINDS, row
    )[:10]
    supersedes, context = row[10:]
    return Decision(
        number=number,
        at=_time(at),
        seq=seq,
        kind=kind,
        phase=phase,
        attempt=attempt_id,
        criterion=criterion,
        reason=reason,
        who=who,
        unattended=bool(unattended),
        supersedes=supersedes,
        context=table(context),
    )
