"""The part of ptrace(2) that reads why a daemon dies: signals are looked at and passed on.

All functions must be called by one thread, the one that called `seize`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from pathlib import Path

from reactivate.evidence import Address, Tid
from reactivate.target.model import Fault

_CONT = 7
_SEIZE = 0x4206
_GETSIGINFO = 0x4202
_LISTEN = 0x4208
_GETREGSET = 0x4204
_NT_PRSTATUS = 1
_OPTIONS = 0x8 | 0x100000
"""PTRACE_O_TRACECLONE (new threads are followed too) and PTRACE_O_EXITKILL."""

_EVENT_STOP = 128
_WALL = 0x40000000
_WNOTHREAD = 0x20000000
_MOST_FAULTS = 64

_DEADLY = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS}
)
_WITH_ADDRESS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

_POINTERS = {"x86_64": (19, 16), "aarch64": (31, 32)}
"""Where user_regs_struct holds the stack and instruction pointer, in 8-byte words."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def call(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """One ptrace(2) request.

    Raises:
        OSError: as the kernel answers.
    """
    if _libc.ptrace(request, tid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def seize(pid: int) -> None:
    """Become the tracer of a process; it is killed when this thread ends (EXITKILL).

    Raises:
        OSError: the kernel forbids it.
    """
    call(_SEIZE, pid, 0, _OPTIONS)


def follow(pid: int, faults: list[Fault]) -> None:
    """Pass signals on until the process has ended, and note the deadly ones.

    The ended process is left for the caller to reap.
    """
    options = os.WEXITED | os.WSTOPPED | os.WNOWAIT | _WALL | _WNOTHREAD
    while True:
        event = os.waitid(os.P_ALL, 0, options)
        if event is None:
            continue
        if event.si_pid == pid and event.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return
        tid, status = os.waitpid(event.si_pid, _WALL | _WNOTHREAD)
        if os.WIFSTOPPED(status):
            try:
                _pass_on(pid, tid, status, faults)
            except ProcessLookupError:
                continue  # killed meanwhile; its end comes next


def _pass_on(pid: int, tid: int, status: int, faults: list[Fault]) -> None:
    number, event = os.WSTOPSIG(status), status >> 16
    if event == _EVENT_STOP and number in _STOPPING:
        call(_LISTEN, tid)
        return
    if event:
        call(_CONT, tid)
        return
    if number in _DEADLY and len(faults) < _MOST_FAULTS:
        faults.append(fault(pid, tid, number))
    call(_CONT, tid, 0, number)


def fault(pid: int, tid: int, number: int) -> Fault:
    """The signal that a stopped thread is about to get."""
    information = ctypes.create_string_buffer(128)
    call(_GETSIGINFO, tid, 0, ctypes.addressof(information))
    # siginfo_t on 64-bit Linux: signo, errno, code, padding, address.
    _, _, code, address = struct.unpack_from("=iiixxxxQ", information.raw)
    stack_pointer, instruction_pointer = pointers(tid)
    return Fault(
        signal=number,
        code=code,
        address=Address(address) if code > 0 and number in _WITH_ADDRESS else None,
        tid=Tid(tid),
        stack_pointer=stack_pointer,
        instruction_pointer=instruction_pointer,
        maps=Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape"),
    )


def pointers(tid: int) -> tuple[Address | None, Address | None]:
    """Stack and instruction pointer of a stopped thread; None where the processor is unknown."""
    places = _POINTERS.get(platform.machine())
    if places is None:
        return None, None
    words = registers(tid)
    return Address(words[places[0]]), Address(words[places[1]])


def registers(tid: int) -> list[int]:
    """The general registers of a stopped thread, in the order of user_regs_struct."""
    words = (ctypes.c_uint64 * 128)()
    vector = _Vector(ctypes.addressof(words), ctypes.sizeof(words))
    call(_GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    return list(words)
