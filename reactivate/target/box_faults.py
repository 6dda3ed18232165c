"""Data folders in which something is wrong: full, read-only, or breaking while it is written.

Each is real: the kernel, not a pretence, gives the error to whatever daemon keeps its data there.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from reactivate import procfs
from reactivate.errors import MissingToolError, MountError, PrivilegeError
from reactivate.target.box_members import MARKER
from reactivate.target.death import log_tail
from reactivate.target.model import BackingFault
from reactivate.target.process import KeptProcess, spawn
from reactivate.target.record import make_run_folder, write_record
from reactivate.target.unmount import detach_below, remove_folder
from reactivate.workspace import Workspace

_FAULTFS = Path(__file__).with_name("box_faultfs.py")
_BELOW = "below"
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_REMOUNT = 32
_MS_BIND = 4096
_MOUNT_SECONDS = 20.0
_END_SECONDS = 5.0
_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyBacking:
    """A data folder with a planted fault.

    Attributes:
        path: give it to `BoxLauncher.mounted` as `backing`; it may be used by several mounts in
            turn, and goes when the context is left.
        fault: what is wrong with it.
        how: how that was done, in words.
        sound: the same data where it can be read: what a mount after a crash finds.
    """

    path: Path
    sound: Path
    fault: BackingFault
    how: str


def why_unavailable(fault: BackingFault) -> str:
    """Why a fault cannot be planted here; "" if it can, as far as that is known beforehand."""
    if fault is BackingFault.FULL and os.geteuid() != 0:
        return "a small tmpfs can only be mounted by root"
    if fault is BackingFault.IO_ERROR:
        if importlib.util.find_spec("pyfuse3") is None:
            return "pyfuse3 is not installed"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse cannot be opened"
    return ""


@asynccontextmanager
async def faulty_backing(
    workspace: Workspace, fault: BackingFault, *, after_bytes: int
) -> AsyncIterator[FaultyBacking]:
    """A fresh data folder with a fault, gone with all in it when the context is left.

    Args:
        workspace: the folder is made in its `run` folder.
        fault: what is to be wrong.
        after_bytes: FULL: size of the filesystem, rounded up to whole pages by the kernel.
            IO_ERROR: bytes written before everything fails. READ_ONLY: means nothing.

    Raises:
        MissingToolError: pyfuse3 is needed and not there.
        PrivilegeError: the kernel refuses the mount.
        MountError: the breaking layer does not come up.
    """
    folder = make_run_folder(workspace.run)
    path = folder / "data"
    layer: KeptProcess | None = None
    try:
        path.mkdir()
        if fault is BackingFault.FULL:
            how = _small(path, after_bytes)
        elif fault is BackingFault.READ_ONLY:
            how = _read_only(path)
        else:
            layer = _layer(folder, path, after_bytes)
            how = await _breaking(folder, path, layer, after_bytes)
        sound = path if layer is None else folder / _BELOW
        yield FaultyBacking(path=path, fault=fault, how=how, sound=sound)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(detach_below, folder)
            if layer is not None:
                await layer.end(_END_SECONDS)
            await trio.to_thread.run_sync(_remove, folder, path)


def _small(path: Path, size_bytes: int) -> str:
    _mount(b"tmpfs", path, b"tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size_bytes},mode=700".encode())
    return f"a tmpfs of {size_bytes} bytes: ENOSPC"


def _read_only(path: Path) -> str:
    try:
        _mount(os.fsencode(path), path, None, _MS_BIND, None)
        _mount(None, path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, None)
    except PrivilegeError:
        if os.geteuid() == 0:
            raise  # permissions mean nothing to root
        path.chmod(0o555)
        return "a folder without the permission to write: EACCES"
    return "a read-only bind mount: EROFS"


def _mount(
    source: bytes | None, path: Path, fstype: bytes | None, flags: int, data: bytes | None
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, os.fsencode(path), fstype, ctypes.c_ulong(flags), data):
        raise PrivilegeError(
            "a data folder with a planted fault cannot be made",
            why=f"mount(2): {os.strerror(ctypes.get_errno())}",
            hint="run as root, or leave scenarios with such faults out",
        )


def _layer(folder: Path, path: Path, after_bytes: int) -> KeptProcess:
    if importlib.util.find_spec("pyfuse3") is None:
        raise MissingToolError(
            "pyfuse3 is not installed",
            why="the layer that answers EIO is built on it",
            hint="pip install '.[model]'   in a checkout of reactivate",
        )
    below = folder / _BELOW
    below.mkdir()
    return spawn(
        [sys.executable, str(_FAULTFS), str(below), str(path), str(after_bytes)],
        environment={"PATH": os.defpath, "LANG": "C.UTF-8", MARKER: str(folder)},
        folder=folder,
        log=folder / "daemon.log",
        stack_limit_bytes=None,
        traced=False,
    )


async def _breaking(folder: Path, path: Path, layer: KeptProcess, after_bytes: int) -> str:
    write_record(folder, layer.pid, path, (sys.executable, str(_FAULTFS)))
    await layer.begin()
    with trio.move_on_after(_MOUNT_SECONDS):
        while procfs.fuse_mount_at(path) is None and layer.running():
            await trio.sleep(_POLL_SECONDS)
        if layer.running():
            await trio.to_thread.run_sync(os.statvfs, path, abandon_on_cancel=True)
            return f"a FUSE layer that answers EIO after {after_bytes} bytes"
    raise MountError(
        "the layer that answers EIO was not mounted",
        why=log_tail(folder / "daemon.log") or "it said nothing",
    )


def _remove(folder: Path, path: Path) -> None:
    if path.is_dir():
        path.chmod(0o700)
    if not remove_folder(folder, path):
        shutil.rmtree(folder / _BELOW, ignore_errors=True)
