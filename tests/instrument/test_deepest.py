"""The whole stack at its deepest point, on programs whose frames are known, and on a mount."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from bindfs import bench
from trace_programs import Depths, depths

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Bound, NotMeasured, Pid
from reactivate.instrument.chain import Chain, Frame, fold, render_chain
from reactivate.instrument.deepest import Deepest, DeepestPoint, measurements
from reactivate.instrument.stackwatch import StackWatch, ThreadDepth
from reactivate.instrument.watchpoint import catching
from reactivate.procfs import process_state
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES

TOP = 0x8000_0000


def deepest_byte(subject: Depths, command: str) -> tuple[Address, ThreadDepth]:
    with StackWatch(subject.pid) as watch:
        for _ in range(2):
            watch.paint()
            subject.do(command)
            depths_ = watch.scan()
    (ran,) = [d for d in depths_ if d.ran]
    assert ran.deepest is not None
    return ran.deepest, ran


def caught(command: str, folder: Path, *arguments: str) -> Chain:
    async def main() -> Chain | None:
        with depths(*arguments) as subject:
            address, _ = deepest_byte(subject, command)
            async with catching(subject.pid, [address], folder, "it") as catch:
                await catch.armed()
                await trio.to_thread.run_sync(subject.do, command)
                chain = await catch.result()
            assert subject.lives()
            assert process_state(subject.pid) != "t"
            return chain

    chain = trio.run(main)
    assert chain is not None
    return chain


@pytest.mark.parametrize(("arguments", "outermost"), [((), "_start"), (("thread",), "clone")])
def test_fifty_frames_of_known_size(
    tmp_path: Path, arguments: tuple[str, ...], outermost: str
) -> None:
    chain = caught("walk 50", tmp_path, *arguments)
    assert chain.recursion == (50, "walk")
    walks = [frame for frame in chain.frames if frame.function == "walk"]
    assert all(4096 < frame.size_bytes < 4096 + 128 for frame in walks)
    assert all(frame.file.endswith("depths.c") and frame.line > 0 for frame in walks)
    assert outermost in chain.frames[-1].function
    assert chain.stopped == ""
    assert chain.attributed_ratio == 1.0
    # The frames lie one upon the other: no byte twice, none left out.
    for inner, outer in zip(chain.frames, chain.frames[1:], strict=False):
        assert inner.sp + inner.size_bytes == outer.sp
    (row,) = [row for row in fold(chain) if row.count > 1]
    assert (row.functions, row.count) == (("walk",), 50)


def test_one_frame_of_a_mebibyte(tmp_path: Path) -> None:
    chain = caught("big", tmp_path)
    assert chain.largest.function == "big"
    assert 0 <= chain.largest.size_bytes - (1 << 20) < 128


def test_a_chain_over_64_kib(tmp_path: Path) -> None:
    chain = caught("chain", tmp_path)
    sizes = {frame.function: frame.size_bytes // 1024 for frame in chain.frames}
    assert (sizes["first"], sizes["second"], sizes["third"]) == (8, 24, 48)
    assert chain.total_bytes > 80 * 1024
    names = [frame.function for frame in chain.frames]
    assert names.index("third") < names.index("second") < names.index("first")


def test_two_functions_that_call_each_other(tmp_path: Path) -> None:
    chain = caught("pair 60", tmp_path)
    assert chain.recursion[0] == 30
    (row,) = [row for row in fold(chain) if row.count > 1]
    assert set(row.functions) == {"ping", "pong"}
    assert row.count == 30


def test_a_point_that_is_not_reached_is_no_chain(tmp_path: Path) -> None:
    async def main() -> None:
        with depths() as subject:
            address, _ = deepest_byte(subject, "walk 50")
            async with catching(subject.pid, [address], tmp_path, "it") as catch:
                await catch.armed()
                await trio.to_thread.run_sync(subject.do, "walk 5")
                assert await catch.result() is None
            assert subject.lives()

    trio.run(main)


def test_a_higher_watchpoint_catches_a_shallower_repetition(tmp_path: Path) -> None:
    async def main() -> Chain | None:
        with depths() as subject:
            address, _ = deepest_byte(subject, "walk 50")
            places = [address, Address(address + 3 * 4128)]
            async with catching(subject.pid, places, tmp_path, "it") as catch:
                await catch.armed()
                await trio.to_thread.run_sync(subject.do, "walk 48")
                chain = await catch.result()
            assert subject.lives()
            return chain

    chain = trio.run(main)
    assert chain is not None
    assert 46 <= chain.recursion[0] <= 48


def test_a_watch_that_is_left_early_leaves_the_process_running(tmp_path: Path) -> None:
    async def main() -> None:
        with depths() as subject:
            address, _ = deepest_byte(subject, "walk 50")
            async with catching(subject.pid, [address], tmp_path, "it"):
                pass
            assert await trio.to_thread.run_sync(subject.do, "walk 3") == "done"

    trio.run(main)


# -- pure ----------------------------------------------------------------------------------


def chain_of(*parts: tuple[str, int], stopped: str = "", start: int = TOP - 100) -> Chain:
    """Frames given innermost first as (function, size)."""
    sp = start - sum(size for _, size in parts)
    lowest = sp
    frames = []
    for function, size in parts:
        frames.append(
            Frame(
                function=function, file="a.c", line=1, module="/m", offset=16,
                sp=Address(sp), size_bytes=size,
            )
        )  # fmt: skip
        sp += size
    return Chain(
        frames=tuple(frames), deepest=Address(lowest), start=Address(start), top=Address(TOP),
        stopped=stopped,
    )  # fmt: skip


def test_recursion_folds_and_the_bytes_stay() -> None:
    chain = chain_of(("leaf", 48), *[("walk", 2304)] * 412, ("query", 416), ("main", 64))
    rows = render_chain(chain)
    assert [row[2] for row in rows] == ["leaf", "walk × 412 (2,304 each)", "query", "main"]
    assert [row[1] for row in rows] == [48, 412 * 2304, 416, 64]
    assert sum(row[1] for row in rows) == chain.total_bytes
    assert rows[0][0] == TOP - chain.deepest
    assert rows[1][0] == rows[0][0] - 48


def test_unequal_frames_give_a_range() -> None:
    (row,) = fold(chain_of(("walk", 100), ("walk", 300)))
    assert row.location == "walk × 2 (100 to 300 each)"


def test_two_rounds_of_two_are_no_ring() -> None:
    assert len(fold(chain_of(*[("a", 1), ("b", 1)] * 2))) == 4
    assert len(fold(chain_of(*[("a", 1), ("b", 1)] * 3))) == 1


def test_unknown_code_is_not_attributed() -> None:
    chain = chain_of(("f", 75), ("g", 25))
    unknown = Frame(
        function="", file="", line=0, module="", offset=5, sp=chain.frames[1].sp, size_bytes=25
    )
    chain = Chain(
        frames=(chain.frames[0], unknown), deepest=chain.deepest, start=chain.start, top=chain.top
    )
    assert chain.attributed_ratio == 0.75
    assert unknown.name == "?"


def depth_of(chain: Chain) -> ThreadDepth:
    return ThreadDepth(
        tid=1, start_ticks=1, main=True, limit_bytes=1 << 23, top=chain.top, idle_bytes=64,
        depth_bytes=chain.top - chain.deepest, below_idle_bytes=10,
        at_most_bytes=chain.top - chain.deepest, deepest=chain.deepest, ran=True,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("stopped", "missed", "bound"),
    [("", 0, Bound.EXACT), ("no way up", 0, Bound.LOWER), ("", 128, Bound.LOWER)],
)
def test_doubt_makes_a_lower_bound(stopped: str, missed: int, bound: Bound) -> None:
    chain = chain_of(("f", 75), ("g", 25), stopped=stopped)
    point = DeepestPoint(
        operation="op", depth=depth_of(chain), chain=chain, missed_bytes=missed, seconds=0.1
    )
    found = measurements("deepest", "op", point, "e")
    assert {m.metric for m in found} == set(Deepest.measures)
    # What was painted is known whatever became of the chain.
    assert {m.bound for m in found if m.metric != "stack.painted"} == {bound}


def test_frames_that_are_known_below_the_sleeping_stack_pointer() -> None:
    chain = chain_of(("f", 75), ("g", 25))
    # The thread slept 40 bytes below its start: 60 of the 100 bytes are the operation's.
    depth = replace(depth_of(chain), idle_bytes=chain.top - chain.start + 40)
    point = DeepestPoint(operation="op", depth=depth, chain=chain, missed_bytes=0, seconds=0.1)
    assert point.unwound_bytes == 60
    unwritten = replace(chain, deepest=Address(chain.deepest + 16))
    assert replace(point, chain=unwritten).unwound_bytes == 44
    unknown = replace(chain.frames[1], function="", module="")
    torn = replace(chain, frames=(chain.frames[0], unknown))
    assert replace(point, chain=torn).unwound_bytes == 60 - 25


def test_what_was_not_caught_is_not_measured() -> None:
    found = measurements("deepest", "op", NotMeasured(reason="because"), "e")
    assert {m.metric for m in found} == set(Deepest.measures)
    assert all(isinstance(m.value, NotMeasured) for m in found)


# -- on a mount ----------------------------------------------------------------------------


@pytest.mark.fuse
def test_operations_of_a_stripped_daemon(needs_fuse: None, tmp_path: Path) -> None:
    chosen = tuple(o for o in SUITES["posix"] if o.name in ("create", "readdir"))
    found = trio.run(Deepest().measure, bench(tmp_path, chosen))
    values = {(m.operation, m.metric): m.value for m in found}
    assert set(values) == {(o.name, metric) for o in chosen for metric in Deepest.measures}
    for operation in chosen:
        assert values[operation.name, "stack.attributed"] >= 0.99  # type: ignore[operator]
        file = tmp_path / "evidence" / f"deepest-{operation.name}.json"
        document = json.loads(file.read_text())
        assert document["missed_bytes"] == 0
        assert values[operation.name, "stack.unwound"] == values[operation.name, "stack.painted"]
        assert len(document["frames"]) >= 5


@pytest.mark.fuse
def test_top_takes_the_deepest(needs_fuse: None, tmp_path: Path) -> None:
    chosen = tuple(o for o in SUITES["posix"] if o.name in ("statfs", "create", "readdir"))
    found = trio.run(Deepest().measure, bench(tmp_path, chosen, top=1))
    assert len({m.operation for m in found}) == 1
    assert found[0].operation != "statfs"


@pytest.mark.fuse
def test_an_operation_without_requests(needs_fuse: None, tmp_path: Path) -> None:
    idle = Operation(name="idle", suite="t", opcodes=(), run=lambda folder, repetition: None)
    found = trio.run(Deepest().measure, bench(tmp_path, (idle,)))
    assert all(isinstance(m.value, NotMeasured) for m in found)


def test_a_process_that_does_not_exist(tmp_path: Path) -> None:
    async def main() -> None:
        async with catching(Pid(2**22 - 3), [Address(4096)], tmp_path, "it") as catch:
            with pytest.raises(MeasurementError):
                await catch.armed()

    trio.run(main)
