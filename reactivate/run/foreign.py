"""Any FUSE daemon as something to measure: its own command line, started by us, gone afterwards.

Nothing is known of such a daemon. Where it mounts is seen in mountinfo; which process serves the
mount, in the kernel's word on who holds the connection. A daemon that goes into the background is
followed there: this process makes itself the reaper of orphans meanwhile, so a daemon whose
parent has ended becomes our child.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from reactivate import procfs
from reactivate.errors import MountError, ReactivateError, UsageError
from reactivate.evidence import Pid
from reactivate.instrument.runtime import require_native, require_native_file
from reactivate.procfs import FuseMount
from reactivate.run.build_of import build_of
from reactivate.run.guest import Guard, Guest, working_folder
from reactivate.run.served import Served, family, servers_of
from reactivate.target.death import DaemonDeathError, describe_status, log_tail
from reactivate.target.model import Build, Daemon, Wrapper
from reactivate.target.mount import check_fuse
from reactivate.target.process import KeptProcess, StartError, spawn
from reactivate.target.scratch import scratch_folder
from reactivate.target.unmount import abort, force_unmount, unmount
from reactivate.workload.operation import Operation

_LEASH = Path(__file__).with_name("leash.py")
_POLL_SECONDS = 0.005
_KILL_SECONDS = 5.0
_AFTER_FORK_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

_libc = ctypes.CDLL(None, use_errno=True)


class ForeignLauncher:
    """Mounts by running a command line. Satisfies `Launcher`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        mountpoint: Path | None = None,
        mount_timeout_seconds: float = 20.0,
        stop_timeout_seconds: float = 10.0,
    ) -> None:
        """Nothing is started yet.

        Args:
            command: program and arguments, as the user would type them in this folder.
            mountpoint: where it will mount; None: whichever mount it makes.
            mount_timeout_seconds: how long it may take to mount and answer.
            stop_timeout_seconds: how long it may take to end when it is unmounted.

        Raises:
            UsageError: there is no such program.
            MeasurementError, MachineError: its stacks could not be measured.
        """
        found = shutil.which(command[0])
        if found is None:
            raise UsageError(
                f"there is no program `{command[0]}`",
                why="it is neither a path of an executable file nor found in PATH",
                hint="install it, or write its path",
            )
        self._program = Path(found).resolve()
        require_native_file(self._program)
        self._command = tuple(command)
        self._guard = Guard()
        self._mountpoint = None if mountpoint is None else _absolute(mountpoint)
        self.mount_timeout_seconds = mount_timeout_seconds
        self.stop_timeout_seconds = stop_timeout_seconds

    @property
    def build(self) -> Build:
        """The program as a build: its file and hash."""
        return build_of(self._program, self._command)

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
        """Start it, find its mount and its server; unmount and end it on leaving by any door.

        Args and errors: see `reactivate.target.model.Launcher.mounted`.
        """
        check_fuse()
        before = procfs.fuse_mounts()
        if self._mountpoint is not None and procfs.fuse_mount_at(self._mountpoint) is not None:
            raise MountError(
                f"something is mounted on {self._mountpoint} already",
                hint=f"fusermount3 -u {shlex.quote(str(self._mountpoint))}",
            )
        with scratch_folder() as folder, _reaper_of_orphans():
            log = folder / "daemon.log"
            process = self._spawn(log, stack_limit_bytes, traced, under)
            self._guard.reset()
            started = _Started(process, log, self._command, self._guard)
            patience = under or self
            try:
                try:
                    await process.begin()
                except StartError as error:
                    raise MountError(
                        f"{self._command[0]} cannot be started", why=str(error)
                    ) from None
                daemon = await started.until_answering(
                    before, self._mountpoint, patience.mount_timeout_seconds
                )
                require_native(daemon.pid)
                with started.leashed():
                    async with working_folder(daemon):
                        yield daemon
            finally:
                with trio.CancelScope(shield=True):
                    await started.stop(before, self._mountpoint, patience.stop_timeout_seconds)

    def _spawn(
        self, log: Path, stack_limit_bytes: int | None, traced: bool, under: Wrapper | None
    ) -> KeptProcess:
        command, environment = self._command, dict(os.environ)
        if under is not None:
            command = under.prefix + command
            environment |= under.environment
        try:
            return spawn(
                command,
                environment=environment,
                folder=Path.cwd(),
                log=log,
                stack_limit_bytes=stack_limit_bytes,
                traced=traced,
            )
        except StartError as error:
            raise MountError(f"{self._command[0]} cannot be started", why=str(error)) from None


class _Started:
    """One run of the command."""

    def __init__(
        self, process: KeptProcess, log: Path, command: tuple[str, ...], guard: Guard
    ) -> None:
        self._guard = guard
        self._process = process
        self._log = log
        self._command = command
        self._served: Served | None = None
        self._mount: FuseMount | None = None
        self._guest: Guest | None = None

    async def until_answering(
        self, before: Sequence[FuseMount], wanted: Path | None, seconds: float
    ) -> Guest:
        """Wait for its mount, an answer on it, and the one process that serves it."""
        with trio.move_on_after(seconds):
            while (mount := self._new_mount(before, wanted)) is None:
                if not self._process.running() and not await self._forked(before, wanted):
                    raise self._ended()
                await trio.sleep(_POLL_SECONDS)
            self._mount = mount
            await _answered(mount.mountpoint)
            self._served = await self._server(mount)
            self._guest = Guest(
                served=self._served,
                mount=mount,
                command=self._command,
                log=self._log,
                guard=self._guard,
                end=self.kill,
                faults=self._process.faults,
            )
            return self._guest
        state = "did not mount" if self._mount is None else "mounted but did not answer"
        hint = "name the mount point with --mount DIR, or run it by hand to see why"
        raise MountError(
            f"{self._command[0]} {state} within {seconds:g} s and was ended",
            why=self._words(),
            hint=f"{hint}: {shlex.join(self._command)}",
        )

    def kill(self) -> None:
        """SIGKILL to what serves and to the group; abort of the connection."""
        if self._served is not None:
            self._served.signal(signal.SIGKILL)
        self._process.signal_group(signal.SIGKILL)
        mount = self._mount
        # Its number is another mount's as soon as this one has gone.
        if mount is not None and procfs.fuse_mount_at(mount.mountpoint) == mount:
            abort(mount.connection)

    @contextmanager
    def leashed(self) -> Iterator[None]:
        """A small process beside it that cleans up if this tool is killed."""
        assert self._served is not None and self._mount is not None
        with subprocess.Popen(
            [
                sys.executable, "-I", "-S", str(_LEASH), str(self._served.pid),
                str(self._served.start_ticks), str(self._mount.connection),
                str(self._mount.mountpoint), str(self._log.parent),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as leash:  # fmt: skip
            try:
                yield
            finally:
                with contextlib.suppress(BrokenPipeError):
                    leash.communicate(b"x")

    async def stop(self, before: Sequence[FuseMount], wanted: Path | None, seconds: float) -> None:
        """Unmount and wait for the end, politely for `seconds`, then by force."""
        mount = self._mount or self._new_mount(before, wanted, anyone=False)
        polite = self._guest is not None and self._guest.alive()
        if mount is not None and polite:
            await trio.to_thread.run_sync(lambda: unmount(mount.mountpoint, lazy=False))
            await self._over(seconds / 2)
        if not await self._over(0):
            for end in (signal.SIGTERM, signal.SIGKILL):
                if self._served is not None:
                    self._served.signal(end)
                self._process.signal_group(end)
                if await self._over(seconds / 2 if polite else _KILL_SECONDS):
                    break
                polite = False
        if mount is not None:
            await trio.to_thread.run_sync(self._unmounted, mount)
        self._process.signal_group(signal.SIGKILL)
        if await self._process.wait(_KILL_SECONDS):
            self._process.release()
        if self._served is not None:
            # An orphan that became our child; nobody else takes it away.
            self._served.reap()
            self._served.close()

    async def _over(self, seconds: float) -> bool:
        served = self._served
        done = await self._process.wait(seconds)
        return done and (served is None or await served.wait(seconds))

    def _unmounted(self, mount: FuseMount) -> None:
        """Take away this mount, and no other that may lie over it by now."""
        there = procfs.fuse_mount_at(mount.mountpoint)
        if there is not None and there.connection == mount.connection:
            force_unmount(mount.mountpoint)

    def _new_mount(
        self, before: Sequence[FuseMount], wanted: Path | None, *, anyone: bool = True
    ) -> FuseMount | None:
        """The mount that one of our processes serves.

        Args:
            anyone: take a new mount at the wanted place whoever serves it.
        """
        # The kernel gives the number of a connection that ended to the next one.
        known = {(mount.connection, mount.mountpoint) for mount in before}
        new = [m for m in procfs.fuse_mounts() if (m.connection, m.mountpoint) not in known]
        if wanted is not None and anyone:
            return next((m for m in new if m.mountpoint == wanted), None)
        if not new:
            return None
        ours = self._ours()
        own = [m for m in new if any(pid in ours for pid in servers_of(m.connection))]
        if len(own) > 1:
            named = {_absolute(Path(argument)) for argument in self._command[1:]}
            own = [m for m in own if m.mountpoint in named] or own
        return own[-1] if own else None

    def _ours(self) -> frozenset[Pid]:
        return family(Pid(os.getpid()))

    async def _forked(self, before: Sequence[FuseMount], wanted: Path | None) -> bool:
        """Whether a mount appears although the process that was started has ended."""
        if self._process.returncode() != 0:
            return False
        with trio.move_on_after(_AFTER_FORK_SECONDS):
            while self._new_mount(before, wanted) is None:
                await trio.sleep(_POLL_SECONDS)
            return True
        return False

    async def _server(self, mount: FuseMount) -> Served:
        """The one process that serves; a parent that is about to end is waited for."""
        found: tuple[Pid, ...] = ()
        with trio.move_on_after(_AFTER_FORK_SECONDS):
            while True:
                ours = self._ours()
                found = tuple(pid for pid in servers_of(mount.connection) if pid in ours)
                if len(found) == 1:
                    with contextlib.suppress(ProcessLookupError):
                        return Served(found[0])
                await trio.sleep(_POLL_SECONDS)
        many = f"{len(found)} processes hold its connection" if found else "none of ours holds it"
        raise MountError(
            f"which process serves {mount.mountpoint} cannot be told",
            why=f"the daemon went into the background, and {many}",
            hint="keep it in the foreground, usually with -f",
        )

    def _ended(self) -> ReactivateError:
        returncode = self._process.returncode()
        assert returncode is not None
        if returncode == 0:
            return MountError(
                f"{self._command[0]} ended without a mount, or went where it cannot be followed",
                why=self._words(),
                hint="keep it in the foreground, usually with -f; or name the mount point with "
                "--mount DIR",
            )
        return DaemonDeathError(
            f"{self._command[0]} {describe_status(returncode)} before it was mounted",
            why=self._words(),
            hint=f"run it by hand to see why: {shlex.join(self._command)}",
            returncode=returncode,
            faults=self._process.faults(),
        )

    def _words(self) -> str:
        tail = log_tail(self._log)
        return f"its last words:\n{tail}" if tail else "it said nothing"


async def _answered(mountpoint: Path) -> None:
    """Return when the daemon has answered one request; an error is an answer, too."""
    try:
        await trio.to_thread.run_sync(
            os.statvfs, mountpoint, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            await trio.sleep(_POLL_SECONDS)


def _absolute(path: Path) -> Path:
    """As mountinfo has it; the last part is not followed, it may be a mount that hangs."""
    return Path(os.path.realpath(path.parent)) / path.name if path.name else path.resolve()


@contextmanager
def _reaper_of_orphans() -> Iterator[None]:
    """Descendants whose parent ends become our children meanwhile (prctl(2))."""
    was = ctypes.c_int(0)
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, was.value, 0, 0, 0)
