"""Calibration of the instruments that look at stacks."""

from __future__ import annotations

import os

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Check, Dimension, Measurement, Pid
from reactivate.instrument.registry import instrument
from reactivate.instrument.stackwatch import StackWatch
from reactivate.instrument.workout import ready_folder
from reactivate.procfs import PAGE_BYTES, stack_limit_bytes
from reactivate.run.calibrate.bench import Listener, Shop
from reactivate.run.calibrate.depths import watermark_series
from reactivate.run.calibrate.orders import (
    Order,
    calm,
    judged,
    of_operation,
    plant,
    value_of,
)
from reactivate.run.calibrate.programs import OPTIMISED, Obedient, limit_bytes
from reactivate.run.calibrate.record import Calibrated, Case, Overhead, Plant, Series
from reactivate.target.model import Daemon
from reactivate.workload.drive import drive

_KIB = 1024
_MIB = 1024 * _KIB
_BLOCKS = (64, 16 * _KIB, _MIB)
_WALK = 300
_WALK_FRAME_BYTES = 4 * _KIB
_KERNEL_PAGES = 64
_TURNS = 100
_RED_ZONE_BYTES = 128
"""What a leaf may use below its stack pointer (x86-64 ABI): the function inlined there gets it."""


async def watermark(shop: Shop) -> Calibrated:
    """Depths to the byte; a depth beyond a quarter of the limit is refused."""
    series = list(await trio.to_thread.run_sync(watermark_series, shop.programs))
    made = instrument("watermark")
    cases: list[Case] = []
    plants: list[Plant] = []
    for optimised in OPTIMISED:
        for thread in (False, True):
            orders = [Order(name=f"block{size}", text=f"block {size}", attribute="depth")
                      for size in (*_BLOCKS, limit_bytes() // 2)]  # fmt: skip
            found = await shop.measure(
                made,
                [order.operation for order in orders],
                f"{optimised}-{'thread' if thread else 'main'}",
                optimised=optimised,
                thread=thread,
                repeats=4,
            )
            for order in orders:
                cases += _samples(found, order, f"{optimised}, {'worker' if thread else 'main'}")
            plants.append(
                plant(
                    Check.BASELINE,
                    f"an operation that takes half of a {'worker' if thread else 'main'} "
                    f"thread's stack ({optimised})",
                    "stack.peak <= 25% of stack.limit",
                    without=of_operation(found, orders[0].name),
                    planted=of_operation(found, orders[-1].name),
                )
            )
    mounted = Series(
        name="operations of a mounted daemon, main thread and worker, O0 and O2",
        dimension=Dimension.BYTES,
        cases=tuple(cases),
    )
    return Calibrated(
        instrument=made.name,
        series=(mounted, *series),
        plants=tuple(plants),
        overhead=Overhead(ratio=await _painted_to_paused(shop)),
    )


async def _painted_to_paused(shop: Shop) -> float:
    """A request after painting, to a request after the same wait without paint; in turn."""
    painted, paused = calm("painted"), calm("paused")
    daemon = Obedient(shop.programs.path("obedient", "O2"), shop.mounts)

    def take_turns(mounted: Daemon) -> None:
        folder = ready_folder(mounted.mountpoint, painted.operation)
        with StackWatch(mounted.pid, connection=mounted.connection) as watch:
            for repetition in range(_TURNS):
                watch.stacks()
                paused.operation.run(folder, repetition)
                watch.paint()
                painted.operation.run(folder, repetition)
                watch.scan()

    async with daemon.mounted() as mounted:
        await drive(mounted, take_turns, mounted, deadline_seconds=30.0, doing="painting in turn")
    return painted.median_ns / paused.median_ns


def _samples(found: tuple[Measurement, ...], order: Order, where: str) -> list[Case]:
    """Each repetition with what the daemon said of it."""
    samples = [m.samples for m in found if m.operation == order.name and m.metric == "stack.peak"]
    deepest = samples[0] if len(samples) == 1 else ()
    if not deepest or len(deepest) != len(order.truths):
        raise MeasurementError(
            f"{len(deepest)} depths were measured of {len(order.truths)} repetitions of a block"
        )
    return [
        Case(name=f"{order.text}, {where}", truth=truth, found=round(said))
        for truth, said in zip(order.truths, deepest, strict=True)
    ]


async def growth(shop: Shop) -> Calibrated:
    """Depth to the page, pages that the kernel touches, and the alert near the limit."""
    made = instrument("growth")
    cases: list[Case] = []
    quiet = calm(twin=shop.twin)
    without = await shop.measure(made, [quiet.operation], "without", timed=True, repeats=1)
    block = Order(name="block", text=f"block {_MIB}", attribute="depth")
    worker = await shop.measure(made, [block.operation], "worker", thread=True, repeats=2)
    filled = Order(name="fill", text="fill")
    deep = Order(name="deep", text=f"block {limit_bytes() - 128 * _KIB}", attribute="depth")
    live = Listener()
    planted = await shop.measure(
        made, [filled.operation, deep.operation], "planted", repeats=1, listener=live
    )
    for order, found in ((block, worker), (deep, planted)):
        said = [m.value for m in found if m.metric == "growth.depth"]
        depth = max((value for value in said if isinstance(value, int)), default=0)
        cases.append(Case(name=order.text, truth=order.truths[0], found=depth))
    evidence = shop.read(made.name, "planted", "growth.json")
    series = [
        Series(
            name="deepest first touch, main thread and worker",
            dimension=Dimension.BYTES,
            cases=tuple(cases),
            least=1 - PAGE_BYTES,
            constant="the first touch of a page, not its lowest",
        ),
    ]
    missing = ""
    if evidence["sees_kernel_touches"]:
        heard = Case(name="beyond the warning share", truth=1, found=min(1, len(live.alerts)))
        series.append(Series(name="alert while it ran", dimension=Dimension.COUNT, cases=(heard,)))
        pages = sum(t["by"] == "kernel" for s in evidence["stacks"] for t in s["touches"])
        case = Case(name="read() into 64 fresh pages", truth=_KERNEL_PAGES, found=pages)
        series.append(
            Series(name="pages that the kernel touches", dimension=Dimension.COUNT, cases=(case,))
        )
    else:
        missing = f"{evidence['tracer']} does not see pages that the kernel touches"
    return Calibrated(
        instrument=made.name,
        series=tuple(series),
        plants=(
            plant(
                Check.TRACE,
                "a thread that comes within 128 KiB of the end of its stack",
                "growth.alerts == 0",
                without=without,
                planted=planted,
            ),
        ),
        overhead=Overhead(ratio=quiet.ratio),
        missing=missing,
    )


async def deepest(shop: Shop) -> Calibrated:
    """Frames counted and weighed at the deepest point."""
    made = instrument("deepest")
    counts: list[Case] = []
    frames: list[Case] = []
    depths: list[Case] = []
    plants: list[Plant] = []
    seconds: list[float] = []
    for optimised in OPTIMISED:
        block = Order(name="block", text=f"block {64 * _KIB}", attribute="depth")
        walk = Order(name="walk", text=f"walk {_WALK}")
        big = Order(name="big", text="big")
        found = await shop.measure(
            made, [order.operation for order in (block, walk, big)], optimised, optimised=optimised
        )
        for order in (block, walk, big):
            data = shop.read(made.name, optimised, f"deepest-{order.name}.json")
            seconds.append(float(data.get("caught_seconds", 0.0)))
            if order is block and "caught_at_depth" in data:
                depths.append(Case(name=f"{block.text}, {optimised}", truth=block.truths[-1],
                                   found=data["caught_at_depth"]))  # fmt: skip
        recursion = value_of(of_operation(found, walk.name), "stack.recursion")
        frame = value_of(of_operation(found, big.name), "stack.frame")
        if recursion is not None:
            counts.append(Case(name=f"{walk.text}, {optimised}", truth=_WALK, found=recursion))
        if frame is not None:
            frames.append(Case(name=f"a buffer of 1 MiB, {optimised}", truth=_MIB, found=frame))
        for criterion, order, fault in (
            ("stack.recursion <= 100", walk, f"a recursion of {_WALK} frames ({optimised})"),
            ("stack.frame <= 128 KiB", big, f"a frame of 1 MiB ({optimised})"),
        ):
            plants.append(
                plant(
                    Check.TRACE,
                    fault,
                    criterion,
                    without=of_operation(found, block.name),
                    planted=of_operation(found, order.name),
                )
            )
    series = [
        Series(
            name="depth where the chain was caught",
            dimension=Dimension.BYTES,
            cases=tuple(depths),
        ),
        Series(name="frames of a recursion", dimension=Dimension.COUNT, cases=tuple(counts)),
        Series(
            name="frame with a buffer of 1 MiB",
            dimension=Dimension.BYTES,
            cases=tuple(frames),
            least=-_RED_ZONE_BYTES,
            most=256,
            constant="saved registers and alignment, less the red zone of a leaf",
        ),
    ]
    return Calibrated(
        instrument=made.name,
        series=tuple(each for each in series if each.cases),
        plants=tuple(plants),
        overhead=Overhead(seconds=max(seconds)),
    )


async def smallest_stack(shop: Shop) -> Calibrated:
    """A workload that needs more than a quarter dies of it, and of nothing else."""
    made = instrument("smallest_stack")
    full = stack_limit_bytes(Pid(os.getpid()))
    small = Order(name="small", text=f"block {64 * _KIB}", attribute="depth")
    frames = full * 35 // 100 // _WALK_FRAME_BYTES
    walk = Order(name="walk", text=f"walk {frames}", attribute="depth")
    cases: list[Case] = []
    results = {}
    for order in (small, walk):
        results[order.name] = await shop.measure(made, [order.operation], order.name, repeats=1)
        least = value_of(results[order.name], "stack.minimum")
        if least is not None:
            cases.append(Case(name=order.text, truth=max(order.truths), found=least))
    wild = Order(name="wild", text="wild")
    results["wild"] = await shop.measure(made, [wild.operation], "wild", repeats=1, most_runs=2)
    overflows = judged(Check.OVERFLOW, "overflow.reproduced >= 1", results["walk"])
    other = judged(Check.OVERFLOW, "overflow.reproduced >= 1", results["wild"])
    return Calibrated(
        instrument=made.name,
        series=(
            Series(
                name="least stack, from what the workload writes",
                dimension=Dimension.BYTES,
                cases=tuple(cases),
                least=-2 * PAGE_BYTES,
                most=4 * PAGE_BYTES,
                constant="steps of 4 KiB; a stack begins at random within two pages",
            ),
        )
        if cases
        else (),
        plants=(
            plant(
                Check.OVERFLOW,
                f"a recursion of {frames:,} frames overflows a quarter of the stack",
                "overflow.crashes == 0",
                without=results["small"],
                planted=results["walk"],
            ),
            Plant(
                fault="a death by a null pointer, which must not be called an overflow",
                criterion=overflows.source,
                without=overflows.verdict,
                planted=other.verdict,
                observed=f"{other.observed} of a null pointer",
            ),
        ),
    )


async def massif(shop: Shop) -> Calibrated:
    """An independent witness; it sees the stack only at its snapshots."""
    made = instrument("massif")
    quiet = calm(twin=shop.twin)
    walk = Order(name="walk", text=f"walk {_WALK}", attribute="below")
    without = await shop.measure(made, [quiet.operation], "without", timed=True)
    planted = await shop.measure(made, [walk.operation], "planted")
    said = value_of(planted, "stack.massif_operation")
    return Calibrated(
        instrument=made.name,
        series=()
        if said is None
        else (
            Series(
                name="a recursion of 300 frames, below idle",
                dimension=Dimension.BYTES,
                cases=(Case(name=walk.text, truth=max(walk.truths), found=said),),
                least=-2 * (_WALK_FRAME_BYTES + PAGE_BYTES),
                most=PAGE_BYTES,
                constant="what lies between two snapshots: a frame or two",
            ),
        ),
        plants=(
            plant(
                Check.TRACE,
                f"a recursion of {_WALK} frames",
                "stack.massif_operation <= 256 KiB",
                without=without,
                planted=planted,
            ),
        ),
        overhead=Overhead(ratio=quiet.ratio),
    )
