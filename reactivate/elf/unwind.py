"""How to get from a frame to its caller, from .eh_frame: DWARF's call frame information, executed.

Sources: DWARF 5, sections 2.5 and 6.4; Linux Standard Base, "Exception Frames"; System V ABI,
AMD64 supplement, figure 3.36 (the numbers of the registers).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reactivate.elf.encoding import (
    ABSOLUTE,
    OMITTED,
    EncodingError,
    pointer_format,
    resolve,
    sleb,
    uleb,
)
from reactivate.elf.image import Image

RSP, RIP = 7, 16
REGISTERS = 17
"""rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, and the return address."""

_GNU_EH_FRAME = 0x6474E550
_TABLE = 0x3B
"""Encoding of the search table: four signed bytes, relative to the header."""
_MASK = (1 << 64) - 1
_LONGEST_ENTRY_BYTES = 1 << 20

Expression = bytes
Memory = Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The caller's registers, as the code at one address has left them.

    Attributes:
        function: address where the function begins, in the file.
        register: the canonical frame address is this register …
        offset: … plus this many bytes.
        expression: computes the canonical frame address instead, b"" if it does not.
        saved: register → where it is, in bytes from the canonical frame address.
        computed: register → expression for the address where it is.
        moved: register → the register that holds it.
        outermost: there is no caller: the return address is undefined.
        signal: the frame was made by the kernel; its caller was interrupted, it did not call.
    """

    function: int
    register: int = RSP
    offset: int = 8
    expression: Expression = b""
    saved: tuple[tuple[int, int], ...] = ((RIP, -8),)
    computed: tuple[tuple[int, Expression], ...] = ()
    moved: tuple[tuple[int, int], ...] = ()
    outermost: bool = False
    signal: bool = False


@dataclass(slots=True)
class _State:
    register: int = RSP
    offset: int = 8
    expression: Expression = b""
    saved: dict[int, int] = field(default_factory=dict)
    computed: dict[int, Expression] = field(default_factory=dict)
    moved: dict[int, int] = field(default_factory=dict)
    undefined: set[int] = field(default_factory=set)

    def copy(self) -> _State:
        return replace(
            self,
            saved=dict(self.saved),
            computed=dict(self.computed),
            moved=dict(self.moved),
            undefined=set(self.undefined),
        )

    def forget(self, register: int) -> None:
        self.saved.pop(register, None)
        self.computed.pop(register, None)
        self.moved.pop(register, None)
        self.undefined.discard(register)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cie:
    code: int
    data: int
    encoding: int
    augmented: bool
    signal: bool
    program: bytes


class Unwinder:
    """Finds rules by address, through the sorted table that the C library's unwinder uses, too.

    Raises:
        EncodingError: the binary has no such table, or it is damaged.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        header = next((s for s in image.segments if s.kind == _GNU_EH_FRAME), None)
        if header is None:
            raise EncodingError("no unwind information (.eh_frame_hdr)")
        data = image.code(header.address, header.file_bytes)
        try:
            self._starts, self._entries = _search_table(data, header.address)
        except (struct.error, IndexError) as error:
            raise EncodingError(f".eh_frame_hdr: {error}") from error
        self._cies: dict[int, _Cie] = {}

    def rule(self, address: int) -> Rule | None:
        """The rule at an address of the file; None if nothing is told about that code.

        Raises:
            EncodingError: what is told cannot be understood.
        """
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        try:
            return self._rule(self._entries[place], address)
        except (struct.error, IndexError) as error:
            raise EncodingError(f".eh_frame: {error}") from error

    def _rule(self, entry: int, address: int) -> Rule | None:
        data = self._at(entry)
        distance = int.from_bytes(data[4:8], "little")
        cie = self._cie(entry + 4 - distance)
        form = pointer_format(cie.encoding)
        (stored,) = form.unpack_from(data, 8)
        begin = resolve(cie.encoding, stored, entry + 8)
        at = 8 + form.size
        size = int.from_bytes(data[at : at + form.size], "little")
        at += form.size
        if not begin <= address < begin + size:
            return None
        if cie.augmented:
            skipped, at = uleb(data, at)
            at += skipped
        initial = _execute(cie.program, _State(), cie, begin, None)
        state = _execute(data[at:], initial.copy(), cie, begin, address, initial)
        return Rule(
            function=begin,
            register=state.register,
            offset=state.offset,
            expression=state.expression,
            saved=tuple((r, o) for r, o in state.saved.items() if r < REGISTERS),
            computed=tuple((r, e) for r, e in state.computed.items() if r < REGISTERS),
            moved=tuple((r, f) for r, f in state.moved.items() if max(r, f) < REGISTERS),
            outermost=RIP in state.undefined,
            signal=cie.signal,
        )

    def _at(self, entry: int) -> bytes:
        """An entry's bytes, with its length field."""
        length = int.from_bytes(self._image.code(entry, 4), "little")
        if not 8 <= length <= _LONGEST_ENTRY_BYTES:
            raise EncodingError(f"an entry of {length:,} bytes")
        return self._image.code(entry, length + 4)

    def _cie(self, entry: int) -> _Cie:
        if entry not in self._cies:
            self._cies[entry] = _read_cie(self._at(entry))
        return self._cies[entry]


def _search_table(data: bytes, address: int) -> tuple[list[int], list[int]]:
    if len(data) < 4:
        raise EncodingError("a search table that is cut off")
    version, pointer, count_form, table = data[:4]
    if version != 1 or table != _TABLE:
        raise EncodingError("a search table of an unknown form")
    at = 4 + pointer_format(pointer).size
    form = pointer_format(count_form)
    (count,) = form.unpack_from(data, at)
    at += form.size
    numbers = struct.unpack_from(f"<{2 * count}i", data, at)
    return [address + n for n in numbers[::2]], [address + n for n in numbers[1::2]]


def _read_cie(data: bytes) -> _Cie:
    version = data[8]
    if version not in (1, 3) or data[4:8] != bytes(4):
        raise EncodingError(f"a CIE of version {version}")
    end = data.index(b"\0", 9)
    letters, at = data[9:end], end + 1
    code, at = uleb(data, at)
    factor, at = sleb(data, at)
    at = at + 1 if version == 1 else uleb(data, at)[1]
    encoding = ABSOLUTE
    if letters.startswith(b"z"):
        size, at = uleb(data, at)
        place = at
        for letter in letters[1:]:
            if letter == ord("R"):
                encoding = data[place]
            if letter == ord("P"):
                kind = data[place]
                place += 0 if kind == OMITTED else pointer_format(kind & 0x7F).size
            place += letter in b"RLP"
        at += size
    elif letters:
        raise EncodingError(f"the augmentation {letters[:16]!r}")
    return _Cie(
        code=code,
        data=factor,
        encoding=encoding,
        augmented=letters.startswith(b"z"),
        signal=b"S" in letters,
        program=data[at:],
    )


def _execute(
    program: bytes,
    state: _State,
    cie: _Cie,
    location: int,
    until: int | None,
    initial: _State | None = None,
) -> _State:
    """The state at an address; None for `until` executes all of the program."""
    at, stack = 0, []
    while at < len(program):
        opcode = program[at]
        at += 1
        high, low = opcode & 0xC0, opcode & 0x3F
        if high == 0x40 or opcode in (0x01, 0x02, 0x03, 0x04):
            if high == 0x40:
                location += low * cie.code
            elif opcode == 0x01:
                raise EncodingError("DW_CFA_set_loc")
            else:
                size = {2: 1, 3: 2, 4: 4}[opcode]
                location += int.from_bytes(program[at : at + size], "little") * cie.code
                at += size
            if until is not None and location > until:
                return state
        elif high == 0x80:
            offset, at = uleb(program, at)
            state.forget(low)
            state.saved[low] = offset * cie.data
        elif high == 0xC0:
            _restore(state, initial, low)
        elif opcode == 0x0A:
            stack.append(state.copy())
        elif opcode == 0x0B:
            if not stack:
                raise EncodingError("DW_CFA_restore_state without DW_CFA_remember_state")
            state = stack.pop()
        else:
            at = _other(opcode, program, at, state, initial, cie)
    return state


def _restore(state: _State, initial: _State | None, register: int) -> None:
    state.forget(register)
    if initial is not None and register in initial.saved:
        state.saved[register] = initial.saved[register]
    if initial is not None and register in initial.computed:
        state.computed[register] = initial.computed[register]


def _other(
    opcode: int, program: bytes, at: int, state: _State, initial: _State | None, cie: _Cie
) -> int:
    """Instructions without an operand in the opcode; returns the index behind."""
    if opcode == 0x00:  # nop
        return at
    if opcode == 0x2E:  # GNU_args_size
        return uleb(program, at)[1]
    if opcode in (0x0E, 0x13):  # def_cfa_offset
        value, at = uleb(program, at) if opcode == 0x0E else sleb(program, at)
        state.offset = value * (1 if opcode == 0x0E else cie.data)
        return at
    if opcode == 0x0F:  # def_cfa_expression
        size, at = uleb(program, at)
        state.expression = program[at : at + size]
        return at + size
    register, at = uleb(program, at)
    if opcode in (0x0C, 0x12):  # def_cfa
        value, at = uleb(program, at) if opcode == 0x0C else sleb(program, at)
        state.register, state.expression = register, b""
        state.offset = value * (1 if opcode == 0x0C else cie.data)
    elif opcode == 0x0D:  # def_cfa_register
        state.register, state.expression = register, b""
    elif opcode in (0x05, 0x11, 0x2F):  # offset_extended; the last one is negated
        value, at = sleb(program, at) if opcode == 0x11 else uleb(program, at)
        state.forget(register)
        state.saved[register] = value * cie.data * (-1 if opcode == 0x2F else 1)
    elif opcode == 0x06:  # restore_extended
        _restore(state, initial, register)
    elif opcode in (0x07, 0x08):  # undefined, same_value
        state.forget(register)
        if opcode == 0x07:
            state.undefined.add(register)
    elif opcode == 0x09:  # register
        state.forget(register)
        state.moved[register], at = uleb(program, at)
    elif opcode == 0x10:  # expression
        size, at = uleb(program, at)
        state.forget(register)
        state.computed[register] = program[at : at + size]
        at += size
    else:
        raise EncodingError(f"call frame instruction {opcode:#04x}")
    return at


_BINARY: Mapping[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << min(b, 64),
    0x25: lambda a, b: a >> b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(a >= b),
    0x2B: lambda a, b: int(a > b),
    0x2C: lambda a, b: int(a <= b),
    0x2D: lambda a, b: int(a < b),
    0x2E: lambda a, b: int(a != b),
}
_CONSTANTS = {0x08: (1, False), 0x09: (1, True), 0x0A: (2, False), 0x0B: (2, True),
              0x0C: (4, False), 0x0D: (4, True), 0x0E: (8, False), 0x0F: (8, True)}  # fmt: skip


def compute(
    expression: Expression, registers: list[int], memory: Memory, stack: tuple[int, ...] = ()
) -> int:
    """The value of a DWARF expression.

    Args:
        expression: its operations.
        registers: as numbered by DWARF.
        memory: reads eight bytes at an address; may raise LookupError.
        stack: what lies on the expression's stack at first.

    Raises:
        EncodingError: it cannot be understood.
    """
    at, values = 0, list(stack)
    try:
        while at < len(expression):
            opcode = expression[at]
            at += 1
            if opcode in _BINARY:
                second, first = values.pop(), values.pop()
                values.append(_BINARY[opcode](first, second) & _MASK)
            elif 0x30 <= opcode <= 0x4F:
                values.append(opcode - 0x30)
            elif 0x70 <= opcode <= 0x8F:
                offset, at = sleb(expression, at)
                values.append(registers[opcode - 0x70] + offset & _MASK)
            elif opcode in _CONSTANTS:
                size, signed = _CONSTANTS[opcode]
                number = int.from_bytes(expression[at : at + size], "little", signed=signed)
                values.append(number & _MASK)
                at += size
            elif opcode == 0x23:  # plus_uconst
                offset, at = uleb(expression, at)
                values.append(values.pop() + offset & _MASK)
            elif opcode == 0x06:  # deref
                values.append(memory(values.pop()))
            else:
                raise EncodingError(f"expression operation {opcode:#04x}")
        return values[-1]
    except IndexError as error:
        raise EncodingError("an expression that takes more than it has") from error
