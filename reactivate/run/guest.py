"""A daemon that belongs to no target: the user's own, started for a look or found running.

Its filesystem holds the user's data. So operations run in a fresh folder of their own inside the
mount, and that folder is what `Guest.mountpoint` names: an instrument that does its work "in the
mount" touches nothing else, and nothing stays.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from reactivate.errors import DaemonHungError, MeasurementError, MountError, ReactivateError
from reactivate.evidence import Pid
from reactivate.procfs import FuseMount
from reactivate.run.served import Served
from reactivate.target.model import Fault
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation, Step

_FOLDER_SECONDS = 15.0

_STEP_SECONDS = 0.5
"""How long an operation that is to end may take to its next step, before the daemon is killed."""


class Guard:
    """Ends operations between two of their steps, so that a daemon need not be killed for it."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """No further step is begun."""
        self._stopped.set()

    def reset(self) -> None:
        """Begin anew."""
        self._stopped.clear()

    def guarded(self, operations: Iterable[Operation]) -> tuple[Operation, ...]:
        """The same operations, each step of which first looks whether it may."""
        return tuple(
            replace(
                operation,
                prepare=self._step(operation.prepare),
                run=self._step(operation.run),
                tidy=self._step(operation.tidy),
            )
            for operation in operations
        )

    def _step(self, step: Step) -> Step:
        stopped = self._stopped

        def guarded(folder: Path, repetition: int) -> None:
            if stopped.is_set():
                raise MeasurementError("the measurement was stopped")
            step(folder, repetition)

        return guarded


class Guest:
    """A mounted, answering daemon of the user's. Satisfies `Daemon`."""

    def __init__(
        self,
        *,
        served: Served,
        mount: FuseMount,
        command: tuple[str, ...],
        log: Path,
        guard: Guard,
        end: Callable[[], None] | None,
        faults: Callable[[], tuple[Fault, ...]] = tuple,
    ) -> None:
        """Nothing is done to the process by naming it.

        Args:
            served: the process that serves the mount.
            mount: the mount.
            command: its command line.
            log: file with what it says; may not exist.
            guard: ends the operations that run on it.
            end: kills it; None if it is not ours to kill.
            faults: deadly signals seen so far.
        """
        self._served = served
        self._mount = mount
        self._command = command
        self._log = log
        self._guard = guard
        self._end = end
        self._patience: threading.Timer | None = None
        self._faults = faults
        self._returncode: int | None = None
        self.folder = mount.mountpoint
        self.killed = False

    @property
    def pid(self) -> Pid:
        """The process that serves the mount."""
        return self._served.pid

    @property
    def mountpoint(self) -> Path:
        """The folder in the mount where operations run."""
        return self.folder

    @property
    def root(self) -> Path:
        """Where the filesystem itself is mounted."""
        return self._mount.mountpoint

    @property
    def connection(self) -> int:
        """FUSE connection number."""
        return self._mount.connection

    @property
    def command(self) -> tuple[str, ...]:
        """Its command line."""
        return self._command

    @property
    def log(self) -> Path:
        """Its standard output and error, if it was started here."""
        return self._log

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._served.running()

    def kill(self) -> None:
        """End its operations; and, where it is ours and they do not end, the daemon.

        An operation that is only long ends at its next step, and then the daemon can still
        take away what the operations have made. One that hangs ends with the daemon.
        """
        self.killed = True
        self._guard.stop()
        if self._end is not None and self._patience is None:
            self._patience = threading.Timer(_STEP_SECONDS, self._end)
            self._patience.daemon = True
            self._patience.start()

    def spare(self) -> None:
        """Its operations have ended: it need not be killed for their sake any more."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def returncode(self) -> int | None:
        """How it ended; None while alive, and for a process that is not a child of this tool."""
        if self._returncode is None and not self.alive():
            self._returncode = self._served.returncode()
        return self._returncode

    def faults(self) -> tuple[Fault, ...]:
        """Deadly signals seen so far."""
        return self._faults()


@asynccontextmanager
async def working_folder(daemon: Guest) -> AsyncIterator[None]:
    """Let the daemon's operations run in a fresh folder of its mount, removed on leaving.

    Raises:
        MeasurementError: no folder can be made there, or it could not be removed again.
        MountError: the daemon does not answer.
    """
    folder = daemon.root / f"reactivate-{os.getpid()}-{secrets.token_hex(3)}"
    try:
        await drive(
            daemon,
            folder.mkdir,
            deadline_seconds=_FOLDER_SECONDS,
            doing="making a folder for the operations in the mount",
        )
    except DaemonHungError as error:
        # Not an operation that is measured: no deadline that a user can set would help.
        raise MountError(
            error.what,
            why=error.why,
            hint=f"mount it by hand and make a folder there: {shlex.join(daemon.command)}",
        ) from error
    daemon.folder = folder
    left = ""
    try:
        yield
    except ReactivateError as error:
        left = await _removed(daemon, folder)
        if left:
            error.why = "\n".join(filter(None, (error.why, left)))
        raise
    except BaseException:
        await _removed(daemon, folder)
        raise
    left = await _removed(daemon, folder)
    if left:
        raise MeasurementError("something was left in the mount", why=left, hint=f"rm -r {folder}")


async def _removed(daemon: Guest, folder: Path) -> str:
    """Remove the folder; what is left of it in words, "" if nothing."""
    daemon.folder = daemon.root
    daemon.spare()
    left = f"the folder {folder.name} is left in the filesystem"
    if not daemon.alive():
        return f"{left}: its daemon ended first"
    reason = "its daemon did not answer"
    try:
        with trio.CancelScope(shield=True):
            await drive(
                daemon,
                shutil.rmtree,
                folder,
                deadline_seconds=_FOLDER_SECONDS,
                doing=f"removing {folder.name}",
            )
        return ""
    except MeasurementError as error:
        reason = error.what
    except ReactivateError:
        pass
    daemon.spare()
    return f"{left}: {reason}"
