"""Executes the programs of call frame information, as far as the canonical frame address goes.

Where saved registers are does not matter here. Opcodes: DWARF 5, section 6.4.2 and 7.24, and
the GNU extensions of the Linux Standard Base.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from reactivate.elf.encoding import EncodingError, sleb, uleb

RBP, RSP, R11 = 6, 7, 11
EXPRESSION, TRAMPOLINE, UNDEFINED = -1, -2, -3
LARGEST_FRAME_BYTES = 1 << 40
_ENTRY_BYTES = 8  # the return address
_BREG_RSP = 0x77  # DW_OP_breg7

# Operands of the opcodes that change nothing here: u = LEB128, b = block.
_IGNORED = {
    **dict.fromkeys((0x00, 0x2D), ""),
    **dict.fromkeys((0x06, 0x07, 0x08, 0x2E), "u"),
    **dict.fromkeys((0x05, 0x09, 0x11, 0x14, 0x15, 0x2F), "uu"),
    **dict.fromkeys((0x10, 0x16), "ub"),
}
_ADVANCE = {0x02: 1, 0x03: 2, 0x04: 4}


# The programs of most functions: first an instruction, then pushes, pops and adjustments, with
# the CFA counted from rsp throughout. Where they happen does not matter then.
_ELSEWHERE = rb"[\x00\x0a\x0b\x40-\x7f\xc0-\xff]|[\x80-\xbf][\x00-\x7f]|\x02.|\x03..|\x04.{4}"
_OFFSET = rb"\x0e([\x80-\xff]{0,3}[\x00-\x7f])"
_SIMPLE = re.compile(rb"[\x41-\x7f](?:%b|%b)*" % (_ELSEWHERE, _OFFSET), re.DOTALL)
# With a frame pointer: `push %rbp; mov %rsp,%rbp`, then whatever, then rsp again before returns.
_FRAMED = re.compile(
    rb"([\x41-\x7f])\x0e\x10\x86\x02([\x41-\x7f])\x0d\x06(?:%b|\x0c\x07\x08)*" % _ELSEWHERE,
    re.DOTALL,
)
_OFFSETS = re.compile(rb"(?:%b)*%b" % (_ELSEWHERE, _OFFSET), re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a function's table says of its frame.

    Attributes:
        deepest_bytes: largest distance from the CFA to rsp where the CFA is counted from rsp (or
            from r11, in the loop that probes a large frame).
        untold: [from, to) in bytes from the function's start, where the CFA hangs on another
            register, so that only the code tells where rsp is; None if nowhere. `to` is None for
            the function's end, and may be: behind the last such row there are only returns.
        depth_bytes: from the CFA to rsp where `untold` begins; for a part without a beginning of
            its own, from the CFA to the frame pointer.
        frame_pointer_bytes: from the CFA to rbp's value, if the CFA is counted from rbp there.
        headless: a part of a function, moved elsewhere by the compiler: begins with a frame.
        trampoline: no function: a linkage table or a signal frame.
    """

    deepest_bytes: int
    untold: tuple[int, int | None] | None
    depth_bytes: int
    frame_pointer_bytes: int | None
    headless: bool
    trampoline: bool


@dataclass(frozen=True, slots=True)
class Start:
    """The state that a CIE's own program leaves: which register, which offset."""

    register: int
    offset: int


_AT_ENTRY = Start(RSP, _ENTRY_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """A CIE's alignment factors."""

    code: int
    data: int


def execute(program: bytes, start: Start, factors: Factors) -> Rows:
    """Run a function's program on top of what its CIE's program left.

    Raises:
        EncodingError: an unknown opcode, a truncated operand, or an absurd frame.
    """
    if start == _AT_ENTRY and _SIMPLE.fullmatch(program):
        return _told(max(map(_number, _OFFSETS.findall(program)), default=0))
    if start == _AT_ENTRY and (framed := _FRAMED.fullmatch(program)):
        return _framed(((framed[1][0] & 0x3F) + (framed[2][0] & 0x3F)) * factors.code)
    return _summary(_rows(program, start, factors))


@cache
def _number(leb: bytes) -> int:
    return uleb(leb, 0)[0]


@cache
def _told(deepest_bytes: int) -> Rows:
    """The rows of a function whose table says everything."""
    return Rows(
        deepest_bytes=max(deepest_bytes, _ENTRY_BYTES),
        untold=None,
        depth_bytes=0,
        frame_pointer_bytes=None,
        headless=False,
        trampoline=False,
    )


@cache
def _framed(since: int) -> Rows:
    """The rows of a function with a frame pointer that is set up at its beginning."""
    return Rows(
        deepest_bytes=2 * _ENTRY_BYTES,
        untold=(since, None),
        depth_bytes=2 * _ENTRY_BYTES,
        frame_pointer_bytes=2 * _ENTRY_BYTES,
        headless=False,
        trampoline=False,
    )


def initial(program: bytes, factors: Factors) -> Start:
    """Run a CIE's program.

    Raises:
        EncodingError: as for `execute`.
    """
    _, register, offset = _rows(program, Start(UNDEFINED, 0), factors)[-1]
    return Start(register, offset)


def _rows(program: bytes, start: Start, factors: Factors) -> list[tuple[int, int, int]]:
    """(location, register, offset) of each row that has another CFA than the one before."""
    register, offset = start.register, start.offset
    location, index, end = 0, 0, len(program)
    kept: list[tuple[int, int]] = []
    rows: list[tuple[int, int, int]] = []
    try:
        while index < end:
            opcode = program[index]
            index += 1
            step = -1
            if opcode >= 0x40:
                if opcode < 0x80:
                    step = opcode & 0x3F
                elif opcode < 0xC0:
                    index = _skip(program, index, "u")
            elif opcode == 0x0E:  # def_cfa_offset
                offset, index = uleb(program, index)
            elif opcode == 0x0C:  # def_cfa
                register, index = uleb(program, index)
                offset, index = uleb(program, index)
            elif opcode == 0x0D:  # def_cfa_register
                register, index = uleb(program, index)
            elif opcode == 0x0A:  # remember_state
                kept.append((register, offset))
            elif opcode == 0x0B:  # restore_state
                register, offset = kept.pop()
            elif opcode in _ADVANCE:
                width = _ADVANCE[opcode]
                step = int.from_bytes(program[index : index + width], "little")
                index += width
            elif opcode in _IGNORED:
                index = _skip(program, index, _IGNORED[opcode])
            else:
                register, offset, index = _rare(opcode, program, index, register, factors)
            if step >= 0:
                rows.append((location, register, offset))
                location += step * factors.code
    except IndexError as error:
        raise EncodingError("a program that ends within an instruction") from error
    if index > end:
        raise EncodingError("a program that ends within an operand")
    rows.append((location, register, offset))
    return rows


def _rare(
    opcode: int, program: bytes, index: int, register: int, factors: Factors
) -> tuple[int, int, int]:
    """The opcodes that hardly occur; gives register, offset and the index behind."""
    if opcode == 0x0F:  # def_cfa_expression
        size, index = uleb(program, index)
        first = program[index] if size else 0
        return (TRAMPOLINE if first == _BREG_RSP else EXPRESSION), 0, index + size
    if opcode == 0x12:  # def_cfa_sf
        register, index = uleb(program, index)
    elif opcode != 0x13:  # def_cfa_offset_sf
        raise EncodingError(f"the unknown instruction {opcode:#04x}")
    factored, index = sleb(program, index)
    return register, factored * factors.data, index


def _skip(program: bytes, index: int, operands: str) -> int:
    for operand in operands:
        value, index = uleb(program, index)
        if operand == "b":
            index += value
    return index


def _summary(rows: list[tuple[int, int, int]]) -> Rows:
    deepest = known = depth = 0
    since, until = -1, None
    pointer: int | None = None
    opened = trampoline = False
    _, first_register, first_offset = rows[0]
    headless = first_register in (RSP, RBP) and first_offset > _ENTRY_BYTES
    for location, register, offset in rows:
        if register in (RSP, R11):
            if offset > deepest:
                deepest = offset
            if register == RSP:
                known = offset
            if opened:
                opened, until = False, location
        elif register == TRAMPOLINE:
            trampoline = True
        elif register == UNDEFINED:
            raise EncodingError("a program that never says where the frame begins")
        elif not opened:
            opened, until = True, None
            if since < 0:
                since, pointer = location, offset if register == RBP else None
                known = known or max(offset, _ENTRY_BYTES)
                depth = known
    untold = (since, until) if since >= 0 else None
    if max(deepest, depth) > LARGEST_FRAME_BYTES or deepest < 0:
        raise EncodingError(f"a frame of {max(deepest, depth):,} bytes")
    return Rows(
        deepest_bytes=max(deepest, depth),
        untold=untold,
        depth_bytes=depth,
        frame_pointer_bytes=pointer,
        headless=headless,
        trampoline=trampoline,
    )
