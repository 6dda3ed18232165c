"""Taking mounts away: politely, and when nobody answers any more."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

from reactivate import procfs

_COMMAND_SECONDS = 5.0
_MOST_STACKED = 8
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8


def unmount(mountpoint: Path, *, lazy: bool) -> bool:
    """Unmount one FUSE mount; True if that was done. Blocks for milliseconds, at most ten seconds.

    Args:
        mountpoint: as in mountinfo: absolute, without symbolic links.
        lazy: detach now, even if busy or dead.
    """
    if procfs.fuse_mount_at(mountpoint) is None:
        return False
    commands = []
    if fusermount := shutil.which("fusermount3"):
        commands.append([fusermount, "-u", *(["-z"] if lazy else []), "--", str(mountpoint)])
    if umount := shutil.which("umount"):
        # -i: no helper program, which could talk to the daemon.
        commands.append([umount, "-i", *(["-l"] if lazy else []), str(mountpoint)])
    return any(_succeeds(command) for command in commands)


def force_unmount(mountpoint: Path) -> bool:
    """Take away every FUSE mount stacked there, dead or alive; True if none is left."""
    for _ in range(_MOST_STACKED):
        mount = procfs.fuse_mount_at(mountpoint)
        if mount is None:
            return True
        abort(mount.connection)
        if not unmount(mountpoint, lazy=True):
            return False
    return procfs.fuse_mount_at(mountpoint) is None


def abort(connection: int) -> bool:
    """Abort a FUSE connection, so that every blocked caller returns; True if it was reached."""
    if procfs.abort_connection(connection):
        return True
    with contextlib.suppress(OSError):
        return procfs.mount_fusectl() and procfs.abort_connection(connection)
    return False


def remove_folder(folder: Path, mountpoint: Path) -> bool:
    """Remove a mount's own folder with all in it; never reaches into a mounted filesystem."""
    if procfs.fuse_mount_at(mountpoint) is not None or mounts_below(folder):
        return False
    with contextlib.suppress(OSError):
        # A mount point is empty when nothing is mounted; if it is not, it is not ours to empty.
        if mountpoint.parent == folder and mountpoint.exists():
            mountpoint.rmdir()
        shutil.rmtree(folder)
        return True
    return False


def mounts_below(folder: Path) -> tuple[Path, ...]:
    """Where anything at all is mounted in a folder or on it; the latest mount first."""
    # Not splitlines(): a path may hold \r, \f and the like unescaped; only \n ends a line.
    lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    escaped = (line.split(b" ")[4] for line in lines if line)
    paths = (
        Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path)))
        for path in escaped
    )
    return tuple(path for path in reversed(list(paths)) if path.is_relative_to(folder))


def detach_below(folder: Path) -> tuple[Path, ...]:
    """Take away every mount in a folder, whatever its type; returns those that are left."""
    libc = ctypes.CDLL(None, use_errno=True)
    for path in mounts_below(folder):
        if procfs.fuse_mount_at(path) is not None:
            force_unmount(path)
        else:
            libc.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW | _MNT_DETACH)
    return mounts_below(folder)


def _succeeds(command: list[str]) -> bool:
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
