"""Builds with one more component and proves that it is really on.

The proof has three parts: the artifact differs from the one without the component, the
component's witness answers on the new build, and the same witness does NOT answer on the old
one. Without all three, every number that follows would describe something else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import ComponentNotEnabledError, UsageError
from reactivate.target.build import build as build_target
from reactivate.target.model import Build, Launcher, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.drive import drive
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
    """

    build: Build
    previous: Build | None
    witnesses: dict[str, str]
    mount_seconds: float
    pid: int


async def activate(
    spec: TargetSpec,
    workspace: Workspace,
    components: Sequence[str],
    added: Sequence[str],
) -> Activation:
    """Build `components`, of which `added` are new, and prove each of the new ones.

    Raises:
        ComponentNotEnabledError: same artifact, silent witness, or a witness that answers
            although its component is off.
        BuildError, MountError, DaemonDiedError: as from building and mounting.
    """
    subject = await build_target(spec, workspace, components)
    previous = None
    if added:
        without = [component for component in components if component not in added]
        previous = await build_target(spec, workspace, without)
        if previous.artifact_sha256 == subject.artifact_sha256:
            raise ComponentNotEnabledError(
                f"Switching on {', '.join(added)} changed nothing",
                why=f"the artifact is the same with and without: {subject.artifact_sha256[:12]}; "
                "every measurement would test the same code twice",
                hint=f"check the build commands in {spec.path}",
            )
    proofs = {component: witness_of(spec, component) for component in added}
    launcher = TargetLauncher(spec, subject, workspace)
    started = time.monotonic()
    witnesses: dict[str, str] = {}
    async with launcher.mounted() as daemon:
        mount_seconds = time.monotonic() - started
        pid = daemon.pid
        for component, name in proofs.items():
            witnesses[component] = await drive(
                daemon,
                WITNESSES[name],
                daemon.mountpoint,
                deadline_seconds=WITNESS_DEADLINE_SECONDS,
                doing=f"the witness of {component}",
            )
    if previous is not None:
        await _stays_silent_when_off(TargetLauncher(spec, previous, workspace), proofs)
    return Activation(
        build=subject,
        previous=previous,
        witnesses=witnesses,
        mount_seconds=mount_seconds,
        pid=pid,
    )


def witness_of(spec: TargetSpec, component: str) -> str:
    """Name of the component's witness.

    Raises:
        UsageError: the target has no such component, or its witness is unknown.
    """
    for switch in spec.components:
        if switch.id == component:
            if switch.witness not in WITNESSES:
                raise UsageError(
                    f"Component {component} names an unknown witness: {switch.witness}",
                    why=f"{spec.path} may name one of: {', '.join(sorted(WITNESSES))}",
                )
            return switch.witness
    known = ", ".join(switch.id for switch in spec.components) or "none"
    raise UsageError(
        f"The target {spec.name} has no component {component}",
        why=f"{spec.path} has: {known}",
        hint="reactivate checklist check",
    )


async def _stays_silent_when_off(launcher: Launcher, proofs: dict[str, str]) -> None:
    async with launcher.mounted() as daemon:
        for component, name in proofs.items():
            try:
                answer = await drive(
                    daemon,
                    WITNESSES[name],
                    daemon.mountpoint,
                    deadline_seconds=WITNESS_DEADLINE_SECONDS,
                    doing=f"the witness of {component}, with the component off",
                )
            except ComponentNotEnabledError:
                continue
            raise ComponentNotEnabledError(
                f"The witness of {component} also answers when {component} is off",
                why=f"it said: {answer}; so its answer proves nothing",
                hint=f"choose a witness in {Path(launcher.build.artifact).name}'s target file "
                "that only this component can answer",
            )
