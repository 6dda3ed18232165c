"""A daemon that is mounted: its process, its mount and its box together."""

from __future__ import annotations

import signal
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import Pid
from reactivate.procfs import FuseMount
from reactivate.target.box import Enclosure
from reactivate.target.model import BoxReport, Fault
from reactivate.target.process import KeptProcess
from reactivate.target.unmount import abort, force_unmount, unmount


class MountedDaemon:
    """A daemon that has mounted and answered. Satisfies `BoxedDaemon`."""

    def __init__(
        self,
        process: KeptProcess,
        mountpoint: Path,
        command: tuple[str, ...],
        log: Path,
        enclosure: Enclosure,
    ) -> None:
        """A process that has not begun yet.

        Args:
            process: the prepared process.
            mountpoint: as the daemon sees it.
            command: the command line as started.
            log: its standard output and error.
            enclosure: its box.
        """
        self._process = process
        self._inside = mountpoint
        self._enclosure = enclosure
        self._command = command
        self._log = log
        self._connection = -1
        self._faults: tuple[Fault, ...] = ()
        self._ended: int | None = None
        self.killed = False

    @property
    def pid(self) -> Pid:
        """Process id; belongs to this daemon until the mount is left, even when it is dead."""
        return self._process.pid

    @property
    def mountpoint(self) -> Path:
        """Where it is mounted, as this process reaches it."""
        namespaces = self._enclosure.namespaces
        return self._inside if namespaces is None else namespaces.outside(self._inside)

    @property
    def connection(self) -> int:
        """FUSE connection number."""
        return self._connection

    @property
    def command(self) -> tuple[str, ...]:
        """The command line as started."""
        return self._command

    @property
    def log(self) -> Path:
        """Its standard output and error; removed with the mount, kept aside if it crashed."""
        return self._log

    def alive(self) -> bool:
        """Whether the process runs (a zombie does not)."""
        return self._ended is None and self._process.running()

    def kill(self) -> None:
        """SIGKILL to the process group and abort of the connection; blocked callers return."""
        if self._ended is not None:
            return
        self.killed = True
        self._process.signal_group(signal.SIGKILL)
        self._enclosure.kill()
        self._abort()

    def returncode(self) -> int | None:
        """None while alive; else the exit status, negative signal number if killed by one."""
        return self._process.returncode() if self._ended is None else self._ended

    def faults(self) -> tuple[Fault, ...]:
        """Deadly signals seen so far; always empty unless mounted with `traced`."""
        return self._process.faults()

    def box_report(self) -> BoxReport:
        """What its box holds and has counted so far; final once the mount is left."""
        return self._enclosure.report()

    def mount(self) -> FuseMount | None:
        """Its mount, in whichever mount namespace it lives; None if it is not there."""
        namespaces = self._enclosure.namespaces
        if namespaces is not None:
            return namespaces.fuse_mount_at(self._inside)
        return procfs.fuse_mount_at(self._inside)

    def unmount(self) -> bool:
        """Unmount, not by force; True if that was done. Blocks for at most ten seconds."""
        namespaces = self._enclosure.namespaces
        if namespaces is not None:
            return namespaces.unmount(self._inside)
        return unmount(self._inside, lazy=False)

    def end(self) -> None:
        """Take away by force what is left: the mount, the box, processes left behind. Blocks."""
        if self._enclosure.namespaces is not None:
            self._abort()
        self._enclosure.end()
        force_unmount(self._inside)

    def _abort(self) -> None:
        """Abort the connection while it is ours: when a mount goes, its number is another's."""
        mount = self.mount() if self._connection >= 0 else None
        if mount is not None and mount.connection == self._connection:
            abort(self._connection)

    def mounted_as(self, connection: int) -> None:
        """Note the connection as soon as the mount is seen."""
        self._connection = connection

    def freeze(self) -> None:
        """Keep the answers that are asked for after the process is reaped."""
        self._ended = self._process.returncode()
