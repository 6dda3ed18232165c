"""Whether a target is what its file says: it builds, mounts, answers, ends; its switches switch."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reactivate import procfs
from reactivate.errors import ExitCode, MachineError, MeasurementError, MountError, ReactivateError
from reactivate.run.activation import WITNESS_DEADLINE_SECONDS, activate, witness_of
from reactivate.target.build import build as build_target
from reactivate.target.configuration import command_text
from reactivate.target.elf_facts import ElfFacts, elf_facts
from reactivate.target.model import Build, ComponentSwitch, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.drive import drive
from reactivate.workspace import Workspace

Say = Callable[[str], None]
"""Told what is done next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentCheck:
    """One component, switched on where nothing else is on, and off where all others are.

    Attributes:
        id: the component.
        ways: how the file says that it is switched.
        differs: what is not the same with it: "artifact", "command", "environment", "settings".
        witness: what its witness said; "" if it proved nothing.
        same_as: another component that gives the same artifact and the same command; "" if none.
        problem: what is wrong, in the error's words; None if it is proven in both directions.
    """

    id: str
    ways: tuple[str, ...]
    differs: tuple[str, ...] = ()
    witness: str = ""
    same_as: str = ""
    problem: ReactivateError | None = None

    @property
    def proven(self) -> bool:
        """Whether it is."""
        return self.problem is None and not self.same_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The daemon without any component, from its start to its end.

    Attributes:
        mount_seconds: until it answered.
        stop_seconds: until it had ended and its mount was gone.
        threads: how many it had when it had answered.
        problem: what is wrong with its end; None if it ended when it was unmounted.
    """

    mount_seconds: float
    stop_seconds: float
    threads: int
    problem: ReactivateError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCheck:
    """All that was found out about a target.

    Attributes:
        name: the target's.
        build: the build without components; None if there is none.
        facts: what its artifact says of how it was made.
        life: None if it did not come to life.
        components: in the file's order; empty if the target itself does not work.
        problem: why it does not build, mount or answer.
        broken_word: what the file promises of the artifact, and what is not so; "" if nothing.
    """

    name: str
    build: Build | None = None
    facts: ElfFacts | None = None
    life: Life | None = None
    components: tuple[ComponentCheck, ...] = ()
    problem: ReactivateError | None = None
    broken_word: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """6: it does not work; 5: a switch proves nothing, or a word is broken; 0: all is so."""
        if self.problem is not None or self.life is None or self.life.problem is not None:
            return ExitCode.ENVIRONMENT
        if any(isinstance(c.problem, MachineError) for c in self.components):
            return ExitCode.ENVIRONMENT
        if self.broken_word or not all(c.proven for c in self.components):
            return ExitCode.INCONCLUSIVE
        return ExitCode.DONE


async def check_target(spec: TargetSpec, workspace: Workspace, say: Say) -> TargetCheck:
    """Build, mount, ask and end the target, alone and with each component on and off.

    Raises:
        UsageError: a component names an unknown witness.
    """
    for component in spec.components:
        witness_of(spec, component.id)
    found = TargetCheck(name=spec.name)
    try:
        say("build without components")
        made = await build_target(spec, workspace, ())
        facts = elf_facts(made.artifact)
        found = replace(found, build=made, facts=facts, broken_word=_broken_word(spec, facts))
        say("mount, answer, unmount")
        found = replace(found, life=await _live(spec, made, workspace))
    except (MachineError, MeasurementError) as error:
        return replace(found, problem=error)
    checks: list[ComponentCheck] = []
    signatures: dict[str, str] = {}
    for component in spec.components:
        say(f"{component.id} on and off")
        checks.append(await _component(spec, workspace, component, signatures))
    return replace(found, components=tuple(checks))


def _broken_word(spec: TargetSpec, facts: ElfFacts) -> str:
    if spec.debug_information and facts.debug_information == "no":
        return f"{spec.path} says `debug_information = true`, and the artifact holds none"
    return ""


async def _live(spec: TargetSpec, made: Build, workspace: Workspace) -> Life:
    before = {mount.mountpoint for mount in procfs.fuse_mounts()}
    begun = time.monotonic()
    try:
        async with TargetLauncher(spec, made, workspace).mounted() as daemon:
            mounted = time.monotonic()
            threads = len(procfs.thread_ids(daemon.pid))
            await drive(
                daemon, _list, daemon.mountpoint,
                deadline_seconds=WITNESS_DEADLINE_SECONDS, doing="listing the mount",
            )  # fmt: skip
            leaving = time.monotonic()
    except MountError as error:
        raise _elsewhere(error, before, workspace) from None
    return Life(
        mount_seconds=mounted - begun,
        stop_seconds=time.monotonic() - leaving,
        threads=threads,
        problem=_end(daemon.returncode(), spec),
    )


def _list(mount: Path) -> None:
    os.listdir(mount)  # noqa: PTH208 - one call, nothing else


def _end(returncode: int | None, spec: TargetSpec) -> MountError | None:
    if returncode != -signal.SIGKILL:
        return None
    return MountError(
        "the daemon did not end when it was unmounted and told to",
        why=f"it was killed after {spec.stop_timeout_seconds:g} s; what it had not written is lost",
        hint=f"raise run.stop_timeout_seconds in {spec.path}, or let the daemon end on SIGTERM",
    )


def _elsewhere(error: MountError, before: set[Path], workspace: Workspace) -> MountError:
    """A mount that appeared somewhere else meanwhile explains why none came where it should."""
    own = workspace.run.resolve()
    new = [
        str(mount.mountpoint)
        for mount in procfs.fuse_mounts()
        if mount.mountpoint not in before and not mount.mountpoint.is_relative_to(own)
    ]
    if not new:
        return error
    # Others mount, too: only the user knows which is the daemon's.
    one = new[0] if len(new) == 1 else "DIR"
    return MountError(
        error.what,
        why=f"mounted meanwhile: {', '.join(new)}; by the daemon?\n{error.why}",
        hint=f"fusermount3 -u {one}, and give the daemon {{mountpoint}}",
    )


async def _component(
    spec: TargetSpec, workspace: Workspace, component: ComponentSwitch, signatures: dict[str, str]
) -> ComponentCheck:
    alone = _closure(spec, component.id)
    everything = [c.id for c in spec.components]
    leaves = [c for c in everything if component.id in _closure(spec, c)]
    found = ComponentCheck(id=component.id, ways=ways_of(spec, component))
    try:
        first = await activate(spec, workspace, alone, [component.id])
        found = replace(found, differs=first.differs, witness=first.witnesses[component.id])
        if len(everything) > len(alone):
            await activate(spec, workspace, everything, leaves, asked=[component.id])
    except (MachineError, MeasurementError) as error:
        found = replace(found, problem=error)
    try:
        signature = await _signature(spec, workspace, alone)
    except MachineError:
        return found
    same = signatures.setdefault(signature, component.id)
    return found if same == component.id else replace(found, same_as=same)


async def _signature(spec: TargetSpec, workspace: Workspace, components: Sequence[str]) -> str:
    """The same for two sets of components that cannot be told apart when they run."""
    made = await build_target(spec, workspace, components)
    text = command_text(spec, made.components)
    return json.dumps([made.artifact_sha256, text], sort_keys=True)


def ways_of(spec: TargetSpec, component: ComponentSwitch) -> tuple[str, ...]:
    """How the file says that a component is switched; the general fields included."""
    ways = [switch.way.value for switch in component.switches]
    if any("{components}" in argument for command in spec.build for argument in command):
        ways.append("build")
    if spec.run_component or any("{components}" in argument for argument in spec.run):
        ways.append("arguments")
    if any("{components}" in value for value in spec.environment.values()):
        ways.append("environment")
    return tuple(dict.fromkeys(ways))


def _closure(spec: TargetSpec, component: str) -> list[str]:
    """A component and all that it needs, in the file's order."""
    wanted = {component}
    # What is needed stands before what needs it.
    for switch in reversed(spec.components):
        if switch.id in wanted:
            wanted.update(switch.needs)
    return [switch.id for switch in spec.components if switch.id in wanted]
