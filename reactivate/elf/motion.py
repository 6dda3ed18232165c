"""Follows the stack pointer through a function's code, where its table does not say where it is.

With a frame pointer the table counts from rbp, and only the code tells how far rsp goes below
it. The code is read once, in order: pushes and subtractions deepen, pops and additions shorten,
a forward jump takes its depth along to its target. What is added at run time (alloca, arrays of
variable length) is not known: it is noted, and the depth without it is a lower bound.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from reactivate.elf.lexer import OPERAND, plain, quiet

_LONGEST_INSTRUCTION = 15
_ABI_ALIGNMENT = 16
"""The CFA is a multiple of this: System V ABI for x86-64, section 3.2.2."""
_LEAST_PROBE_BYTES = 1024
"""The smallest step of a loop that probes a large frame: gcc's least probe interval."""

_PREFIXES = frozenset(b"\x66\x2e\x36\x3e\x26\x64\x65\x67\xf0\xf2\xf3")
# How pushes and subtractions begin.
_GROW = frozenset(
    [bytes((0x41, n)) for n in range(0x50, 0x58)]
    + [bytes((n, m)) for n in range(0x50, 0x58) for m in range(256)]
    + [b"\x48\x81", b"\x48\x83", b"\x48\x89"]
)
_RETURNS = {0xC2: 2, 0xC3: 0, 0xCA: 2, 0xCB: 0, 0xCF: 0, 0xF4: 0}
# `mov $N,%eax; call PROBE; sub %rax,%rsp`, the call being optional.
_CONSTANT = re.compile(rb".*\xb8(.{4})(?:\xe8.{4})?\Z", re.DOTALL)
_COMPARED = re.compile(rb"[\x48\x4c]\x39[\xc4\xcc\xd4\xdc\xec\xf4\xfc]")  # cmp %REG,%rsp
_NEAR_BYTES = 48
_RSP, _RBP, _R10, _R11 = 4, 5, 10, 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How deep the stack pointer goes.

    Attributes:
        deepest_bytes: from the CFA to the lowest rsp; the least there is, if one of the others.
        slack_bytes: how much more an alignment beyond the ABI's may take, depending on where
            the stack is when the function is entered.
        dynamic: more is taken at run time.
        incomplete: an instruction was not understood; what follows it was not looked at.
    """

    deepest_bytes: int
    slack_bytes: int
    dynamic: bool
    incomplete: bool


class Follower:
    """The state while a function's code is read.

    Args:
        code: the function's bytes.
        depth: from the CFA to rsp where reading begins.
        frame_pointer: from the CFA to rbp's value there; None if rbp is something else.
    """

    def __init__(self, code: bytes, depth: int, frame_pointer: int | None) -> None:
        self._code = code
        self._depth = self._deepest = depth
        self._frame_pointer = frame_pointer
        self._probe_end: int | None = None  # r11's depth, while it is the end of a probe loop
        self._may_probe = False
        self._slack = 0
        self._dynamic = False
        self._depth_at: dict[int, int] = {}  # of forward jumps' targets
        self._targets: list[int] = []  # the same, those ahead, farthest first (negated)
        self._grown: deque[tuple[int, int, int]] = deque(maxlen=8)
        self._body = depth  # where nothing tells otherwise, e.g. behind a jump table's jump

    def follow(self, at: int, end: int) -> Motion:
        """Read from one offset to another."""
        code, run = self._code, plain().match
        end = min(end, len(code))
        incomplete = hopeless = False
        while at < end:
            limit = self._next_target(at, end)
            match = run(code, at, limit)
            reached = match.end() if match else at
            if reached > at:
                at = reached
                continue
            if not (hopeless or self._may_probe or code[at : at + 2] in _GROW):
                # Most functions grow in the beginning only: then there is no more to be followed.
                quiet_until = _quiet_until(code, at, end)
                if quiet_until == end:
                    break
                hopeless = quiet_until > at
            following = self._step(at)
            if following > len(code):
                following = -1
            if following < 0 and limit < end:
                # A jump into the middle of an instruction (past a `lock` prefix, say).
                self._targets.pop()
                continue
            if following < 0:
                incomplete = True
                break
            at = following
        return Motion(
            deepest_bytes=self._deepest,
            slack_bytes=self._slack,
            dynamic=self._dynamic,
            incomplete=incomplete,
        )

    def _next_target(self, at: int, end: int) -> int:
        targets = self._targets
        while targets and -targets[-1] <= at:
            target = -targets.pop()
            if target == at:
                self._depth = self._depth_at[at]
        return min(-targets[-1], end) if targets else end

    def _step(self, at: int) -> int:
        """One instruction that `plain` leaves out; gives the offset behind it, -1 if unknown."""
        code, index, rex, short = self._code, at, 0, False
        limit = min(len(code), at + _LONGEST_INSTRUCTION)
        while index < limit and code[index] in _PREFIXES:
            short |= code[index] == 0x66
            index += 1
        if index < limit and 0x40 <= code[index] <= 0x4F:
            rex = code[index]
            index += 1
        if index >= limit:
            return -1
        opcode = code[index]
        index += 1
        if 0x50 <= opcode <= 0x5F:
            return self._push_or_pop(opcode, rex, short, index)
        handler = _HANDLERS.get(opcode)
        if handler is None:
            return self._branch(opcode, at, index)
        try:
            return handler(self, opcode, rex, short, at, index)
        except IndexError:  # the code ends within the instruction
            return -1

    def _grow(self, at: int, size: int) -> None:
        if size >= _LEAST_PROBE_BYTES:
            self._may_probe = True
            self._grown.append((at, self._depth, self._deepest))
        self._depth += size
        if self._depth > self._deepest:
            self._deepest = self._depth

    def _push_or_pop(self, opcode: int, rex: int, short: bool, index: int) -> int:
        size = 2 if short else 8
        if opcode < 0x58:
            self._grow(index, size)
        elif opcode == 0x58 + _RSP and not rex & 1:
            self._dynamic = True
        else:
            self._depth -= size
        return index

    def _push_immediate(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._grow(at, 2 if short else 8)
        return index + (1 if opcode == 0x6A else 2 if short else 4)

    def _flags(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._grow(at, 8 if opcode == 0x9C else -8)
        return index

    def _operand_end(self, index: int) -> int:
        match = OPERAND.match(self._code, index)
        if match is None:
            raise IndexError(index)
        return match.end()

    def _ff(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        what = self._code[index] >> 3 & 7
        end = self._operand_end(index)
        if what == 6:
            self._grow(at, 8)
        elif what in (4, 5):
            self._leave_line(end)
        else:
            return -1
        return end

    def _pop_operand(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._depth -= 8
        return self._operand_end(index)

    def _leave(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._depth = (8 if self._frame_pointer is None else self._frame_pointer) - 8
        return index

    def _enter(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._grow(at, 8)
        self._frame_pointer = self._depth
        self._grow(at, int.from_bytes(self._code[index : index + 2], "little"))
        return index + 3

    def _immediate(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        """81 and 83: arithmetic with a constant."""
        size = 1 if opcode == 0x83 else 4
        end = index + 1 + size
        value = int.from_bytes(self._code[index + 1 : end], "little", signed=True)
        modrm = self._code[index]
        what, register = modrm >> 3 & 7, modrm & 7 | (rex & 1) << 3
        if register == _R11:
            if self._probe_end is not None:
                self._probe_end += value if what == 5 else -value
        elif what in (0, 5):
            self._grow(at, value if what == 5 else -value)
        elif what == 4:
            self._align(at, -value)
        else:
            self._dynamic = True
        return end

    def _align(self, at: int, alignment: int) -> None:
        if alignment <= 0 or alignment & alignment - 1:
            self._dynamic = True
        elif alignment >= _ABI_ALIGNMENT:
            self._grow(at, -self._depth % _ABI_ALIGNMENT)
            self._slack = max(self._slack, alignment - _ABI_ALIGNMENT)

    def _copy(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        """89 and 8B: copies of a register, or a load of rsp from memory."""
        modrm = self._code[index]
        register, operand = modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7 | (rex & 1) << 3
        if opcode == 0x8B:
            register, operand = operand, register
        if modrm < 0xC0:
            self._dynamic = True
        elif operand == _RSP and register == _RBP and self._frame_pointer is not None:
            self._depth = self._frame_pointer
        elif operand == _RSP:
            self._dynamic = True
        elif operand == _RBP:
            self._frame_pointer = self._depth
        else:
            self._probe_end = self._depth
        return self._operand_end(index)

    def _address(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        """8D: `lea`, into rsp or r11."""
        end = self._operand_end(index)
        modrm = self._code[index]
        mod, base = modrm >> 6, modrm & 7 | (rex & 1) << 3
        indexed = modrm & 7 == 4 and self._code[index + 1] != 0x24
        width = {1: 1, 2: 4}.get(mod, 0)
        value = int.from_bytes(self._code[end - width : end], "little", signed=True)
        if rex & 4:
            self._probe_end = self._depth - value
        elif base == _RSP and not indexed:
            self._grow(at, -value)
        elif base == _RBP and mod and self._frame_pointer is not None:
            self._depth = self._frame_pointer - value
        elif base == _R10 and mod:  # holds the CFA where the prologue aligns the stack
            self._depth = -value
        else:
            self._dynamic = True
        return end

    def _opaque(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        """rsp becomes something that only the running program knows."""
        end = self._operand_end(index)
        before = _CONSTANT.match(self._code[max(0, at - 10) : at])
        if self._code[at:end] == b"\x66\x31\xe4":  # `xor %sp,%sp`, gcc's way to align to 64 KiB
            self._align(at, 1 << 16)
        elif self._code[at:end] == b"\x48\x29\xc4" and before:
            self._grow(at, int.from_bytes(before[1], "little"))
        else:
            self._dynamic = True
        return end

    def _low_byte(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        """B4: `mov $0,%spl`, gcc's way to align to 256 bytes."""
        if self._code[index]:
            self._dynamic = True
        else:
            self._align(at, 256)
        return index + 1

    def _opaque_constant(self, opcode: int, rex: int, short: bool, at: int, index: int) -> int:
        self._dynamic = True
        return index + {0xBC: 8, 0xC7: 5, 0x94: 0}[opcode]

    def _branch(self, opcode: int, at: int, index: int) -> int:
        code = self._code
        if opcode in _RETURNS:
            return self._leave_line(index + _RETURNS[opcode])
        if 0x70 <= opcode <= 0x7F or 0xE0 <= opcode <= 0xE3 or opcode == 0xEB:
            width = 1
        elif opcode == 0xE9:
            width = 4
        elif opcode == 0x0F and index < len(code) and code[index] in (0x0B, 0xB9):
            return self._leave_line(index + 1)
        elif opcode == 0x0F and index < len(code) and 0x80 <= code[index] <= 0x8F:
            index, width = index + 1, 4
        else:
            return -1
        end = index + width
        if end > len(code):
            return -1
        target = end + int.from_bytes(code[index:end], "little", signed=True)
        if target <= at:
            self._loop(target, at, end)
        elif target < len(code) and target not in self._depth_at:
            self._body = min(self._body, self._depth) if self._depth_at else self._depth
            self._depth_at[target] = self._depth
            insort(self._targets, -target)
        return self._leave_line(end) if opcode in (0xEB, 0xE9) else end

    def _loop(self, target: int, at: int, end: int) -> None:
        """A jump back: over a growth it is a loop that probes the stack page by page."""
        for place, depth, deepest in self._grown:
            if place < target:
                continue
            if self._depth <= depth:
                return  # taken back within the loop: arguments of a call
            aim = self._probe_end
            if aim is None or aim <= depth:
                aim = depth + _probed_bytes(self._code, target, at)
            self._depth, self._deepest = aim, max(deepest, aim)
            if aim == depth:
                self._dynamic = True
            elif end in self._depth_at:  # a jump over the loop, for a frame of nothing
                self._depth_at[end] = aim
            self._grown.clear()
            self._probe_end = None
            return

    def _leave_line(self, end: int) -> int:
        """The next instruction is reached from elsewhere, with the depth that holds there."""
        self._depth = self._depth_at.get(end, self._body)
        return end


def _probed_bytes(code: bytes, loop: int, at: int) -> int:
    """How far a probe loop goes, if its end is rsp minus a constant; else 0.

    That is gcc's form for an alloca of constant size: `lea -N(%rsp),%REG` before the loop,
    `cmp %REG,%rsp` in it.
    """
    compared = _COMPARED.search(code, loop, at) if at - loop < _NEAR_BYTES else None
    if compared is None:
        return 0
    modrm = code[compared.start() + 2] & 0x38 | 0x84
    address = bytes((code[compared.start()], 0x8D, modrm, 0x24))
    found = code.rfind(address, max(0, loop - _NEAR_BYTES), loop)
    if found < 0:
        return 0
    return max(0, -int.from_bytes(code[found + 4 : found + 8], "little", signed=True))


def _quiet_until(code: bytes, at: int, end: int) -> int:
    """Where the next instruction is that may make the frame larger; `end` if there is none."""
    run = quiet().match
    while match := run(code, at, end):
        if match.end() == at:
            break
        at = match.end()
    return at


_Handler = Callable[[Follower, int, int, bool, int, int], int]
_HANDLERS: dict[int, _Handler] = {
    0x68: Follower._push_immediate, 0x6A: Follower._push_immediate,
    0x9C: Follower._flags, 0x9D: Follower._flags,
    0xFF: Follower._ff, 0x8F: Follower._pop_operand,
    0xC9: Follower._leave, 0xC8: Follower._enter,
    0x81: Follower._immediate, 0x83: Follower._immediate,
    0x89: Follower._copy, 0x8B: Follower._copy, 0x8D: Follower._address,
    0xB4: Follower._low_byte, 0xBC: Follower._opaque_constant, 0x94: Follower._opaque_constant,
    0xC7: Follower._opaque_constant, 0x87: Follower._opaque,
    **dict.fromkeys((0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31), Follower._opaque),
    **dict.fromkeys((0x03, 0x0B, 0x13, 0x1B, 0x23, 0x2B, 0x33), Follower._opaque),
}  # fmt: skip
