"""The watermark as an instrument: reduction of samples, and a real daemon from Debian."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from bindfs import Quiet, bench

from reactivate.errors import DaemonDiedError
from reactivate.evidence import Address, Bound, Measurement, NotMeasured, Tid
from reactivate.instrument.contract import Instrument
from reactivate.instrument.stackwatch import ThreadDepth
from reactivate.instrument.watermark import OperationDepths, Watermark, measurements
from reactivate.procfs import fuse_mounts
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX

LIMIT = 8 << 20
IDLE = 1000


def depth(
    bytes_: int, *, at_most: int | None = None, tid: int = 7, main: bool = True, stale: bool = False
) -> ThreadDepth:
    """A thread that went that deep."""
    return ThreadDepth(
        tid=Tid(tid),
        start_ticks=1,
        main=main,
        limit_bytes=LIMIT,
        top=Address(LIMIT),
        idle_bytes=IDLE,
        depth_bytes=bytes_,
        at_most_bytes=bytes_ if at_most is None else at_most,
        below_idle_bytes=bytes_ - IDLE,
        deepest=Address(1) if bytes_ > IDLE else None,
        ran=bytes_ > IDLE,
        stale=stale,
        note="" if at_most is None and not stale else "in fresh pages",
    )


def reduce(*repetitions: tuple[ThreadDepth, ...], ended: int = 0) -> dict[str, Measurement]:
    """Measurements of one operation, by metric and thread."""
    found = OperationDepths(operation="op", repetitions=repetitions, disturbed=0, ended=ended)
    result = measurements((), (found,), evidence="e.json")
    return {f"{m.metric} {m.thread}".strip(): m for m in result}


def test_the_deepest_sample_is_the_value_and_all_samples_are_kept() -> None:
    got = reduce((depth(3000),), (depth(5000),), (depth(4000),))
    peak, own = got["stack.peak main"], got["stack.operation main"]
    assert (peak.value, peak.samples, peak.bound) == (5000, (3000, 5000, 4000), Bound.EXACT)
    assert (own.value, own.samples) == (4000, (2000, 4000, 3000))
    assert got["stack.limit main"].value == LIMIT
    assert got["stack.idle main"].value == IDLE


def test_an_inexact_sample_that_an_exact_one_reaches_does_no_harm() -> None:
    got = reduce((depth(5000, at_most=8192),), (depth(5000),))
    assert got["stack.peak main"].value == 5000
    assert got["stack.peak main"].bound is Bound.EXACT


def test_an_inexact_deepest_sample_is_rounded_up_and_says_so() -> None:
    got = reduce((depth(5000, at_most=8192),), (depth(4000),))
    peak = got["stack.peak main"]
    assert (peak.value, peak.bound) == (8192, Bound.UPPER)
    assert "1 of 2 samples in fresh pages" in peak.note


def test_a_stale_sample_is_never_exact_however_shallow() -> None:
    got = reduce((depth(2000, main=False, stale=True),), (depth(9000, main=False),))
    assert got["stack.peak worker"].bound is Bound.UPPER


def test_an_ended_worker_makes_the_rest_a_lower_bound() -> None:
    got = reduce((depth(2000, main=False), depth(2000)), ended=1)
    assert got["stack.peak worker"].bound is Bound.LOWER
    assert got["stack.peak main"].bound is Bound.EXACT


def test_workers_are_pooled_by_their_deepest() -> None:
    got = reduce(
        (depth(2000, tid=8, main=False), depth(6000, tid=9, main=False)),
        (depth(7000, tid=8, main=False), depth(3000, tid=9, main=False)),
    )
    assert got["stack.peak worker"].samples == (6000, 7000)


def test_threads_that_did_nothing_are_left_out() -> None:
    got = reduce((depth(IDLE), depth(2000, tid=8, main=False)))
    assert "stack.peak main" not in got
    assert got["stack.peak worker"].value == 2000


def test_an_operation_that_reached_no_thread_is_not_measured() -> None:
    got = reduce((depth(IDLE),), (depth(IDLE),))
    for metric in ("stack.peak", "stack.operation"):
        value = got[metric].value
        assert isinstance(value, NotMeasured)
        assert "cache" in value.reason


def test_it_says_whether_it_works_here_and_leaves_nothing_behind() -> None:
    contract: Instrument = Watermark()
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    said = contract.availability()
    assert said.ready, said.detail
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def _measure(folder: Path, operations: tuple[Operation, ...], *options: str) -> list[Measurement]:
    on = bench(folder, operations, *options, repeats=12)
    result = trio.run(Watermark().measure, on)
    assert isinstance(on.reporter, Quiet)
    assert on.reporter.said[-1][0] == len(operations)
    return list(result)


@pytest.mark.fuse
@pytest.mark.parametrize(("options", "thread"), [((), "main"), (("--multithreaded",), "worker")])
def test_every_operation_of_bindfs_has_a_depth(
    needs_fuse: None, tmp_path: Path, options: tuple[str, ...], thread: str
) -> None:
    found = _measure(tmp_path, POSIX, *options)
    limit = next(m for m in found if m.metric == "stack.limit" and m.thread == thread)
    for operation in POSIX:
        (peak,) = (
            m for m in found
            if m.metric == "stack.peak" and m.operation == operation.name and m.thread == thread
        )  # fmt: skip
        (own,) = (
            m for m in found
            if m.metric == "stack.operation" and m.operation == operation.name
            and m.thread == thread
        )  # fmt: skip
        assert not isinstance(peak.value, NotMeasured)
        assert not isinstance(own.value, NotMeasured)
        assert not isinstance(limit.value, NotMeasured)
        assert 256 < own.value < peak.value < limit.value
        assert len(peak.samples) == 12
        assert peak.bound is Bound.EXACT, peak.note
    document = json.loads((tmp_path / "evidence" / "watermark.json").read_text())
    assert [entry["operation"] for entry in document["operations"]] == [o.name for o in POSIX]
    deepest = max(
        sample["depth_bytes"]
        for entry in document["operations"]
        for repetition in entry["repetitions"]
        for sample in repetition
    )
    peaks = [m.value for m in found if m.metric == "stack.peak"]
    assert deepest == max(value for value in peaks if not isinstance(value, NotMeasured))
    assert all(m.evidence == "it/watermark.json" for m in found)


@pytest.mark.fuse
def test_the_main_stack_of_a_daemon_does_not_grow_by_measuring(
    needs_fuse: None, tmp_path: Path
) -> None:
    found = _measure(tmp_path, POSIX[:2])
    peaks = [m.value for m in found if m.metric == "stack.peak"]
    # The kernel maps 132 KiB at the start; an operation far shallower cannot show more.
    assert all(not isinstance(value, NotMeasured) and value < 132 * 1024 for value in peaks)


def _kill_at(repetition_wanted: int) -> Callable[[Path, int], None]:
    def run(folder: Path, repetition: int) -> None:
        if repetition == repetition_wanted:
            for mount in fuse_mounts():
                if mount.mountpoint in folder.parents:
                    _kill_server_of(mount.mountpoint)
        (folder / f"made-{repetition}").mkdir()

    return run


def _kill_server_of(mountpoint: Path) -> None:
    for entry in Path("/proc").iterdir():
        # Processes of others end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(mountpoint) in command and command[0].endswith(b"bindfs"):
                os.kill(int(entry.name), 9)


@pytest.mark.fuse
def test_a_daemon_that_dies_in_an_operation_is_named(needs_fuse: None, tmp_path: Path) -> None:
    deadly = Operation(name="deadly", suite="t", opcodes=("MKDIR",), run=_kill_at(2))
    with pytest.raises(DaemonDiedError, match="deadly"):
        _measure(tmp_path, (deadly,))
