"""Wait at the deepest address of a thread's stack, keep its registers and stack there, let go.

A thread of ours traces all threads of the process for as long as one operation takes. Watchpoints
are hit from the shallow to the deep; each hit ends its watchpoint and those above it, and its
snapshot replaces the one of a shallower hit. When the deepest is hit, or the operation is over,
everything is detached; the chain is unwound afterwards, from the snapshot.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.autopsy import unwind
from reactivate.instrument.chain import Chain
from reactivate.instrument.contract import Availability
from reactivate.procfs import thread_ids
from reactivate.target import debug_registers, snapshot

_ARM_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.0005
_EVENT_STOP, _EVENT_CLONE = 128, 3
_WALL = 0x40000000
_WNOTHREAD = 0x20000000
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class Catch:
    """Watchpoints on a process; from `catching`."""

    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer
        self.addresses = tracer.addresses

    async def armed(self) -> None:
        """Wait until the watchpoints are set.

        Raises:
            MeasurementError: they cannot be set.
        """
        await trio.to_thread.run_sync(self._tracer.armed.wait, _ARM_SECONDS)
        if self._tracer.failure:
            raise MeasurementError(
                "the watchpoints cannot be set", why=self._tracer.failure, hint="reactivate doctor"
            )
        if not self._tracer.armed.is_set():
            raise MeasurementError(
                "the watchpoints were not set in time",
                why=f"a thread of the process did not stop within {_ARM_SECONDS:g} s",
                hint="look for a thread in state D: ps -L -o tid,stat,wchan",
            )

    async def result(self) -> Chain | None:
        """End the watch and return the chain at the deepest address that was hit.

        Call it when the operation is over: a watchpoint that was not hit will not be.

        Raises:
            MeasurementError: tracing failed; the process may be damaged and should be given up.
        """
        await trio.to_thread.run_sync(self._tracer.finish)
        if self._tracer.failure:
            raise MeasurementError("watching failed", why=self._tracer.failure)
        caught = self._tracer.caught
        if caught is None:
            return None
        address, record = caught
        chain = await trio.to_thread.run_sync(unwind, record)
        return replace(chain, deepest=address)


@asynccontextmanager
async def catching(
    pid: Pid, addresses: Sequence[Address], folder: Path, stem: str, *, first: bool = False
) -> AsyncIterator[Catch]:
    """Watchpoints on a process that runs; gone on leaving.

    Args:
        pid: the process; it runs on as soon as they are set.
        addresses: the one that is wanted first; more than four are not watched.
        folder: for the snapshot.
        stem: beginning of its name; the snapshot is removed on leaving.
        first: whether the first hit is as good as any: the addresses are of several stacks.
    """
    wanted = tuple(addresses[: debug_registers.MOST_WATCHPOINTS])
    tracer = _Tracer(pid, wanted, folder, stem, first=first)
    tracer.start()
    try:
        yield Catch(tracer)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(tracer.finish)
        snapshot.forget(folder, stem)
        (folder / snapshot.LATEST).unlink(missing_ok=True)


class _Tracer(threading.Thread):
    """The thread that traces: ptrace(2) belongs to the thread that seized."""

    def __init__(
        self,
        pid: Pid,
        addresses: tuple[Address, ...],
        folder: Path,
        stem: str,
        *,
        first: bool = False,
    ) -> None:
        super().__init__(name="watchpoint", daemon=True)
        self.addresses = addresses
        self.armed = threading.Event()
        self.failure = ""
        self.caught: tuple[Address, Path] | None = None
        self._pid = pid
        self._folder, self._stem, self._first = folder, stem, first
        self._left: list[Address | None] = list(addresses)
        self._running: set[Tid] = set()
        self._pending: dict[Tid, int] = {}
        """Stopped threads, and the signal that each gets when it goes on."""
        self._over = threading.Event()
        self._ended = False

    def finish(self) -> None:
        """End the watch; returns when nothing is traced any more."""
        self._over.set()
        self.join(_ARM_SECONDS + _STOP_SECONDS)

    def run(self) -> None:
        try:
            self._seize_all()
            self._stop_all()
            self._set_all()
            self.armed.set()
            while not self._over.is_set() and not self._ended:
                if not self._next():
                    time.sleep(_POLL_SECONDS)
        except (OSError, LookupError, MeasurementError) as error:
            self.failure = f"{error.what}: {error.why}" if isinstance(
                error, MeasurementError
            ) else str(error)  # fmt: skip
        finally:
            self._release_all()
            self.armed.set()

    # -- setting -----------------------------------------------------------------------------

    def _seize_all(self) -> None:
        """Until no thread is left that is not traced; a traced one's children are."""
        while fresh := set(thread_ids(self._pid)) - self._running:
            for tid in fresh:
                with suppress(ProcessLookupError):
                    debug_registers.seize(tid)
                self._running.add(tid)

    def _stop_all(self) -> None:
        for tid in tuple(self._running):
            try:
                debug_registers.interrupt(tid)
            except ProcessLookupError:
                self._running.discard(tid)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._running and not self._ended:
            if not self._next(hold=True):
                if time.monotonic() > deadline:
                    raise MeasurementError(
                        "a thread does not stop", why=f"thread {min(self._running)} is busy in "
                        "the kernel",
                    )  # fmt: skip
                time.sleep(_POLL_SECONDS)

    def _set_all(self) -> None:
        for tid in self._pending:
            debug_registers.watch(tid, self._left)
        for tid in tuple(self._pending):
            self._go_on(tid)

    # -- following -----------------------------------------------------------------------------

    def _next(self, *, hold: bool = False) -> bool:
        """Handle one event, if there is one.

        Args:
            hold: leave stopped threads stopped.
        """
        # Not reaped here: the end of a process is its parent's.
        options = os.WEXITED | os.WSTOPPED | os.WNOWAIT | os.WNOHANG | _WALL | _WNOTHREAD
        try:
            event = os.waitid(os.P_ALL, 0, options)
        except ChildProcessError:
            self._ended = True
            return True
        if event is None:
            return False
        tid = Tid(event.si_pid)
        if event.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            self._gone(tid)
            return True
        _, status = os.waitpid(tid, _WALL | _WNOTHREAD)
        if os.WIFSTOPPED(status):
            with suppress(ProcessLookupError):
                self._stopped(tid, os.WSTOPSIG(status), status >> 16, hold=hold)
        return True

    def _gone(self, tid: Tid) -> None:
        if int(tid) == int(self._pid):
            self._ended = True
            raise MeasurementError("the process ended", why="while it was watched")
        with suppress(ChildProcessError):
            os.waitpid(tid, _WALL | _WNOTHREAD)
        self._running.discard(tid)
        self._pending.pop(tid, None)

    def _stopped(self, tid: Tid, number: int, event: int, *, hold: bool) -> None:
        self._running.discard(tid)
        self._pending[tid] = 0
        if event == _EVENT_STOP and number in _STOPPING and not hold:
            debug_registers.listen(tid)
            return
        if event == _EVENT_STOP and not hold:
            debug_registers.watch(tid, self._left)  # a new thread
        elif not event and number == signal.SIGTRAP and debug_registers.by_watchpoint(tid):
            self._hit(tid)
        elif not event:
            self._pending[tid] = number
        if not hold:
            self._go_on(tid)

    def _hit(self, tid: Tid) -> None:
        reached = [self._left[index] for index in debug_registers.hits(tid)
                   if index < len(self._left)]  # fmt: skip
        touched = [address for address in reached if address is not None]
        if not touched or self._over.is_set():
            return
        deepest = min(touched)
        record = debug_registers.take(self._pid, tid, deepest, self._folder, self._stem)
        self.caught = (deepest, record)
        self._left = [a if a is not None and a < deepest else None for a in self._left]
        debug_registers.watch(tid, self._left)
        if self._first or deepest == min(self.addresses):
            self._over.set()

    def _go_on(self, tid: Tid) -> None:
        debug_registers.go_on(tid, self._pending.pop(tid))
        self._running.add(tid)

    # -- letting go ----------------------------------------------------------------------------

    def _release_all(self) -> None:
        """Stop what runs, take the watchpoints away, detach; a signal on its way still arrives."""
        self._over.set()
        if self._ended:
            return
        with suppress(OSError, LookupError, MeasurementError):
            self._stop_all()
        for tid, number in self._pending.items():
            with suppress(OSError):
                debug_registers.watch(tid, ())
                debug_registers.let_go(tid, number)
        self._pending.clear()


_CHILD = """
import os
os.read(0, 1)
data = bytearray(1 << 16)
data[:] = b"x" * (1 << 16)
"""


def watchpoint_availability() -> Availability:
    """Whether threads may be traced here, and a debug register is to be had."""
    if not debug_registers.supported():
        return Availability(
            ready=False, detail="the debug registers of this processor are not known (x86-64 only)"
        )
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() == "3":
        return Availability(ready=False, detail="ptrace is forbidden on this machine until reboot")
    refusal = _trial()
    if refusal:
        return Availability(
            ready=False,
            detail=f"a watchpoint cannot be set: {refusal}",
            hint="run as root, or allow ptrace in the container (--cap-add SYS_PTRACE)",
        )
    if scope.exists() and scope.read_text().strip() in "12" and os.geteuid() != 0:
        return Availability(
            ready=False,
            detail="other processes may not be traced (kernel.yama.ptrace_scope)",
            hint="sudo sysctl kernel.yama.ptrace_scope=0",
        )
    return Availability(ready=True, detail="ready")


@cache
def _trial() -> str:
    """Set a watchpoint on a process of our own; why that failed, or "". Once per process."""
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        tracer = _Tracer(Pid(child.pid), (Address(4096),), Path(), "")
        tracer.start()
        tracer.armed.wait(_ARM_SECONDS)
        tracer.finish()
    return tracer.failure
