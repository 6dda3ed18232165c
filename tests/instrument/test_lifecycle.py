"""Requests counted by the kernel's tracepoints, and what is made of the counts."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import trio
from bindfs import bench

from reactivate.errors import MeasurementError
from reactivate.evidence import Measurement, NotMeasured
from reactivate.instrument.bpftrace import bpftrace_availability
from reactivate.instrument.lifecycle import Lifecycle, measurements
from reactivate.instrument.opcodes import everyday, opcode_name
from reactivate.instrument.requests import Requests, parse_requests
from reactivate.workload.operation import Operation


def line(kind: str, **data: object) -> str:
    return json.dumps({"type": kind, "data": {f"@{k}": v for k, v in data.items()}})


TRACE = [
    '{"type": "attached_probes", "data": {"probes": 4}}',
    '{"type": "printf", "data": "counting\\n"}',
    line("map", requests={"1": 10, "15": 4, "18": 3}),
    line("map", answered={"1": 10, "15": 3, "18": 3}),
    line("map", errors={"1,-2": 4, "15,-5": 1}),
    line("map", waiting={"77": 15}),
    line("map", longest_ns={"1": 5000}),
    line("hist", latency_ns={"1": [{"min": 4096, "max": 8191, "count": 10}]}),
    "not json at all",
]


def by_metric(found: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {m.metric: m for m in found}


def test_the_maps_become_rows() -> None:
    requests = parse_requests(TRACE)
    assert [row.opcode for row in requests.rows] == ["LOOKUP", "READ", "RELEASE"]
    assert (requests.total, requests.unanswered, requests.failed) == (17, 1, 1)
    assert requests.unseen_ends == 0
    assert requests.rows[0].latency[0].count == 10
    assert requests.rows[0].errors == {2: 4}


def test_a_request_from_before_the_counting_is_unanswered_too() -> None:
    requests = parse_requests(
        [*TRACE[:5], line("map", waiting={"77": 15, "3": 16}, before={"3": 1})]
    )
    assert requests.unanswered == 2
    assert requests.unseen_ends == 0
    assert requests.total == 17


def test_an_end_that_was_not_seen_is_not_called_answered() -> None:
    requests = parse_requests([*TRACE[:5], line("map", waiting={})])
    assert requests.unseen_ends == 1
    value = by_metric(measurements("lifecycle", requests, 0, "e"))["requests.unanswered"].value
    assert isinstance(value, NotMeasured)


def test_forget_has_no_answer_by_design() -> None:
    requests = parse_requests([line("map", requests={"2": 1}), line("map", waiting={"5": 2})])
    assert requests.unanswered == 0


def test_a_trace_without_its_end_is_an_error() -> None:
    with pytest.raises(MeasurementError):
        parse_requests(TRACE[:2])


@pytest.mark.parametrize(
    ("opcode", "error", "expected"),
    [
        ("LOOKUP", -2, True), ("GETXATTR", -61, True), ("GETXATTR", 95, True),
        ("FLUSH", -38, True), ("LOOKUP", -5, False), ("OPEN", -2, False),
        ("WRITE", -38, False), ("GETXATTR", -5, False), ("READ", -61, False),
    ],
)  # fmt: skip
def test_everyday_answers(opcode: str, error: int, expected: bool) -> None:
    assert everyday(opcode, error) is expected


def test_an_unknown_opcode_keeps_its_number() -> None:
    assert opcode_name(99) == "opcode 99"


def test_without_tracepoints_only_unanswered_is_measured() -> None:
    found = by_metric(measurements("lifecycle", None, 2, "e", "no tracepoint fuse:x"))
    assert found["requests.unanswered"].value == 2
    for metric in ("requests.total", "requests.errors"):
        value = found[metric].value
        assert isinstance(value, NotMeasured)
        assert "no tracepoint fuse:x" in value.reason


def test_without_anything_nothing_is_measured() -> None:
    found = measurements("lifecycle", None, None, "e", "nothing")
    assert all(isinstance(m.value, NotMeasured) for m in found)


def test_the_larger_of_two_counts_of_waiting_requests_wins() -> None:
    requests = Requests(rows=parse_requests(TRACE).rows, unseen_ends=0)
    found = by_metric(measurements("lifecycle", requests, 3, "e"))
    assert found["requests.unanswered"].value == 3


READS = 7


def _write(folder: Path) -> None:
    (folder / "file").write_bytes(b"x" * 10)


def _open_read(folder: Path, repetition: int) -> None:
    descriptor = os.open(folder / "file", os.O_RDONLY | os.O_DIRECT)
    os.close(descriptor)


def _missing(folder: Path, repetition: int) -> None:
    assert not (folder / f"missing-{repetition}").exists()


@pytest.mark.fuse
@pytest.mark.root
def test_a_real_mount_counts_what_was_done(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    there = bpftrace_availability(("fuse", "fuse_request_send"))
    if not there.ready:
        pytest.skip(there.detail)
    operations = (
        Operation(name="opening", suite="t", opcodes=("OPEN",), setup=_write, run=_open_read),
        Operation(name="missing", suite="t", opcodes=("LOOKUP",), run=_missing),
    )
    found = by_metric(trio.run(Lifecycle().measure, bench(tmp_path, operations, repeats=READS)))
    table = json.loads((tmp_path / "evidence" / "lifecycle.json").read_text())
    rows = {row["opcode"]: row for row in table["opcodes"]}
    assert rows["OPEN"]["sent"] == READS
    # CREATE of the file, and one for each open: every one is released.
    assert rows["CREATE"]["sent"] == 1
    assert rows["RELEASE"]["sent"] == READS + 1
    assert rows["MKDIR"]["sent"] == 2
    assert rows["LOOKUP"]["errors"]["ENOENT"] >= READS
    assert rows["LOOKUP"]["failed"] == 0
    assert sum(bucket[2] for bucket in rows["OPEN"]["latency_ns"]) == READS
    assert found["requests.total"].value == sum(row["sent"] for row in rows.values())
    assert found["requests.unanswered"].value == 0
    assert found["requests.errors"].value == 0


@pytest.mark.fuse
@pytest.mark.root
def test_an_error_of_the_daemon_is_counted(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    if not bpftrace_availability(("fuse", "fuse_request_send")).ready:
        pytest.skip("the fuse tracepoints are not there")

    def full(folder: Path, repetition: int) -> None:
        (folder / "below").mkdir(exist_ok=True)
        (folder / "below" / "entry").touch()
        with pytest.raises(OSError, match="not empty"):
            (folder / "below").rmdir()

    operation = Operation(name="refused", suite="t", opcodes=("RMDIR",), run=full)
    found = by_metric(trio.run(Lifecycle().measure, bench(tmp_path, (operation,), repeats=3)))
    errors = found["requests.errors"].value
    assert isinstance(errors, int)
    assert errors >= 3


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.parametrize(
    ("asked", "mounts"),
    [(frozenset({"requests.errors"}), 1), (frozenset({"memory.large_allocations"}), 2)],
)
def test_memory_is_traced_on_its_own_mount_only_if_somebody_asks(
    needs_fuse: None, needs_root: None, tmp_path: Path, asked: frozenset[str], mounts: int
) -> None:
    if not bpftrace_availability(("fuse", "fuse_request_send")).ready:
        pytest.skip("the fuse tracepoints are not there")
    folders: set[Path] = set()

    def remember(folder: Path, repetition: int) -> None:
        folders.add(folder)

    operation = Operation(name="looking", suite="t", opcodes=(), run=remember)
    whole = bench(tmp_path, (operation,), repeats=1)
    found = by_metric(trio.run(Lifecycle().measure, dataclasses.replace(whole, metrics=asked)))
    assert len(folders) == mounts
    assert isinstance(found["requests.total"].value, int)
    for metric in ("memory.mapped", "memory.large_allocations"):
        value = found[metric].value
        if mounts == 2:
            assert isinstance(value, int)
        else:
            assert isinstance(value, NotMeasured)
            assert "no criterion asks for it" in value.reason
