"""Valgrind's tools on a real mount: massif for stacks, memcheck for errors and leaks.

Valgrind runs the daemon on a processor of its own making: one thread at a time, several times
slower, on stacks that are not the kernel's. So these are witnesses beside the other instruments,
with timeouts of their own, and they are armed only where a criterion asks for what they find.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import ClassVar

import trio

from reactivate.errors import MeasurementError, ReactivateError
from reactivate.evidence import Bound, Measurement, NotMeasured, Pid
from reactivate.instrument import valgrind_options
from reactivate.instrument.contract import Availability, Bench
from reactivate.instrument.massif import Profile, Snapshot, between, parse_massif
from reactivate.instrument.memcheck import LEAK_KINDS, Report, parse_memcheck
from reactivate.instrument.valgrind_options import ToolSettings
from reactivate.instrument.workout import Progress, perform
from reactivate.procfs import memory_mappings
from reactivate.target.model import Daemon, Wrapper
from reactivate.target.scratch import scratch_folder
from reactivate.workload.drive import drive

_VGDB_SECONDS = 60.0
_MOST_SHOWN = 200
"""Findings written to the evidence file; the numbers count all of them."""

_SETTINGS = {
    "massif": ToolSettings(
        options={
            "max-snapshots": "1000",
            "peak-inaccuracy": "0.0",
            "max-stackframe": "8388608",
        }
    ),
    "memcheck": ToolSettings(
        options={"num-callers": "30", "keep-debuginfo": "yes", "max-stackframe": "8388608"}
    ),
}


class Massif:
    """An independent witness of stack depth: massif's own count of what the stacks take."""

    name: ClassVar[str] = "massif"
    measures: ClassVar[tuple[str, ...]] = ("stack.massif", "stack.massif_operation")
    bound: ClassVar[Bound] = Bound.LOWER
    needs: ClassVar[tuple[str, ...]] = ("valgrind, with vgdb",)
    cost: ClassVar[str] = "a native daemon takes about 3 times as long, threads run in turn"

    def __init__(self) -> None:
        """Settings are the defaults until `configure`."""
        self._settings = _SETTINGS[self.name]

    def availability(self) -> Availability:
        """Whether massif runs a program here."""
        if shutil.which("valgrind") and shutil.which("vgdb") is None:
            return Availability(
                ready=False,
                detail="vgdb is not installed, it comes with valgrind",
                hint=valgrind_options.INSTALL_HINT,
            )
        return _availability(self.name)

    def configure(self, configs: Path) -> None:
        """See `Configurable.configure`; reads the table `massif` of valgrind.toml."""
        self._settings = valgrind_options.load(configs, self.name, self._settings)

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """One mount under massif: the snapshots between the first and the last operation.

        Raises:
            MeasurementError: massif or vgdb did not answer.
        """
        bench.reporter.advance(0, len(bench.operations), "starting under massif")
        # Not beside the evidence: massif's monitor takes no blanks in the names of its files.
        with scratch_folder() as shop:
            fixed = massif_arguments(shop / "vgdb", self._settings)
            under = _wrapper(self.name, fixed, self._settings)
            async with bench.subject.mounted(under=under) as daemon:
                idle = await _snapshot(daemon, shop, "idle")
                await _drive(bench, daemon, self._settings)
                end = await _snapshot(daemon, shop, "end")
                profile = await _ask(daemon, shop, "all_snapshots", shop / "all")
            shutil.copyfile(shop / "all", bench.folder / "massif.out")
        found = between(profile, idle.time, end.time)
        data = {
            "schema": 1,
            "instrument": self.name,
            "command": list(daemon.command),
            "operations": [operation.name for operation in bench.operations],
            "time_unit": profile.time_unit,
            "start_peak_bytes": max(
                (s.stacks_bytes for s in profile.snapshots if s.time <= idle.time), default=0
            ),
            "idle": asdict(idle),
            "snapshots_of_the_workload": len(found),
            "peak": asdict(max((*found, idle), key=lambda s: s.stacks_bytes)),
            "heap_peak_bytes": max((s.heap_bytes for s in found), default=0)
            if self._settings.options.get("heap") == "yes"
            else "not recorded",
        }
        _write(bench.folder / "massif.json", data)
        bench.reporter.advance(len(bench.operations), len(bench.operations), "done")
        return stacks(idle, found, evidence=bench.evidence_prefix + "massif.json")


def massif_arguments(vgdb: Path, settings: ToolSettings) -> tuple[str, ...]:
    """What the instrument asks of massif; the names of vgdb's pipes begin with `vgdb`."""
    # With the heap, which the user may ask for, the peak is that of heap and stacks together.
    heap = () if "heap" in settings.options else ("--heap=no",)
    # Snapshots are fetched while the daemon lives; its end would be in the last file.
    ways = ("--vgdb=yes", f"--vgdb-prefix={vgdb}", "--massif-out-file=/dev/null")
    return ("--stacks=yes", *heap, *ways)


def stacks(
    idle: Snapshot, workload: Sequence[Snapshot], *, evidence: str
) -> tuple[Measurement, ...]:
    """Two measurements: from the first stack pointer, and from the idle one.

    Args:
        idle: taken before the first operation, while the daemon slept.
        workload: those since then; without any there is no value.
    """
    peak = max((s.stacks_bytes for s in workload), default=0)
    said = (
        f"at {len(workload)} snapshots, all threads together; deeper points between two of them "
        f"are not seen; idle: {idle.stacks_bytes:,} bytes"
    )
    values = (
        ("stack.massif", peak, f"from the daemon's first stack pointer, {said}"),
        ("stack.massif_operation", max(0, peak - idle.stacks_bytes), f"below idle, {said}"),
    )
    return tuple(
        Measurement(
            metric=metric,
            value=value
            if workload
            else NotMeasured(reason="massif took no snapshot during the workload"),
            bound=Bound.LOWER,
            instrument=Massif.name,
            samples=(value,) if workload else (),
            evidence=evidence,
            note=note,
        )
        for metric, value, note in values
    )


class Memcheck:
    """Invalid memory use, and memory that is lost when the daemon ends."""

    name: ClassVar[str] = "memcheck"
    measures: ClassVar[tuple[str, ...]] = ("memory.leaked", "memory.errors")
    bound: ClassVar[Bound] = Bound.EXACT
    needs: ClassVar[tuple[str, ...]] = ("valgrind",)
    cost: ClassVar[str] = "a native daemon takes about 7 times as long, threads run in turn"

    def __init__(self) -> None:
        """Settings are the defaults until `configure`."""
        self._settings = _SETTINGS[self.name]

    def availability(self) -> Availability:
        """Whether memcheck runs a program here."""
        return _availability(self.name)

    def configure(self, configs: Path) -> None:
        """See `Configurable.configure`; reads the table `memcheck` of valgrind.toml."""
        self._settings = valgrind_options.load(configs, self.name, self._settings)

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """One mount under memcheck, from the start to the end of the process.

        Raises:
            MeasurementError: the report was not finished in time, or the artifact was not
                loaded, so that nothing could have been found.
        """
        artifact = bench.subject.build.artifact
        bench.reporter.advance(0, len(bench.operations), "starting under memcheck")
        # Beside the evidence: the file can fill a temporary folder that lies in memory.
        xml = bench.folder / "memcheck.xml"
        try:
            fixed = memcheck_arguments(xml)
            under = _wrapper(self.name, fixed, self._settings)
            async with bench.subject.mounted(under=under) as daemon:
                await _drive(bench, daemon, self._settings)
                _must_be_loaded(artifact, daemon.pid)
            bench.reporter.advance(len(bench.operations), len(bench.operations), "reading")
            report = await trio.to_thread.run_sync(parse_memcheck, xml, artifact)
        finally:
            xml.unlink(missing_ok=True)
        data = {
            "schema": 1,
            "instrument": self.name,
            "command": list(daemon.command),
            "operations": [operation.name for operation in bench.operations],
            "artifact": str(artifact),
            "leaked_bytes": {kind: report.leaked_bytes(kind) for kind in LEAK_KINDS},
            "errors": len(report.errors),
            "without_a_frame_of_the_artifact": dict(report.elsewhere),
            "leaked_bytes_without_a_frame_of_the_artifact": report.elsewhere_leaked_bytes,
            "suppressed": report.suppressed,
            "findings": [asdict(finding) for finding in report.findings[:_MOST_SHOWN]],
            "findings_left_out": max(0, len(report.findings) - _MOST_SHOWN),
        }
        _write(bench.folder / "memcheck.json", data)
        return memory(report, artifact.name, evidence=bench.evidence_prefix + "memcheck.json")


def memcheck_arguments(xml: Path) -> tuple[str, ...]:
    """What the instrument asks of memcheck."""
    return (
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect,possible",
        "--errors-for-leak-kinds=none",
        "--error-limit=no",
        "--vgdb=no",
        # A child before its exec would write its own report into the same file.
        "--child-silent-after-fork=yes",
        "--xml=yes",
        f"--xml-file={_escaped(xml)}",
    )


def memory(report: Report, artifact: str, *, evidence: str) -> tuple[Measurement, ...]:
    """What a report says, as measurements."""
    kinds = Counter(finding.kind for finding in report.errors)
    times = sum(finding.count for finding in report.errors)
    lost = ", ".join(
        f"{kind.removeprefix('Leak_').removesuffix('Lost').lower()} {report.leaked_bytes(kind):,}"
        for kind in LEAK_KINDS
    )
    listed = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    beside = sum(report.elsewhere.values())
    only = f"only call chains with a frame of {artifact} count; {beside:,} others do not"
    if report.suppressed:
        only += f"; {report.suppressed:,} were suppressed by files"
    values = (
        ("memory.leaked", report.leaked_bytes(), f"{lost} bytes; {only}"),
        (
            "memory.errors",
            len(report.errors),
            (f"{listed}; {times:,} times in all; " if kinds else "") + only,
        ),
    )
    return tuple(
        Measurement(
            metric=metric,
            value=value,
            instrument=Memcheck.name,
            samples=(value,),
            evidence=evidence,
            note=note,
        )
        for metric, value, note in values
    )


def _wrapper(tool: str, fixed: Sequence[str], settings: ToolSettings) -> Wrapper:
    # Neither ~/.valgrindrc nor VALGRIND_OPTS may change what is measured.
    base = (valgrind_options.valgrind(), "--command-line-only=yes", "-q", f"--tool={tool}")
    return Wrapper(
        prefix=(*base, *fixed, *settings.arguments),
        # Python's own allocator hides from memcheck which block is whose.
        environment={"PYTHONMALLOC": "malloc"},
        mount_timeout_seconds=settings.mount_timeout_seconds,
        stop_timeout_seconds=settings.stop_timeout_seconds,
    )


async def _drive(bench: Bench, daemon: Daemon, settings: ToolSettings) -> None:
    total = len(bench.operations)
    progress = Progress()
    bench.reporter.advance(0, total, "the workload")
    await drive(
        daemon,
        perform,
        daemon.mountpoint,
        bench.operations,
        settings.repeats * bench.times,
        progress,
        deadline_seconds=settings.deadline_seconds * bench.times,
        doing="the workload under valgrind",
    )


async def _snapshot(daemon: Daemon, shop: Path, name: str) -> Snapshot:
    """The present moment."""
    return (await _ask(daemon, shop, "snapshot", shop / name)).snapshots[-1]


async def _ask(daemon: Daemon, shop: Path, what: str, path: Path) -> Profile:
    """Let massif write snapshots to a file now, and read it."""
    said = None
    with trio.move_on_after(_VGDB_SECONDS):
        said = await trio.run_process(
            [
                shutil.which("vgdb") or "vgdb", f"--vgdb-prefix={shop / 'vgdb'}",
                f"--pid={daemon.pid}", what, str(path),
            ],
            capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
    if said is None or not path.is_file():
        words = "" if said is None else (said.stderr + said.stdout).decode(errors="replace")
        raise MeasurementError(
            f"massif did not take a {what.replace('_', ' ')}",
            why=words.strip()[-500:] or f"vgdb did not end within {_VGDB_SECONDS:g} s",
            hint="a sleeping daemon is woken by ptrace: run as root, or --cap-add SYS_PTRACE",
        )
    return parse_massif(path.read_text(encoding="utf-8", errors="replace").splitlines())


def _must_be_loaded(artifact: Path, pid: Pid) -> None:
    wanted = os.path.realpath(artifact)
    try:
        loaded = any(mapping.path == wanted for mapping in memory_mappings(pid))
    except ProcessLookupError:
        loaded = True  # it has just died; leaving the mount says so better
    if not loaded:
        raise MeasurementError(
            f"the daemon has not loaded {artifact.name}",
            why="only findings with a frame of the artifact count, so there could have been none",
            hint="name the program or library that holds the components as the target's artifact",
        )


def _availability(tool: str) -> Availability:
    if shutil.which("valgrind") is None:
        return Availability(
            ready=False,
            detail="valgrind is not installed",
            hint=valgrind_options.INSTALL_HINT,
        )
    refusal = _trial(tool)
    if refusal:
        return Availability(ready=False, detail=f"{tool} runs no program here: {refusal}")
    return Availability(ready=True, detail=f"ready ({_version()})")


@cache
def _trial(tool: str) -> str:
    try:
        return valgrind_options.trial(tool, ())
    except ReactivateError as error:
        return error.why or error.what


@cache
def _version() -> str:
    try:
        return valgrind_options.version()
    except ReactivateError:
        return "of unknown version"


def _escaped(path: Path) -> str:
    """Valgrind expands `%p` and the like in names of files."""
    return str(path).replace("%", "%%")


def _write(path: Path, data: dict[str, object]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
