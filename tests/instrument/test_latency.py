"""Latency: turns, rounds and reduction; a slower build is really slower."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from bindfs import bench, launcher
from hypothesis import given
from hypothesis import strategies as st
from trace_programs import obedient

from reactivate.errors import ConfigurationError
from reactivate.evidence import Measurement, NotMeasured, Role
from reactivate.instrument.contract import Instrument
from reactivate.instrument.latency import Arm, Latency, measurements, percentile, take_turns
from reactivate.procfs import mount_fusectl, waiting_requests
from reactivate.run.calibrate.programs import Obedient
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX


def test_arms_take_turns_in_alternating_order_and_warm_up_is_not_counted() -> None:
    seen: list[tuple[str, str, int]] = []

    def step(name: str) -> object:
        return lambda folder, repetition: seen.append((name, folder.name, repetition))

    operation = Operation(
        name="op",
        suite="t",
        opcodes=(),
        prepare=step("prepare"),  # type: ignore[arg-type]
        run=step("run"),  # type: ignore[arg-type]
        tidy=step("tidy"),  # type: ignore[arg-type]
    )
    arms = (
        Arm(role=Role.SUBJECT, folder=Path("a")),
        Arm(role=Role.BASELINE, folder=Path("b")),
    )
    take_turns(operation, arms, range(3), warmup=1, mounts=())
    runs = [(folder, repetition) for name, folder, repetition in seen if name == "run"]
    assert runs == [
        ("a", -1), ("b", -1),
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip
    assert [name for name, _, _ in seen[:3]] == ["prepare", "run", "tidy"]
    assert [len(arm.samples) for arm in arms] == [3, 3]


def test_the_daemon_that_is_timed_is_the_last_that_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(Path(path).name))
    timed: list[tuple[str, list[str]]] = []

    def run(folder: Path, repetition: int) -> None:
        timed.append((folder.parent.name, asked.copy()))
        asked.clear()

    operation = Operation(name="op", suite="t", opcodes=(), run=run)
    roles = {"a": Role.SUBJECT, "b": Role.BASELINE, "c": Role.PREVIOUS}
    arms = tuple(Arm(role=role, folder=tmp_path / name / "f") for name, role in roles.items())
    take_turns(operation, arms, range(4), 1, [tmp_path / name for name in roles])
    assert len(timed) == 3 * 5
    for own, order in timed:
        assert sorted(order) == ["a", "b", "c"] and order[-1] == own


def test_the_collector_is_off_while_the_clock_runs_and_on_afterwards() -> None:
    states = []
    operation = Operation(
        name="op",
        suite="t",
        opcodes=(),
        run=lambda folder, repetition: states.append(gc.isenabled()),
    )
    assert gc.isenabled()
    take_turns(operation, (Arm(role=Role.SUBJECT, folder=Path()),), range(2), warmup=1, mounts=())
    assert states == [False] * 3
    assert gc.isenabled()


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_a_percentile_is_a_sample_that_enough_others_do_not_exceed(samples: list[int]) -> None:
    value = percentile(samples, 99)
    assert value in samples
    assert sum(sample <= value for sample in samples) * 100 >= 99 * len(samples)
    smaller = [sample for sample in samples if sample < value]
    assert len(smaller) * 100 < 99 * len(samples)


def test_measurements_carry_all_samples_and_the_role() -> None:
    got = measurements(
        {("read", Role.SUBJECT): [3, 1, 2], ("read", Role.BASELINE): [1, 1, 1]}, evidence="e"
    )
    p50 = next(m for m in got if m.metric == "latency.p50" and m.role is Role.SUBJECT)
    p99 = next(m for m in got if m.metric == "latency.p99" and m.role is Role.SUBJECT)
    assert (p50.value, p50.samples, p99.value) == (2, (3, 1, 2), 3)
    assert "3 samples" in p99.note
    assert sum(m.role is Role.BASELINE for m in got) == 2


def test_it_says_that_it_works_here() -> None:
    contract: Instrument = Latency()
    assert contract.availability().ready


def test_no_repetitions_are_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        trio.run(Latency().measure, bench(tmp_path, POSIX[:1], repeats=0, max_repeats=0))


def _make_entries(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"entry-{number}").touch()


@pytest.mark.fuse
def test_two_builds_side_by_side(needs_fuse: None, tmp_path: Path) -> None:
    alone = Operation(
        name="alone", suite="t", opcodes=("MKDIR",),
        run=lambda folder, repetition: (folder / str(repetition)).mkdir(),
    )  # fmt: skip
    # The same daemon, but one of the two has a lot more to list.
    listing = Operation(
        name="listing", suite="t", opcodes=("READDIRPLUS",), paired=True,
        setup=lambda folder: _make_entries(folder, 800 if "many" in str(folder) else 2),
        run=lambda folder, repetition: list(folder.iterdir()) and None,
    )  # fmt: skip
    slow = launcher(tmp_path / "many")
    on = bench(
        tmp_path,
        (listing, *(o for o in POSIX if o.name == "mkdir"), alone),
        references={Role.BASELINE: slow},
        repeats=8,
        max_repeats=20,
        warmup=1,
    )
    rounds: list[int] = []

    def undecided(found: Sequence[Measurement]) -> set[str]:
        rounds.append(len(found[0].samples))
        return {"listing"} if len(rounds) == 1 else set()

    found = trio.run(Latency(undecided=undecided).measure, on)
    assert rounds == [8, 16]
    p50 = {(m.operation, m.role): m for m in found if m.metric == "latency.p50"}
    assert set(p50) == {
        ("listing", Role.SUBJECT), ("listing", Role.BASELINE),
        ("mkdir", Role.SUBJECT), ("mkdir", Role.BASELINE),
        ("alone", Role.SUBJECT),
    }  # fmt: skip
    fast, delayed = p50["listing", Role.SUBJECT], p50["listing", Role.BASELINE]
    assert not isinstance(fast.value, NotMeasured)
    assert not isinstance(delayed.value, NotMeasured)
    # The least disturbed of each: others on the machine only add.
    assert min(delayed.samples) > 2 * min(fast.samples)
    # Only the operation that was not decided is sampled further.
    assert {(m.operation, len(m.samples)) for m in found} == {
        ("listing", 16), ("mkdir", 8), ("alone", 8),
    }  # fmt: skip
    document = json.loads((tmp_path / "evidence" / "latency.json").read_text())
    assert document["rounds"] == 2
    assert len(document["operations"]["listing"]["baseline"]) == 16


@pytest.mark.fuse
def test_sampling_stops_at_the_most(needs_fuse: None, tmp_path: Path) -> None:
    on = bench(tmp_path, POSIX[:1], repeats=4, max_repeats=10, warmup=0)
    found = trio.run(Latency(undecided=lambda found: {POSIX[0].name}).measure, on)
    assert {len(m.samples) for m in found} == {10}


@pytest.mark.fuse
def test_the_clock_starts_when_what_came_before_is_served(needs_fuse: None, tmp_path: Path) -> None:
    """close(2) returns at once, and both daemons then take 20 ms over RELEASEDIR."""
    if not mount_fusectl():
        pytest.skip("fusectl is not mounted")
    connections: list[int] = []
    unanswered: list[int | None] = []

    def setup(folder: Path) -> None:
        connections.append(os.minor(folder.stat().st_dev))
        os.setxattr(folder, "user.do", b"linger 20")

    def close(folder: Path, repetition: int) -> None:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))

    def run(folder: Path, repetition: int) -> None:
        unanswered.extend(waiting_requests(connection) for connection in connections)

    closing = Operation(
        name="closing", suite="t", opcodes=(), paired=True,
        setup=setup, prepare=close, run=run, tidy=close,
    )  # fmt: skip
    on = bench(tmp_path, (closing,), repeats=3, max_repeats=3, warmup=1)
    on = dataclasses.replace(
        on,
        subject=Obedient(obedient(), tmp_path / "subject"),
        references={Role.BASELINE: Obedient(obedient(), tmp_path / "baseline")},
    )
    trio.run(Latency().measure, on)
    assert unanswered == [0] * 16  # 4 repetitions on 2 mounts, and each looked at both
