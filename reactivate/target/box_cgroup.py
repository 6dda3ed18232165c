"""Control groups: one for each boxed mount, below the group in which the tool itself is.

Sources: cgroups(7), and admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel's
documentation. A group limits the daemon and all that it starts, whichever session or parent these
choose, and its members can be ended together.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate import procfs
from reactivate.evidence import NotMeasured, Pid
from reactivate.target.model import Holder

NAME_PREFIX = "reactivate-"

_POLL_SECONDS = 0.002
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Folders of the control groups of one mount; they need not exist yet.

    Attributes:
        version: which generation limits memory; NONE if neither does.
        memory: group that limits memory; None if there cannot be one.
        processes: group that limits the number of processes; None if there cannot be one.
        tether: group of the second generation that ends all its members at once; None if absent.
        why_no_memory: the reason, "" if there is such a group.
        why_no_processes: the reason, "" if there is such a group.
    """

    version: Holder
    memory: Path | None
    processes: Path | None
    tether: Path | None
    why_no_memory: str
    why_no_processes: str

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of them, each once."""
        every = (self.memory, self.processes, self.tether)
        return tuple(dict.fromkeys(path for path in every if path is not None))


def find_places(name: str, *, proc: Path = Path("/proc/self")) -> Places:
    """Where groups called `reactivate-NAME` can be made. Looks, and makes nothing."""
    own = _own_groups(proc)
    found: dict[str, Path] = {}
    why: dict[str, str] = {}
    version = Holder.NONE
    unified = own.get("")
    for controller in ("memory", "pids"):
        base = own.get(controller)
        generation = Holder.CGROUP_V1
        if base is None and unified is not None:
            base, reason = _delegating(unified, controller)
            generation = Holder.CGROUP_V2
        else:
            reason = f"no control group of this machine has the controller {controller}"
        if base is not None:
            reason = _why_not_writable(base)
        if base is None or reason:
            why[controller] = reason
            continue
        found[controller] = base / f"{NAME_PREFIX}{name}"
        if controller == "memory":
            version = generation
    return Places(
        version=version,
        memory=found.get("memory"),
        processes=found.get("pids"),
        tether=_tether(unified, found, name),
        why_no_memory=why.get("memory", ""),
        why_no_processes=why.get("pids", ""),
    )


def _tether(unified: Path | None, found: dict[str, Path], name: str) -> Path | None:
    if unified is None:
        return None
    # A process is in one group of the second generation only: the one that limits it, if any.
    for path in found.values():
        if _same_mount(path.parent, unified):
            return path
    return None if _why_not_writable(unified) else unified / f"{NAME_PREFIX}{name}"


def _same_mount(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.stat().st_dev == other.stat().st_dev
    return False


def _own_groups(proc: Path) -> dict[str, Path]:
    """Folder of the own group by controller; "" is the second generation's."""
    paths: dict[str, str] = {}
    for line in _text(proc / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    groups: dict[str, Path] = {}
    for line in _text(proc / "mountinfo").splitlines():
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        root, mountpoint = left.split(" ")[3:5]
        fstype, _, options = right.split(" ")[:3]
        names = [""] if fstype == "cgroup2" else options.split(",") if fstype == "cgroup" else []
        for name in names:
            # A container may see only a part of the tree: `root` is what its mount begins with.
            if name in paths and (inside := _relative(paths[name], root)) is not None:
                groups.setdefault(name, Path(mountpoint) / inside)
    return groups


def _relative(path: str, root: str) -> str | None:
    relative = os.path.relpath(path, root)
    return None if relative.startswith("..") else relative


def _delegating(own: Path, controller: str) -> tuple[Path | None, str]:
    """The group in which a child has the controller: the own one, or the one above it."""
    if controller not in _text(own / "cgroup.controllers").split():
        return None, f"the controller {controller} is not given to the control group {own}"
    if controller in _text(own / "cgroup.subtree_control").split():
        return own, ""
    # A group with processes of its own cannot pass controllers on; the group above it does.
    if controller in _text(own.parent / "cgroup.subtree_control").split():
        return own.parent, ""
    return None, f"the control group {own} holds processes and cannot pass on {controller}"


def _why_not_writable(base: Path) -> str:
    if not base.is_dir():
        return f"{base} is not there"
    if not (os.access(base, os.W_OK) and os.access(base / "cgroup.procs", os.W_OK)):
        return f"{base} cannot be written"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


class Groups:
    """The control groups of one mount, from `make` to `remove`."""

    def __init__(self, places: Places) -> None:
        """Nothing is made yet."""
        self.places = places

    def make(self, *, memory_bytes: int | None, processes: int | None) -> None:
        """Make the groups and set the limits.

        Raises:
            OSError: the kernel refuses; what was made is removed again.
        """
        try:
            for folder in self.places.folders:
                folder.mkdir()
            if self.places.memory is not None and memory_bytes is not None:
                _limit_memory(self.places.memory, self.places.version, memory_bytes)
            if self.places.processes is not None and processes is not None:
                _write(self.places.processes / "pids.max", processes)
        except OSError:
            remove_groups(self.places.folders)
            raise

    def enter(self, pid: Pid) -> None:
        """Put a process, which has not begun its own work yet, into all groups."""
        for folder in self.places.folders:
            _write(folder / "cgroup.procs", pid)

    def oom_kills(self) -> int | NotMeasured:
        """Processes that the kernel killed because this group was out of memory."""
        if self.places.memory is None:
            return NotMeasured(reason=self.places.why_no_memory)
        return oom_kills(self.places.memory, self.places.version)

    def peak_bytes(self) -> int | NotMeasured:
        """Most memory that the group had."""
        if self.places.memory is None:
            return NotMeasured(reason=self.places.why_no_memory)
        second = self.places.version is Holder.CGROUP_V2
        name = "memory.peak" if second else "memory.max_usage_in_bytes"
        text = _text(self.places.memory / name).strip()
        if not text:
            return NotMeasured(reason=f"this kernel has no {name}")
        return int(text)


def oom_kills(folder: Path, version: Holder) -> int | NotMeasured:
    """The kernel's count of processes it killed for want of memory in a group."""
    name = "memory.events" if version is Holder.CGROUP_V2 else "memory.oom_control"
    for line in _text(folder / name).splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return NotMeasured(reason=f"{name} of this kernel does not count oom_kill")


def _limit_memory(folder: Path, version: Holder, memory_bytes: int) -> None:
    if version is Holder.CGROUP_V2:
        _write(folder / "memory.max", memory_bytes)
        if (folder / "memory.swap.max").exists():
            _write(folder / "memory.swap.max", 0)
        return
    _write(folder / "memory.limit_in_bytes", memory_bytes)
    # Memory and swap together: the same limit leaves no swap.
    if (folder / "memory.memsw.limit_in_bytes").exists():
        _write(folder / "memory.memsw.limit_in_bytes", memory_bytes)
    else:
        _write(folder / "memory.swappiness", 0)


def _write(path: Path, value: int) -> None:
    path.write_text(str(value), encoding="ascii")


def members(folders: Sequence[Path]) -> frozenset[Pid]:
    """Processes in any of the groups, without zombies."""
    found = (_text(folder / "cgroup.procs").split() for folder in folders)
    # 0 stands for a process that this process namespace does not see.
    listed = (Pid(int(pid)) for pids in found for pid in pids if pid != "0")
    return frozenset(pid for pid in listed if procfs.process_runs(pid))


def kill_members(folders: Sequence[Path]) -> None:
    """SIGKILL to every member, once; a fork bomb can fork no more afterwards."""
    for folder in folders:
        with contextlib.suppress(OSError):
            _write(folder / "cgroup.kill", 1)  # second generation, Linux 5.14
        if (folder / "pids.max").exists():
            with contextlib.suppress(OSError):
                _write(folder / "pids.max", 0)
    with contextlib.ExitStack() as stack:
        descriptors: dict[Pid, int] = {}
        for pid in members(folders):
            with contextlib.suppress(OSError):
                descriptors[pid] = stack.enter_context(procfs.pidfd(pid))
        # Still a member after its descriptor was opened: no stranger with a recycled number.
        for pid in members(folders) & descriptors.keys():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptors[pid], signal.SIGKILL)


def end_members(folders: Sequence[Path], seconds: float = _END_SECONDS) -> bool:
    """Kill until nobody is left; True if nobody is. Blocks for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while members(folders):
        if time.monotonic() > deadline:
            return False
        kill_members(folders)
        time.sleep(_POLL_SECONDS)
    return True


def remove_groups(folders: Sequence[Path], seconds: float = _END_SECONDS) -> bool:
    """Remove the groups; True if none is left. Blocks for at most `seconds`.

    The kernel refuses for a moment after the last member has ended.
    """
    deadline = time.monotonic() + seconds
    left = [folder for folder in folders if folder.is_dir()]
    while left:
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        left = [folder for folder in left if folder.is_dir()]
        if left and time.monotonic() > deadline:
            return False
        if left:
            time.sleep(_POLL_SECONDS)
    return True
