"""What is read equals what was written, types included, whatever it is."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivate.errors import LedgerError
from reactivate.evidence import (
    Bound,
    Check,
    Dimension,
    Measurement,
    NotMeasured,
    Role,
    Verdict,
)
from reactivate.gate.judgement import Judgement
from reactivate.ledger import ArtifactRecord, DecisionDraft, Ledger, codec

# Lone surrogates are no Unicode text; SQLite cannot hold them, and the ledger refuses them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
NOT_MEASURED = st.builds(NotMeasured, reason=TEXT.filter(bool))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip
TABLES = st.dictionaries(st.text(max_size=8), PLAIN, max_size=4)

MEASUREMENTS = st.builds(
    Measurement,
    metric=TEXT,
    value=NUMBERS | NOT_MEASURED,
    instrument=TEXT,
    bound=st.sampled_from(Bound),
    role=st.sampled_from(Role),
    operation=TEXT,
    thread=TEXT,
    samples=st.lists(NUMBERS, max_size=5).map(tuple),
    evidence=TEXT,
    note=TEXT,
)
JUDGEMENTS = st.builds(
    Judgement,
    criterion=TEXT,
    source=TEXT,
    check=st.sampled_from(Check),
    verdict=st.sampled_from(Verdict),
    observed=NUMBERS | NOT_MEASURED,
    limit=NUMBERS | NOT_MEASURED,
    dimension=st.sampled_from(Dimension),
    samples=st.integers(0, 2**63 - 1),
    interval=st.none() | st.tuples(NUMBERS, NUMBERS),
    operation=TEXT,
    thread=TEXT,
    instrument=TEXT,
    evidence=TEXT,
    reason=TEXT,
)
ARTIFACTS = st.builds(
    ArtifactRecord,
    path=TEXT.filter(bool),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size_bytes=st.integers(0, 2**63 - 1),
    note=TEXT,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    measurements=st.lists(MEASUREMENTS, max_size=4),
    judgements=st.lists(JUDGEMENTS, max_size=3),
    artifacts=st.lists(ARTIFACTS, max_size=3, unique_by=lambda a: a.path),
    data=TABLES,
    context=TABLES,
    environment=TABLES,
)
def test_round_trip(
    measurements: list[Measurement],
    judgements: list[Judgement],
    artifacts: list[ArtifactRecord],
    data: dict[str, Any],
    context: dict[str, Any],
    environment: dict[str, Any],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger.open(path, writer=True) as ledger:
            attempt = ledger.begin_attempt("a", "baseline", environment)
            ledger.finish(
                attempt,
                "passed",
                events=[("e", data)],
                measurements=measurements,
                judgements=judgements,
                artifacts=artifacts,
                decisions=[
                    DecisionDraft(kind="k", phase="a", reason="r", who="w", context=context)
                ],
            )
        with Ledger.open(path, writer=False) as reader:
            # repr tells 1 from 1.0, 0.0 from -0.0 and a list from a tuple.
            assert repr(reader.measurements(attempt.id)) == repr(tuple(measurements))
            assert repr(reader.judgements(attempt.id)) == repr(tuple(judgements))
            assert repr(reader.artifacts(attempt.id)) == repr(tuple(artifacts))
            assert reader.events(kind="e")[0].data == data
            assert reader.decisions()[0].context == context
            assert reader.environment(attempt.environment_sha256) == environment


@given(TABLES)
def test_equal_data_has_one_text(data: dict[str, Any]) -> None:
    turned = dict(reversed(list(data.items())))
    assert codec.dump(data, "x") == codec.dump(turned, "x")
    assert codec.load(codec.dump(data, "x")) == data


@pytest.mark.parametrize(
    "bad",
    [float("nan"), [float("inf")], {1: 2}, {"a": {None: 1}}, [({"a": {2: 1}},)], b"x", {1, 2}, 1j],
    ids=repr,
)
def test_what_json_would_bend_is_refused(bad: Any) -> None:
    with pytest.raises(LedgerError, match="the event e cannot be recorded"):
        codec.dump(bad, "the event e")


def test_data_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(LedgerError):
        codec.dump(endless, "x")


def test_words_of_an_enumeration_are_text() -> None:
    assert json.loads(codec.dump({"verdict": Verdict.FAIL}, "x")) == {"verdict": "fail"}


@pytest.mark.parametrize("column", range(11))
def test_a_row_that_no_writer_wrote_is_not_understood(column: int) -> None:
    row: list[Any] = ["m", None, None, "i", "about", "nobody", "", "", "{", "", ""]
    good: list[Any] = ["m", 1, None, "i", "exact", "subject", "", "", "[]", "", ""]
    assert codec.measurement(tuple(good)).value == 1
    if column in (1, 4, 5, 8):
        good[column] = row[column]
        with pytest.raises(ValueError, match=r"."):
            codec.measurement(tuple(good))


_AT = "2026-01-02T03:04:05.000006Z"
_GOOD: dict[Callable[..., object], tuple[object, ...]] = {
    codec.event: (1, _AT, "k", "", None, "{}"),
    codec.attempt: (1, "p", "s", 1, _AT, None, "running", "", "e", "p/attempt-001"),
    codec.measurement: ("m", 1, None, "i", "exact", "subject", "", "", "[1, 2.5]", "", ""),
    codec.decision: (1, _AT, 1, "k", "", None, None, "r", "w", 0, None, "{}"),
}
_WRONG = [
    (codec.event, 1, "2026-13-45T00:00:00.000000Z"), (codec.event, 1, "now"),
    (codec.event, 2, b"k"), (codec.event, 5, "[]"), (codec.event, 5, '{"a": 1e400}'),
    (codec.event, 5, '{"a": ' + "9" * 400 + "}"), (codec.event, 5, "{"),
    (codec.event, 5, '{"a": ' + "[" * 70 + "]" * 70 + "}"), (codec.event, 5, '{"a": NaN}'),
    (codec.attempt, 3, "1"), (codec.attempt, 4, "yesterday"), (codec.attempt, 9, None),
    (codec.measurement, 1, math.inf), (codec.measurement, 1, "5"), (codec.measurement, 8, "5"),
    (codec.measurement, 8, '["5"]'), (codec.measurement, 8, "[true]"),
    (codec.measurement, 8, "[1e400]"), (codec.measurement, 8, '{"1": 2}'),
    (codec.measurement, 8, "[" * 100_000), (codec.decision, 11, "[]"), (codec.decision, 10, "1"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(_WRONG)))
def test_a_forged_row_is_refused(number: int) -> None:
    decode, column, cell = _WRONG[number]
    good = _GOOD[decode]
    decode(good)
    with pytest.raises(ValueError, match=r"."):
        decode((*good[:column], cell, *good[column + 1 :]))
