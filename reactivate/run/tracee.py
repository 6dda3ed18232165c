"""Follows a program with ptrace(2) from its first instruction to the end of its last thread.

The program is stopped only when a thread is born or ends, when it replaces itself, when memory is
thrown away (see `gate.py`), and at signals; between those it runs at full speed. Its child
processes are followed so that they behave as always, but they are not measured.

All of it is done by one thread: only the one that attached may handle a stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from reactivate.errors import ReactivateError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.runtime import require_native
from reactivate.run.life import Lives, StackBlock, ThreadLife
from reactivate.target import ptrace
from reactivate.target.model import Fault

_CONT = 7
_GETEVENTMSG = 0x4201
_SEIZE = 0x4206
_LISTEN = 0x4208

_FORK, _VFORK, _CLONE, _EXEC, _EXIT, _SECCOMP, _STOP = 1, 2, 3, 4, 6, 7, 128
_OPTIONS = sum(1 << event for event in (_FORK, _VFORK, _CLONE, _EXEC, _EXIT, _SECCOMP)) | 0x100000
"""PTRACE_O_TRACE… for each event, and PTRACE_O_EXITKILL."""

_WALL = 0x40000000
_WNOTHREAD = 0x20000000
_MOST_FAULTS = 64

_DEADLY = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS}
)
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

# struct user_regs_struct of x86-64, in words.
_RSI, _RDI, _ORIG_RAX, _RSP = 13, 14, 15, 19
_SYS_CLONE, _SYS_CLONE3 = 56, 435
_CLONE_ARGS_STACK = 40
"""Where struct clone_args holds stack and stack_size."""


@dataclass(slots=True, kw_only=True)
class Life:
    """What became of a program.

    Attributes:
        threads: all threads of its last image, in the order they ended.
        returncode: exit status or negative signal number.
        execs: how often it became another program after its start.
        children: processes that it started.
        faults: deadly signals, oldest first.
        failure: why it was ended by us, if it was.
        ran: whether it began at all.
    """

    threads: list[ThreadLife] = field(default_factory=list)
    returncode: int = 0
    execs: int = 0
    children: int = 0
    faults: list[Fault] = field(default_factory=list)
    failure: ReactivateError | None = None
    ran: bool = False


def seize(pid: Pid) -> None:
    """Become the tracer of a process that waits at its gate.

    Raises:
        OSError: the kernel forbids it.
    """
    ptrace.call(_SEIZE, pid, 0, _OPTIONS)


def follow(pid: Pid) -> Life:
    """Let it run to its end; call it in the thread that called `seize`."""
    follower = _Follower(pid)
    try:
        return follower.run()
    finally:
        follower.close()


class _Follower:
    def __init__(self, pid: Pid) -> None:
        self._pid = pid
        self._main = Tid(int(pid))
        self._life = Life()
        self._lives: Lives | None = None
        self._blocks: dict[Tid, StackBlock] = {}
        self._newborn: set[Tid] = set()

    def close(self) -> None:
        if self._lives is not None:
            self._lives.__exit__()

    def run(self) -> Life:
        life = self._life
        while True:
            tid, status = os.waitpid(-1, _WALL | _WNOTHREAD)
            if os.WIFSTOPPED(status):
                # Killed meanwhile: its end comes next.
                with contextlib.suppress(ProcessLookupError):
                    self._stopped(Tid(tid), os.WSTOPSIG(status), status >> 16)
            elif tid == int(self._pid):
                life.returncode = os.waitstatus_to_exitcode(status)
                if self._lives is not None:
                    life.threads += self._lives.lost()
                return life

    def _stopped(self, tid: Tid, number: int, event: int) -> None:
        ours = tid == self._main or Path(f"/proc/{self._pid}/task/{tid}").exists()
        match event:
            case 128 if number in _STOPPING:
                ptrace.call(_LISTEN, tid)
                return
            case 128 if ours and self._lives is not None and tid not in self._lives:
                self._newborn.add(tid)
                self._begin(tid)
                return
            case 1 | 2 | 3 if ours:
                self._parent(tid)
            case 4 if tid == self._main:
                self._replaced()
            case 6 if ours and self._lives is not None:
                dead = self._lives.died(tid)
                self._life.threads += [] if dead is None else [dead]
            case 7 if ours and self._lives is not None:
                words = ptrace.registers(tid)
                self._lives.dropping(words[_RDI], words[_RDI] + words[_RSI])
            case 0:
                if ours and number in _DEADLY and len(self._life.faults) < _MOST_FAULTS:
                    self._life.faults.append(ptrace.fault(self._pid, tid, number))
                ptrace.call(_CONT, tid, 0, number)
                return
        ptrace.call(_CONT, tid)

    def _parent(self, tid: Tid) -> None:
        """Somebody new: a thread of ours, whose stack the parent knows, or a process."""
        message = ctypes.c_ulong()
        ptrace.call(_GETEVENTMSG, tid, 0, ctypes.addressof(message))
        new = Tid(message.value)
        if not Path(f"/proc/{self._pid}/task/{new}").exists():
            self._life.children += 1
            return
        words = ptrace.registers(tid)
        block = StackBlock(start=None, size_bytes=0)
        if words[_ORIG_RAX] == _SYS_CLONE3:
            with open(f"/proc/{self._pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
                memory.seek(words[_RDI] + _CLONE_ARGS_STACK)
                data = memory.read(16)
            block = StackBlock(
                start=Address(int.from_bytes(data[:8], "little")),
                size_bytes=int.from_bytes(data[8:], "little"),
            )
        self._blocks[new] = block
        self._begin(new)

    def _begin(self, tid: Tid) -> None:
        """Paint a newborn thread's stack, once it has stopped and its parent has told of it."""
        if tid not in self._newborn or tid not in self._blocks:
            return
        self._newborn.discard(tid)
        block = self._blocks.pop(tid)
        assert self._lives is not None
        self._lives.born(tid, Address(ptrace.registers(tid)[_RSP]), block)
        ptrace.call(_CONT, tid)

    def _replaced(self) -> None:
        """It has become a program, by our gate's exec or by its own: all memory is new."""
        life = self._life
        life.execs += life.ran
        life.ran = True
        life.threads.clear()
        self._newborn.clear()
        self._blocks.clear()
        self.close()
        self._lives = None
        try:
            require_native(self._pid)
        except ReactivateError as error:
            life.failure = error
            os.kill(self._pid, signal.SIGKILL)
            return
        self._lives = Lives(self._pid)
        self._lives.__enter__()
        self._lives.born(self._main, Address(ptrace.registers(self._pid)[_RSP]), None)
