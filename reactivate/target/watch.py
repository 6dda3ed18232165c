"""Trace a process that is not ours until a watched address is reached, and leave it as it was.

A thread of ours seizes all threads of the process, sets the debug registers of each, and lets them
run. Watchpoints are hit from the shallow to the deep; each hit ends its watchpoint and those above
it, and its snapshot replaces the one of a shallower hit.

Leaving is the dangerous part: a thread that meets a watchpoint when nobody traces it dies of
SIGTRAP. Therefore every thread is stopped, its registers are cleared, and a SIGTRAP that is on its
way already is waited for and kept, before it is let go.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Pid, Tid
from reactivate.procfs import thread_ids
from reactivate.target import debug_registers

STOP_SECONDS = 10.0
"""All threads must have stopped by then, to set the watchpoints and to take them away."""

_POLL_SECONDS = 0.0005
_EVENT_STOP = 128
_WALL = 0x40000000
_WNOTHREAD = 0x20000000
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class Tracer(threading.Thread):
    """The thread that traces: ptrace(2) belongs to the thread that seized.

    Attributes:
        addresses: that are watched; with none, watchpoints that somebody left are taken away.
        armed: set when they are watched, or when that has failed.
        failure: what went wrong, "" if nothing; the process should be given up then.
        hits: how often a thread has stopped at a watchpoint.
        caught: the deepest address that was hit, and the record of its snapshot.
    """

    def __init__(
        self,
        pid: Pid,
        addresses: tuple[Address, ...],
        folder: Path,
        stem: str,
        *,
        first: bool = False,
    ) -> None:
        """Nothing is traced before `start`.

        Args:
            pid: the process.
            addresses: at most four.
            folder: for the snapshot.
            stem: beginning of its name.
            first: whether the first hit is as good as any: the addresses are of several stacks.
        """
        super().__init__(name="watchpoint", daemon=True)
        self.addresses = addresses
        self.armed = threading.Event()
        self.failure = ""
        self.hits = 0
        self.caught: tuple[Address, Path] | None = None
        self._pid = pid
        self._folder, self._stem, self._first = folder, stem, first
        self._left: list[Address | None] = list(addresses)
        self._running: set[Tid] = set()
        self._pending: dict[Tid, int] = {}
        """Stopped threads, and the signal that each gets when it goes on."""
        self._halted: set[Tid] = set()
        """Those that somebody else has stopped (SIGSTOP, job control): they are to stay so."""
        self._over = threading.Event()
        self._ended = False

    def await_armed(self, seconds: float) -> bool:
        """Whether `armed` is set within that time. Blocks."""
        return self.armed.wait(seconds)

    def finish(self) -> None:
        """End the watch; returns when nothing is traced any more. Blocks."""
        self._over.set()
        self.join(3 * STOP_SECONDS)
        if self.is_alive():
            self._fail("the threads of the process cannot be let go")

    def run(self) -> None:
        """Set the watchpoints, wait for hits, take them away."""
        try:
            self._seize_all()
            self._stop_all()
            self._set_all()
            self.armed.set()
            while not self._over.is_set() and not self._ended:
                if not self._next():
                    time.sleep(_POLL_SECONDS)
        except (OSError, LookupError, MeasurementError) as error:
            self._fail(_words(error))
        finally:
            self._release_all()
            self.armed.set()

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why

    # -- setting -----------------------------------------------------------------------------

    def _seize_all(self) -> None:
        """Until no thread is left that is not traced; a traced one's children are."""
        known: set[Tid] = set()
        while fresh := set(thread_ids(self._pid)) - known:
            known |= fresh
            for tid in fresh:
                with suppress(ProcessLookupError):
                    self._seize(tid)

    def _seize(self, tid: Tid) -> None:
        try:
            debug_registers.seize(tid)
        except PermissionError:
            # Also the answer for a thread that is ending, and for one that is ours already: its
            # parent was, when it started it.
            tracer = debug_registers.seized_by(self._pid, tid)
            if tracer is None:
                return
            if tracer != threading.get_native_id():
                raise
        self._running.add(tid)

    def _stop_all(self) -> None:
        for tid in tuple(self._running):
            try:
                debug_registers.interrupt(tid)
            except ProcessLookupError:
                self._running.discard(tid)
        self._await_stops()

    def _await_stops(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self._running and not self._ended:
            if self._next(hold=True):
                continue
            if time.monotonic() > deadline:
                raise MeasurementError(
                    "a thread does not stop", why=f"thread {min(self._running)} is busy in the "
                    "kernel",
                )  # fmt: skip
            time.sleep(_POLL_SECONDS)

    def _set_all(self) -> None:
        for tid in tuple(self._pending):
            with suppress(ProcessLookupError):
                debug_registers.watch(tid, self._left)
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
        self._halted.discard(tid)

    def _stopped(self, tid: Tid, number: int, event: int, *, hold: bool) -> None:
        self._running.discard(tid)
        self._pending[tid] = 0
        self._halted.discard(tid)
        if event == _EVENT_STOP:
            if number in _STOPPING:
                self._halted.add(tid)
            if not hold:
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
        self.hits += bool(touched)
        if self._over.is_set():
            return
        if touched:
            self._keep(tid, min(touched))
        # Also after an address that another thread has reached before: it is watched no more.
        debug_registers.watch(tid, self._left)

    def _keep(self, tid: Tid, deepest: Address) -> None:
        record = debug_registers.take(self._pid, tid, deepest, self._folder, self._stem)
        if record is None:
            return
        self.caught = (deepest, record)
        self._left = [a if a is not None and a < deepest else None for a in self._left]
        if self._first or deepest == min(self.addresses):
            self._over.set()

    def _go_on(self, tid: Tid) -> None:
        number = self._pending.pop(tid)
        if tid in self._halted:
            debug_registers.listen(tid)
        else:
            debug_registers.go_on(tid, number)
        self._running.add(tid)

    # -- letting go ----------------------------------------------------------------------------

    def _release_all(self) -> None:
        """Stop what runs, take the watchpoints away, detach; a signal on its way still arrives."""
        self._over.set()
        try:
            while not self._ended:
                self._stop_all()
                while self._pending and not self._ended:
                    self._release_stopped()
                    self._await_stops()
                if not self._find_late():
                    return
        except (OSError, LookupError, MeasurementError) as error:
            self._fail(_words(error))
            self._release_stopped()

    def _find_late(self) -> bool:
        """Whether threads were started meanwhile: they are ours from their first instruction."""
        own = threading.get_native_id()
        with suppress(FileNotFoundError, ProcessLookupError):
            for tid in thread_ids(self._pid):
                if debug_registers.seized_by(self._pid, tid) == own:
                    self._running.add(tid)
        return bool(self._running)

    def _release_stopped(self) -> None:
        for tid in tuple(self._pending):
            with suppress(ProcessLookupError):
                self._release(tid)

    def _release(self, tid: Tid) -> None:
        number = self._pending[tid]
        try:
            debug_registers.watch(tid, ())
            if debug_registers.trap_waits(self._pid, tid):
                # It runs no further than to the stop for that signal.
                debug_registers.go_on(tid, number)
                self._running.add(tid)
                return
            debug_registers.let_go(tid, number)
        finally:
            self._pending.pop(tid, None)


def _words(error: Exception) -> str:
    return f"{error.what}: {error.why}" if isinstance(error, MeasurementError) else str(error)
