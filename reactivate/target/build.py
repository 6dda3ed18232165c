"""Building a target with a set of components, and the digest that tells builds apart."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from reactivate.errors import BuildError, MissingToolError, UsageError, WorkspaceError
from reactivate.target.command import build_fields, build_folder, environment, expand
from reactivate.target.configuration import configuration_sha256
from reactivate.target.death import describe_status, log_tail
from reactivate.target.model import Build, TargetSpec
from reactivate.target.process import StartError, spawn
from reactivate.tomlfile import nearest
from reactivate.workspace import Workspace

_PACKAGES = {
    "make": "make", "gcc": "gcc", "cc": "gcc", "c99": "gcc", "g++": "g++", "c++": "g++",
    "ld": "binutils", "ar": "binutils", "clang": "clang", "cargo": "cargo", "rustc": "rustc",
    "cmake": "cmake", "ninja": "ninja-build", "meson": "meson", "pkg-config": "pkg-config",
}  # fmt: skip
"""Debian packages of programs that builds use."""

_MISSING = re.compile(
    r"(?:C compiler `|make(?:\[\d+\])?: |sh: \d+: |sh: line \d+: )([\w.+-]+)"
    r"(?:` not found|: (?:command )?not found|: No such file or directory)"
)
_ERROR = re.compile(r"\berror\b:|undefined reference|\*\*\*|fatal:|cannot find", re.IGNORECASE)
_MOST_LINES = 12
_KILL_SECONDS = 5.0


async def build(spec: TargetSpec, workspace: Workspace, components: Sequence[str]) -> Build:
    """Build the target with these components on and all others off.

    Whether anything is to be done is for the target's own build to say (make's, cargo's). Each
    set of components has a folder of its own, so a build is never made from another's leavings.

    Args:
        spec: the target.
        workspace: holds the build folders.
        components: ids, in any order; what they need must be among them.

    Raises:
        UsageError: an unknown component, or one without what it needs.
        MissingToolError: make, the compiler or another program is not installed.
        BuildError: a command failed or took too long, or left no artifact.
        WorkspaceError: the build folder cannot be written.
    """
    ordered = order_components(spec, components)
    folder = build_folder(workspace, spec, ordered)
    log = folder.with_name(f"{folder.name}.log")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    except OSError as error:
        raise WorkspaceError(
            "the build folder cannot be written",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error
    fields = build_fields(workspace, spec, ordered)
    artifact_text = expand([spec.artifact], fields, ordered)[0]
    before = _signature(Path(artifact_text))
    begun = time.monotonic()
    commands = [expand(command, fields, ordered) for command in spec.build]
    variables = environment(spec, fields, ordered)
    for command in commands:
        left = spec.build_timeout_seconds - (time.monotonic() - begun)
        await _run(command, variables, workspace.root.resolve(), log, left, spec)
    seconds = time.monotonic() - begun
    artifact = _find_artifact(artifact_text, spec, log)
    return Build(
        components=ordered,
        artifact=artifact,
        artifact_sha256=await trio.to_thread.run_sync(_digest, artifact),
        configuration_sha256=configuration_sha256(spec.configuration, ordered),
        seconds=seconds if commands and _signature(artifact) != before else 0.0,
        log=log,
        command=commands[-1] if commands else (),
    )


def order_components(spec: TargetSpec, components: Sequence[str]) -> tuple[str, ...]:
    """The components in the target's order, each once.

    Raises:
        UsageError: an unknown component, or one without what it needs.
    """
    known = [switch.id for switch in spec.components]
    for component in components:
        if component not in known:
            raise UsageError(
                f"the target {spec.name} has no component `{component}`{nearest(component, known)}",
                hint=f"components are listed in {spec.path}",
            )
    for switch in spec.components:
        missing = [need for need in switch.needs if need not in components]
        if switch.id in components and missing:
            raise UsageError(
                f"component `{switch.id}` needs `{missing[0]}`, which is not switched on",
                why=f"{spec.path} says so",
            )
    return tuple(component for component in known if component in components)


async def _run(
    command: tuple[str, ...],
    variables: dict[str, str],
    folder: Path,
    log: Path,
    seconds: float,
    spec: TargetSpec,
) -> None:
    if shutil.which(command[0], path=variables["PATH"]) is None:
        raise _missing(command[0])
    try:
        process = spawn(
            command,
            environment=variables,
            folder=folder,
            log=log,
            stack_limit_bytes=None,
            traced=False,
        )
    except StartError as error:
        raise BuildError("the build cannot be started", why=str(error)) from None
    try:
        await process.begin()
        finished = await process.wait(seconds)
        returncode = process.returncode()
    except StartError as error:
        raise BuildError("the build cannot be started", why=str(error)) from None
    finally:
        with trio.CancelScope(shield=True):
            # Also what the build left running: nothing of it may outlive the build.
            process.signal_group(signal.SIGKILL)
            if await process.wait(_KILL_SECONDS):
                process.release()
    if not finished:
        raise BuildError(
            f"the build was not finished after {spec.build_timeout_seconds:g} s and was killed",
            why=log_tail(log),
            hint=f"raise build.timeout_seconds in {spec.path}",
        )
    if returncode != 0:
        raise _failed(command, returncode or 0, log)


def _failed(command: tuple[str, ...], returncode: int, log: Path) -> BuildError | MissingToolError:
    text = log.read_text(encoding="utf-8", errors="replace")
    if missing := _MISSING.search(text):
        return _missing(missing[1])
    lines = text.strip().splitlines()
    errors = [line for line in lines if _ERROR.search(line)] or lines[-_MOST_LINES:]
    return BuildError(
        f"the build failed: {command[0]} {describe_status(returncode)}",
        why="\n".join(errors[:_MOST_LINES]) or "it said nothing",
        hint=f"less {log}",
    )


def _missing(program: str) -> MissingToolError:
    package = _PACKAGES.get(Path(program).name)
    return MissingToolError(
        f"{program} is not installed",
        why="the target's build needs it",
        hint=f"sudo apt-get install {package}" if package else "install it, or add it to PATH",
    )


def _find_artifact(text: str, spec: TargetSpec, log: Path) -> Path:
    """The file; a bare name without a build is a program of this system."""
    path = Path(text)
    if not spec.build and "/" not in text:
        found = shutil.which(text)
        if found is None:
            raise _missing(text)
        path = Path(found).resolve()
    if not path.is_file():
        raise BuildError(
            f"the build left no artifact {path}",
            why="every command succeeded" if spec.build else "and the target is not built here",
            hint=f"check `artifact` in {spec.path}" + (f", and {log}" if spec.build else ""),
        )
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file was written again; None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
