"""Was it the stack? A death is an overflow only if signal, fault address and stack agree.

A signal alone proves nothing: a null pointer and an overflow both end in SIGSEGV. An overflow is
a fault *below* the lowest mapped address of the thread's own stack, made by code whose stack
pointer has come down there. A wild pointer that happens to hit the same place is made by code
whose stack pointer is elsewhere.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reactivate.evidence import Address
from reactivate.instrument.chain import Chain
from reactivate.procfs import (
    PAGE_BYTES,
    STACK_GUARD_GAP_BYTES,
    MemoryMapping,
    StackMapping,
    mapping_containing,
    parse_maps,
)
from reactivate.target.death import describe_status
from reactivate.target.model import Fault
from reactivate.target.ptrace import SI_KERNEL

_RED_ZONE_BYTES = 128
"""What a leaf may use below its stack pointer (x86-64 ABI); a call writes 8 bytes there."""

_SIGNAL_FRAME_BYTES = 16 * 1024
"""What the kernel puts on the stack for a signal at most: the processor's extended state is 2 to
3 KiB, 11 KiB with AMX (signal(7) on AT_MINSIGSTKSZ)."""

_NULL_BYTES = 64 * 1024
"""Addresses up to here are a null pointer and an offset: nothing is mapped there (vm.mmap_min_addr
is 64 KiB nearly everywhere)."""

_FORBIDDEN = 2
"""SEGV_ACCERR: the address is mapped, but not for this."""

_FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS})

_LAST_WORDS = re.compile(
    r"Assertion .* failed|assertion .*failed|panicked at|terminate called|what\(\):|"
    r"(malloc|free|realloc|corrupted|double free|munmap_chunk|stack smashing|buffer overflow)"
    r".*(\(\):|detected|corruption)|fatal runtime error|has overflowed its stack",
)
"""How the C library, C++ and Rust say why they abort."""


class DeathKind(StrEnum):
    """What ended a daemon."""

    OVERFLOW = "overflow"
    """Proven: the fault lies below the thread's stack, and the stack pointer is there."""
    SEGFAULT = "segfault"
    """An address that is not mapped or not for this, and not by the end of the stack."""
    BUS_ERROR = "bus_error"
    """A mapped address behind which there is nothing: a file's end, broken memory."""
    ABORT = "abort"
    """It gave up itself: abort(), an assertion, a panic, an exception nobody caught."""
    ILLEGAL_INSTRUCTION = "illegal_instruction"
    """An instruction that the processor does not have; compilers put one where none belongs."""
    ARITHMETIC = "arithmetic"
    """Division by zero, or a quotient that does not fit."""
    OOM_KILL = "oom_kill"
    """SIGKILL, and the kernel counted a kill for want of memory in the daemon's own group."""
    KILLED = "killed"
    """A signal that somebody sent."""
    FILE_SIZE = "file_size"
    """SIGXFSZ: a file was to become larger than its limit."""
    EXIT = "exit"
    """It ended by itself, with a status."""
    UNKNOWN = "unknown"
    """Nothing that can be proven."""


_BY_SIGNAL: dict[int, DeathKind] = {
    signal.SIGILL: DeathKind.ILLEGAL_INSTRUCTION,
    signal.SIGFPE: DeathKind.ARITHMETIC,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a process died.

    Attributes:
        kind: see `DeathKind`.
        text: one sentence, ready to show.
        signal: name of the signal, "" for an exit.
        address: the fault address, None if there is none.
        thread: "main" or "worker": whose stack it was; "" if no overflow.
        stack: the mapping that was overflown, None if none was.
        distance_bytes: from the fault up to the stack's lowest address; 0 if no overflow, and
            if it was the kernel that found no room (for a signal's frame, or at the start).
        kernel: whether the kernel needed the room, for the frame of a signal handler.
        chain: the call chain at the death, innermost frame first (`autopsy.explain_death`).
        chain_missing: why there is none, "" if there is one or nobody asked.
    """

    kind: DeathKind
    text: str
    signal: str = ""
    address: Address | None = None
    thread: str = ""
    stack: StackMapping | None = None
    distance_bytes: int = 0
    kernel: bool = False
    chain: Chain | None = None
    chain_missing: str = ""


def classify(
    returncode: int | None, faults: Sequence[Fault], said: str = "", *, oom_kills: int = 0
) -> Cause:
    """Say what a process died of.

    Args:
        returncode: exit status, negative signal number, or None if it is not known.
        faults: its deadly signals, oldest first, as its tracer saw them.
        said: the end of its log, for deaths without a fault.
        oom_kills: kills for want of memory that the kernel counted in the daemon's cgroup.
    """
    words = _words(said)
    if returncode is None:
        return Cause(kind=DeathKind.UNKNOWN, text=f"it ended in a way that was not seen{words}")
    ended = describe_status(returncode)
    if returncode >= 0:
        return Cause(kind=DeathKind.EXIT, text=f"it {ended}{words}")
    number = -returncode
    fault = fault_behind(number, faults)
    if fault is not None:
        overflow = _overflow(number, fault)
        if overflow is not None:
            return overflow
    kind = _kind(number, fault, oom_kills)
    return Cause(
        kind=kind,
        text=f"it {ended}{_why(number, kind, fault, oom_kills)}{words}",
        signal=_signal_name(number),
        address=None if fault is None else fault.address,
    )


def _overflow(number: int, fault: Fault) -> Cause | None:
    """The cause if a stack was too small, None if that is not proven."""
    stack, below, kernel, missing = overflown_stack(fault), 0, False, ""
    if stack is not None and fault.address is not None:
        below = stack.start - fault.address
        what = f"a fault at {fault.address:#x}, {below:,} bytes below its stack of"
    elif (stack := _stack_without_room(fault)) is not None:
        kernel, name = True, _signal_name(fault.delivering)
        what = f"the kernel could not put the frame for {name} on its stack of"
    elif (stack := _stack_at_start(fault)) is not None:
        what = "the kernel found no room for the program's first frame on its stack of"
        missing = "the program had not begun: no function was on the stack"
    else:
        return None
    thread = "main" if stack.path == "[stack]" else "worker"
    aborted = " and then aborted" if number == signal.SIGABRT else ""
    return Cause(
        kind=DeathKind.OVERFLOW,
        text=f"stack overflow of the {thread} thread: {what} {stack.size_bytes:,} bytes{aborted}",
        signal=_signal_name(number),
        address=fault.address if below else None,
        thread=thread,
        stack=StackMapping(start=stack.start, end=stack.end),
        distance_bytes=below,
        kernel=kernel,
        chain_missing=missing,
    )


def _kind(number: int, fault: Fault | None, oom_kills: int) -> DeathKind:
    if number == signal.SIGKILL:
        return DeathKind.OOM_KILL if oom_kills > 0 else DeathKind.KILLED
    if number in _FAULTS and fault is None:
        return DeathKind.UNKNOWN  # without its address a fault may have been an overflow
    # abort() sends the signal to its own thread (SI_TKILL); kill(2) gives SI_USER. The kernel
    # gives SI_USER for SIGXFSZ, too.
    sent = fault is not None and fault.code <= 0
    if number == signal.SIGABRT:
        return DeathKind.KILLED if fault is not None and fault.code == 0 else DeathKind.ABORT
    if number == signal.SIGXFSZ:
        return DeathKind.FILE_SIZE
    if sent:
        return DeathKind.KILLED
    if number in _FAULTS:
        return DeathKind.SEGFAULT if number == signal.SIGSEGV else DeathKind.BUS_ERROR
    return _BY_SIGNAL.get(number, DeathKind.KILLED)


def _why(number: int, kind: DeathKind, fault: Fault | None, oom_kills: int) -> str:
    """What is known beyond the signal; begins with a space or a comma."""
    if kind is DeathKind.OOM_KILL:
        return f" for want of memory ({oom_kills} such kill{'s' * (oom_kills != 1)} in its group)"
    if kind is DeathKind.FILE_SIZE:
        return ": a file was to become larger than its limit"
    if kind is DeathKind.ABORT:
        return ""
    if fault is None:
        return ", and no fault was seen with it" if number in _FAULTS else ""
    if fault.code <= 0:
        return " that another process or it itself had sent"
    if kind is DeathKind.ARITHMETIC:
        return f": {_ARITHMETIC.get(fault.code, 'an arithmetic error')}"
    return f" {_where(fault)}" if number in _FAULTS else _at(fault)


_ARITHMETIC = {1: "an integer division by zero, or a quotient that is too large",
               2: "an integer overflow", 3: "a division by zero"}  # fmt: skip


def _at(fault: Fault) -> str:
    return "" if fault.address is None else f" at address {fault.address:#x}"


def _words(said: str) -> str:
    """What it said of its end: an assertion's or a runtime's message, else its last line."""
    lines = said.strip().splitlines()
    if not lines:
        return ""
    told = next((line for line in reversed(lines) if _LAST_WORDS.search(line)), lines[-1])
    return f'; its last words: "{told.strip()}"'


def overflown_stack(fault: Fault) -> MemoryMapping | None:
    """The stack below which a fault lies, None if the fault is no overflow."""
    address, sp = fault.address, fault.stack_pointer
    if fault.signal not in _FAULTS or fault.code <= 0 or fault.code == SI_KERNEL:
        return None
    if address is None:
        return None
    stack = _stack_above(parse_maps(fault.maps), address)
    if stack is None:
        return None
    if sp is None:  # a processor whose registers we do not read: the gap must do
        return stack if stack.start - address <= STACK_GUARD_GAP_BYTES else None
    # Whoever overflows reaches for its own frame: at or above its stack pointer, which is
    # itself below, or within a red zone of, what is mapped.
    in_frame = sp - _RED_ZONE_BYTES <= address
    came_down = sp < stack.start + _RED_ZONE_BYTES
    return stack if in_frame and came_down else None


def _stack_above(mappings: tuple[MemoryMapping, ...], address: int) -> MemoryMapping | None:
    """The stack whose lower end is the next thing above an address that cannot be used."""
    at = mapping_containing(mappings, address)
    if at is not None and not at.permissions.startswith("---"):
        return None  # it is mapped for use: a wrong permission, not an overflow
    above = next(
        (m for m in mappings if m.start > address and not m.permissions.startswith("---")), None
    )
    if above is None or not above.permissions.startswith("rw"):
        return None
    if above.path == "[stack]":
        return above
    # A thread's stack: anonymous, and its guard is where the fault is.
    if at is not None and at.end == above.start and above.inode == 0 and not at.inode:
        return above
    return None


def _stack_without_room(fault: Fault) -> MemoryMapping | None:
    """The stack on which the kernel found no room for a signal's frame, None if not proven."""
    sp = fault.stack_pointer
    if not fault.delivering or sp is None:
        return None
    mappings = parse_maps(fault.maps)
    stack = mapping_containing(mappings, sp)
    if stack is None or not stack.permissions.startswith("rw"):
        return None
    lowest: int = stack.start
    if stack.path == "[stack]":
        if fault.stack_limit_bytes is None:
            return None
        lowest = min(lowest, stack.end - fault.stack_limit_bytes)
    else:
        guard = mapping_containing(mappings, stack.start - 1)
        if guard is None or not guard.permissions.startswith("---"):
            return None
    return stack if sp - lowest < _SIGNAL_FRAME_BYTES else None


def _stack_at_start(fault: Fault) -> MemoryMapping | None:
    """The stack on which the kernel found no room for what a program finds there, else None.

    execve(2) cannot fail any more once the old program is gone, so the kernel forces SIGSEGV on a
    thread with the new program's mappings and still the old one's registers. The last thing it
    does, after [vdso] is mapped, is to put the arguments' addresses and the auxiliary vector on
    the stack (binfmt_elf.c, create_elf_tables), which may grow up to its limit for that.
    """
    limit, ip = fault.stack_limit_bytes, fault.instruction_pointer
    forced = fault.signal == signal.SIGSEGV and fault.code == SI_KERNEL and not fault.delivering
    if not forced or limit is None or ip is None:
        return None
    mappings = parse_maps(fault.maps)
    stack = next((m for m in mappings if m.path == "[stack]"), None)
    if stack is None or all(m.path != "[vdso]" for m in mappings):
        return None
    # At an address that no process can have, there was no old program either.
    elsewhere = mapping_containing(mappings, ip) is None and ip < stack.start
    return stack if elsewhere and stack.size_bytes + PAGE_BYTES > limit else None


def fault_behind(number: int, faults: Sequence[Fault]) -> Fault | None:
    """The fault that led to a death by a signal, None if none was seen.

    Not always the last one. A runtime that catches the fault itself (Rust's) prints a message and
    aborts: then an overflow before the SIGABRT is the cause. And where a program has a handler
    for SIGSEGV, but no stack of its own for it, the kernel cannot enter it at an overflow and
    forces the signal: then the fault before that one tells the address.
    """
    at = next((i for i in reversed(range(len(faults))) if faults[i].signal == number), None)
    if at is None:
        return None
    last, before = faults[at], faults[at - 1] if at else None
    if before is None or before.tid != last.tid:
        return last
    answered = last.delivering == before.signal and before.signal in _FAULTS
    reported = number == signal.SIGABRT and overflown_stack(before) is not None
    return before if answered or reported else last


def _where(fault: Fault) -> str:
    if fault.delivering:
        return f"because the handler of {_signal_name(fault.delivering)} could not be entered"
    if fault.address is None or fault.code == SI_KERNEL:
        return "without an address: an address that no process can have, or a forbidden instruction"
    place = f"at address {fault.address:#x}"
    if fault.signal == signal.SIGBUS:
        return f"{place}, behind which there is nothing (the end of a mapped file?)"
    if fault.address < _NULL_BYTES:
        return f"{place}, which is not below its stack but a null pointer"
    if fault.code == _FORBIDDEN:
        return f"{place}, which is not below its stack but mapped for other uses"
    return f"{place}, which is not below its stack"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
