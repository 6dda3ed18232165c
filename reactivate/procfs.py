"""Readers of /proc/PID and of the FUSE control filesystem. Nobody else parses these files.

`ProcessLookupError`: the process or thread is gone; `PermissionError`: the kernel refuses. proc(5).
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import MachineError, kernels_text
from reactivate.evidence import Address, Pid, Tid

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

STACK_GUARD_GAP_BYTES = 256 * PAGE_BYTES
"""What the kernel keeps free below a growing stack (stack_guard_gap, mm/mmap.c)."""

FUSE_CONNECTIONS = Path("/sys/fs/fuse/connections")

_PROC = Path("/proc")
_PF_EXITING = 0x4
"""In the flags of /proc/PID/stat; set before children are given away (include/linux/sched.h)."""


# -- dataclasses ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    start: Address
    end: Address

    @property
    def size_bytes(self) -> int:
        """Length of the mapping."""
        return self.end - self.start

    def contains(self, address: int) -> bool:
        """Whether the address lies inside."""
        return self.start <= address < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMapping(_Range):
    """One line of /proc/PID/maps; `end` is exclusive, `path` is "" for anonymous memory."""

    permissions: str
    offset: int
    inode: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackMapping(_Range):
    """The mapped part of a thread's stack: it is used from `end` downwards to `start`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedCall:
    """A thread that sleeps; `number` is -1 when it sleeps outside a system call."""

    number: int
    arguments: tuple[int, ...]
    sp: Address
    pc: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """The fields of /proc/PID/stat that are used here.

    `exiting` is true from the moment its end has begun, before its children get another parent.
    """

    command: str
    state: str
    parent: Pid
    exiting: bool
    minor_faults: int
    major_faults: int
    threads: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStatus:
    """Resident memory now, and the most there was since the start or the last reset."""

    rss_bytes: int
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSwitches:
    """How often a thread gave up the processor, and how often it was taken away."""

    voluntary: int
    involuntary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseMount:
    """A FUSE filesystem in this mount namespace; `connection` is its device's minor number."""

    mountpoint: Path
    connection: int
    fstype: str
    source: str


# -- reading -------------------------------------------------------------------------------


def _read(path: Path) -> str:
    """Text of a /proc file; a process that ends meanwhile is a ProcessLookupError."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise ProcessLookupError(f"{path} is gone") from None


def _field(text: str, name: str) -> str | None:
    """Value of a `Name:\\tvalue` line, None if the line is not there."""
    found = re.search(rf"^{re.escape(name)}:\s*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _kib_field(text: str, name: str) -> int:
    """A `Name:  123 kB` line in bytes (the kernel's kB are KiB); 0 if it is not there."""
    value = _field(text, name)
    return int(value.split()[0]) * 1024 if value else 0


def task_folder(pid: Pid, tid: Tid | None = None) -> Path:
    """/proc/PID, or /proc/PID/task/TID."""
    folder = _PROC / str(pid)
    return folder if tid is None else folder / "task" / str(tid)


# -- processes and threads -----------------------------------------------------------------


@kernels_text("stat")
def parse_stat(text: str) -> ProcessStat:
    """Parse a stat line; the command may itself contain blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()  # fields[0] is field 3 of proc_pid_stat(5)
    return ProcessStat(
        command=head.partition("(")[2],
        state=fields[0],
        parent=Pid(int(fields[1])),
        exiting=bool(int(fields[6]) & _PF_EXITING),
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def process_stat(pid: Pid, tid: Tid | None = None) -> ProcessStat:
    """State, faults and start time of a process or of one of its threads."""
    return parse_stat(_read(task_folder(pid, tid) / "stat"))


def process_start_ticks(pid: Pid) -> int:
    """Start time in clock ticks since boot; with the pid it names a process for good."""
    return process_stat(pid).start_ticks


def thread_start_ticks(pid: Pid, tid: Tid) -> int:
    """Start time of a thread; with the tid it names a thread for good."""
    return process_stat(pid, tid).start_ticks


def process_state(pid: Pid) -> str:
    """One letter: R running, S sleeping, D disk, T stopped, t traced, Z zombie, X dead."""
    return process_stat(pid).state


def process_runs(pid: Pid) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return process_state(pid) not in "ZX"
    except ProcessLookupError:
        return False


def thread_ids(pid: Pid) -> tuple[Tid, ...]:
    """All threads, in ascending order; the main thread's id is the pid."""
    try:
        names = os.listdir(task_folder(pid) / "task")  # noqa: PTH208 - only names are wanted
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    return tuple(sorted(Tid(int(name)) for name in names))


def thread_name(pid: Pid, tid: Tid) -> str:
    """The thread's comm, at most 15 bytes."""
    return _read(task_folder(pid, tid) / "comm").rstrip("\n")


@kernels_text("syscall")
def parse_syscall(text: str) -> BlockedCall | None:
    """Parse /proc/PID/task/TID/syscall; None for a thread that runs or is about to."""
    fields = text.split()
    if not fields or fields[0] == "running":
        return None
    *arguments, sp, pc = (int(field, 16) for field in fields[1:])
    return BlockedCall(
        number=int(fields[0]), arguments=tuple(arguments), sp=Address(sp), pc=Address(pc)
    )


def task_syscall(pid: Pid, tid: Tid) -> BlockedCall | None:
    """The system call in which a thread sleeps; None while it runs. Needs ptrace access."""
    return parse_syscall(_read(task_folder(pid, tid) / "syscall"))


def context_switches(pid: Pid, tid: Tid) -> ContextSwitches:
    """Switch counters of a thread: unchanged counters mean that it did not run."""
    text = _read(task_folder(pid, tid) / "status")
    return ContextSwitches(
        voluntary=int(_field(text, "voluntary_ctxt_switches") or 0),
        involuntary=int(_field(text, "nonvoluntary_ctxt_switches") or 0),
    )


# -- memory --------------------------------------------------------------------------------

_MAPS_LINE = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ (\d+) *(.*)$", re.MULTILINE
)


@kernels_text("maps")
def parse_maps(text: str) -> tuple[MemoryMapping, ...]:
    """Parse /proc/PID/maps, in ascending order of addresses."""
    return tuple(
        MemoryMapping(
            start=Address(int(start, 16)),
            end=Address(int(end, 16)),
            permissions=permissions,
            offset=int(offset, 16),
            inode=int(inode),
            path=path,
        )
        for start, end, permissions, offset, inode, path in _MAPS_LINE.findall(text)
    )


def memory_mappings(pid: Pid) -> tuple[MemoryMapping, ...]:
    """All mappings of a process, in ascending order of addresses. Needs ptrace access."""
    return parse_maps(_read(task_folder(pid) / "maps"))


def mapping_containing(mappings: tuple[MemoryMapping, ...], address: int) -> MemoryMapping | None:
    """The mapping in which an address lies."""
    return next((mapping for mapping in mappings if mapping.contains(address)), None)


def main_stack(pid: Pid) -> StackMapping:
    """What is mapped of the main thread's stack now; it can grow downwards at any time."""
    for mapping in memory_mappings(pid):
        if mapping.path == "[stack]":
            return StackMapping(start=mapping.start, end=mapping.end)
    # A zombie keeps its folder and has no memory.
    raise ProcessLookupError(f"process {pid} has no [stack] mapping: it has ended")


@kernels_text("limits")
def parse_stack_limit(text: str) -> int | None:
    """Soft RLIMIT_STACK of a /proc/PID/limits text; None if it is unlimited."""
    found = re.search(r"^Max stack size\s+(\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError("no line `Max stack size` in a limits file")
    return None if found[1] == "unlimited" else int(found[1])


def stack_limit_bytes(pid: Pid) -> int:
    """Soft RLIMIT_STACK of a process.

    Raises:
        MachineError: the limit is unlimited, so there is nothing to hold a depth against.
    """
    limit = parse_stack_limit(_read(task_folder(pid) / "limits"))
    if limit is None:
        raise MachineError(
            f"the stack of process {pid} is unlimited",
            why="a depth can only be judged against a limit",
            hint="ulimit -S -s 8192",
        )
    return limit


def main_stack_room_bytes(pid: Pid) -> int:
    """How deep the main stack can become: RLIMIT_STACK, or less if a mapping is in the way."""
    limit = parse_stack_limit(_read(task_folder(pid) / "limits"))
    below = 0
    for mapping in memory_mappings(pid):
        if mapping.path == "[stack]":
            room = mapping.end - below - STACK_GUARD_GAP_BYTES
            return room if limit is None else min(limit, room)
        below = mapping.end
    raise ProcessLookupError(f"process {pid} has no [stack] mapping: it has ended")


def memory_status(pid: Pid) -> MemoryStatus:
    """VmRSS and VmHWM. Raises ProcessLookupError for a zombie: it has no memory."""
    text = _read(task_folder(pid) / "status")
    if _field(text, "VmRSS") is None:
        raise ProcessLookupError(f"process {pid} has no memory: it has ended")
    return MemoryStatus(
        rss_bytes=_kib_field(text, "VmRSS"), peak_rss_bytes=_kib_field(text, "VmHWM")
    )


def reset_peak_rss(pid: Pid) -> None:
    """Set VmHWM to VmRSS (clear_refs 5, Linux 4.0). Raises PermissionError if refused."""
    try:
        (task_folder(pid) / "clear_refs").write_text("5")
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None


def smaps_rollup(pid: Pid) -> dict[str, int]:
    """The sums of /proc/PID/smaps_rollup in bytes: Rss, Pss, Private_Dirty, Swap, …"""
    text = _read(task_folder(pid) / "smaps_rollup")
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}


# -- mounts and the FUSE control filesystem ------------------------------------------------


def _unescape(field: str) -> str:
    """Undo mountinfo's octal escapes of blank, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


@kernels_text("mountinfo")
def parse_mountinfo(text: str) -> tuple[FuseMount, ...]:
    """The FUSE mounts (fuse, fuse.NAME, fuseblk) of a mountinfo text, in mount order."""
    mounts = []
    # Not splitlines(): a path may hold \r, \f and the like unescaped; only \n ends a line.
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fstype, source = right.split(" ")[:2]
        if fstype != "fuse" and not fstype.startswith(("fuse.", "fuseblk")):
            continue
        fields = left.split(" ")
        mounts.append(
            FuseMount(
                mountpoint=Path(_unescape(fields[4])),
                connection=_connection_number(fields[2]),
                fstype=fstype,
                source=_unescape(source),
            )
        )
    return tuple(mounts)


def _connection_number(major_minor: str) -> int:
    """The kernel's device number; without a disk (fuseblk) the major is 0."""
    major, _, minor = major_minor.partition(":")
    return int(major) << 20 | int(minor)


def fuse_mounts() -> tuple[FuseMount, ...]:
    """All FUSE mounts that this process sees."""
    return parse_mountinfo(_read(_PROC / "self" / "mountinfo"))


def fuse_mount_at(mountpoint: Path) -> FuseMount | None:
    """The topmost FUSE mount on a folder. Never touches the folder: it may hang."""
    wanted = Path(os.path.abspath(mountpoint))  # noqa: PTH100 - resolve() would call the daemon
    return next((m for m in reversed(fuse_mounts()) if m.mountpoint == wanted), None)


def waiting_requests(connection: int) -> int | None:
    """Requests that the daemon has not answered; None without fusectl or connection."""
    try:
        return int((FUSE_CONNECTIONS / str(connection) / "waiting").read_text())
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def abort_connection(connection: int) -> bool:
    """Abort a connection so that blocked callers return; False if it cannot be reached."""
    try:
        (FUSE_CONNECTIONS / str(connection) / "abort").write_text("1")
    except OSError:
        return False
    return True


def fusectl_mounted() -> bool:
    """Whether the FUSE control filesystem is mounted at its usual place."""
    return any(
        line.split(" ")[4] == str(FUSE_CONNECTIONS) and " - fusectl " in line
        for line in _read(_PROC / "self" / "mountinfo").split("\n")
        if line
    )


def mount_fusectl() -> bool:
    """Mount the FUSE control filesystem if it is absent; False if that is not allowed."""
    if fusectl_mounted():
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.fsencode(FUSE_CONNECTIONS)
    return bool(libc.mount(b"fusectl", target, b"fusectl", 0, None) == 0)


# -- pidfd ---------------------------------------------------------------------------------


@contextmanager
def pidfd(pid: Pid, *, start_ticks: int | None = None) -> Iterator[int]:
    """A file descriptor that means this very process for as long as it is open.

    Args:
        pid: the process.
        start_ticks: if given, the process must have this start time: a recycled pid is
            a ProcessLookupError, not somebody else's process.
    """
    descriptor = os.pidfd_open(pid)
    try:
        if start_ticks is not None and process_start_ticks(pid) != start_ticks:
            raise ProcessLookupError(f"pid {pid} belongs to another process now")
        yield descriptor
    finally:
        os.close(descriptor)


def send_signal(pid: Pid, number: signal.Signals, *, start_ticks: int | None = None) -> bool:
    """Signal a process through a pidfd; False if it is gone or its pid was recycled."""
    try:
        with pidfd(pid, start_ticks=start_ticks) as descriptor:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    return True
