"""What is written down about a running daemon, so that a later run can clean up after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from reactivate import procfs
from reactivate.documents import parse_json, text, whole
from reactivate.errors import WorkspaceError
from reactivate.evidence import Pid
from reactivate.files import read_plain, replace_file

RECORD_NAME = "daemon.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A daemon and the tool that started it; start ticks tell a process from a recycled pid."""

    pid: int
    start_ticks: int
    owner_pid: int
    owner_start_ticks: int
    mountpoint: str
    command: tuple[str, ...]
    cgroups: tuple[str, ...] = ()


def make_run_folder(run: Path) -> Path:
    """A fresh folder for one mount.

    Raises:
        WorkspaceError: it cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=run.resolve()))
    except OSError as error:
        raise WorkspaceError(
            "no folder for a mount can be made in the workspace",
            why=f"{error.strerror}: {error.filename}",
            hint="check the permissions and the free space of the workspace",
        ) from error


def write_record(
    folder: Path,
    pid: Pid,
    mountpoint: Path,
    command: tuple[str, ...],
    cgroups: tuple[Path, ...] = (),
) -> None:
    """Write the record; the daemon must not have begun its own work yet, nor control groups be."""
    own = Pid(os.getpid())
    record = RunRecord(
        pid=pid,
        start_ticks=procfs.process_start_ticks(pid),
        owner_pid=own,
        owner_start_ticks=procfs.process_start_ticks(own),
        mountpoint=str(mountpoint),
        command=command,
        cgroups=tuple(map(str, cgroups)),
    )
    path = folder / RECORD_NAME
    try:
        replace_file(path, json.dumps(asdict(record)).encode())
    except OSError as error:
        raise WorkspaceError(
            "the record of a daemon cannot be written", why=f"{error.strerror}: {path}"
        ) from error


def read_record(folder: Path) -> RunRecord | None:
    """The record of a run folder; None if there is none or it is not one."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        data = parse_json(read_plain(folder / RECORD_NAME))
        return RunRecord(
            pid=whole(data, "pid"),
            start_ticks=whole(data, "start_ticks"),
            owner_pid=whole(data, "owner_pid"),
            owner_start_ticks=whole(data, "owner_start_ticks"),
            mountpoint=text(data, "mountpoint"),
            command=tuple(map(str, data["command"])),
            # Not there in records of earlier versions.
            cgroups=tuple(map(str, data.get("cgroups", ()))),
        )
    return None


def same_process(pid: int, start_ticks: int) -> bool:
    """Whether this very process still runs (a zombie does not)."""
    with contextlib.suppress(ProcessLookupError):
        return procfs.process_runs(Pid(pid)) and procfs.process_start_ticks(Pid(pid)) == start_ticks
    return False
