"""Traces of the kernel-tracing manager: its lines, and whatever else a file may hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivate.errors import UsageError
from reactivate.run.kernel_trace import MOST_FUNCTIONS, Span, overlaps, read_trace

TRACE = """\
Attaching 12 probes...
[10:15:30] VexFS: vexfs_search() called by PID=4711 (python3)
[10:15:30] VexFS COMPLETE: vexfs_search() latency=120 μs, results=5
[10:15:31] VexFS: vexfs_search() called by PID=4712 (weird) name)
[10:15:32] VexFS: COMPLETE: vexfs_search() latency=2 ms, results=7

[10:15:33] VexFS: vexfs_insert() called by PID=4711 (python3)
[25:00:00] VexFS: vexfs_insert() called by PID=1 (x)
"""


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "trace.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_both_forms_are_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, TRACE))
    assert found.lines == 7
    assert found.unknown == 2
    assert found.examples[0] == "'Attaching 12 probes...'"
    search = found.functions["vexfs_search"]
    assert search.calls == 2
    assert search.latencies_ns == [120_000, 2_000_000]
    assert search.results == 12
    assert search.pids == {4711, 4712}
    assert search.latency_ns(0.5) == 120_000
    assert search.latency_ns(0.99) == 2_000_000
    assert found.functions["vexfs_insert"].latency_ns(1.0) is None


def test_lines_are_placed_in_the_time_of_attempts(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, TRACE))
    day = datetime(2026, 1, 2, tzinfo=UTC)
    spans = [
        Span(attempt=1, name="first", begin=day.replace(hour=10, minute=15, second=30,
             microsecond=900), end=day.replace(hour=10, minute=15, second=31)),
        Span(attempt=2, name="later", begin=day.replace(hour=11), end=day.replace(hour=12)),
    ]  # fmt: skip
    (only,) = overlaps(found, day.date(), UTC, spans)
    assert only.span.attempt == 1
    assert only.lines == {"vexfs_search": 3}
    # An hour to the east, 10:15 is 09:15 UTC.
    assert not overlaps(found, day.date(), timezone(timedelta(hours=1)), spans)


def test_after_midnight_comes_the_next_day(tmp_path: Path) -> None:
    call = "[{}] VexFS: f() called by PID=1 (c)\n"
    found = read_trace(written(tmp_path, call.format("23:59:59") + call.format("00:00:01")))
    after = datetime(2026, 1, 3, 0, 0, 1, tzinfo=UTC)
    span = Span(attempt=1, name="late", begin=after, end=after)
    (only,) = overlaps(found, date(2026, 1, 2), UTC, [span])
    assert only.lines == {"f": 1}


def test_times_that_lead_beyond_the_calendar(tmp_path: Path) -> None:
    call = "[{}] VexFS: f() called by PID=1 (c)\n"
    found = read_trace(written(tmp_path, (call.format("23:59:59") + call.format("00:00:01")) * 9))
    now = datetime(2026, 1, 3, tzinfo=UTC)
    assert not overlaps(found, date.max, UTC, [Span(attempt=1, name="x", begin=now, end=now)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 lines are of another form"),
        (b"\x7fELF\0\xff\xfe" * 1000, "1 lines are of another form"),
        (b"[10:00:00] VexFS: f() called by nobody\n", "1 lines are of another form"),
    ],
)
def test_what_holds_no_such_line_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_trace(written(tmp_path, content))
    assert words in caught.value.why
    with pytest.raises(UsageError, match="is not a file"):
        read_trace(tmp_path)


def test_a_line_without_end_and_functions_without_number(tmp_path: Path) -> None:
    many = "".join(f"[10:00:00] VexFS: f{n}() called by PID=1 (c)\n" for n in range(1_100))
    endless = "[10:00:00] VexFS: " + "x" * 100_000 + "() called by PID=1 (c)\n"
    found = read_trace(written(tmp_path, endless + many))
    assert len(found.functions) == MOST_FUNCTIONS
    assert found.left_out == 100
    assert found.unknown == 1
    assert found.lines == 1_101
    assert len(found.examples[0]) < 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    good = b"[10:00:00] VexFS: f() called by PID=1 (c)\n"
    found = read_trace(written(tmp_path, good + content))
    assert found.functions["f"].calls >= 1
    assert found.lines <= 1 + len(content)
