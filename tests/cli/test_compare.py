"""`reactivate compare`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.evidence import Measurement
from tests.cli.workspaces import in_process
from tests.report.test_comparison import HERE, depth, recorded


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two campaigns on two kernels: reading goes a page deeper in the second."""
    one, other = tmp_path / "one", tmp_path / "other"
    then, now = {"main": 100, "walk": 5_000}, {"main": 100, "walk": 9_096}
    for root, size, functions, kernel in ((one, 1_000, then, "1"), (other, 5_096, now, "2")):
        environment = {**HERE, "kernel": f"Linux {kernel}"}
        recorded(root, "search", "baseline", [depth("read", size), depth("stat", 500)],
                 environment=environment)  # fmt: skip
        recorded(root, "search", "trace", [], environment=environment, chains={"read": functions})
    return one, other


def test_environments_come_first_then_numbers_then_frames(
    sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    result = in_process(["compare", *map(str, sides)], capsys)
    assert result.code == ExitCode.DONE, result.err
    lines = result.out.splitlines()
    said = [
        next(i for i, line in enumerate(lines) if text in line)
        for text in ("different environments", "kernel was Linux 1, is Linux 2", "stack.operation",
                     "frames of `read`", "walk")
    ]  # fmt: skip
    assert said == sorted(said)
    (row,) = (line for line in lines if "stack.operation" in line)
    assert row.split()[1:3] == ["read", "main"]
    assert "+4,096 B" in row
    assert "more" in row
    assert "stat" not in result.out
    assert lines[-1].startswith("next: reactivate compare ")
    everything = in_process(["compare", *map(str, sides), "--all"], capsys)
    assert "stat" in everything.out


def test_json_has_every_number_and_function(
    sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    document = in_process(["compare", *map(str, sides), "--json"], capsys).json()
    assert document["schema"] == "reactivate.compare/1"
    assert document["same_environment"] is False
    assert document["changed"] == 1
    baseline, trace = document["checks"]
    assert [d["change"] for d in baseline["differences"]] == ["more", "same"]
    assert baseline["differences"][0]["by"] == 4_096
    assert [e["key"] for e in baseline["environment"]] == ["kernel"]
    (chain,) = trace["chains"]
    assert [(f["function"], f["change"]) for f in chain["functions"]] == [
        ("walk", "more"), ("main", "same"),
    ]  # fmt: skip


def test_an_interval_says_what_it_assumes_of_mounts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root, median in ((one, 1_000), (other, 2_000)):
        samples = tuple(median + i % 7 for i in range(200))
        read = Measurement(metric="latency.p50", value=samples[100], instrument="latency",
                           operation="read", samples=samples)  # fmt: skip
        recorded(root, "search", "baseline", [depth("read", 500), read])
    shown = in_process(["compare", str(one), str(other)], capsys).out
    assert shown.count("assumes that two mounts of one build differ by 0.6 %") == 1
    document = in_process(["compare", str(one), str(other), "--json"], capsys).json()
    assumed = {d["metric"]: d["assumes"] for d in document["checks"][0]["differences"]}
    assert assumed["stack.operation"] is None
    assert "two mounts" in assumed["latency.p50"]


def test_it_needs_no_workspace_here_unless_one_is_meant(
    sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sides[0].parent)
    result = in_process(["compare", "one:search/attempt-1", "other/ledger.db"], capsys)
    assert result.code == ExitCode.DONE, result.err
    refused = in_process(["compare", ":search", ":search", "--json"], capsys)
    assert refused.json()["error"] == "WorkspaceError"
    missing = in_process(["compare", "one", "nowhere", "--json"], capsys)
    assert missing.code == ExitCode.USAGE
    nothing = in_process(["compare", "one:attempt-1", "other:attempt-2", "--json"], capsys)
    assert nothing.code == ExitCode.INCONCLUSIVE
