"""The cross-check of a trace takes the watermark from the right baseline check, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.campaign.agreement import EVIDENCE, agreed
from reactivate.evidence import Measurement
from reactivate.ledger.store import Ledger
from reactivate.run.checks import CheckRun
from reactivate.run.environment import machine
from reactivate.target.model import Build

PLANTED = 9000
DEPTH = 4000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db", writer=True) as opened:
        yield opened


def build(artifact: str = "a" * 64, configuration: str = "c" * 64) -> Build:
    return Build(
        components=("search_engine",), artifact=Path("it.so"), artifact_sha256=artifact,
        configuration_sha256=configuration, seconds=0.0, log=Path("log"), command=(),
    )  # fmt: skip


def depth(metric: str, value: int, instrument: str) -> Measurement:
    return Measurement(
        metric=metric, value=value, operation="search", thread="main", samples=(value,),
        instrument=instrument,
    )  # fmt: skip


def baseline(ledger: Ledger, phase: str, depth_bytes: int, of: Build) -> None:
    environment = {
        **machine(),
        "artifact_sha256": of.artifact_sha256,
        "configuration_sha256": of.configuration_sha256,
    }
    attempt = ledger.begin_attempt(phase, "baseline", environment)
    found = [depth("stack.operation", depth_bytes, "watermark")]
    ledger.finish(attempt, "advanced", measurements=found, environment=environment)


def disagreement(ledger: Ledger, folder: Path, of: Build) -> object:
    run = CheckRun(
        measurements=(
            depth("stack.painted", DEPTH, "deepest"), depth("stack.unwound", DEPTH, "deepest"),
        ),
        instruments=(),
    )  # fmt: skip
    found = agreed(run, ledger, "search_engine", of, folder, baseline="baseline")
    (value,) = [m.value for m in found.measurements if m.metric == "stack.disagreement"]
    (entry,) = json.loads((folder / EVIDENCE).read_text())
    assert entry["disagreement_bytes"] == value
    assert [shown.instrument for shown in found.instruments] == ["crosscheck"]
    return value


def test_a_planted_watermark_is_a_disagreement(ledger: Ledger, tmp_path: Path) -> None:
    baseline(ledger, "search_engine", DEPTH + PLANTED, build())
    assert disagreement(ledger, tmp_path, build()) == PLANTED
    # The last one counts.
    baseline(ledger, "search_engine", DEPTH + 8, build())
    assert disagreement(ledger, tmp_path, build()) == 8


def test_another_build_or_phase_is_not_compared(ledger: Ledger, tmp_path: Path) -> None:
    baseline(ledger, "vector_storage", DEPTH + PLANTED, build())
    assert disagreement(ledger, tmp_path, build()) == 0
    baseline(ledger, "search_engine", DEPTH + PLANTED, build())
    assert disagreement(ledger, tmp_path, build(artifact="b" * 64)) == 0
    assert disagreement(ledger, tmp_path, build(configuration="d" * 64)) == 0
