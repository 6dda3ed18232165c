"""The part of ptrace(2) that reads why a daemon dies: signals are looked at and passed on.

All functions must be called by one thread, the one that called `seize`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from dataclasses import replace
from pathlib import Path

from reactivate.evidence import Address, Pid, Tid
from reactivate.procfs import parse_maps, parse_stack_limit
from reactivate.target import snapshot
from reactivate.target.model import Fault

_CONT = 7
_SEIZE = 0x4206
_GETSIGINFO = 0x4202
_LISTEN = 0x4208
_GETREGSET = 0x4204
_NT_PRSTATUS = 1
_OPTIONS = 0x8 | 0x100000
"""PTRACE_O_TRACECLONE (new threads are followed too) and PTRACE_O_EXITKILL."""

SI_KERNEL = 0x80
"""`si_code` of a signal that the kernel forced; its address means nothing (sigaction(2))."""

_EVENT_STOP = 128
_WALL = 0x40000000
_WNOTHREAD = 0x20000000
_MOST_FAULTS = 64
"""The last so many are kept: what a runtime survives comes first, what it dies of last."""

_MOST_SNAPSHOTS = 64
_KEPT_SNAPSHOTS = 2
"""The one it dies of, and the one before: a handler that reports an overflow aborts after it."""

_DEADLY = frozenset(
    {
        signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT,
        signal.SIGSYS, signal.SIGTRAP, signal.SIGXFSZ, signal.SIGXCPU,
    }
)  # fmt: skip
_WITH_ADDRESS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

_POINTERS = {"x86_64": (19, 16), "aarch64": (31, 32)}
"""Where user_regs_struct holds the stack and instruction pointer, in 8-byte words."""

MACHINES = {"x86_64": 62, "aarch64": 183}
"""ELF machine numbers."""

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


def follow(pid: int, faults: list[Fault], autopsy: Path | None = None) -> None:
    """Pass signals on until the process has ended, and note the deadly ones.

    The ended process is left for the caller to reap.

    Args:
        pid: the process that this thread has seized.
        faults: is filled, oldest first; the last 64 are kept.
        autopsy: existing folder for what explains a death (see `snapshot.take`): before a deadly
            signal is passed on, the thread's registers and stack are copied there, and
            `death.json` describes the latest such copy. Nothing runs in the process for it.
    """
    options = os.WEXITED | os.WSTOPPED | os.WNOWAIT | _WALL | _WNOTHREAD
    follower = _Follower(pid, faults, autopsy)
    while True:
        event = os.waitid(os.P_ALL, 0, options)
        if event is None:
            continue
        if event.si_pid == pid and event.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return
        tid, status = os.waitpid(event.si_pid, _WALL | _WNOTHREAD)
        if os.WIFSTOPPED(status):
            try:
                follower.pass_on(tid, status)
            except ProcessLookupError:
                continue  # killed meanwhile; its end comes next


class _Follower:
    """What is remembered between the stops of a process."""

    def __init__(self, pid: int, faults: list[Fault], autopsy: Path | None) -> None:
        self._pid = pid
        self._faults = faults
        self._autopsy = autopsy
        self._snapshots = 0
        self._passed: dict[int, tuple[int, list[int]]] = {}
        """Thread → the signal that was passed on to it last, and its registers then."""

    def pass_on(self, tid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_STOP and number in _STOPPING:
            call(_LISTEN, tid)
            return
        if event:
            call(_CONT, tid)
            return
        if number in _DEADLY:
            seen = fault(self._pid, tid, number)
            seen = replace(seen, delivering=self._delivering(tid, seen))
            self._faults.append(self._with_snapshot(seen))
            del self._faults[:-_MOST_FAULTS]
        if platform.machine() in _POINTERS:
            self._passed[tid] = (number, registers(tid))
        call(_CONT, tid, 0, number)

    def _delivering(self, tid: int, seen: Fault) -> int:
        """The signal whose handler could not be entered, 0 if that is not what happened.

        A signal's frame is put on the stack by the kernel. If it cannot, it forces SIGSEGV on
        the thread, which has run no instruction since the signal was passed on.
        """
        passed = self._passed.get(tid)
        if passed is None or seen.code != SI_KERNEL or seen.signal != signal.SIGSEGV:
            return 0
        number, words = passed
        same = all(
            words[place] == pointer
            for place, pointer in zip(
                _POINTERS[platform.machine()],
                (seen.stack_pointer, seen.instruction_pointer),
                strict=True,
            )
        )
        return number if same else 0

    def _with_snapshot(self, seen: Fault) -> Fault:
        """The fault with the place of its snapshot, or why there is none. Never raises OSError."""
        folder, machine = self._autopsy, MACHINES.get(platform.machine())
        if folder is None:
            return seen
        if machine is None or seen.stack_pointer is None or seen.instruction_pointer is None:
            return replace(seen, unexplained="registers of this processor are not known")
        if self._snapshots >= _MOST_SNAPSHOTS:
            return replace(seen, unexplained=f"it survived {_MOST_SNAPSHOTS} such signals before")
        self._snapshots += 1
        stopped = snapshot.Stopped(
            pid=Pid(self._pid),
            tid=seen.tid,
            signal=seen.signal,
            code=seen.code,
            address=seen.address,
            stack_pointer=seen.stack_pointer,
            instruction_pointer=seen.instruction_pointer,
            registers=register_bytes(seen.tid),
            machine=machine,
            mappings=parse_maps(seen.maps),
        )
        try:
            record = snapshot.take(stopped, folder, f"death-{self._snapshots}")
        except (OSError, LookupError) as error:
            # A full disk is a reason to have no explanation, not to lose the death.
            return replace(seen, unexplained=str(error))
        snapshot.forget(folder, f"death-{self._snapshots - _KEPT_SNAPSHOTS}")
        return replace(seen, autopsy=record)


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
        stack_limit_bytes=parse_stack_limit(
            Path(f"/proc/{pid}/limits").read_text(encoding="ascii", errors="replace")
        ),
    )


def pointers(tid: int) -> tuple[Address | None, Address | None]:
    """Stack and instruction pointer of a stopped thread; None where the processor is unknown."""
    places = _POINTERS.get(platform.machine())
    if places is None:
        return None, None
    words = registers(tid)
    return Address(words[places[0]]), Address(words[places[1]])


def registers(tid: int) -> list[int]:
    """The general registers of a stopped thread, in the order of user_regs_struct.

    Zeros follow up to 128 words.
    """
    data = register_bytes(tid)
    return [*struct.unpack(f"={len(data) // 8}Q", data), *([0] * (128 - len(data) // 8))]


def register_bytes(tid: int) -> bytes:
    """struct user_regs_struct as the kernel gives it."""
    words = (ctypes.c_uint64 * 128)()
    vector = _Vector(ctypes.addressof(words), ctypes.sizeof(words))
    call(_GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    return bytes(words)[: vector.length]
