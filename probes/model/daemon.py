"""Mounts the filesystem, answers until it is unmounted or told to stop, and tidies up."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pyfuse3
import trio

from model.library import ConfigurationFault
from model.parts import Parts
from model.shell import Shell


def check_mountpoint(mountpoint: Path) -> None:
    """Refuse what cannot be mounted upon, in words.

    Raises:
        ConfigurationFault: not there, not a folder, or not empty.
    """
    try:
        if any(mountpoint.iterdir()):
            raise ConfigurationFault(f"the mount point {mountpoint} is not empty")
    except OSError as error:
        raise ConfigurationFault(
            f"cannot use the mount point {mountpoint}: {error.strerror}"
        ) from error
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise ConfigurationFault("cannot use /dev/fuse: is FUSE there, and may you use it?")


async def _stop_on_signal(
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            pyfuse3.terminate()
            return


def _mount(parts: Parts, mountpoint: Path) -> None:
    options = {*pyfuse3.default_options, "fsname=vexmodel", "subtype=vexmodel"}
    try:
        pyfuse3.init(Shell(parts), str(mountpoint), options)
    except RuntimeError as error:
        raise ConfigurationFault(f"cannot mount at {mountpoint}: {error}") from error


async def _answer(parts: Parts, mountpoint: Path) -> ConfigurationFault | None:
    async with trio.open_nursery() as nursery:
        # Before the mount, so that no signal can end us with the mount left behind.
        await nursery.start(_stop_on_signal)
        try:
            _mount(parts, mountpoint)
        except ConfigurationFault as fault:
            nursery.cancel_scope.cancel()
            return fault
        try:
            # One task: requests are answered in the order in which they come, on this thread.
            await pyfuse3.main(min_tasks=1, max_tasks=1)
        finally:
            pyfuse3.close(unmount=True)
        nursery.cancel_scope.cancel()
    return None


def serve(parts: Parts, mountpoint: Path) -> None:
    """Mount, answer, unmount.

    Raises:
        ConfigurationFault: the mount was refused.
    """
    # What is alive now stays alive: the collector need not look at it during a request.
    gc.collect()
    gc.freeze()
    fault = trio.run(_answer, parts, mountpoint)
    if fault is not None:
        raise fault
