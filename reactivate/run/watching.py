"""How full the stacks of a running process are, without stopping it or writing to it.

Two things can be read of a process that goes on working: which pages of a stack are there
(/proc/PID/pagemap), and the stack pointer of a thread that sleeps at that moment
(/proc/PID/task/TID/syscall). The lowest page that is there says how deep the stack ever was, to
the page; a stack that a thread took over from an earlier one shows the earlier one's depth, too.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from enum import StrEnum

from reactivate import procfs
from reactivate.errors import PrivilegeError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.alerts import (
    CRITICAL_SHARE,
    DEFAULT_SHARES,
    WARNING_SHARE,
    AlertShares,
)
from reactivate.instrument.paint import StackMemory
from reactivate.instrument.stack_areas import resident_bytes
from reactivate.procfs import MemoryMapping, mapping_containing

__all__ = [
    "CRITICAL_SHARE",
    "WARNING_SHARE",
    "Level",
    "Picture",
    "StackLevel",
    "StackView",
]

_MOST_LOOKS = 10
_PAUSE_SECONDS = 0.001


class Level(StrEnum):
    """How near a stack is to its end."""

    CALM = "calm"
    """Below the warning share of its limit (75 %, or what configs/ebpf.toml says)."""
    WARNING = "warning"
    """From the warning share on."""
    CRITICAL = "critical"
    """From the critical share on (90 %, or what configs/ebpf.toml says)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackLevel:
    """One thread's stack at one moment.

    Attributes:
        tid: the thread.
        name: its name.
        main: whether it is the process's first thread.
        limit_bytes: how deep its stack can become.
        resident_bytes: how deep it surely was by now: the lowest page that is there.
        now_bytes: how deep it is; None while it runs, when that cannot be seen.
        shares: of its limit, from which on an alert is due.
    """

    tid: Tid
    name: str
    main: bool
    limit_bytes: int
    resident_bytes: int
    now_bytes: int | None
    shares: AlertShares = DEFAULT_SHARES

    @property
    def used_bytes(self) -> int:
        """How deep it was at least: a page that is there, or the stack pointer now."""
        return max(self.resident_bytes, self.now_bytes or 0)

    @property
    def share(self) -> float:
        """Of the limit, at its deepest."""
        return self.used_bytes / self.limit_bytes

    @property
    def level(self) -> Level:
        """See `Level`."""
        if self.share >= self.shares.critical:
            return Level.CRITICAL
        return Level.WARNING if self.share >= self.shares.warning else Level.CALM


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All stacks of a process at one moment.

    Attributes:
        levels: threads whose stack is known, in the order of their numbers.
        unknown: number and name of threads that have never been seen asleep: where their
            stacks lie is not known yet.
    """

    levels: tuple[StackLevel, ...]
    unknown: tuple[tuple[Tid, str], ...]


class StackView:
    """Looks at all stacks of one process; a context manager.

    Args:
        pid: the process. Needs ptrace access to it.
        shares: of a thread's limit, from which on an alert is due; see `instrument.alerts`.
    """

    def __init__(self, pid: Pid, shares: AlertShares = DEFAULT_SHARES) -> None:
        self.pid = pid
        self._shares = shares
        self._memory = StackMemory(pid)
        self._stacks: dict[Tid, tuple[int, Address]] = {}
        self._start_ticks = 0

    def __enter__(self) -> StackView:
        try:
            self._start_ticks = procfs.process_start_ticks(self.pid)
            self._memory.__enter__()
        except PermissionError as error:
            raise PrivilegeError(
                f"the stacks of process {self.pid} cannot be reached",
                why=f"{error.filename or 'the kernel'}: {error.strerror}",
                hint="run as the same user or as root; see /proc/sys/kernel/yama/ptrace_scope",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def look(self) -> Picture:
        """One look; stops nobody. A thread that was never seen asleep is looked at again.

        Raises:
            ProcessLookupError: the process has ended.
        """
        for _ in range(_MOST_LOOKS):
            picture = self._look()
            if not picture.unknown:
                break
            time.sleep(_PAUSE_SECONDS)
        return picture

    def _look(self) -> Picture:
        if procfs.process_start_ticks(self.pid) != self._start_ticks:
            raise ProcessLookupError(f"process {self.pid} has ended")
        mappings = procfs.memory_mappings(self.pid)
        room = procfs.main_stack_room_bytes(self.pid)
        found: list[StackLevel] = []
        unknown: list[tuple[Tid, str]] = []
        for tid in procfs.thread_ids(self.pid):
            # A thread may end between two lines of this; the process's end shows above.
            with contextlib.suppress(ProcessLookupError):
                level = self._level(tid, mappings, room)
                if level is not None:
                    found.append(level)
                else:
                    unknown.append((tid, procfs.thread_name(self.pid, tid)))
        self._stacks = {level.tid: self._stacks[level.tid] for level in found}
        return Picture(levels=tuple(found), unknown=tuple(unknown))

    def _level(self, tid: Tid, mappings: tuple[MemoryMapping, ...], room: int) -> StackLevel | None:
        call = procfs.task_syscall(self.pid, tid)
        ticks = procfs.thread_start_ticks(self.pid, tid)
        known = self._stacks.get(tid)
        if known is not None and known[0] != ticks:
            known = None  # the number is another thread's now
        if call is not None:
            self._stacks[tid] = known = (ticks, call.sp)
        main = tid == int(self.pid)
        if main:
            mapping = next((m for m in mappings if m.path == "[stack]"), None)
        else:
            mapping = None if known is None else mapping_containing(mappings, known[1])
        if mapping is None:
            return None
        self._stacks.setdefault(tid, (ticks, mapping.start))
        inside = call is not None and mapping.contains(call.sp)
        return StackLevel(
            tid=tid,
            name=procfs.thread_name(self.pid, tid),
            main=main,
            limit_bytes=room if main else mapping.size_bytes,
            resident_bytes=resident_bytes(self._memory, mapping),
            now_bytes=mapping.end - call.sp if call is not None and inside else None,
            shares=self._shares,
        )
