"""Every instrument on programs that are known to do what it should find, on this machine.

What an instrument says is compared with what the programs know of themselves; and each is shown a
planted fault, judged by the gate's own arithmetic. A gate whose instrument was never seen red
could be green because the instrument is blind.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio

from reactivate.errors import ReactivateError, UsageError
from reactivate.instrument.contract import Instrument, Reporter
from reactivate.instrument.registry import instrument, instrument_names
from reactivate.procfs import mount_fusectl
from reactivate.run.calibrate import others, stacks
from reactivate.run.calibrate.bench import Shop
from reactivate.run.calibrate.depths import watermark_series
from reactivate.run.calibrate.programs import Obedient, build
from reactivate.run.calibrate.record import Calibrated, Calibration
from reactivate.run.environment import machine, tools
from reactivate.target.mount import check_fuse
from reactivate.target.scratch import scratch_folder
from reactivate.tomlfile import nearest
from reactivate.workload.drive import drive

_INSTRUMENT_SECONDS = 60.0

_SIDE_BY_SIDE = (("growth", "smallest_stack"), ("lifecycle", "perf"), ("massif", "memcheck"))
"""Rows that go on beside each other: tracers mostly wait for the kernel to put their probes in and
take them away. A run from which an overhead is told has the machine for itself all the same (see
`Turns`), and so have all of the instruments that are in no row."""

Procedure = Callable[[Shop], Awaitable[Calibrated]]

PROCEDURES: Mapping[str, Procedure] = {
    "watermark": stacks.watermark,
    "memory": others.memory,
    "latency": others.latency,
    "growth": stacks.growth,
    "lifecycle": others.lifecycle,
    "deepest": stacks.deepest,
    "massif": stacks.massif,
    "memcheck": others.memcheck,
    "perf": others.perf,
    "smallest_stack": stacks.smallest_stack,
}
"""How each instrument is calibrated."""


async def calibrate(
    *,
    sources: Path,
    configs: Path,
    mounts: Path,
    evidence: Path,
    reporter: Reporter,
    only: Sequence[str] = (),
) -> Calibration:
    """Calibrate every instrument that can be.

    One that cannot work here, or breaks, is in the result with the reason.

    Args:
        sources: probes/groundtruth.
        configs: folder of settings files.
        mounts: mount points and records of daemons lie below while they run; of a workspace its
            root, so that whatever a kill leaves behind is removed by the next call.
        evidence: existing, empty folder; each instrument gets one of its own in it.
        reporter: progress.
        only: names of instruments; none for all.

    Raises:
        UsageError: there is no instrument of such a name.
        MissingToolError, BuildError: the programs cannot be compiled.
    """
    at, started = datetime.now(UTC), time.monotonic()
    names = instrument_names()
    if unknown := [name for name in only if name not in names]:
        raise UsageError(
            f"there is no instrument `{unknown[0]}`{nearest(unknown[0], sorted(names))}",
            hint="reactivate doctor",
        )
    names = tuple(name for name in names if not only or name in only)
    reporter.advance(0, len(names), "compiling")
    found: list[Calibrated] = []
    with scratch_folder() as folder:
        programs = await build(sources, folder / "built")
        shop = Shop(
            programs=programs, mounts=mounts, evidence=evidence, configs=configs, twin=Path()
        )
        rows = [[name for name in row if name in names] for row in _SIDE_BY_SIDE]
        first = [name for name in names if not any(name in row for row in rows)]

        async def each_of(row: Sequence[str]) -> None:
            for name in row:
                reporter.advance(len(found), len(names), name)
                begun = time.monotonic()
                result = await _one(name, shop)
                seconds = round(time.monotonic() - begun, 2)
                found.append(dataclasses.replace(result, seconds=seconds))

        await each_of(first)
        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(each_of, row)
    found.sort(key=lambda each: names.index(each.instrument))
    reporter.advance(len(names), len(names), "done")
    return Calibration(
        at=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        environment={**machine(), **tools()},
        instruments=tuple(found),
        seconds=round(time.monotonic() - started, 1),
    )


async def _one(name: str, shop: Shop) -> Calibrated:
    """One instrument; never raises what belongs to the machine."""
    procedure = PROCEDURES.get(name)
    if procedure is None:
        return Calibrated(
            instrument=name, missing="nothing is known that it should find", available=False
        )
    made = instrument(name)
    availability = made.availability()
    if not availability.ready:
        return Calibrated(
            instrument=name, missing=availability.detail, hint=availability.hint, available=False
        )  # fmt: skip
    try:
        with trio.fail_after(_INSTRUMENT_SECONDS):
            result = await _mounted(procedure, made, shop)
    except trio.TooSlowError:
        return Calibrated(
            instrument=name, missing=f"not finished after {_INSTRUMENT_SECONDS:g} s"
        )  # fmt: skip
    except (ReactivateError, OSError) as error:
        why = error.why if isinstance(error, ReactivateError) else ""
        hint = error.hint if isinstance(error, ReactivateError) else ""
        return Calibrated(instrument=name, missing=f"{error}: {why}".rstrip(": "), hint=hint)
    return dataclasses.replace(result, detail=availability.detail)


async def _mounted(procedure: Procedure, made: Instrument, shop: Shop) -> Calibrated:
    """The procedure, beside a daemon that no instrument looks at."""
    try:
        check_fuse()
    except ReactivateError as error:
        if made.name != "watermark":
            missing = f"{error}: {error.why}".rstrip(": ")
            return Calibrated(
                instrument=made.name, missing=missing, hint=error.hint, available=False
            )
        # Depths are known without any filesystem; the planted fault needs one.
        series = await trio.to_thread.run_sync(watermark_series, shop.programs)
        missing = f"never seen red: {error}"
        return Calibrated(
            instrument=made.name,
            series=series,
            missing=missing,
            hint=error.hint,
            available=False,
        )
    mount_fusectl()
    async with Obedient(shop.programs.path("obedient", "O2"), shop.mounts).mounted() as twin:
        folder = twin.mountpoint / "twin"
        await drive(twin, folder.mkdir, deadline_seconds=10.0, doing="making a folder")
        return await procedure(dataclasses.replace(shop, twin=folder))
