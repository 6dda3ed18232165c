"""How a number moved, attempt by attempt."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivate.errors import UsageError
from reactivate.evidence import NotMeasured
from reactivate.report.analysis.history import ASCII_LEVELS, history, sparkline
from reactivate.report.analysis.reader import LedgerReader
from tests.report.hostile import build


def test_points_are_the_worst_of_each_attempt(tmp_path: Path) -> None:
    build(tmp_path)
    with LedgerReader.opened(tmp_path / "ledger.db") as reader:
        found = history(reader, "stack.operation")
        assert [(p.attempt.phase, p.measurement.value) for p in found] == [
            ("baseline", 3000),
            ("search", 3900),
        ]
        (one,) = history(reader, "stack.operation", component="search")
        assert one.attempt.phase == "search"
        # Builds that were measured beside it do not count.
        assert [p.measurement.value for p in history(reader, "latency.p50")] == [1500, 1500]
        missing = history(reader, "rss.peak")
        assert all(isinstance(p.measurement.value, NotMeasured) for p in missing)
        with pytest.raises(UsageError, match=r"did you mean `stack\.peak`"):
            history(reader, "stack.peek")
        with pytest.raises(UsageError, match="no component"):
            history(reader, "stack.peak", component="nothing")


def test_a_sparkline_is_lowest_for_the_least_and_highest_for_the_most() -> None:
    assert sparkline([0, 7, NotMeasured(reason="x"), 3.5]) == "▁█ ▅"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([0, 7], unicode=False) == ASCII_LEVELS[0] + ASCII_LEVELS[-1]
    assert sparkline([NotMeasured(reason="x")]) == " "


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300), max_size=20))
def test_every_value_has_one_character(values: list[float]) -> None:
    assert len(sparkline(values)) == len(values)
