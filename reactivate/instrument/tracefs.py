"""The kernel's tracing filesystem: is it there, is a tracepoint in it, and mounting it if not."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")
MOUNT_HINT = f"sudo mount -t tracefs nodev {TRACEFS}"

_libc = ctypes.CDLL(None, use_errno=True)


def tracefs_mounted() -> bool:
    """Whether the events of the kernel can be seen by this user."""
    try:
        return (TRACEFS / "events").is_dir()
    except PermissionError:
        return False


def mount_tracefs() -> bool:
    """Mount tracefs where it belongs unless it is there; False if that is not allowed."""
    if tracefs_mounted():
        return True
    _libc.mount(b"nodev", os.fsencode(TRACEFS), b"tracefs", 0, None)
    return tracefs_mounted()


@contextmanager
def tracefs_for_a_look() -> Iterator[bool]:
    """Tracefs mounted for the time of a look, and left as it was found."""
    was_there = tracefs_mounted()
    there = mount_tracefs()
    try:
        yield there
    finally:
        if there and not was_there:
            _libc.umount2(os.fsencode(TRACEFS), 0)


def has_tracepoint(category: str, name: str) -> bool:
    """Whether the running kernel has the tracepoint; tracefs must be mounted."""
    return (TRACEFS / "events" / category / name / "format").is_file()
