"""Hardware watchpoints on the threads of a process that runs: x86-64 debug registers by ptrace(2).

All functions must be called by one thread, the one that seized the threads. The registers belong
to each thread, so every thread gets them, and a new one inherits nothing that we rely on.

Sources: ptrace(2); struct user of the kernel; Intel SDM volume 3, "Debug Registers".
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Sequence
from pathlib import Path

from reactivate.evidence import Address, Pid, Tid
from reactivate.procfs import parse_maps, task_folder
from reactivate.target import snapshot
from reactivate.target.ptrace import MACHINES, call, pointers, register_bytes

MOST_WATCHPOINTS = 4

_PEEKUSER, _POKEUSER = 3, 6
_CONT, _DETACH, _SEIZE, _INTERRUPT, _LISTEN = 7, 17, 0x4206, 0x4207, 0x4208
_GETSIGINFO = 0x4202
_TRACECLONE = 0x8
_DEBUG_REGISTERS_AT = 848
"""offsetof(struct user, u_debugreg)."""
_STATUS, _CONTROL = 6, 7
_ACCESS = 3
"""Reads and writes of user code; the kernel's own accesses do not count."""
_TRAP_HWBKPT = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def supported() -> bool:
    """Whether this processor's debug registers are known."""
    return platform.machine() == "x86_64"


def seize(tid: Tid) -> None:
    """Become the tracer of a thread, which runs on; threads that it starts are traced, too.

    The thread outlives its tracer: it is not ours.

    Raises:
        OSError: the kernel forbids it, or it is traced already.
        ProcessLookupError: it has ended.
    """
    call(_SEIZE, tid, 0, _TRACECLONE)


def interrupt(tid: Tid) -> None:
    """Ask a seized thread to stop; the stop is to be waited for."""
    call(_INTERRUPT, tid)


def go_on(tid: Tid, number: int = 0) -> None:
    """Let a stopped thread run, and give it a signal."""
    call(_CONT, tid, 0, number)


def listen(tid: Tid) -> None:
    """Leave a thread in its group stop."""
    call(_LISTEN, tid)


def let_go(tid: Tid, number: int = 0) -> None:
    """Detach from a stopped thread, which runs on and gets the signal."""
    call(_DETACH, tid, 0, number)


def watch(tid: Tid, addresses: Sequence[Address | None]) -> None:
    """Set the watchpoints of a stopped thread: one byte each, read or written.

    Args:
        tid: the thread.
        addresses: at most four; None leaves a register unused. () removes all.

    Raises:
        OSError: no register is to be had.
    """
    _poke(tid, _CONTROL, 0)
    control = 0
    for index, address in enumerate(addresses):
        if address is not None:
            _poke(tid, index, address)
            control |= 1 << 2 * index | _ACCESS << 16 + 4 * index
    if control:
        _poke(tid, _CONTROL, control)


def hits(tid: Tid) -> tuple[int, ...]:
    """Which watchpoints a thread that stopped with SIGTRAP has hit, by index; and forget it."""
    ctypes.set_errno(0)
    place = _DEBUG_REGISTERS_AT + 8 * _STATUS
    # PEEKUSER of the C library returns the word itself.
    word = _libc.ptrace(_PEEKUSER, tid, place, 0)
    if word == -1 and ctypes.get_errno():
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _poke(tid, _STATUS, 0)
    return tuple(index for index in range(MOST_WATCHPOINTS) if word & 1 << index)


def by_watchpoint(tid: Tid) -> bool:
    """Whether the signal that a thread has stopped with comes from a debug register."""
    information = ctypes.create_string_buffer(128)
    call(_GETSIGINFO, tid, 0, ctypes.addressof(information))
    return int.from_bytes(information.raw[8:12], "little", signed=True) == _TRAP_HWBKPT


def trap_waits(pid: Pid, tid: Tid) -> bool:
    """Whether a stopped thread has a SIGTRAP that was not reported yet.

    An interrupt overtakes the signal of a watchpoint that was hit at the same time.
    """
    return bool(int(_status(pid, tid).get("SigPnd", "0"), 16) >> signal.SIGTRAP - 1 & 1)


def seized_by(pid: Pid, tid: Tid) -> int | None:
    """The thread that traces a thread, 0 if none does, None if the thread has ended."""
    status = _status(pid, tid)
    if status.get("State", "X")[0] in "ZXx":
        return None
    return int(status["TracerPid"])


def take(pid: Pid, tid: Tid, address: Address, folder: Path, stem: str) -> Path | None:
    """Registers and stack of a stopped thread, as `snapshot.take` keeps them.

    None, and nothing is kept, if the address is not on the stack that the thread is on: another
    thread looked at it (a garbage collector does).

    Raises:
        OSError, LookupError: see `snapshot.take`.
    """
    sp, ip = pointers(tid)
    assert sp is not None and ip is not None
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape")
    mappings = parse_maps(maps)
    stack = snapshot.stack_at(mappings, sp)
    if stack is not None and not stack.contains(address):
        return None
    stopped = snapshot.Stopped(
        pid=pid,
        tid=tid,
        signal=0,
        code=0,
        address=address,
        stack_pointer=sp,
        instruction_pointer=ip,
        registers=register_bytes(tid),
        machine=MACHINES[platform.machine()],
        mappings=mappings,
    )
    return snapshot.take(stopped, folder, stem)


def _status(pid: Pid, tid: Tid) -> dict[str, str]:
    """The lines of /proc/PID/task/TID/status; none if the thread is gone."""
    try:
        text = (task_folder(pid, tid) / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _poke(tid: Tid, register: int, value: int) -> None:
    call(_POKEUSER, tid, _DEBUG_REGISTERS_AT + 8 * register, value)
