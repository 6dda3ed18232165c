"""The search for the least stack: the search itself, and a real daemon that dies of too little."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest
import trio
from bindfs import bench
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Bound, Measurement, NotMeasured
from reactivate.instrument.death import Cause, DeathKind
from reactivate.instrument.search_limit import Attempt, Search
from reactivate.instrument.smallest_stack import Run, SmallestStack, measurements, one_run
from reactivate.procfs import fuse_mounts
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES

STEP = 4096
FULL = 2048 * STEP


def search(edge: int, *, noise: int = 0, error: int = 0, most: int = 11, seed: int = 0) -> Search:
    """Play a search against a daemon that needs `edge` bytes, give or take `noise` steps."""
    chance = random.Random(seed)
    found = Search(step_bytes=STEP, full_bytes=FULL, most_attempts=most)

    def attempt(limit: int) -> Attempt:
        need = edge + chance.randint(-noise, noise) * STEP
        survived = limit >= need
        touched = max(STEP, edge + error * STEP) if survived else 0
        return Attempt(limit_bytes=limit, survived=survived, touched_bytes=touched)

    found.learn(attempt(FULL // 4))
    while (limit := found.next_limit()) is not None:
        assert limit % STEP == 0
        assert STEP <= limit <= FULL
        found.learn(attempt(limit))
    return found


@given(edge=st.integers(2, 2048), error=st.integers(-3, 3))
@settings(max_examples=200, deadline=None)
def test_the_edge_is_found_within_twelve_runs(edge: int, error: int) -> None:
    found = search(edge * STEP, error=error)
    assert found.settled
    assert found.least_surviving == edge * STEP
    assert found.largest_dying == (edge - 1) * STEP
    assert len(found.attempts) <= 12


@given(edge=st.integers(8, 2000), seed=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_a_wobbling_edge_is_never_called_lower_than_it_died(edge: int, seed: int) -> None:
    found = search(edge * STEP, noise=2, seed=seed)
    least = found.least_surviving
    assert least is not None
    assert least > found.largest_dying
    assert abs(least - edge * STEP) <= 8 * STEP
    assert len(found.attempts) <= 12


def test_without_any_prediction_it_is_plain_bisection() -> None:
    found = Search(step_bytes=STEP, full_bytes=FULL, most_attempts=30)
    found.learn(Attempt(limit_bytes=FULL // 4, survived=True))
    edge = 137 * STEP
    while (limit := found.next_limit()) is not None:
        found.learn(Attempt(limit_bytes=limit, survived=limit >= edge))
    assert found.least_surviving == edge
    assert found.settled


def test_what_never_dies_has_no_edge() -> None:
    found = search(0)
    assert found.largest_dying == 0
    assert not found.settled


def test_what_never_lives_is_given_up_at_the_full_limit() -> None:
    found = search(FULL + STEP)
    assert found.least_surviving is None
    assert len(found.attempts) == 2


def test_attempts_are_limited() -> None:
    assert len(search(700 * STEP, error=600, most=3).attempts) == 4


# -- what is reported ----------------------------------------------------------------------


def run(limit: int, kind: DeathKind | None = None) -> Run:
    cause = None if kind is None else Cause(kind=kind, text="for a reason", address=Address(1))
    return Run(limit_bytes=limit, survived=cause is None, touched_bytes=STEP * 10, cause=cause)


def report(*runs: Run, crashes: int = 0) -> dict[str, Measurement]:
    found = Search(step_bytes=STEP, full_bytes=FULL, most_attempts=0)
    for each in runs:
        found.learn(
            Attempt(limit_bytes=each.limit_bytes, survived=each.survived, touched_bytes=STEP)
        )
    made = measurements("smallest_stack", FULL, crashes, list(runs), found, "e")
    assert {m.metric for m in made} == set(SmallestStack.measures)
    return {m.metric: m for m in made}


def test_a_survived_limit_above_an_overflow_is_the_minimum() -> None:
    found = report(run(FULL // 4), run(10 * STEP), run(9 * STEP, DeathKind.OVERFLOW))
    assert found["stack.minimum"].value == 10 * STEP
    assert found["stack.minimum"].bound is Bound.UPPER
    assert f"{9 * STEP:,}" in found["stack.minimum"].note
    assert found["overflow.reproduced"].value == 1
    assert found["overflow.crashes"].value == 0


def test_no_death_proves_nothing() -> None:
    found = report(run(FULL // 4), run(STEP))
    assert found["overflow.reproduced"].value == 0
    assert isinstance(found["stack.minimum"].value, NotMeasured)


def test_deaths_of_another_kind_do_not_count_as_overflows() -> None:
    found = report(run(FULL // 4), run(9 * STEP, DeathKind.UNKNOWN))
    assert found["overflow.reproduced"].value == 0
    assert isinstance(found["stack.minimum"].value, NotMeasured)


def test_a_death_with_a_quarter_is_told_with_its_cause() -> None:
    found = report(run(FULL // 4, DeathKind.OVERFLOW), run(FULL), crashes=1)
    assert found["overflow.crashes"].value == 1
    assert "for a reason" in found["overflow.crashes"].note


# -- on a mount ----------------------------------------------------------------------------


@pytest.mark.fuse
def test_a_real_daemon_dies_of_too_little_stack(needs_fuse: None, tmp_path: Path) -> None:
    found = {
        m.metric: m
        for m in trio.run(SmallestStack().measure, bench(tmp_path, SUITES["posix"], repeats=1))
    }
    assert found["overflow.crashes"].value == 0
    reproduced, minimum = found["overflow.reproduced"].value, found["stack.minimum"].value
    assert isinstance(reproduced, int)
    assert reproduced >= 1
    assert isinstance(minimum, int)
    assert 8 * 1024 <= minimum <= 256 * 1024
    document = json.loads((tmp_path / "evidence" / "smallest-stack.json").read_text())
    assert len(document["runs"]) <= 12
    deaths = [each for each in document["runs"] if each["death"]]
    assert all(each["limit_bytes"] < minimum for each in deaths)
    overflow = next(each["death"] for each in deaths if each["death"]["kind"] == "overflow")
    assert overflow["signal"] == "SIGSEGV"
    # A fault has an address; at a start for which the kernel finds no room there is none.
    assert (overflow["distance_bytes"] == 0) == ("no room" in overflow["text"])
    # Only the first limits are a quarter or more; there it must live.
    assert document["runs"][0]["survived"]


@pytest.mark.fuse
def test_an_operation_that_fails_is_not_a_death(needs_fuse: None, tmp_path: Path) -> None:
    def fail(folder: Path, repetition: int) -> None:
        (folder / "nowhere" / "at-all").mkdir()

    bad = Operation(name="bad", suite="t", opcodes=(), run=fail)
    with pytest.raises(MeasurementError):
        trio.run(SmallestStack().measure, bench(tmp_path, (bad,)))


@pytest.mark.fuse
def test_a_death_names_the_operation_in_flight(needs_fuse: None, tmp_path: Path) -> None:
    def murder(folder: Path, repetition: int) -> None:
        mount = next(m for m in fuse_mounts() if folder.is_relative_to(m.mountpoint))
        record = mount.mountpoint.parent
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(record / "mnt").encode() in command and b"bindfs" in command:
                    os.kill(int(entry.name), signal.SIGSEGV)
        (folder / "anything").stat()

    victim = Operation(name="victim", suite="t", opcodes=(), run=murder)

    async def main() -> Run:
        return await one_run(bench(tmp_path, (victim,)), 1 << 20, strict=True)

    ended = trio.run(main)
    assert not ended.survived
    assert (ended.stage, ended.operation) == ("workload", "victim, repetition 0")
    assert ended.cause is not None
    assert ended.cause.kind is DeathKind.KILLED
    assert ended.cause.signal == "SIGSEGV"
