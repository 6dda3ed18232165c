"""Memory that a program asks for, against a program that asks for known amounts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trace_programs import programs

from reactivate.evidence import NotMeasured, Pid
from reactivate.instrument.allocations import (
    LARGE,
    MAPPED,
    Allocations,
    AllocationTrace,
    Counted,
    as_json,
    measurements,
    parse_counts,
)
from reactivate.instrument.bpftrace import bpftrace_availability

MIB = 1 << 20


class Program:
    """A running `allocate`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = Pid(process.pid)

    def do(self, *commands: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        for command in commands:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "done\n"


@contextmanager
def program() -> Iterator[Program]:
    with subprocess.Popen(
        [programs() / "allocate"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            running = Program(process)
            running.do("malloc 10", "free")
            yield running
        finally:
            process.kill()


def traced(folder: Path, *commands: str) -> Allocations:
    """What is counted while the program does so."""

    async def main() -> Allocations:
        with program() as running:
            async with AllocationTrace(running.pid, folder) as trace:
                await trio.to_thread.run_sync(running.do, *commands)
                return await trace.stop()

    return trio.run(main)


@pytest.fixture
def tracepoints(needs_root: None) -> None:
    for name in ("sys_exit_brk", "sys_exit_mmap"):
        there = bpftrace_availability(("syscalls", name))
        if not there.ready:
            pytest.skip(there.detail)


@pytest.mark.root
def test_mappings_to_the_byte(tracepoints: None, tmp_path: Path) -> None:
    found = traced(
        tmp_path, "map 4096", "map 12288", "remap 20480", "unmap", "grow 8192", "grow 4096", "fail"
    )
    assert isinstance(found.kernel, Counted)
    # brk is also called to learn where the heap ends; that takes nothing.
    assert found.kernel.bytes == {"mmap": 16384, "mremap": 8192, "munmap": 20480, "brk": 12288}
    assert {call: found.kernel.calls[call] for call in ("mmap", "mremap", "munmap")} == {
        "mmap": 2, "mremap": 1, "munmap": 1,
    }  # fmt: skip
    assert found.kernel.largest_bytes["brk"] == 8192
    mapped, large = measurements("lifecycle", found, "e")
    assert (mapped.metric, mapped.value) == (MAPPED, 16384 + 8192 + 12288)
    assert (large.metric, large.value) == (LARGE, 0)


@pytest.mark.root
def test_each_large_allocation_is_counted_and_no_small_one(
    tracepoints: None, tmp_path: Path
) -> None:
    kinds = ("malloc", "calloc", "realloc", "posix", "aligned")
    commands = [f"{kind} {size}" for kind in kinds for size in (MIB, 3 * MIB, MIB - 64)]
    found = traced(tmp_path, "small 1000", *commands)
    assert isinstance(found.library, Counted)
    names = ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc")
    assert found.library.calls == dict.fromkeys(names, 2)
    assert found.library.bytes == dict.fromkeys(names, 4 * MIB)
    assert found.library.largest_bytes == {"": 3 * MIB}
    assert sum(found.library.where.values()) == 10
    assert {callers[:2] for callers in found.library.where} == {("take", "main")}
    assert measurements("lifecycle", found, "e")[1].value == 10
    assert json.loads(json.dumps(as_json(found)))["library"]["largest_bytes"] == {"": 3 * MIB}


def test_a_tracer_without_its_end_counted_nothing() -> None:
    counted = parse_counts(['{"type": "map", "data": {"@calls": {"mmap": 3}}}', "{torn"])
    assert isinstance(counted, NotMeasured)


def test_nothing_asked_for_is_zero_and_not_missing() -> None:
    counted = parse_counts(['{"type": "printf", "data": "end\\n"}'])
    assert counted == Counted(calls={}, bytes={}, largest_bytes={})
    found = Allocations(kernel=counted, library=counted, large_bytes=MIB)
    assert [m.value for m in measurements("lifecycle", found, "e")] == [0, 0]


def test_a_side_that_cannot_be_traced_leaves_the_other_alone() -> None:
    found = Allocations(
        kernel=NotMeasured(reason="this kernel has no tracepoint syscalls:sys_enter_mmap"),
        library=Counted(calls={"malloc": 2}, bytes={"malloc": 5 * MIB}, largest_bytes={"": 3}),
        large_bytes=MIB,
    )
    mapped, large = measurements("lifecycle", found, "e")
    assert isinstance(mapped.value, NotMeasured)
    assert "sys_enter_mmap" in mapped.value.reason
    assert large.value == 2
    assert "not_measured" in as_json(found)["kernel"]


@pytest.mark.root
def test_another_tracer_of_the_same_library_is_not_in_the_way(
    tracepoints: None, tmp_path: Path
) -> None:
    """The kernel puts one tracer's breakpoints into processes that only another one traces."""
    (tmp_path / "other").mkdir()

    async def main() -> Allocations:
        with program() as bystander:
            async with AllocationTrace(bystander.pid, tmp_path / "other"):
                with program() as running:
                    async with AllocationTrace(running.pid, tmp_path) as trace:
                        await trio.to_thread.run_sync(running.do, f"malloc {3 * MIB}")
                        return await trace.stop()

    found = trio.run(main)
    assert isinstance(found.library, Counted)
    assert found.library.calls == {"malloc": 1}
