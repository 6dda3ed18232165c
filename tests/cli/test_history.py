"""`reactivate history` shows how a number moved."""

from __future__ import annotations

import pytest

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here
from tests.report.hostile import build


@pytest.fixture
def measured(here: Here) -> Here:
    build(here.root)
    return here


def test_a_line_for_each_attempt_and_a_sparkline(measured: Here) -> None:
    result = measured("history", "stack.operation")
    assert result.code == ExitCode.DONE
    first, *rest = result.out.splitlines()
    assert first == "stack.operation  ▁█"
    rows = [line.split() for line in rest if line.startswith("  ")]
    assert [(row[0], " ".join(row[4:6])) for row in rows] == [
        ("baseline", "3,000 B"),
        ("search", "3,900 B"),
    ]
    assert rest[-1] == "next: reactivate analyze --component search"
    assert "\x1b" not in result.out


def test_json_has_the_evidence_and_what_it_was_measured_on(measured: Here) -> None:
    document = measured("history", "rss.peak", "--component", "search", "--json").json()
    (point,) = document["points"]
    assert point["value"] is None
    assert point["not_measured"]
    document = measured("history", "stack.operation", "--json").json()
    evidence = [point["evidence"] for point in document["points"]]
    assert evidence[0] == "results/baseline/attempt-001/watermark/water mark.json"
    assert all((measured.root / path).is_file() for path in evidence)
    assert all(point["commit"] is None for point in document["points"])


def test_a_metric_nobody_measured_and_one_that_does_not_exist(measured: Here) -> None:
    result = measured("history", "perf.cpu")
    assert result.code == ExitCode.DONE
    assert "not measured in any attempt" in result.out
    result = measured("history", "stack.peek")
    assert result.code == ExitCode.USAGE
    assert "did you mean `stack.peak`" in result.err
    assert measured("history", "stack.peak", "--component", "x").code == ExitCode.USAGE
