"""Are all threads of a process asleep, and did any of them run meanwhile?

Painting a stack corrupts a thread that wakes. So nothing is painted on a guess: a process is
*idle* when the kernel holds no unanswered FUSE request for it and every thread sleeps in a
system call, seen twice with the same registers and the same run counters. After painting the
counters are looked at again: unchanged counters prove that nothing ran in between.

A wake-up shows at once: the kernel sets a thread runnable before the caller that woke it goes on,
and `syscall` says `running` for a runnable thread even if no processor has taken it up yet. So a
RELEASE or FORGET that the kernel queued on return from close() or unlink() is seen here although
the caller has its answer.

What remains: a thread that is woken by its own timer, or by somebody else, between the last look
and the write. `hold.py` makes it wait where that is allowed; the last look, `unchanged`, keeps the
interpreter lock, so that no other thread of the tool widens the gap.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from reactivate.errors import ThreadBusyError
from reactivate.evidence import Pid, Tid
from reactivate.procfs import (
    FUSE_CONNECTIONS,
    BlockedCall,
    parse_syscall,
    process_runs,
    task_folder,
    thread_name,
    thread_start_ticks,
    waiting_requests,
)

_MORE_TIME = (
    "stop what keeps it busy, or give it more time: --deadline, or deadline_seconds in a workspace"
)
_PAUSE_SECONDS = 0.00005

_SETTLE_SECONDS = 0.002
"""How long a thread must sleep in a place where it has not been seen idle before."""

_RUNNING = b"running"

_LOOK_BYTES = 4096

# PyDLL, not CDLL: the interpreter lock is kept during the call.
_libc = ctypes.PyDLL(None)
_libc.pread.restype = ctypes.c_ssize_t
_libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
_buffer = ctypes.create_string_buffer(_LOOK_BYTES)


@dataclass(frozen=True, slots=True)
class Look:
    """A sleeping thread: where it sleeps and how often it ran; equal looks: it did not run."""

    syscall: bytes
    ran: bytes

    def call(self) -> BlockedCall:
        """The system call it sleeps in."""
        call = parse_syscall(self.syscall.decode("ascii"))
        assert call is not None
        return call


class ThreadWatch:
    """One thread under observation. The open files mean this thread, not a recycled number."""

    def __init__(self, pid: Pid, tid: Tid) -> None:
        self.tid = tid
        self.main = int(tid) == int(pid)
        self.start_ticks = thread_start_ticks(pid, tid)
        self.familiar: set[tuple[bytes, ...]] = set()
        folder = task_folder(pid, tid)
        try:
            self._syscall = os.open(folder / "syscall", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ProcessLookupError(f"thread {tid} is gone") from None
        try:
            self._ran, self._counts_all = _run_counter(folder)
        except FileNotFoundError:
            os.close(self._syscall)
            raise ProcessLookupError(f"thread {tid} is gone") from None

    def close(self) -> None:
        """Stop watching."""
        os.close(self._syscall)
        os.close(self._ran)

    def look(self) -> Look | None:
        """The thread asleep in a system call, or None if it runs.

        Raises:
            ProcessLookupError: the thread has ended.
        """
        # The counter first: what happens between the two reads makes the next look differ.
        ran = os.pread(self._ran, _LOOK_BYTES, 0)
        call = os.pread(self._syscall, 512, 0)
        if call.startswith((_RUNNING, b"-1")):
            return None
        if not call or not ran:
            raise ProcessLookupError(f"thread {self.tid} has ended")
        return self._as_look(call, ran)

    def unchanged(self, look: Look) -> bool:
        """Whether it still sleeps there and has not run, without letting other threads of ours in.

        One at a time: all watches share a buffer.
        """
        return self._as_look(_read_now(self._syscall), _read_now(self._ran)) == look

    def _as_look(self, call: bytes, ran: bytes) -> Look:
        return Look(call, ran if self._counts_all else _switch_lines(ran))


def _read_now(descriptor: int) -> bytes:
    """The start of a file of /proc; empty if its thread is gone."""
    length = _libc.pread(descriptor, ctypes.addressof(_buffer), _LOOK_BYTES, 0)
    return ctypes.string_at(_buffer, max(0, length))


def _run_counter(folder: os.PathLike[str]) -> tuple[int, bool]:
    """Open what tells whether a thread ran: schedstat, or status where it is switched off."""
    path = os.fspath(folder)
    try:
        descriptor = os.open(f"{path}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # CONFIG_SCHED_INFO=n, or the thread is gone: status will tell
        descriptor = -1
    if descriptor >= 0:
        if os.pread(descriptor, 64, 0).split()[:1] not in ([], [b"0"]):
            return descriptor, True
        os.close(descriptor)  # "0 0 0": kept, but not counted
    return os.open(f"{path}/status", os.O_RDONLY | os.O_CLOEXEC), False


def _switch_lines(status: bytes) -> bytes:
    """The two context switch counters, which end a status text."""
    return status[status.find(b"\nvoluntary_ctxt_switches") :]


class Sleepers:
    """All threads of a process; a context manager that holds their files open.

    Args:
        pid: the process.
        connection: number of the FUSE connection that it serves, None for any other process.
        deadline_seconds: how long to wait for it to become idle.

    Attributes:
        threads: the threads watched.
        counts_requests: whether unanswered requests are seen, not only running threads.
    """

    def __init__(
        self, pid: Pid, *, connection: int | None = None, deadline_seconds: float = 5.0
    ) -> None:
        self.pid = pid
        self.deadline_seconds = deadline_seconds
        self.threads: dict[Tid, ThreadWatch] = {}
        self.counts_requests = connection is not None and waiting_requests(connection) is not None
        self._tasks = f"/proc/{pid}/task"
        self._names: list[str] = []
        self._waiting = f"{FUSE_CONNECTIONS}/{connection}/waiting"

    def __enter__(self) -> Sleepers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for watch in self.threads.values():
            watch.close()
        self.threads.clear()

    def unanswered(self) -> int:
        """Requests the kernel has sent, or keeps, without an answer; 0 if that is unknown."""
        if not self.counts_requests:
            return 0
        try:
            descriptor = os.open(self._waiting, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ProcessLookupError(f"the FUSE connection of process {self.pid} ended") from None
        try:
            return int(os.read(descriptor, 32) or b"0")  # not seekable: opened anew each time
        finally:
            os.close(descriptor)

    def wait_idle(self, meanwhile: Callable[[], None] = lambda: None) -> dict[Tid, Look]:
        """Wait until nothing runs and nothing is to be done.

        Args:
            meanwhile: done between the two looks that agree, so what it reads of the process
                is true when this returns, and no time is lost before the stack is painted.

        Raises:
            ThreadBusyError: not before the deadline; names the thread.
            ProcessLookupError: the process ended.
        """
        ends = time.monotonic() + self.deadline_seconds
        while True:
            first = self.look()
            if first is not None and self._settled(first):
                meanwhile()
                if self.look() == first:
                    return first
            if time.monotonic() > ends:
                raise self._busy()
            if not process_runs(self.pid):
                raise ProcessLookupError(f"process {self.pid} has ended")
            time.sleep(_PAUSE_SECONDS)

    def look(self) -> dict[Tid, Look] | None:
        """One look at everything; None if something runs or is unanswered."""
        self._follow()
        if self.unanswered():
            return None
        looks = {}
        for tid, watch in tuple(self.threads.items()):
            try:
                look = watch.look()
            except ProcessLookupError:
                # It ended just now; its number may be another thread's at the next look.
                self.threads.pop(tid).close()
                self._names = []
                return None
            if look is None:
                return None
            looks[tid] = look
        return looks

    def unchanged(self, looks: Mapping[Tid, Look]) -> bool:
        """Whether all these threads sleep on; quick, and no other thread of ours comes between."""
        return all(tid in self.threads and self.threads[tid].unchanged(looks[tid]) for tid in looks)

    def _follow(self) -> None:
        """Begin watching new threads, drop ended ones."""
        try:
            names = os.listdir(self._tasks)  # noqa: PTH208 - a few microseconds, at every look
        except FileNotFoundError:
            raise ProcessLookupError(f"process {self.pid} is gone") from None
        if names == self._names:
            return
        now = [Tid(int(name)) for name in names]
        for tid in set(self.threads) - set(now):
            self.threads.pop(tid).close()
        for tid in now:
            if tid not in self.threads:
                try:
                    self.threads[tid] = ThreadWatch(self.pid, tid)
                except ProcessLookupError:
                    # One thread ended between two looks; a whole process cannot come back.
                    if not process_runs(self.pid):
                        raise
        self._names = names if len(names) == len(self.threads) else []

    def _settled(self, looks: dict[Tid, Look]) -> bool:
        """A strange place to sleep may be a lock or a disk, not the end: look for longer."""
        places = {tid: _place(look) for tid, look in looks.items()}
        strange = [t for t, place in places.items() if place not in self.threads[t].familiar]
        if not strange:
            return True
        time.sleep(_SETTLE_SECONDS)
        if self.look() != looks:
            return False
        for tid in strange:
            self.threads[tid].familiar.add(places[tid])
        return True

    def _busy(self) -> ThreadBusyError:
        unanswered = self.unanswered()
        for tid, watch in self.threads.items():
            try:
                if watch.look() is None:
                    return ThreadBusyError(
                        f"thread {tid} ({thread_name(self.pid, tid)}) of process {self.pid} did "
                        f"not fall asleep within {self.deadline_seconds:g} s",
                        why="only the stack of a sleeping thread can be painted and scanned",
                        hint=_MORE_TIME,
                    )
            except ProcessLookupError:
                continue
        return ThreadBusyError(
            f"process {self.pid} did not come to rest within {self.deadline_seconds:g} s",
            why=f"{unanswered} FUSE requests are unanswered"
            if unanswered
            else f"its {len(self.threads)} threads wake up again and again",
            hint=_MORE_TIME,
        )


def _place(look: Look) -> tuple[bytes, ...]:
    """System call, stack pointer and program counter, without the arguments."""
    fields = look.syscall.split()
    return fields[0], fields[-2], fields[-1]
