"""Mounting a build: a fresh daemon each time, ready when it answers, and gone when we leave."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from reactivate import procfs
from reactivate.errors import MissingToolError, MountError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.target.box import Enclosure
from reactivate.target.box_members import MARKER
from reactivate.target.command import build_fields, environment, run_command
from reactivate.target.death import DaemonDeathError, describe_status, log_tail
from reactivate.target.model import Box, BoxedDaemon, Build, TargetSpec, Wrapper
from reactivate.target.mounted import MountedDaemon
from reactivate.target.process import KeptProcess, StartError, spawn
from reactivate.target.record import make_run_folder, write_record
from reactivate.target.server import serving_child
from reactivate.target.settings import write_switched
from reactivate.target.unmount import remove_folder
from reactivate.workspace import Workspace

_POLL_SECONDS = 0.002
_POLL_SHARE = 0.02
"""Of the time that was waited already: an interpreter under valgrind takes half a minute."""
_KILL_SECONDS = 5.0
_AFTER_FORK_SECONDS = 0.5
_FUSE_DEVICE = Path("/dev/fuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What will be started, and where."""

    folder: Path
    mountpoint: Path
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"


class TargetLauncher:
    """Mounts one build of a target. Satisfies `BoxLauncher`."""

    def __init__(
        self,
        spec: TargetSpec,
        build: Build,
        workspace: Workspace,
        *,
        mountpoint: Path | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            spec: the target.
            build: what `reactivate.target.build.build` returned for it.
            workspace: holds mount points and data folders while a daemon runs.
            mountpoint: an existing empty folder of the user's; by default each mount gets a
                folder of its own under `workspace.run`.
        """
        self._spec = spec
        self._build = build
        self._workspace = workspace
        self._mountpoint = mountpoint

    @property
    def build(self) -> Build:
        """The build that is mounted."""
        return self._build

    @asynccontextmanager
    async def mounted(
        self,
        *,
        stack_limit_bytes: int | None = None,
        traced: bool = False,
        under: Wrapper | None = None,
        box: Box | None = None,
        autopsy: Path | None = None,
        backing: Path | None = None,
        configuration: Path | None = None,
    ) -> AsyncIterator[BoxedDaemon]:
        """Start and mount; stop, unmount and clean up on leaving by whichever door.

        Args and errors: see `reactivate.target.model.BoxLauncher.mounted`. Further errors:
            MissingToolError, PrivilegeError: FUSE cannot be used here, or a limit cannot be set.
        """
        check_fuse()
        _check_paths(autopsy, backing, configuration, traced=traced)
        if stack_limit_bytes is None and box is not None:
            stack_limit_bytes = box.stack_bytes
        folder = make_run_folder(self._workspace.run)
        enclosure: Enclosure | None = None
        try:
            backing = _backing(folder, backing)
            plan = self._plan(folder, under, backing, configuration)
            enclosure = await trio.to_thread.run_sync(Enclosure, box, folder, backing)
            namespaces = enclosure.namespaces
            process = spawn(
                plan.command,
                environment=plan.environment,
                folder=self._workspace.root.resolve(),
                log=plan.log,
                stack_limit_bytes=stack_limit_bytes,
                traced=traced,
                autopsy=autopsy,
                namespaces=namespaces.first if namespaces is not None else None,
            )
        except BaseException as error:
            if enclosure is not None:
                enclosure.end()
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, StartError):
                raise _not_started(plan.command, str(error)) from None
            raise
        daemon = MountedDaemon(process, plan.mountpoint, plan.command, plan.log, enclosure)
        try:
            write_record(folder, process.pid, plan.mountpoint, plan.command, enclosure.cgroups)
            await _begin(daemon, process, enclosure)
            await _until_answering(daemon, process, (under or self._spec).mount_timeout_seconds)
            yield daemon
        finally:
            crashed = not process.running() and not daemon.killed
            with trio.CancelScope(shield=True):
                await _stop(daemon, process, (under or self._spec).stop_timeout_seconds)
                if crashed:
                    _keep_log(daemon.log, self._workspace.results / "logs" / f"{folder.name}.log")
                await trio.to_thread.run_sync(remove_folder, folder, plan.mountpoint)

    def _plan(
        self, folder: Path, under: Wrapper | None, backing: Path, configuration: Path | None
    ) -> _Plan:
        spec, components = self._spec, self._build.components
        mountpoint = self._mountpoint
        if mountpoint is None:
            mountpoint = folder / "mnt"
            mountpoint.mkdir()
        mountpoint = check_mountpoint(mountpoint)
        fields = build_fields(self._workspace, spec, components)
        fields |= {"mountpoint": str(mountpoint), "backing": str(backing)}
        if configuration is not None:
            copy = folder / "configuration.toml"
            write_switched(spec, components, copy, configuration)
            fields["configuration"] = str((copy if copy.exists() else configuration).resolve())
        command = run_command(spec, fields, components)
        variables = environment(spec, fields, components)
        if under is not None:
            command = under.prefix + command
            variables |= under.environment
        variables[MARKER] = str(folder)
        return _Plan(folder=folder, mountpoint=mountpoint, command=command, environment=variables)


def _backing(folder: Path, backing: Path | None) -> Path:
    if backing is not None:
        return backing.resolve()
    fresh = folder / "backing"
    fresh.mkdir()
    return fresh


def _check_paths(
    autopsy: Path | None, backing: Path | None, configuration: Path | None, *, traced: bool
) -> None:
    if autopsy is not None and not traced:
        raise UsageError(
            "an autopsy needs a traced daemon",
            why="only a tracer sees a deadly signal before the process has gone",
            hint="mount with traced=True",
        )
    for path, wanted in ((autopsy, Path.is_dir), (backing, Path.is_dir)):
        if path is not None and not wanted(path):
            raise UsageError(f"{path} is not a folder", hint=f"mkdir -p {path}")
    if configuration is not None and not configuration.is_file():
        raise UsageError(f"the configuration file {configuration} is not there")


async def _begin(daemon: MountedDaemon, process: KeptProcess, enclosure: Enclosure) -> None:
    """Set the limits on the waiting process and let it become the daemon."""
    try:
        enclosure.enclose(process.pid)
    except (OSError, ValueError) as error:
        raise PrivilegeError("the daemon's limits cannot be set", why=str(error)) from error
    try:
        await process.begin()
    except StartError as error:
        raise _not_started(daemon.command, str(error)) from None


def check_fuse() -> None:
    """Whether FUSE filesystems can be mounted here at all.

    Raises:
        MissingToolError: no device, or no fusermount3.
        PrivilegeError: the device may not be opened.
    """
    if not _FUSE_DEVICE.exists():
        raise MissingToolError(
            "there is no /dev/fuse",
            why="the fuse module is not loaded, or this container was not given the device",
            hint="modprobe fuse   (a container needs: --device /dev/fuse --cap-add SYS_ADMIN)",
        )
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise PrivilegeError(
            "/dev/fuse may not be opened",
            why=f"its mode is {_FUSE_DEVICE.stat().st_mode & 0o777:o}",
            hint="sudo chmod 666 /dev/fuse",
        )
    if shutil.which("fusermount3") is None:
        raise MissingToolError(
            "fusermount3 is not installed",
            why="it mounts and unmounts FUSE filesystems",
            hint="sudo apt-get install fuse3",
        )


def check_mountpoint(mountpoint: Path) -> Path:
    """The folder without symbolic links, if something can be mounted on it.

    Raises:
        MountError: not a folder, not empty, or a mount already.
    """
    absolute = Path(os.path.abspath(mountpoint))  # noqa: PTH100 - resolve() may call a daemon
    try:
        if procfs.fuse_mount_at(absolute) is not None:
            raise MountError(
                f"something is mounted on {absolute} already",
                hint=f"fusermount3 -u {absolute}",
            )
        resolved = absolute.resolve(strict=True)
        if procfs.fuse_mount_at(resolved) is not None or resolved.is_mount():
            raise MountError(
                f"something is mounted on {resolved} already", hint=f"fusermount3 -u {resolved}"
            )
        if any(resolved.iterdir()):
            raise MountError(
                f"the mount point {resolved} is not empty",
                why="what is in it would be hidden",
                hint="name an empty folder",
            )
    except OSError as error:
        raise MountError(
            f"{absolute} cannot be a mount point", why=error.strerror or str(error),
            hint=f"mkdir -p {absolute}",
        ) from error  # fmt: skip
    return resolved


def _not_started(command: tuple[str, ...], why: str) -> MountError:
    return MountError(
        "the daemon cannot be started",
        why=f"{command[0]}: {why}",
        hint="is the program installed? Check `run.command` in the target's file",
    )


async def _until_answering(daemon: MountedDaemon, process: KeptProcess, seconds: float) -> None:
    begun = trio.current_time()
    with trio.move_on_after(seconds) as scope:
        while (mount := daemon.mount()) is None:
            if not process.running():
                await _died_or_left(daemon, process)
            await trio.sleep(max(_POLL_SECONDS, _POLL_SHARE * (trio.current_time() - begun)))
        daemon.mounted_as(mount.connection)
        await _answer(daemon.mountpoint)
    if not process.running():
        await _died_or_left(daemon, process)
    # A daemon forks on its way into the background before it answers, but the process that was
    # started may live a moment longer than that.
    if daemon.connection >= 0 and serving_child(daemon.pid) is not None:
        raise _in_background()
    # No such child: it has none, or it is ending and has just lost it.
    if _ends(process) and await process.wait(_AFTER_FORK_SECONDS):
        await _died_or_left(daemon, process)
    if scope.cancelled_caught:
        state = "did not mount" if daemon.connection < 0 else "mounted but did not answer"
        tail = log_tail(daemon.log)
        daemon.kill()
        raise MountError(
            f"the daemon {state} within {seconds:g} s and was killed",
            why=f"its last words:\n{tail}" if tail else "it said nothing",
            hint="run it by hand to see why: " + " ".join(daemon.command),
        )


async def _answer(mountpoint: Path) -> None:
    """Return when the daemon has answered one request; an error is an answer, too."""
    try:
        await trio.to_thread.run_sync(
            os.statvfs, mountpoint, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            await trio.sleep(_AFTER_FORK_SECONDS)


async def _died_or_left(daemon: MountedDaemon, process: KeptProcess) -> None:
    """The process ended before it was ready: raise what that means."""
    returncode = process.returncode()
    assert returncode is not None
    if returncode == 0:
        with trio.move_on_after(_AFTER_FORK_SECONDS):
            while daemon.mount() is None:
                await trio.sleep(_POLL_SECONDS)
    tail = log_tail(daemon.log)
    if returncode == 0 and daemon.mount() is not None:
        raise _in_background()
    raise DaemonDeathError(
        f"the daemon {describe_status(returncode)} before it was mounted",
        why=f"its last words:\n{tail}" if tail else "it said nothing",
        hint="run it by hand to see why: " + " ".join(daemon.command),
        returncode=returncode,
        faults=process.faults(),
    )


def _in_background() -> MountError:
    return MountError(
        "the daemon went into the background",
        why="the process that serves the mount is not the one that was started, "
        "so its stack cannot be watched",
        hint="start the daemon itself, and keep it in the foreground (usually with -f)",
    )


async def _stop(daemon: MountedDaemon, process: KeptProcess, seconds: float) -> None:
    """End the daemon and its mount, politely for `seconds`, then by force."""
    # A stopped daemon would keep the unmount waiting.
    polite = process.running() and not daemon.killed and not _stopped(process.pid)
    if polite and await trio.to_thread.run_sync(daemon.unmount):
        # A daemon ends by itself when its mount is gone, and does its last writing then.
        await process.wait(seconds / 2)
    if polite and process.running():
        process.signal_group(signal.SIGTERM)
        await process.wait(seconds / 2)
    if process.running():
        daemon.kill()
        await process.wait(_KILL_SECONDS)
    if not process.running():
        # What it started and left behind; the number is still this group's.
        process.signal_group(signal.SIGKILL)
        daemon.freeze()
        process.release()
    await trio.to_thread.run_sync(daemon.end)


def _ends(process: KeptProcess) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return procfs.process_stat(process.pid).exiting
    return True


def _stopped(pid: Pid) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return procfs.process_state(pid) == "T"
    return False


def _keep_log(log: Path, aside: Path) -> None:
    """A crashed daemon's words outlive its mount."""
    with contextlib.suppress(OSError):
        if log.stat().st_size:
            aside.parent.mkdir(parents=True, exist_ok=True)
            log.replace(aside)
