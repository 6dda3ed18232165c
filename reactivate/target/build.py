"""Building a target with a set of components, and the digest that tells builds apart."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import trio

from reactivate.errors import BuildError, MissingToolError, UsageError, WorkspaceError
from reactivate.target.box_members import MARKER, end_marked
from reactivate.target.build_cache import Recipe, remember, still_valid
from reactivate.target.command import (
    build_fields,
    build_folder,
    configuration_copy,
    effect_of,
    environment,
    expand,
    source_folder,
)
from reactivate.target.configuration import switched_sha256
from reactivate.target.death import describe_status, log_tail
from reactivate.target.elf_facts import check_architecture
from reactivate.target.model import Build, TargetSpec
from reactivate.target.process import StartError, spawn
from reactivate.target.record import make_run_folder, write_record
from reactivate.target.settings import write_switched
from reactivate.target.source import Source, prepare
from reactivate.tomlfile import nearest
from reactivate.trust import require_no_links, require_trusted
from reactivate.workspace import Workspace

_PACKAGES = {
    "make": "make", "gcc": "gcc", "cc": "gcc", "c99": "gcc", "g++": "g++", "c++": "g++",
    "ld": "binutils", "ar": "binutils", "clang": "clang", "cargo": "cargo", "rustc": "rustc",
    "git": "git", "bindfs": "bindfs", "cmake": "cmake", "ninja": "ninja-build",
    "meson": "meson", "pkg-config": "pkg-config",
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

    With a `source`, nothing is run when nothing has changed that goes into the build. Otherwise
    whether anything is to be done is for the target's own build to say (make's, cargo's), which
    also goes on where a killed one stopped. Each set of components has a folder of its own, so a
    build is never made from another's leavings.

    Args:
        spec: the target.
        workspace: holds the build folders.
        components: ids, in any order; what they need must be among them.

    Raises:
        UsageError: an unknown component, or one without what it needs.
        MissingToolError: make, the compiler or another program is not installed.
        BuildError: a command failed or took too long, left no artifact or one for another
            processor; the source is no checkout, or a patch does not apply.
        WorkspaceError: the build folder cannot be written, or is a symbolic link.
        PrivilegeError: others could change what would be executed.
    """
    ordered = order_components(spec, components)
    folder = build_folder(workspace, spec, ordered)
    log = folder.with_name(f"{folder.name}.log")
    require_no_links(workspace)
    require_trusted(workspace, _executed(spec, workspace, folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_switched(spec, ordered, configuration_copy(workspace, spec, ordered))
    except OSError as error:
        raise WorkspaceError(
            "the build folder cannot be written",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error
    with _alone(spec, workspace):
        return await _build(spec, workspace, ordered, folder, log)


async def _build(
    spec: TargetSpec, workspace: Workspace, ordered: tuple[str, ...], folder: Path, log: Path
) -> Build:
    source = await _source(spec, workspace, ordered)
    fields = build_fields(workspace, spec, ordered)
    variables = environment(spec, fields, ordered)
    commands = tuple(expand(command, fields, ordered) for command in spec.build)
    artifact_text = expand([spec.artifact], fields, ordered)[0]
    recipe = Recipe(commands=commands, variables=variables, source=source)
    stamp = folder.with_name(f"{folder.name}.inputs.json")
    before = _signature(Path(artifact_text))
    known = await trio.to_thread.run_sync(still_valid, stamp, recipe, Path(artifact_text))
    begun = time.monotonic()
    if not known:
        await _run_all(spec, workspace, recipe, log, stamp)
    seconds = time.monotonic() - begun
    artifact = _find_artifact(artifact_text, spec, log)
    if spec.build:
        require_trusted(workspace, [artifact])
    if not known:
        check_architecture(artifact)
    digest = await trio.to_thread.run_sync(_digest, artifact)
    if not known and source is not None:
        remember(stamp, recipe, digest)
    return Build(
        components=ordered,
        artifact=artifact,
        artifact_sha256=digest,
        configuration_sha256=switched_sha256(spec, ordered),
        seconds=seconds if commands and _signature(artifact) != before else 0.0,
        log=log,
        command=commands[-1] if commands else (),
        commit="" if source is None else source.commit + "+" * bool(source.uncommitted),
        cached=known,
        source_sha256="" if source is None else source.fingerprint,
    )


def _executed(spec: TargetSpec, workspace: Workspace, folder: Path) -> list[Path]:
    """What says what is run, and what is run by it."""
    named = [path for path in (spec.source, spec.configuration) if path is not None]
    return [spec.path, workspace.configs, workspace.probes, folder, *named]


@contextlib.contextmanager
def _alone(spec: TargetSpec, workspace: Workspace) -> Iterator[None]:
    """Nobody else patches the copy of the source meanwhile."""
    if spec.source is None:
        yield
        return
    folder = source_folder(workspace, spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise BuildError(
            f"another command builds {spec.name} in this workspace now",
            why=f"{folder / 'lock'} is held",
            hint="wait for it, then type the command again.",
        ) from error


async def _source(
    spec: TargetSpec, workspace: Workspace, components: Sequence[str]
) -> Source | None:
    if spec.source is None:
        return None
    folder = source_folder(workspace, spec)
    patches = effect_of(spec, components).patches
    try:
        return await trio.to_thread.run_sync(prepare, spec.source, folder, patches)
    except OSError as error:
        raise BuildError(
            "the source cannot be copied",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error


async def _run_all(
    spec: TargetSpec, workspace: Workspace, recipe: Recipe, log: Path, stamp: Path
) -> None:
    """Every command of the build, one after the other, within one deadline."""
    try:
        stamp.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        log.touch()
    except OSError as error:
        raise WorkspaceError(
            "the build's log cannot be written",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error
    begun = time.monotonic()
    for command in recipe.commands:
        left = spec.build_timeout_seconds - (time.monotonic() - begun)
        await _run(command, recipe.variables, workspace, log, left, spec)


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
    variables: Mapping[str, str],
    workspace: Workspace,
    log: Path,
    seconds: float,
    spec: TargetSpec,
) -> None:
    if shutil.which(command[0], path=variables["PATH"]) is None:
        raise _missing(command[0])
    # On record as a daemon is: if the tool is killed, the next call ends what still builds.
    folder = make_run_folder(workspace.run)
    try:
        process = spawn(
            command,
            # What a killed compiler leaves goes with the folder.
            environment={"TMPDIR": str(folder), **variables, MARKER: str(folder)},
            folder=workspace.root.resolve(),
            log=log,
            stack_limit_bytes=None,
            traced=False,
        )
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StartError):
            raise BuildError("the build cannot be started", why=str(error)) from None
        raise
    try:
        write_record(folder, process.pid, folder / "mnt", command)
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
            await trio.to_thread.run_sync(end_marked, folder)
            shutil.rmtree(folder, ignore_errors=True)
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


def package_of(program: str) -> str:
    """The Debian package of a program that builds use, "" if it is not known."""
    return _PACKAGES.get(Path(program).name, "")


def _missing(program: str) -> MissingToolError:
    package = package_of(program)
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
