"""Independent instruments on one real daemon: what they say must agree, and a lie must show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from bindfs import bench

from reactivate.evidence import Measurement, NotMeasured
from reactivate.gate.crosscheck import PAGE_BYTES, compare
from reactivate.instrument.deepest import Deepest
from reactivate.instrument.growth import Growth
from reactivate.instrument.watermark import Watermark
from reactivate.workload.suites import SUITES


@pytest.mark.fuse
@pytest.mark.root
def test_four_witnesses_on_four_mounts(
    needs_fuse: None,
    needs_root: None,
    tmp_path: Path,
) -> None:
    chosen = tuple(o for o in SUITES["posix"] if o.name in ("create", "rename", "readdir"))

    async def everything() -> tuple[Measurement, ...]:
        # One thread: a worker pool hands operations to whichever is free.
        return (
            *await Watermark().measure(bench(tmp_path, chosen, repeats=5)),
            *await Growth().measure(bench(tmp_path, chosen, repeats=2)),
            *await Deepest().measure(bench(tmp_path, chosen)),
        )

    found = trio.run(everything)
    recorded = [m for m in found if m.instrument == "watermark"]
    run = [m for m in found if m.instrument != "watermark"]
    compared = compare(run, recorded)
    assert {c.operation for c in compared} == {o.name for o in chosen}
    for comparison in compared:
        said = [s.witness for s in comparison.statements]
        assert said == ["paint", "unwound frames", "watermark", "growth"], comparison
        assert comparison.gap_bytes <= PAGE_BYTES, comparison
    # A tracer that is blind below some depth contradicts the others.
    blind = [replace(m, value=0) if m.metric == "growth.reach" else m for m in run]
    deepest = max(m.value for m in run if m.metric == "stack.painted" and seen(m))  # type: ignore[type-var]
    assert max(c.gap_bytes for c in compare(blind, recorded)) >= deepest


def seen(measurement: Measurement) -> bool:
    return not isinstance(measurement.value, NotMeasured)
