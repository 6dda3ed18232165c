"""Memory: a process that takes a known amount, and a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from bindfs import bench

from reactivate.evidence import Bound, NotMeasured, Pid
from reactivate.instrument.contract import Instrument
from reactivate.instrument.memory import (
    Baseline,
    Memory,
    Reading,
    begin,
    measurements,
    read_counters,
)
from reactivate.workload.posix import POSIX

_TAKER = """
import os
os.write(1, b"a")
os.read(0, 1)
block = b"x" * (64 << 20)
del block
os.write(1, b"b")
os.read(0, 1)
"""


def test_the_peak_of_memory_that_was_given_back_is_seen() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as taker:
        assert taker.stdout is not None
        assert taker.stdin is not None
        assert taker.stdout.read(1) == b"a"
        first = begin(Pid(taker.pid))
        taker.stdin.write(b"1")
        taker.stdin.flush()
        assert taker.stdout.read(1) == b"b"
        last = read_counters(Pid(taker.pid))
        taker.communicate(b"2")
    by = {m.metric: m for m in measurements(first, last, evidence="m.json")}
    peak, idle, minor = by["rss.peak"].value, by["rss.idle"].value, by["faults.minor"].value
    assert not isinstance(peak, NotMeasured)
    assert not isinstance(idle, NotMeasured)
    assert not isinstance(minor, NotMeasured)
    assert 60 << 20 < peak - idle < 72 << 20
    assert last.rss_bytes < peak - (48 << 20)
    assert minor > 0
    assert by["rss.peak"].bound is Bound.EXACT


def test_a_peak_that_may_be_the_starts_is_an_upper_bound() -> None:
    before = Reading(rss_bytes=100, peak_rss_bytes=500, minor_faults=10, major_faults=1)
    unsure = measurements(Baseline(reading=before, reset=False), before, evidence="")
    assert next(m for m in unsure if m.metric == "rss.peak").bound is Bound.UPPER
    risen = replace(before, peak_rss_bytes=501, minor_faults=17)
    sure = measurements(Baseline(reading=before, reset=False), risen, evidence="")
    assert next(m for m in sure if m.metric == "rss.peak").bound is Bound.EXACT
    assert next(m for m in sure if m.metric == "faults.minor").value == 7


def test_it_says_that_it_works_here() -> None:
    contract: Instrument = Memory()
    assert contract.availability().ready


@pytest.mark.fuse
def test_bindfs_has_memory_and_faults(needs_fuse: None, tmp_path: Path) -> None:
    found = trio.run(Memory().measure, bench(tmp_path, POSIX[:5], repeats=3))
    by = {m.metric: m.value for m in found}
    assert set(by) == set(Memory.measures)
    idle, peak = by["rss.idle"], by["rss.peak"]
    assert not isinstance(idle, NotMeasured)
    assert not isinstance(peak, NotMeasured)
    assert 100_000 < idle <= peak < 1 << 30
    document = json.loads((tmp_path / "evidence" / "memory.json").read_text())
    assert document["after"]["peak_rss_bytes"] == peak
    assert document["operations"] == [operation.name for operation in POSIX[:5]]
