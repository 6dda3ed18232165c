"""Which process really serves a mount."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import Pid

_PROC = Path("/proc")
_DEVICE = "/dev/fuse"


def holds_fuse_device(pid: Pid) -> bool:
    """Whether a process has the FUSE device open; False if that cannot be seen."""
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()) == _DEVICE:
                    return True
    return False


def children(pid: Pid) -> Iterator[Pid]:
    """Processes that any thread of this one has forked and that still are its children."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                if procfs.process_stat(Pid(int(entry.name))).parent == pid:
                    yield Pid(int(entry.name))


def serving_child(pid: Pid) -> Pid | None:
    """A child that holds the FUSE device, so that it and not its parent may be the server."""
    return next((child for child in children(pid) if holds_fuse_device(child)), None)
