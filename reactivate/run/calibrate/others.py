"""Calibration of the instruments that look at requests, memory and time."""

from __future__ import annotations

import os

from reactivate.errors import MeasurementError
from reactivate.evidence import Check, Dimension
from reactivate.instrument.registry import instrument
from reactivate.run.calibrate.bench import Shop
from reactivate.run.calibrate.orders import (
    Order,
    calm,
    of_operation,
    plant,
    release_unanswered,
    required,
    value_of,
)
from reactivate.run.calibrate.record import Calibrated, Case, Overhead, Series

_KIB = 1024
_MIB = 1024 * _KIB
_ALLOCATED = 64 * _MIB
_PAUSE_MS = 20
_LEAKED = 1000
_EIO = 5
_REQUESTS = ("requests.total", "requests.errors", "requests.unanswered")
"""Of lifecycle's metrics those that are calibrated; the others take a run of their own."""


async def lifecycle(shop: Shop) -> Calibrated:
    """Every error and every missing answer is counted."""
    made = instrument("lifecycle")
    quiet = calm(twin=shop.twin)
    failing = Order(name="fail", text=f"fail {_EIO}", refused=True)
    without = await shop.measure(
        made, [quiet.operation], "without", metrics=_REQUESTS, timed=True, repeats=1
    )  # fmt: skip
    repeats = 3
    planted = await shop.measure(
        made,
        [failing.operation, release_unanswered()],
        "planted",
        metrics=_REQUESTS,
        repeats=repeats,
        settle_seconds=0.1,
    )
    pairs = (
        ("unanswered", value_of(planted, "requests.unanswered"), repeats),
        ("answered with an error", value_of(planted, "requests.errors"), repeats),
        ("without a fault", value_of(without, "requests.errors"), 0),
    )
    cases = tuple(
        Case(name=name, truth=truth, found=said) for name, said, truth in pairs if said is not None
    )
    plants = [
        plant(
            Check.TRACE,
            f"{repeats} requests that the daemon never answers",
            "requests.unanswered == 0",
            without=without,
            planted=planted,
        )
    ]
    missing = ""
    if len(cases) == len(pairs):
        plants.append(
            plant(
                Check.TRACE,
                f"{repeats} requests that fail with EIO",
                "requests.errors == 0",
                without=without,
                planted=planted,
            )
        )
    else:
        missing = "requests.errors: the kernel's tracepoints cannot be used here"
    return Calibrated(
        instrument=made.name,
        series=(Series(name="requests", dimension=Dimension.COUNT, cases=cases),),
        plants=tuple(plants),
        overhead=Overhead(ratio=quiet.ratio) if not missing else None,
        missing=missing,
    )


def resident_slack_bytes() -> int:
    """How far the difference of two of the kernel's counts of resident pages may be off.

    Each processor sums up its own changes and tells them in batches (lib/percpu_counter.c).
    """
    processors = os.cpu_count() or 1
    return 2 * max(32, 2 * processors) * processors * os.sysconf("SC_PAGESIZE")


async def memory(shop: Shop) -> Calibrated:
    """A planted allocation shows in the peak."""
    made = instrument("memory")
    quiet = calm()
    allocate = Order(name="allocate", text=f"allocate {_ALLOCATED}")
    without = await shop.measure(made, [quiet.operation], "without", repeats=1)
    planted = await shop.measure(made, [allocate.operation], "planted", repeats=1)
    peak, idle = required(planted, "rss.peak"), required(planted, "rss.idle")
    slack = resident_slack_bytes()
    return Calibrated(
        instrument=made.name,
        series=(
            Series(
                name="peak of resident memory above idle, 64 MiB allocated",
                dimension=Dimension.BYTES,
                cases=(Case(name=allocate.text, truth=_ALLOCATED, found=peak - idle),),
                least=-slack,
                most=slack,
                constant="pages that the kernel has not summed up yet, and the daemon's own",
            ),
        ),
        plants=(
            plant(
                Check.BASELINE,
                "64 MiB that are allocated, written and given back",
                "rss.peak <= 32 MiB",
                without=without,
                planted=planted,
            ),
        ),
    )


async def latency(shop: Shop) -> Calibrated:
    """A planted pause shows in the median."""
    made = instrument("latency")
    quiet = calm()
    slow = Order(name="slow", text=f"pause {_PAUSE_MS}")
    found = await shop.measure(
        made, [quiet.operation, slow.operation], "planted", repeats=20, max_repeats=20, warmup=2
    )
    # The shortest of all: whatever else the machine does only makes it longer.
    durations = [s for m in of_operation(found, "slow") for s in m.samples]
    if not durations:
        raise MeasurementError("a daemon that pauses gave no durations")
    shortest, known = min(durations), _PAUSE_MS * 1_000_000
    return Calibrated(
        instrument=made.name,
        series=(
            Series(
                name="shortest duration, the daemon pauses for 20 ms",
                dimension=Dimension.NANOSECONDS,
                cases=(Case(name=slow.text, truth=known, found=round(shortest)),),
                most=2_000_000,
                constant="the request itself, and the kernel's timer",
            ),
        ),
        plants=(
            plant(
                Check.BASELINE,
                f"a pause of {_PAUSE_MS} ms",
                "latency.p50 <= 10 ms",
                without=of_operation(found, "calm"),
                planted=of_operation(found, "slow"),
            ),
        ),
    )


async def memcheck(shop: Shop) -> Calibrated:
    """Lost bytes are counted, a write past the end is seen."""
    made = instrument("memcheck")
    quiet = calm(twin=shop.twin)
    leak = Order(name="leak", text=f"leak {_LEAKED}")
    beyond = Order(name="beyond", text="beyond 64")
    without = await shop.measure(made, [quiet.operation], "without", timed=True)
    planted = await shop.measure(made, [leak.operation, beyond.operation], "planted")
    leaked = value_of(planted, "memory.leaked")
    return Calibrated(
        instrument=made.name,
        series=()
        if leaked is None
        else (
            Series(
                name="bytes that are lost",
                dimension=Dimension.BYTES,
                cases=(Case(name=leak.text, truth=_LEAKED * len(leak.durations_ns), found=leaked),),
            ),
        ),
        plants=tuple(
            plant(Check.TRACE, fault, criterion, without=without, planted=planted)
            for fault, criterion in (
                (f"{_LEAKED:,} bytes that are never given back", "memory.leaked == 0 B"),
                ("a write one byte past the end of a block", "memory.errors == 0"),
            )
        ),
        overhead=Overhead(ratio=quiet.ratio),
    )


async def perf(shop: Shop) -> Calibrated:
    """The growth of resident memory, from perf's own run."""
    made = instrument("perf")
    quiet = calm(twin=shop.twin)
    allocate = Order(name="allocate", text=f"allocate {_ALLOCATED}")
    without = await shop.measure(made, [quiet.operation], "without", timed=True)
    planted = await shop.measure(made, [allocate.operation], "planted")
    grown = value_of(planted, "perf.rss_growth")
    slack = resident_slack_bytes()
    return Calibrated(
        instrument=made.name,
        series=()
        if grown is None
        else (
            Series(
                name="growth of resident memory, 64 MiB allocated",
                dimension=Dimension.BYTES,
                cases=(Case(name=allocate.text, truth=_ALLOCATED, found=grown),),
                least=-slack,
                most=slack,
                constant="pages that the kernel has not summed up yet, and the daemon's own",
            ),
        ),
        plants=(
            plant(
                Check.TRACE,
                "64 MiB that are allocated, written and given back",
                "perf.rss_growth <= 32 MiB",
                without=without,
                planted=planted,
            ),
        ),
        overhead=Overhead(ratio=quiet.ratio),
    )
