"""Mount and process namespaces of a box: made by a first process, entered by the daemon.

Outside, the daemon keeps a process id of its own that /proc, signals and ptrace(2) take as always.
Its mount is not seen outside: it is reached as /proc/FIRST/root/MOUNTPOINT, where FIRST is the
namespaces' first process, so that the path outlives a daemon that dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import subprocess
import sys
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import Pid
from reactivate.procfs import FuseMount

_INIT = Path(__file__).with_name("box_init.py")
_CLONE_NEWPID = 0x20000000
_ANSWER_SECONDS = 30.0


class NoNamespaceError(Exception):
    """No namespaces can be had here; the text says why."""


class Namespaces:
    """A mount and a process namespace of their own, until `close`."""

    def __init__(self, backing: Path) -> None:
        """Make them. Blocks for some tens of milliseconds.

        Args:
            backing: the daemon's data folder; the one FUSE mount that stays inside, if it is one.

        Raises:
            NoNamespaceError: the kernel refuses.
        """
        self._init = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_INIT), str(backing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        said, _, rest = self._line().partition(" ")
        if said != "pid":
            self.close()
            raise NoNamespaceError(rest or "its first process gave no answer")
        self.first = Pid(int(rest))

    @property
    def root(self) -> Path:
        """The root folder inside, as a path outside."""
        return procfs.task_folder(self.first) / "root"

    def outside(self, path: Path) -> Path:
        """A path of the inside, as it is reached from outside."""
        return self.root / path.relative_to("/")

    def fuse_mount_at(self, mountpoint: Path) -> FuseMount | None:
        """The topmost FUSE mount inside on a folder (its path inside); None if there is none."""
        with contextlib.suppress(OSError):
            text = (procfs.task_folder(self.first) / "mountinfo").read_text(
                encoding="utf-8", errors="surrogateescape"
            )
            mounts = reversed(procfs.parse_mountinfo(text))
            return next((mount for mount in mounts if mount.mountpoint == mountpoint), None)
        return None

    def unmount(self, mountpoint: Path) -> bool:
        """Unmount inside, not by force; True if that was done."""
        assert self._init.stdin is not None
        if b"\n" in os.fsencode(mountpoint):
            return False
        with contextlib.suppress(OSError):
            self._init.stdin.write(b"unmount " + os.fsencode(mountpoint) + b"\n")
            self._init.stdin.flush()
            return self._line() == "0"
        return False

    def close(self) -> None:
        """Kill every process inside; their mounts go with them."""
        if self._init.stdin is not None:
            with contextlib.suppress(OSError):
                self._init.stdin.close()
        try:
            self._init.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            # The first process is stuck in an unmount, say; its end is the others' end.
            with contextlib.suppress(AttributeError, OSError):
                os.kill(self.first, 9)
            self._init.kill()
            self._init.wait()
        if self._init.stdout is not None:
            self._init.stdout.close()

    def _line(self) -> str:
        assert self._init.stdout is not None
        if not select.select([self._init.stdout], [], [], _ANSWER_SECONDS)[0]:
            return ""
        return self._init.stdout.readline().decode(errors="replace").strip()


def enter_for_children(first: Pid) -> None:
    """Let the processes that this thread starts be in the process namespace of another one.

    Other threads are not concerned. This thread can start no threads any more.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(procfs.task_folder(first) / "ns" / "pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWPID):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
    finally:
        os.close(descriptor)
