"""The box around one daemon: what limits it, what it counted, and its end.

The limits are set while the process waits to become the daemon, so the daemon never runs without
them. See docs/safety.md for what holds where.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from reactivate.evidence import NotMeasured, Pid
from reactivate.target.box_cgroup import (
    Groups,
    Places,
    end_members,
    find_places,
    kill_members,
    remove_groups,
)
from reactivate.target.box_members import end_marked
from reactivate.target.box_namespace import Namespaces, NoNamespaceError
from reactivate.target.model import Box, BoxReport, Holder

UNBOXED = BoxReport(
    memory_limited=False,
    processes_limited=False,
    isolated=False,
    how=Holder.NONE,
    why="no box was asked for",
    oom_kills=NotMeasured(reason="no box was asked for"),
    peak_bytes=NotMeasured(reason="no box was asked for"),
)


class Enclosure:
    """One daemon's box, and what must go when the daemon has gone.

    The order of calls is: make it, `enclose` the waiting process, `report` at any time, `kill` at
    any time, `end` once. Without a box only left-behind processes are ended.
    """

    def __init__(self, box: Box | None, folder: Path, backing: Path) -> None:
        """Look for what can hold the box; namespaces are made here, control groups are not.

        Args:
            box: limits; None for no box.
            folder: the mount's run folder, which names everything that is made.
            backing: the daemon's data folder.
        """
        self._box = box
        self._folder = folder
        self._places: Places | None = find_places(folder.name) if box is not None else None
        self._groups: Groups | None = None
        self._by_rlimit = False
        self._why: list[str] = []
        self._final: BoxReport | None = None
        self.namespaces: Namespaces | None = None
        if box is not None and box.isolate:
            try:
                self.namespaces = Namespaces(backing)
            except (NoNamespaceError, OSError) as error:
                self._why.append(f"no namespaces of its own: {error}")

    @property
    def cgroups(self) -> tuple[Path, ...]:
        """Control groups that `enclose` will make: to be put on record before it does."""
        return self._places.folders if self._places is not None else ()

    def enclose(self, pid: Pid) -> None:
        """Set all limits on a process that waits to become the daemon.

        Raises:
            OSError, ValueError: a limit that must hold cannot be set.
        """
        if self._box is None or self._places is None:
            return
        set_rlimits(pid, self._box)
        groups = Groups(self._places)
        try:
            groups.make(memory_bytes=self._box.memory_bytes, processes=self._box.processes)
            groups.enter(pid)
            self._groups = groups
        except OSError as error:
            remove_groups(self._places.folders)
            self._why.append(f"no control group: {error.strerror}: {error.filename}")
        if self._box.memory_bytes is not None and not self._memory_grouped():
            # Private writable memory only, of each process for itself: second best (setrlimit(2)).
            set_rlimit(pid, resource.RLIMIT_DATA, self._box.memory_bytes)
            self._by_rlimit = True

    def kill(self) -> None:
        """SIGKILL to all in the box, once, without waiting."""
        if self._groups is not None:
            kill_members(self._groups.places.folders)

    def report(self) -> BoxReport:
        """What the box holds and has counted so far; final after `end`."""
        if self._final is not None:
            return self._final
        if self._box is None or self._places is None:
            return UNBOXED
        groups = self._groups
        grouped = groups is not None and self._places.memory is not None
        processes = groups is not None and self._places.processes is not None
        none = NotMeasured(reason=self._places.why_no_memory or "; ".join(self._why))
        how = Holder.RLIMIT if self._by_rlimit else Holder.NONE
        return BoxReport(
            memory_limited=self._box.memory_bytes is not None and (grouped or self._by_rlimit),
            processes_limited=self._box.processes is not None and processes,
            isolated=self.namespaces is not None,
            how=self._places.version if grouped else how,
            why="; ".join(self._shortcomings(grouped=grouped, processes=processes)),
            oom_kills=groups.oom_kills() if grouped and groups is not None else none,
            peak_bytes=groups.peak_bytes() if grouped and groups is not None else none,
        )

    def end(self) -> bool:
        """Kill and remove all that is left; True if nothing is. Blocks for milliseconds mostly."""
        self._final = self.report()
        gone = True
        if self._groups is not None:
            folders = self._groups.places.folders
            gone = end_members(folders) and remove_groups(folders)
        if self.namespaces is not None:
            self.namespaces.close()
        end_marked(self._folder)
        return gone

    def _memory_grouped(self) -> bool:
        return self._groups is not None and self._groups.places.memory is not None

    def _shortcomings(self, *, grouped: bool, processes: bool) -> list[str]:
        assert self._box is not None and self._places is not None
        said = list(self._why)
        if self._box.memory_bytes is not None and not grouped:
            reason = f" ({self._places.why_no_memory})" if self._places.why_no_memory else ""
            said.append(
                f"memory is limited by RLIMIT_DATA{reason}: private memory only, "
                "each process for itself, and an allocation fails instead of a process being killed"
            )
        if self._box.processes is not None and not processes:
            reason = f" ({self._places.why_no_processes})" if self._places.why_no_processes else ""
            said.append(f"the number of processes is not limited{reason}")
        return said


def set_rlimits(pid: Pid, box: Box) -> None:
    """Set the limits that belong to a process and are inherited by what it starts.

    Not RLIMIT_STACK: `spawn` sets it, as an exact value.

    Raises:
        OSError, ValueError: the kernel refuses.
    """
    if box.file_size_bytes is not None:
        set_rlimit(pid, resource.RLIMIT_FSIZE, box.file_size_bytes)
    if box.open_files is not None:
        set_rlimit(pid, resource.RLIMIT_NOFILE, box.open_files)
    if box.cpu_seconds is not None:
        # SIGXCPU at the soft limit, SIGKILL a second later.
        set_rlimit(pid, resource.RLIMIT_CPU, box.cpu_seconds, margin=1)


def set_rlimit(pid: Pid, which: int, value: int, *, margin: int = 0) -> None:
    """At most `value`: where less is inherited, less it stays."""
    _, hard = resource.prlimit(pid, which)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    top = value + margin if hard == resource.RLIM_INFINITY else min(value + margin, hard)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, which, (soft, top))
