"""Was it the stack? A death is an overflow only if signal, fault address and stack agree.

A signal alone proves nothing: a null pointer and an overflow both end in SIGSEGV. An overflow is
a fault *below* the lowest mapped address of the thread's own stack, made by code whose stack
pointer has come down there. A wild pointer that happens to hit the same place is made by code
whose stack pointer is elsewhere.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reactivate.evidence import Address
from reactivate.procfs import (
    STACK_GUARD_GAP_BYTES,
    MemoryMapping,
    StackMapping,
    mapping_containing,
    parse_maps,
)
from reactivate.target.death import describe_status
from reactivate.target.model import Fault

_RED_ZONE_BYTES = 128
"""What a leaf may use below its stack pointer (x86-64 ABI); a call writes 8 bytes there."""

_SEGV_KERNEL = 0x80
"""SI_KERNEL: the signal was forced and its address means nothing (sigaction(2))."""

_FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS})


class DeathKind(StrEnum):
    """What ended a daemon."""

    OVERFLOW = "overflow"
    """Proven: the fault lies below the thread's stack, and the stack pointer is there."""
    OTHER = "other"
    """Anything else, or nothing that can be proven."""


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
        distance_bytes: from the fault up to the stack's lowest address; 0 if no overflow.
    """

    kind: DeathKind
    text: str
    signal: str = ""
    address: Address | None = None
    thread: str = ""
    stack: StackMapping | None = None
    distance_bytes: int = 0


def classify(returncode: int | None, faults: Sequence[Fault], said: str = "") -> Cause:
    """Say what a process died of.

    Args:
        returncode: exit status, negative signal number, or None if it is not known.
        faults: its deadly signals, oldest first, as its tracer saw them.
        said: the end of its log, for deaths without a fault.
    """
    words = f'; its last words: "{said.strip().splitlines()[-1]}"' if said.strip() else ""
    if returncode is None:
        return Cause(kind=DeathKind.OTHER, text=f"it ended in a way that was not seen{words}")
    ended = describe_status(returncode)
    if returncode >= 0:
        return Cause(kind=DeathKind.OTHER, text=f"it {ended}{words}")
    name = _signal_name(-returncode)
    fault = _fault_behind(-returncode, faults)
    if fault is None:
        why = "" if -returncode not in _FAULTS else ", and no fault was seen with it"
        return Cause(kind=DeathKind.OTHER, text=f"it {ended}{why}{words}", signal=name)
    overflown = overflown_stack(fault)
    if overflown is None or fault.address is None:
        return Cause(
            kind=DeathKind.OTHER,
            text=f"it {ended} {_where(fault)}{words}",
            signal=name,
            address=fault.address,
        )
    thread = "main" if overflown.path == "[stack]" else "worker"
    distance = overflown.start - fault.address
    aborted = " and then aborted" if -returncode == signal.SIGABRT else ""
    return Cause(
        kind=DeathKind.OVERFLOW,
        text=f"stack overflow of the {thread} thread: a fault at {fault.address:#x}, "
        f"{distance:,} bytes below its stack of {overflown.size_bytes:,} bytes{aborted}",
        signal=name,
        address=fault.address,
        thread=thread,
        stack=StackMapping(start=overflown.start, end=overflown.end),
        distance_bytes=distance,
    )


def overflown_stack(fault: Fault) -> MemoryMapping | None:
    """The stack below which a fault lies, None if the fault is no overflow."""
    address, sp = fault.address, fault.stack_pointer
    if fault.signal not in _FAULTS or fault.code <= 0 or fault.code == _SEGV_KERNEL:
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


def _fault_behind(number: int, faults: Sequence[Fault]) -> Fault | None:
    """The fault that led to the deadly signal.

    A runtime that catches the fault itself (Rust's) prints a message and aborts: then the
    fault before the SIGABRT is the cause.
    """
    for fault in reversed(faults):
        if fault.signal == number and number in _FAULTS:
            return fault
        if number == signal.SIGABRT and fault.signal in _FAULTS:
            return fault
    return None


def _where(fault: Fault) -> str:
    if fault.code <= 0:
        return "that another process or it itself had sent"
    if fault.address is None or fault.code == _SEGV_KERNEL:
        return "without an address"
    return f"at address {fault.address:#x}, which is not below its stack"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
