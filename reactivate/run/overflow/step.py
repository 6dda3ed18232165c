"""One step of a scenario: mounted in a box, exercised, looked at, and its death explained."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from reactivate.errors import (
    ConfigurationError,
    DaemonHungError,
    MachineError,
    MeasurementError,
    MountError,
    WorkspaceError,
)
from reactivate.gate.advice import Circumstances, advice, classify
from reactivate.instrument.autopsy import explain_death
from reactivate.instrument.death import Cause
from reactivate.instrument.stack_areas import stack_areas
from reactivate.procfs import PAGE_BYTES
from reactivate.run.death_facts import chain_facts
from reactivate.run.overflow.result import Ending, StepResult
from reactivate.target.box_faults import faulty_backing
from reactivate.target.death import DaemonDeathError, describe_status
from reactivate.target.model import Box, BoxedDaemon, BoxReport, Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.target.record import make_run_folder
from reactivate.target.settings import with_settings
from reactivate.target.unmount import remove_folder
from reactivate.workload.drive import drive
from reactivate.workload.scenario import Limits, Progress, Restart, Setting, Step
from reactivate.workspace import Workspace

_MOUNT = "mount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where steps are run.

    Attributes:
        workspace: holds mounts and data while a daemon runs.
        spec: the target.
        build: with everything on that is to be on.
        isolate: whether daemons get namespaces of their own.
    """

    workspace: Workspace
    spec: TargetSpec
    build: Build
    isolate: bool = False


class _Refused(Exception):
    """The daemon lives and did not do what was asked; the text says what."""


@dataclass(slots=True)
class _Account:
    """What is known of a step while it runs; its daemon's end must not take it away."""

    during: str = _MOUNT
    progress: dict[int, Progress] = field(default_factory=dict)
    depth_bytes: int = 0
    lost: int | None = None
    box: BoxReport | None = None


async def run_step(site: Site, step: Step, limits: Limits, folder: Path) -> StepResult:
    """Do one step and say how it ended. Deaths, hangs and refusals are results, not errors.

    Args:
        site: where.
        step: what.
        limits: of the scenario.
        folder: existing folder for the evidence of a death.

    Raises:
        ConfigurationError, UsageError: the target has no such setting.
        WorkspaceError: the workspace cannot be written.
    """
    started = time.monotonic()
    account = _Account()
    ending, text, cause = Ending.SURVIVED, "", None
    try:
        with trio.fail_after(limits.seconds):
            await _all_of_it(site, step, limits, folder, account)
    except DaemonDeathError as death:
        ending = Ending.DIED
        cause = await _explained(death, account)
        text = cause.text
    except trio.TooSlowError:
        ending = Ending.HUNG
        text = f"not finished after {limits.seconds:g} s, then killed"
    except (DaemonHungError, MountError) as error:
        ending, text = Ending.HUNG, error.what
    except (MeasurementError, _Refused) as error:
        ending = Ending.REFUSED
        text = f"{error.what}: {error.why}" if isinstance(error, MeasurementError) else str(error)
    except WorkspaceError:
        raise
    except MachineError as error:
        ending, text = Ending.NOT_RUN, f"{error.what}: {error.why}"
    outcomes = [progress.outcome() for progress in account.progress.values()]
    refused: dict[str, int] = {}
    for outcome in outcomes:
        for name, number in outcome.refused.items():
            refused[name] = refused.get(name, 0) + number
    result = StepResult(
        step=step,
        ending=ending,
        text=text or "survived",
        seconds=time.monotonic() - started,
        during="" if ending is Ending.SURVIVED else account.during,
        operations=sum(outcome.operations for outcome in outcomes),
        refused=refused,
        cause=cause,
        box=account.box,
    )
    if account.depth_bytes and ending is Ending.SURVIVED:
        result = replace(result, depth_bytes=account.depth_bytes)
    if account.lost is not None:
        result = replace(result, lost=account.lost)
    return _classified(result)


async def _explained(death: DaemonDeathError, account: _Account) -> Cause:
    kills = account.box.oom_kills if account.box is not None else 0
    return await explain_death(
        death.returncode,
        death.faults,
        death.why,
        oom_kills=kills if isinstance(kills, int) else 0,
    )


def _classified(result: StepResult) -> StepResult:
    facts = None if result.cause is None else chain_facts(result.cause)
    if facts is None or not result.overflown:
        return result
    around = Circumstances(
        initialising=result.during == _MOUNT,
        operation="" if result.during == _MOUNT else result.during,
    )
    found = classify(facts, around)
    return replace(result, classification=found, advice=advice(found))


# -- what a step consists of ---------------------------------------------------------------


async def _all_of_it(
    site: Site, step: Step, limits: Limits, folder: Path, account: _Account
) -> None:
    scratch = make_run_folder(site.workspace.run)
    run = _Run(site, step, limits, folder, account)
    try:
        data = scratch / "data"
        data.mkdir()
        plain = _configuration(site, scratch / "configuration.toml", step.configuration)
        faults = step.faults
        if faults is None or faults.backing is None:
            if faults is not None:
                settings = {**step.configuration, **faults.configuration}
                wrong = _configuration(site, scratch / "refused.toml", settings)
                await run.must_refuse(wrong, data)
            await run.cycles(plain, data)
            return
        async with faulty_backing(
            site.workspace, faults.backing, after_bytes=int(faults.after_bytes)
        ) as broken:
            if not faults.recovers:
                await run.cycles(plain, broken.path, afterwards=broken.sound)
                return
            await run.may_refuse(plain, broken.path)
        await run.cycles(plain, data)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(remove_folder, scratch, scratch / "mnt")


def _configuration(site: Site, path: Path, settings: Mapping[str, Setting]) -> Path | None:
    """A file of our own with the scenario's settings; None where the target's own will do."""
    if not settings:
        return None
    if site.spec.configuration is None:
        raise ConfigurationError(
            f"the target {site.spec.name} has no configuration file",
            why=f"a scenario wants to set {', '.join(settings)}",
            hint=f"name the file as `configuration` in {site.spec.path}",
        )
    path.write_text(with_settings(site.spec.configuration, settings), encoding="utf-8")
    return path


class _Run:
    """The mounts of one step."""

    def __init__(
        self, site: Site, step: Step, limits: Limits, folder: Path, account: _Account
    ) -> None:
        # What else is on is started after them.
        others = tuple(c for c in site.build.components if c not in step.order)
        build = replace(site.build, components=(*step.order, *others))
        self._launcher = TargetLauncher(site.spec, build, site.workspace)
        self._box = Box(
            stack_bytes=step.stack_limit_bytes,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            file_size_bytes=limits.file_size_bytes,
            isolate=site.isolate,
        )
        self._step, self._limits, self._folder, self._account = step, limits, folder, account

    async def cycles(
        self, configuration: Path | None, data: Path, *, afterwards: Path | None = None
    ) -> None:
        """Mount, exercise and unmount, as often as the step asks for; then restart, if it does.

        Args:
            configuration: of the target; None for its own.
            data: the backing folder.
            afterwards: the backing folder of the mount after a kill, if it is another.
        """
        for cycle in range(1, self._step.cycles + 1):
            last = cycle == self._step.cycles
            self._account.during = _MOUNT
            async with self._mounted(configuration, data) as daemon:
                await self._exercise(daemon)
                if last:
                    self._account.depth_bytes = await _depth_bytes(daemon)
                if last and self._step.restart is Restart.KILL:
                    daemon.kill()
        if self._step.restart is Restart.KILL:
            self._account.during = "mount after the kill"
            async with self._mounted(configuration, afterwards or data) as daemon:
                await self._verify(daemon)

    async def must_refuse(self, configuration: Path | None, data: Path) -> None:
        """A mount that has to end by itself, in order, before it answers."""
        self._account.during = "mount with a setting that must be refused"
        if not await self._refuses(configuration, data):
            raise _Refused("the daemon accepted a setting that it must refuse")

    async def may_refuse(self, configuration: Path | None, data: Path) -> None:
        """A mount that may answer or end by itself in order, and nothing else."""
        self._account.during = "mount with the fault"
        await self._refuses(configuration, data)

    async def _refuses(self, configuration: Path | None, data: Path) -> bool:
        try:
            async with self._mounted(configuration, data):
                return False
        except DaemonDeathError as death:
            if death.returncode is None or death.returncode <= 0:
                raise
            return True

    @asynccontextmanager
    async def _mounted(self, configuration: Path | None, data: Path) -> AsyncIterator[BoxedDaemon]:
        async with self._launcher.mounted(
            traced=True,
            box=self._box,
            autopsy=self._folder,
            backing=data,
            configuration=configuration,
        ) as daemon:
            try:
                yield daemon
            finally:
                self._account.box = daemon.box_report()
        self._account.box = daemon.box_report()
        _must_have_ended_well(daemon, self._account)

    async def _exercise(self, daemon: BoxedDaemon) -> None:
        for index, call in enumerate(self._step.calls):
            self._account.during = call.described()
            progress = self._account.progress.setdefault(index, Progress())
            await drive(
                daemon,
                call.exercise.run,
                daemon.mountpoint,
                call.values,
                progress,
                deadline_seconds=self._limits.seconds,
                doing=f"`{call.described()}`",
            )

    async def _verify(self, daemon: BoxedDaemon) -> None:
        lost = 0
        for index, call in enumerate(self._step.calls):
            if not call.exercise.durable:
                continue
            self._account.during = f"looking for what `{call.exercise.name}` was promised"
            lost += await drive(
                daemon,
                call.exercise.verify,
                daemon.mountpoint,
                self._account.progress[index].outcome(),
                deadline_seconds=self._limits.seconds,
                doing=self._account.during,
            )
        self._account.lost = lost


def _must_have_ended_well(daemon: BoxedDaemon, account: _Account) -> None:
    """A daemon can also die of its own end."""
    returncode, faults = daemon.returncode(), daemon.faults()
    if faults and returncode is not None and -returncode in {fault.signal for fault in faults}:
        account.during = "unmount"
        raise DaemonDeathError(
            f"the daemon {describe_status(returncode)} when it was unmounted",
            returncode=returncode,
            faults=faults,
        )


async def _depth_bytes(daemon: BoxedDaemon) -> int:
    """Depth of the deepest resident page of any of its stacks, in whole pages."""
    areas = await trio.to_thread.run_sync(stack_areas, daemon.pid)
    deepest = max((area.resident_bytes for area in areas), default=0)
    return -(-deepest // PAGE_BYTES) * PAGE_BYTES
