"""Builds with one more component and proves that it is really on.

The proof has three parts: the artifact, the command line, the environment or the configuration
differs from what it is without the component; the component's witness answers; and the same
witness does NOT answer without the component. Without all three, every number that follows would
describe something else.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import ComponentNotEnabledError, UsageError
from reactivate.target.build import build as build_target
from reactivate.target.configuration import command_text
from reactivate.target.elf_facts import function_offset
from reactivate.target.model import Build, ComponentSwitch, Daemon, Launcher, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.target.uprobe import counting
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES, operations
from reactivate.workload.witness import WITNESSES
from reactivate.workspace import Workspace

WITNESS_DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What was built and how it was proven.

    Attributes:
        build: the build with the component.
        previous: the build without it; None for the minimal build.
        witnesses: one sentence per component that was proven, by component id.
        mount_seconds: time from start to an answering mount.
        pid: process that answered the witnesses.
        differs: what is not the same without it: "artifact", "command", "environment", "settings".
    """

    build: Build
    previous: Build | None
    witnesses: dict[str, str]
    mount_seconds: float
    pid: int
    differs: tuple[str, ...] = ()


async def activate(
    spec: TargetSpec,
    workspace: Workspace,
    components: Sequence[str],
    added: Sequence[str],
    *,
    asked: Collection[str] | None = None,
) -> Activation:
    """Build `components`, of which `added` are new, and prove each of the new ones.

    Args:
        spec: the target.
        workspace: holds builds and mounts.
        components: what is to be on.
        added: those of them that are off in what it is compared with.
        asked: those of `added` whose witness is asked; all by default.

    Raises:
        ComponentNotEnabledError: nothing differs, a silent witness, or a witness that answers
            although its component is off.
        BuildError, MountError, DaemonDiedError: as from building and mounting.
    """
    proofs = {c: witness_of(spec, c) for c in added if asked is None or c in asked}
    # The one without first: what is built last is what is mounted next.
    previous = None
    without = [component for component in components if component not in added]
    if added:
        previous = await build_target(spec, workspace, without)
    subject = await build_target(spec, workspace, components)
    differs = () if previous is None else differences(spec, previous, subject)
    if added and not differs:
        raise ComponentNotEnabledError(
            f"Switching on {', '.join(added)} changed nothing",
            why=f"the artifact is the same with and without: {subject.artifact_sha256[:12]}, and "
            "so are command line, environment and configuration; every measurement would test "
            "the same code twice",
            hint=f"say in {spec.path} how it is switched",
        )
    launcher = TargetLauncher(spec, subject, workspace)
    started = time.monotonic()
    witnesses: dict[str, str] = {}
    async with launcher.mounted() as daemon:
        mount_seconds = time.monotonic() - started
        pid = daemon.pid
        for component, switch in proofs.items():
            witnesses[component] = await ask(daemon, subject, switch, f"the witness of {component}")
    if previous is not None:
        await _stays_silent_when_off(TargetLauncher(spec, previous, workspace), proofs, spec)
    return Activation(
        build=subject,
        previous=previous,
        witnesses=witnesses,
        mount_seconds=mount_seconds,
        pid=pid,
        differs=differs,
    )


def differences(spec: TargetSpec, before: Build, after: Build) -> tuple[str, ...]:
    """What is not the same in two builds of a target; paths of our own making do not count."""
    then, now = command_text(spec, before.components), command_text(spec, after.components)
    found = [name for name in now if then[name] != now[name]]
    if before.artifact_sha256 != after.artifact_sha256:
        found.insert(0, "artifact")
    return tuple(found)


def witness_of(spec: TargetSpec, component: str) -> ComponentSwitch:
    """The component, if the target says how it is witnessed.

    Raises:
        UsageError: the target has no such component, or its witness is unknown.
    """
    for switch in spec.components:
        if switch.id != component:
            continue
        if switch.symbol and switch.suite not in SUITES:
            raise UsageError(
                f"Component {component} names an unknown suite: {switch.suite}",
                why=f"{spec.path} may name one of: {', '.join(sorted(SUITES))}",
            )
        if not switch.symbol and switch.operation is None and switch.witness not in WITNESSES:
            raise UsageError(
                f"Component {component} names an unknown witness: {switch.witness}",
                why=f"{spec.path} may name one of: {', '.join(sorted(WITNESSES))}; "
                "or describe its own: witness_operation, witness_symbol",
            )
        return switch
    known = ", ".join(switch.id for switch in spec.components) or "none"
    raise UsageError(
        f"The target {spec.name} has no component {component}",
        why=f"{spec.path} has: {known}",
        hint="reactivate checklist check",
    )


async def ask(daemon: Daemon, build: Build, switch: ComponentSwitch, doing: str) -> str:
    """Let the component's witness answer on a mounted daemon; returns what it said.

    Raises:
        ComponentNotEnabledError: it did not.
        MissingToolError, PrivilegeError: calls of a function cannot be counted here.
        DaemonDiedError, DaemonHungError: the daemon did not survive the question.
    """
    if switch.symbol:
        return await _symbol_hit(daemon, build, switch, doing)
    witness = switch.operation if switch.operation is not None else WITNESSES[switch.witness]
    return await drive(
        daemon,
        witness,
        daemon.mountpoint,
        deadline_seconds=WITNESS_DEADLINE_SECONDS,
        doing=doing,
    )


async def _symbol_hit(daemon: Daemon, build: Build, switch: ComponentSwitch, doing: str) -> str:
    offset = function_offset(build.artifact, switch.symbol)
    if offset is None:
        raise ComponentNotEnabledError(
            f"{build.artifact.name} has no function {switch.symbol}",
            why="it is not built in, or its name was stripped",
            hint="nm -C FILE; the witness needs the symbol's own, mangled name",
        )
    with counting(daemon.pid, build.artifact, offset) as hits:
        await drive(
            daemon,
            _exercise,
            daemon.mountpoint,
            operations([switch.suite]),
            deadline_seconds=WITNESS_DEADLINE_SECONDS,
            doing=doing,
        )
        count = hits.count()
    if not count:
        raise ComponentNotEnabledError(
            f"{switch.symbol} was never called",
            why=f"while all operations of the suite `{switch.suite}` were done",
            hint="name another `witness_suite`, or another function",
        )
    return f"{switch.symbol} was called {count} times"


def _exercise(mount: Path, wanted: Sequence[Operation]) -> None:
    """Each operation once. One that fails is no witness's concern: calls are counted."""
    for operation in wanted:
        folder = mount / f"witness-{operation.name}"
        with suppress(OSError):
            folder.mkdir()
            if operation.setup is not None:
                operation.setup(folder)
            operation.prepare(folder, 0)
            operation.run(folder, 0)
            operation.tidy(folder, 0)


async def _stays_silent_when_off(
    launcher: Launcher, proofs: Mapping[str, ComponentSwitch], spec: TargetSpec
) -> None:
    async with launcher.mounted() as daemon:
        for component, switch in proofs.items():
            doing = f"the witness of {component}, with the component off"
            try:
                answer = await ask(daemon, launcher.build, switch, doing)
            except ComponentNotEnabledError:
                continue
            raise ComponentNotEnabledError(
                f"The witness of {component} also answers when {component} is off",
                why=f"it said: {answer}; so its answer proves nothing",
                hint=f"choose a witness in {spec.path} that only this component can answer",
            )
