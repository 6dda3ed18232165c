"""Any program, from its start to its end: how deep did each of its threads go?"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from reactivate.errors import MachineError, MeasurementError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.instrument.death import Cause, classify
from reactivate.instrument.runtime import require_native_file
from reactivate.run.life import ThreadLife
from reactivate.run.tracee import Life, follow, seize

_GATE = Path(__file__).with_name("gate.py")
_GATE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramLife:
    """A program that has ended.

    Attributes:
        command: its command line.
        pid: the process it was.
        threads: its threads, deepest for their limit first.
        returncode: exit status, or negative signal number.
        cause: what it died of.
        timed_out: whether it was ended by us because its time was over.
        execs: how often it became another program; only the last is measured.
        children: processes that it started; they are not measured.
    """

    command: tuple[str, ...]
    pid: Pid
    threads: tuple[ThreadLife, ...]
    returncode: int
    cause: Cause
    timed_out: bool
    execs: int
    children: int


async def measure_program(
    command: Sequence[str], *, deadline_seconds: float | None = None
) -> ProgramLife:
    """Run a program to its end and measure the stack of each of its threads.

    It inherits standard input and standard error; its standard output goes to standard error.

    Args:
        command: program and arguments.
        deadline_seconds: it is killed then, and what it did until then is measured.

    Raises:
        UsageError: there is no such program.
        MeasurementError: it is a Go program, or nothing of it could be measured.
        PrivilegeError: the kernel does not let it be traced.
        MachineError: not x86-64.
    """
    found = shutil.which(command[0])
    if found is None:
        raise UsageError(
            f"there is no program `{command[0]}`",
            why="it is neither a path of an executable file nor found in PATH",
            hint="install it, or write its path",
        )
    require_native_file(Path(found).resolve())
    run = _Run(tuple(command))
    timed_out = False
    try:
        with trio.move_on_after(deadline_seconds or float("inf")) as scope:
            await trio.to_thread.run_sync(run.whole, abandon_on_cancel=True)
        timed_out = scope.cancelled_caught
    finally:
        with trio.CancelScope(shield=True):
            if not run.over.is_set():
                run.kill()
                await trio.to_thread.run_sync(run.over.wait, _GATE_SECONDS)
    return _report(run, timed_out=timed_out)


def _report(run: _Run, *, timed_out: bool) -> ProgramLife:
    if run.failure is not None:
        raise run.failure
    life = run.life
    if life is None:
        raise MeasurementError(f"{run.command[0]} did not end after it was killed")
    if life.failure is not None:
        raise life.failure
    if run.said or not life.ran:
        raise MachineError(f"{run.command[0]} cannot be started", why=run.said or "it ended first")
    return ProgramLife(
        command=run.command,
        pid=run.pid,
        threads=tuple(
            sorted(life.threads, key=lambda t: t.at_most_bytes / t.limit_bytes, reverse=True)
        ),
        returncode=life.returncode,
        cause=classify(life.returncode, life.faults),
        timed_out=timed_out,
        execs=life.execs,
        children=life.children,
    )


class _Run:
    """The program's whole life, in one thread: the kernel knows its tracer by the thread."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = command
        self.over = threading.Event()
        self.failure: Exception | None = None
        self.life: Life | None = None
        self.said = ""
        self.pid = Pid(0)
        self._killed = threading.Event()

    def kill(self) -> None:
        """End the program and what it has started; may be called from any thread."""
        self._killed.set()
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def whole(self) -> None:
        """Start it, follow it, and take away what it leaves running."""
        try:
            self._whole()
        except Exception as error:
            self.failure = error
        finally:
            self.over.set()

    def _whole(self) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self.pid = Pid(self._spawn(theirs.fileno()))
            ours.recv(1)
            try:
                seize(self.pid)
            except OSError as error:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise PrivilegeError(
                    f"{self.command[0]} cannot be traced",
                    why=f"ptrace: {error.strerror}",
                    hint="allow ptrace in the container (--cap-add SYS_PTRACE), or look at "
                    "/proc/sys/kernel/yama/ptrace_scope",
                ) from error
            if not self._killed.is_set():
                ours.send(b"g")
            else:
                os.kill(self.pid, signal.SIGKILL)
            try:
                self.life = follow(self.pid)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            if select.select([ours], [], [], 0)[0]:
                with contextlib.suppress(ConnectionResetError):
                    self.said = ours.recv(1024).decode(errors="replace")

    def _spawn(self, record: int) -> int:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(_GATE), str(os.getpid()), *self.command],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, 2, 1),
                (os.POSIX_SPAWN_DUP2, record, 3),
            ],
            setsid=True,
            setsigmask=[],
        )
