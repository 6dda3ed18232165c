"""Removing what a killed run left behind: its daemons and its mounts."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import Pid
from reactivate.target.box_cgroup import NAME_PREFIX, end_members, remove_groups
from reactivate.target.box_members import end_marked
from reactivate.target.record import RECORD_NAME, RunRecord, read_record, same_process
from reactivate.target.scratch import abandoned
from reactivate.target.unmount import detach_below, force_unmount, mounts_below, remove_folder
from reactivate.workspace import Workspace

_END_SECONDS = 5.0


def reap(workspace: Workspace) -> tuple[str, ...]:
    """Remove daemons and mounts of runs whose tool is gone; one sentence for each removed.

    Runs of a tool that is alive, this one included, are left alone. A process is touched only if
    its start time is the recorded one; a mount only if it lies in the workspace's run folder or
    is recorded there. Never raises for what cannot be removed: it says so.
    """
    removed = reap_scratch()
    if not workspace.run.is_dir():
        return tuple(removed)
    if workspace.results.is_symlink() or workspace.run.is_symlink():
        removed.append(f"{workspace.run} is behind a symbolic link and was left alone")
        return tuple(removed)
    run = workspace.run.resolve()
    for folder in sorted(path for path in run.iterdir() if _may_be_ours(path)):
        record = read_record(folder)
        if not _owner_runs(folder, record):
            removed += _clean(folder, record)
    return tuple(removed)


def reap_scratch() -> list[str]:
    """Remove temporary folders of killed calls, and daemons and mounts in them; what was there.

    A workspace in one may be another tool's that goes on; then nothing is removed. The folders
    themselves are not worth a word.
    """
    removed: list[str] = []
    for scratch in abandoned():
        records = {folder: read_record(folder) for folder in _recorded(scratch.path)}
        if any(_owner_runs(folder, record) for folder, record in records.items()):
            continue
        for folder, record in records.items():
            removed += _clean(folder, record)
        removed += [f"unmounted {path}" for path in mounts_below(scratch.path)]
        detach_below(scratch.path)
        try:
            scratch.remove()
        except OSError as error:
            removed.append(f"{scratch.path} cannot be removed: {error.strerror}")
    return removed


def _recorded(top: Path) -> list[Path]:
    """Run folders anywhere in a folder; mounts are not entered: nobody may answer there."""
    mounted, found = set(mounts_below(top)), []
    for name, folders, files in os.walk(top):
        folder = Path(name)
        folders[:] = [each for each in folders if folder / each not in mounted]
        if RECORD_NAME in files and _may_be_ours(folder):
            found.append(folder)
    return sorted(found)


def _may_be_ours(path: Path) -> bool:
    """Whether `make_run_folder` can have made it: a folder itself, named after a process."""
    return path.is_dir() and not path.is_symlink() and path.name.split("-")[0].isdecimal()


def _owner_runs(folder: Path, record: RunRecord | None) -> bool:
    if record is not None:
        return same_process(record.owner_pid, record.owner_start_ticks)
    # Not recorded yet: the folder's name says whose it is.
    return procfs.process_runs(Pid(int(folder.name.partition("-")[0])))


def _clean(folder: Path, record: RunRecord | None) -> list[str]:
    said: list[str] = []
    mountpoint = folder / "mnt"
    if record is not None:
        mountpoint = Path(record.mountpoint)
        if _end(record):
            said.append(f"ended pid {record.pid}: {' '.join(record.command)}")
        said += _end_box(folder, record)
    if left := end_marked(folder):
        said.append(f"ended {left} processes that a daemon had left behind")
    if procfs.fuse_mount_at(mountpoint) is not None:
        if force_unmount(mountpoint):
            said.append(f"unmounted {mountpoint}")
        else:
            said.append(f"{mountpoint} is still mounted; try: sudo umount -l {mountpoint}")
            return said
    # What was mounted below the daemon: a data folder with a planted fault.
    for below in mounts_below(folder):
        said.append(f"unmounted {below}")
    if left_mounted := detach_below(folder):
        return [*said[:-1], *(f"{path} is still mounted" for path in left_mounted)]
    if not remove_folder(folder, mountpoint):
        said.append(f"{folder} cannot be removed")
    elif not said:
        said.append(f"removed {folder}")
    return said


def _end_box(folder: Path, record: RunRecord) -> list[str]:
    """End and remove the recorded control groups; only such as bear this run folder's name."""
    groups = [Path(text) for text in record.cgroups]
    wanted = f"{NAME_PREFIX}{folder.name}"
    own = [path for path in groups if path.name == wanted and _is_group(path)]
    if not own:
        return []
    if end_members(own) and remove_groups(own):
        return [f"removed the control group {wanted}"]
    return [f"the control group {path} cannot be removed" for path in own if path.is_dir()]


def _is_group(path: Path) -> bool:
    return path.is_absolute() and (path / "cgroup.procs").is_file()


def _end(record: RunRecord) -> bool:
    """Kill the recorded process and its group; True if it ran."""
    try:
        # While the descriptor is open its process is the recorded one, or gone.
        with procfs.pidfd(Pid(record.pid), start_ticks=record.start_ticks) as descriptor:
            if not same_process(record.pid, record.start_ticks):
                return False
            if os.getpgid(record.pid) == record.pid:
                os.killpg(record.pid, signal.SIGKILL)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            # Readable from the process's end on.
            return bool(select.select([descriptor], [], [], _END_SECONDS)[0])
    except (ProcessLookupError, PermissionError):
        return False
