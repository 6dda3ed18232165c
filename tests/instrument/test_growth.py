"""Growth against programs of known depth, and on a real mount."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import trio
from bindfs import bench
from trace_programs import depths

from reactivate.evidence import Address, Bound, Measurement, NotMeasured, Tid
from reactivate.instrument.growth import (
    Growth,
    StackGrowth,
    areas_of,
    attribute,
    measurements,
)
from reactivate.instrument.stack_areas import StackArea
from reactivate.instrument.touch import Touch, parse_bpftrace, parse_perf
from reactivate.instrument.touches import Recording, recording
from reactivate.workload.suites import SUITES

PAGE = 4096
TOP = 0x7FFE_0000_0000


def area(**changes: object) -> StackArea:
    values: dict[str, object] = {
        "tid": Tid(7),
        "main": True,
        "start": Address(TOP - 33 * PAGE),
        "end": Address(TOP),
        "limit_bytes": 2048 * PAGE,
        "resident_bytes": 2 * PAGE + 1,
    }
    return StackArea(**{**values, **changes})  # type: ignore[arg-type]


def touch(depth: int, time_ns: int = 0, *, tid: int = 7, kernel: bool = False) -> Touch:
    return Touch(
        tid=Tid(tid),
        kernel=kernel,
        address=Address(TOP - depth),
        instruction=Address(0x4000),
        time_ns=time_ns,
    )


def run(
    program: str, tracer: str, folder: Path, *arguments: str
) -> tuple[tuple[StackGrowth, ...], Recording]:
    async def main() -> tuple[tuple[StackGrowth, ...], Recording]:
        with depths(*arguments) as subject:
            before = await areas_of(subject.pid)
            async with recording(subject.pid, before, folder, tracer) as recorded:
                await trio.to_thread.run_sync(subject.do, program)
                after = await areas_of(subject.pid)
            assert subject.lives()
        return attribute(recorded.touches, before, after), recorded

    return trio.run(main)


def of(grown: tuple[StackGrowth, ...], thread: str) -> StackGrowth:
    (found,) = [g for g in grown if g.area.thread == thread]
    return found


@pytest.mark.root
@pytest.mark.parametrize(("arguments", "thread"), [((), "main"), (("thread",), "worker")])
def test_every_page_that_the_kernel_touches_is_seen(
    needs_root: None, tmp_path: Path, arguments: tuple[str, ...], thread: str
) -> None:
    needs("bpftrace")
    grown, recorded = run("fill", "bpftrace", tmp_path, *arguments)
    by_kernel = [t for t in of(grown, thread).touches if t.kernel]
    assert len(by_kernel) == 64
    assert recorded.lost == 0
    assert of(grown, thread).kernel_pages == 64
    measured = {m.metric: m.value for m in measurements("growth", grown, recorded, "e")
                if m.thread == thread}  # fmt: skip
    assert measured["growth.kernel_pages"] == 64
    # They are neighbours: one buffer.
    pages = sorted(t.address // PAGE for t in by_kernel)
    assert pages == list(range(pages[0], pages[0] + 64))


@pytest.mark.root
def test_user_touches_depth_and_alerts(needs_root: None, tmp_path: Path) -> None:
    needs("bpftrace")
    grown, _ = run("walk 1600", "bpftrace", tmp_path)
    main = of(grown, "main")
    # 1,600 frames of 4,128 bytes each; what is above them is less than 16 KiB.
    assert 1600 * 4128 < main.deepest_bytes < 1600 * 4128 + 16 * 1024
    limit = main.area.limit_bytes
    beyond = [t for t in main.touches if main.depth_bytes(t) > 0.75 * limit]
    assert main.alerts == tuple(beyond)
    assert len(beyond) == pytest.approx((main.deepest_bytes - 0.75 * limit) / PAGE, abs=1)


def test_perf_sees_the_user_side_only(tmp_path: Path) -> None:
    needs("perf")
    allowed = subprocess.run(
        ["perf", "stat", "-e", "page-faults:u", "true"], capture_output=True, timeout=20
    )
    if allowed.returncode != 0:
        pytest.skip("perf may not count page faults here")
    walked, recorded = run("walk 50", "perf", tmp_path)
    assert not recorded.sees_kernel
    assert of(walked, "main").deepest_bytes > 50 * 4128
    filled, _ = run("fill", "perf", tmp_path)
    assert of(filled, "main").pages < 64


def test_nothing_new_is_the_resident_depth_and_says_so(tmp_path: Path) -> None:
    grown = attribute([], [area()], [area()])
    found = by_metric(measurements("growth", grown, Recording(tracer="t", sees_kernel=True), "e"))
    assert found["growth.pages"].value == 0
    assert found["growth.depth"].value == 2 * PAGE + 1
    assert found["growth.depth"].bound is Bound.LOWER
    assert "resident" in found["growth.depth"].note


def test_lost_events_leave_nothing_measured() -> None:
    recorded = Recording(tracer="bpftrace", sees_kernel=True, lost=3)
    grown = attribute([touch(5 * PAGE)], [area()], [])
    found = by_metric(measurements("growth", grown, recorded, "e"))
    for metric in ("growth.depth", "growth.pages", "growth.alerts"):
        value = found[metric].value
        assert isinstance(value, NotMeasured)
        assert "3" in value.reason


def test_a_page_counts_once_and_foreign_memory_not_at_all() -> None:
    touches = [
        touch(5 * PAGE, 1),
        touch(5 * PAGE - 8, 2),
        touch(6 * PAGE, 3),
        touch(-PAGE, 4),
        touch(2049 * PAGE, 5),
    ]
    (grown,) = attribute(touches, [area()], [area()])
    assert grown.pages == 2
    assert grown.deepest_bytes == 6 * PAGE


def test_a_main_stack_that_grew_is_still_the_same_stack() -> None:
    after = area(start=Address(TOP - 100 * PAGE))
    assert len(attribute([touch(90 * PAGE)], [area()], [after])) == 1


def test_the_stack_of_a_new_thread_is_fresh() -> None:
    worker = area(
        tid=Tid(8), main=False, start=Address(0x1000_0000), end=Address(0x1000_0000 + 64 * PAGE),
        limit_bytes=64 * PAGE, resident_bytes=1,
    )  # fmt: skip
    inside = Touch(
        tid=Tid(8), kernel=False, address=Address(worker.end - 9 * PAGE),
        instruction=Address(1), time_ns=1,
    )  # fmt: skip
    grown = attribute([inside], [area()], [area(), worker])
    assert [g.fresh for g in grown] == [False, True]
    assert grown[1].deepest_bytes == 9 * PAGE


def test_bpftrace_lines() -> None:
    touches, lost = parse_bpftrace(
        [
            "Attaching 6 probes...",
            "begin",
            "c",
            "d",
            "k 12 7ffe00001000 ffffffff81000000 2000",
            "\t7f0000000010 __libc_read+13 (/usr/lib/libc.so.6)",
            "\t401200 operator()(int, char)+371 (/opt/a b/daemon)",
            "\t5000 0x5000 ([unknown])",
            "",
            "u 11 7ffe00000ff8 401000 1000",
            "",
            "Lost 7 events",
            "Lost 2 events",
            "end",
        ]
    )
    assert lost == 9
    assert [(t.tid, t.kernel, t.time_ns) for t in touches] == [(11, False, 1000), (12, True, 2000)]
    assert touches[0].address == 0x7FFE00000FF8
    assert touches[1].instruction == 0xFFFFFFFF81000000
    assert touches[0].chain == ()
    assert [(c.address, c.symbol) for c in touches[1].chain] == [
        (0x7F0000000010, "__libc_read+13"),
        (0x401200, "operator()(int, char)+371"),
        (0x5000, ""),
    ]


def test_perf_lines_are_narrowed_for_the_main_thread() -> None:
    lines = [
        "    7  1779.090998:     55afec75c035     7f4266cfb8f1",
        f"    7  1779.091014:     {TOP - 5 * PAGE:x}     55afec75b250",
        "    8  1779.5:     55afec75c035     7f4266cfb8f1",
    ]
    touches, lost = parse_perf(lines, (area(),), 7)  # type: ignore[arg-type]
    assert [t.tid for t in touches] == [7, 8]
    assert touches[0].time_ns == 1779_091_014_000
    assert lost == 0


@pytest.mark.fuse
@pytest.mark.root
def test_a_real_mount(needs_fuse: None, needs_root: None, tmp_path: Path) -> None:
    assert Growth().availability().ready
    found = trio.run(Growth().measure, bench(tmp_path, SUITES["posix"], repeats=1))
    values = by_metric(found)
    assert set(values) == set(Growth.measures)
    depth = values["growth.depth"].value
    assert isinstance(depth, int)
    assert 4096 <= depth < 256 * 1024
    document = json.loads((tmp_path / "evidence" / "growth.json").read_text())
    assert document["lost_events"] == 0
    assert document["stacks"][0]["deepest_bytes"] == depth


def by_metric(found: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {m.metric: m for m in found if m.thread in ("", "main")}


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
