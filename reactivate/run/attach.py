"""A daemon that runs already, as something to measure: used for a while, and left as it was."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from reactivate import procfs
from reactivate.errors import MeasurementError, MountError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.instrument.runtime import require_native
from reactivate.procfs import FuseMount, task_folder
from reactivate.run.build_of import build_of
from reactivate.run.guest import Guard, Guest, working_folder
from reactivate.run.served import Served, fuse_connections, servers_of
from reactivate.target.model import Build, Daemon, Wrapper
from reactivate.workload.operation import Operation


class AttachedLauncher:
    """Yields a daemon that runs already and never ends it. Satisfies `Launcher`."""

    def __init__(self, pid: Pid, mount: FuseMount) -> None:
        """See `attach`."""
        self._pid = pid
        self._mount = mount
        self._start_ticks = procfs.process_start_ticks(pid)
        self._command = command_of(pid)
        self._exe = task_folder(pid) / "exe"
        self._exe_name = self._exe.readlink()
        self._guard = Guard()

    @property
    def build(self) -> Build:
        """The program that runs."""
        return build_of(self._exe, self._command, name=self._exe_name)

    def guarded(self, operations: Iterable[Operation]) -> tuple[Operation, ...]:
        """The operations, made to end between two steps when the measurement is given up."""
        return self._guard.guarded(operations)

    @asynccontextmanager
    async def mounted(
        self,
        *,
        stack_limit_bytes: int | None = None,
        traced: bool = False,
        under: Wrapper | None = None,
    ) -> AsyncIterator[Daemon]:
        """The daemon as it runs; no new process, whatever an instrument would like.

        Raises:
            MeasurementError: asked for a limit, a tracer or a wrapper that only a new process can
                have.
        """
        if stack_limit_bytes is not None or traced or under is not None:
            raise MeasurementError(
                f"process {self._pid} runs already",
                why="its stack limit cannot be changed, nor its start be traced or wrapped",
                hint="let it be started here: reactivate … -- DAEMON ARGS",
            )
        served = Served(self._pid)
        try:
            if served.start_ticks != self._start_ticks:
                raise gone(self._pid)
            self._guard.reset()
            daemon = Guest(
                served=served,
                mount=self._mount,
                command=self._command,
                log=Path(os.devnull),
                guard=self._guard,
                end=None,
            )
            async with working_folder(daemon):
                yield daemon
        finally:
            served.close()


def attach(pid: int | None, mountpoint: Path | None) -> AttachedLauncher:
    """Find the other half of a process and its mount, and check that they belong together.

    Args:
        pid: the daemon; None: whoever serves the mount.
        mountpoint: the mount; None: the only one that the process serves.

    Raises:
        UsageError: no such process or mount, or they do not belong together.
        PrivilegeError: another user's process.
        MeasurementError, MachineError: its stacks mean nothing to this tool.
    """
    mount = None if mountpoint is None else mount_at(mountpoint)
    if pid is None:
        assert mount is not None
        pid = server_of(mount)
    try:
        require_native(Pid(pid))
        if mount is None:
            mount = _only_mount(Pid(pid))
        else:
            _belong_together(Pid(pid), mount)
        return AttachedLauncher(Pid(pid), mount)
    except ProcessLookupError:
        raise gone(Pid(pid)) from None


def gone(pid: Pid) -> UsageError:
    """The error for a process that is not, or no longer, there."""
    return UsageError(
        f"there is no process {pid}",
        why="it has ended, or its number belongs to another one now",
        hint="pgrep -a NAME   shows what runs",
    )


def mount_at(mountpoint: Path) -> FuseMount:
    """The FUSE mount on a folder; never touches the folder, which may hang.

    Raises:
        UsageError: there is none.
    """
    absolute = Path(os.path.abspath(mountpoint))  # noqa: PTH100 - resolve() may call a daemon
    real = Path(os.path.realpath(absolute.parent)) / absolute.name
    mount = procfs.fuse_mount_at(absolute) or procfs.fuse_mount_at(real)
    if mount is None:
        raise UsageError(
            f"{mountpoint} is not a FUSE mount",
            why="there is none of that path in /proc/self/mountinfo",
            hint="findmnt -t fuse   and   findmnt -t fuse.NAME   show what is mounted",
        )
    return mount


def server_of(mount: FuseMount) -> Pid:
    """The process that serves a mount.

    Raises:
        UsageError: none can be told.
    """
    found = servers_of(mount.connection)
    if len(found) == 1:
        return found[0]
    if found:
        why = f"processes {', '.join(map(str, found))} all hold a FUSE device"
    else:
        why = "no process that may be looked at holds its connection"
    raise UsageError(
        f"which process serves {mount.mountpoint} cannot be told",
        why=why,
        hint="name it with --pid PID; another user's processes are seen by root only",
    )


def command_of(pid: Pid) -> tuple[str, ...]:
    """The command line of a process; its name in brackets if it has none."""
    try:
        data = (task_folder(pid) / "cmdline").read_bytes()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    parts = data.rstrip(b"\0").split(b"\0") if data else []
    text = tuple(part.decode(errors="replace") for part in parts)
    return text or (f"[{procfs.process_stat(pid).command}]",)


def _held(pid: Pid) -> frozenset[int | None]:
    held = fuse_connections(pid)
    if held is None:
        raise PrivilegeError(
            f"process {pid} may not be looked at",
            why="it is another user's",
            hint="run as the process's own user or as root",
        )
    return held


def _only_mount(pid: Pid) -> FuseMount:
    held = _held(pid)
    mounts = [mount for mount in procfs.fuse_mounts() if mount.connection in held]
    if len(mounts) == 1:
        return mounts[0]
    if mounts:
        places = ", ".join(str(mount.mountpoint) for mount in mounts)
        why = f"it serves {len(mounts)} of them: {places}"
    elif held:
        why = "this kernel does not tell which connection a process holds"
    else:
        why = f"{shlex.join(command_of(pid))} has no FUSE device open"
    raise UsageError(
        f"the mount of process {pid} cannot be told", why=why, hint="name it with --mount DIR"
    )


def _belong_together(pid: Pid, mount: FuseMount) -> None:
    held = _held(pid)
    if mount.connection in held or None in held:
        return
    real = servers_of(mount.connection)
    who = f"process {real[0]} does" if len(real) == 1 else "another one does"
    raise MountError(
        f"process {pid} does not serve {mount.mountpoint}",
        why=f"{who}: connection {mount.connection} is not among those that it holds",
        hint=f"reactivate measure --mount {shlex.quote(str(mount.mountpoint))}",
    )
