"""A process that serves a mount, whoever started it; and which process serves which mount."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import trio

from reactivate import procfs
from reactivate.evidence import Pid

_DEVICE = "/dev/fuse"
_CONNECTION = re.compile(r"^fuse_connection:\s*(\d+)", re.MULTILINE)
_PROC = Path("/proc")


class Served:
    """One process by its pidfd: the number can never mean a stranger. Let go with `close`."""

    def __init__(self, pid: Pid) -> None:
        """Take hold of a process.

        Raises:
            ProcessLookupError: there is none of that number.
        """
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self.start_ticks = procfs.process_start_ticks(pid)

    def running(self) -> bool:
        """Whether it has not ended; a zombie has."""
        return not select.select([self._pidfd], [], [], 0)[0]

    async def wait(self, seconds: float) -> bool:
        """Wait until it has ended or the time is over; True if it has ended."""
        with trio.move_on_after(max(0.0, seconds)):
            while self.running():
                await trio.lowlevel.wait_readable(self._pidfd)
        return not self.running()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def returncode(self) -> int | None:
        """Exit status or negative signal number; None while it runs, or if it is not our child."""
        with contextlib.suppress(ChildProcessError):
            end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if end is not None:
                killed = end.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                return -end.si_status if killed else end.si_status
        return None

    def reap(self) -> None:
        """Take an ended child away for good."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._pidfd)


def fuse_connections(pid: Pid) -> frozenset[int | None] | None:
    """The FUSE connections whose device a process holds open; None if it may not be looked at.

    None inside the set: a device whose connection the kernel does not tell (fdinfo has no
    line `fuse_connection`), or one that serves no mount yet.
    """
    found: set[int | None] = set()
    folder = _PROC / str(pid)
    try:
        descriptors = list((folder / "fd").iterdir())
    except PermissionError:
        return None
    except OSError:
        return frozenset()
    for entry in descriptors:
        with contextlib.suppress(OSError):
            if str(entry.readlink()) == _DEVICE:
                said = _CONNECTION.search((folder / "fdinfo" / entry.name).read_text())
                found.add(int(said[1]) if said else None)
    return frozenset(found)


def processes() -> Iterator[Pid]:
    """All processes that can be seen."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            yield Pid(int(entry.name))


def family(root: Pid) -> frozenset[Pid]:
    """A process and everything that descends from it, as far as parents are known now."""
    parents: dict[Pid, Pid] = {}
    for pid in processes():
        with contextlib.suppress(ProcessLookupError):
            parents[pid] = procfs.process_stat(pid).parent
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(found)


def servers_of(connection: int) -> tuple[Pid, ...]:
    """Processes that hold the device of a connection, or could: in ascending order.

    Where the kernel tells connections, only those that match; else all that hold the device.
    """
    sure, perhaps = [], []
    for pid in processes():
        held = fuse_connections(pid)
        if held and connection in held:
            sure.append(pid)
        elif held and None in held:
            perhaps.append(pid)
    return tuple(sorted(sure or perhaps))
