"""Steps over x86-64 instructions at the speed of the regular expression engine.

Finding what moves the stack pointer needs instruction boundaries, not a disassembly. `plain()`
matches a run of instructions that neither move the stack pointer nor leave the straight line;
where it ends, `motion.py` looks at the one instruction that does. Encodings: Intel 64 and IA-32
Architectures Software Developer's Manual, volume 2, chapter 2 and appendix A.

Register 4 is rsp unless a bit of the REX prefix makes it r12; that is why each pattern that looks
for rsp begins with the REX values that leave the operand in question alone.
"""

from __future__ import annotations

import re
from functools import cache

RUN_LIMIT = 512
"""Instructions in one match: a repeat without a limit keeps state for every iteration."""


def _any(*alternatives: bytes) -> bytes:
    return b"(?:" + b"|".join(alternatives) + b")"


def _set(numbers: list[int]) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % n for n in numbers) + b"]"


def _modrm(mod: int, rms: list[int]) -> bytes:
    return _set([mod << 6 | reg << 3 | rm for reg in range(8) for rm in rms])


def _ending(bits: int, *values: int) -> bytes:
    """Bytes whose lowest `bits` are one of `values`."""
    return _set([n for n in range(256) if n & (1 << bits) - 1 in values])


_NO_SIB = [0, 1, 2, 3, 5, 6, 7]
# ModRM, SIB and displacement.
_M = _any(
    rb"[\xc0-\xff]",
    _modrm(1, _NO_SIB) + b".",
    _modrm(1, [4]) + b"..",
    _modrm(0, [0, 1, 2, 3, 6, 7]),
    _modrm(2, _NO_SIB) + b".{4}",
    _modrm(0, [5]) + b".{4}",
    _modrm(0, [4]) + _any(_ending(3, 0, 1, 2, 3, 4, 6, 7), b"." + b".{4}"),
    _modrm(2, [4]) + b".{5}",
)

# In VEX and EVEX the map and the opcode say whether an immediate byte follows.
_MAP1_IMM8 = rb"[\x70-\x73\xc2\xc4-\xc6]"
_MAP1_OTHER = rb"[^\x70-\x73\x77\xc2\xc4-\xc6]"
_MAP1 = _any(rb"\xc5.", rb"\xc4" + _ending(5, 1) + b".", rb"\x62" + _ending(3, 1) + b"..")

# What has an operand and nothing else. Without 8F (pop) and the pushes and jumps of FF.
_OPERAND = _any(
    rb"[\x00-\x03\x08-\x0b\x10-\x13\x18-\x1b\x20-\x23\x28-\x2b\x30-\x33\x38-\x3b"
    rb"\x63\x84-\x8e\xd0-\xd3\xd8-\xdf\xfe]",
    rb"\x0f[\x00-\x03\x0d\x10-\x2f\x40-\x6f\x74-\x76\x78-\x7f\x90-\x9f\xa3\xa5\xab\xad-\xaf"
    rb"\xb0-\xb9\xbb-\xbf\xc0\xc1\xc3\xc7\xd0-\xfe]",
    rb"\xff(?=[\x00-\x1f\x40-\x5f\x80-\x9f\xc0-\xdf])",  # inc, dec, call
    rb"[\xf6\xf7](?=[\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff])",  # not test
    _MAP1 + _MAP1_OTHER,
    rb"\x0f\x38.",
    rb"\xc4" + _ending(5, 2) + b"..",
    rb"\x62" + _ending(3, 2, 5, 6) + b"...",
)
_OPERAND_IMM8 = _any(
    rb"[\x80\x83\xc0\xc1\xc6\x6b\xf6]",
    rb"\x0f[\x70-\x73\xa4\xac\xba\xc2\xc4-\xc6\x0f]",
    _MAP1 + _MAP1_IMM8,
    rb"\x0f\x3a.",
    rb"\xc4" + _ending(5, 3) + b"..",
    rb"\x62" + _ending(3, 3) + b"...",
)
_OPERAND_IMM = rb"[\x81\xc7\x69\xf7]"
_ACCUMULATOR_IMM = rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d\xa9]"
_ACCUMULATOR_IMM8 = rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\xa8\xb0-\xb7\xcd\xe4-\xe7]"
_BARE = _any(
    rb"[\x6c-\x6f\x90-\x99\x9b\x9e\x9f\xa4-\xa7\xaa-\xaf\xcc\xec-\xef\xf5\xf8-\xfd\xd7]",
    rb"\x0f[\x05-\x09\x0e\x30-\x37\x77\xa2\xaa\xc8-\xcf]",
    rb"\xc5.\x77",
)

# With a 64-bit operand: what writes rsp, and what copies or aims it (rbp the frame pointer, r11
# the end of a probe loop).
_TOUCHES_RSP = _any(
    rb"[\x48\x4a\x4c\x4e][\x01\x09\x11\x19\x21\x29\x31\x87\x89]"
    + _set([0xC4 | reg << 3 for reg in range(8)]),
    rb"[\x48\x4a\x4c\x4e]" + _any(rb"[\x81\x83][\xc4\xcc\xd4\xdc\xe4\xec\xf4]", rb"\xc7\xc4"),
    rb"[\x48-\x4b][\x03\x0b\x13\x1b\x23\x2b\x33\x87\x8b\x8d][\x20-\x27\x60-\x67\xa0-\xa7\xe0-\xe7]",
    rb"[\x48\x4a][\x94\xbc]",
    rb"[\x40\x42\x44\x46]\xb4",
    rb"\x48(?:\x89\xe5|\x8b\xec)",
    rb"\x4c(?:\x8d[\x5c\x9c]\x24|\x8b\xdc)",
    rb"\x49(?:\x89\xe3|[\x81\x83][\xeb\xc3])",
)

_OTHER_PREFIXES = rb"\x2e\x36\x3e\x26\x64\x65\x67\xf0\xf2\xf3"
_PREFIXES = rb"[\x66" + _OTHER_PREFIXES + rb"]{%d,14}"  # an instruction has at most 15 bytes
_NOT_RSP = b"(?!" + _TOUCHES_RSP + b")"
_PLAIN = _any(
    b"(?:" + _NOT_RSP + rb"[\x40-\x4f])?"
    + _any(
        _OPERAND + _M,
        _OPERAND_IMM8 + _M + b".",  # of F6 and F7 only `test` comes here: _OPERAND has the others
        _ACCUMULATOR_IMM + b".{4}",
        rb"\xe8.{4}",
        _OPERAND_IMM + _M + b".{4}",
        _BARE,
        _ACCUMULATOR_IMM8 + b".",
        rb"[\xa0-\xa3].{8}",
    ),
    rb"[\x40-\x47]?[\xb8-\xbf].{4}",
    _NOT_RSP + rb"[\x48-\x4f][\xb8-\xbf].{8}",
)  # fmt: skip
# The prefix 66 makes immediates 16 bits wide, unless REX.W is there, too.
_IMM16 = _any(
    rb"(?!\xf7[\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff])" + _OPERAND_IMM + _M + b"..",
    _ACCUMULATOR_IMM + b"..",
    rb"[\xb8-\xbf]..",
)
_PREFIXED = _any(
    rb"[" + _OTHER_PREFIXES + rb"]?\x66" + _PREFIXES % 0 + rb"[\x40-\x47]?" + _IMM16,
    rb"(?!\x66\x31\xe4)" + _PREFIXES % 1 + _PLAIN,
)


# What jumps or returns, gives stack back, or only copies rsp: nothing of it makes a frame larger.
_QUIET = _any(
    rb"[\xf2\x2e\x3e]?" + _any(
        rb"[\x70-\x7f\xe0-\xe3\xeb].",
        rb"\x0f[\x80-\x8f].{4}",
        rb"\xe9.{4}",
        rb"[\x40-\x47]?\xff(?=[\x20-\x2f\x60-\x6f\xa0-\xaf\xe0-\xef])" + _M,
    ),
    rb"[\xf2\xf3]?\xc3",
    rb"\x0f\x0b|\xf4",
    rb"[\x58-\x5b\x5d-\x5f\xc9]|\x41[\x58-\x5f]",
    rb"\x48\x83\xc4[\x00-\x7f]|\x48\x81\xc4...[\x00-\x7f]",
    rb"\x48\x8d(?:\x65.|\xa5.{4})|\x48\x89\xec|\x48\x8b\xe5",
    rb"\x49\x83[\xc3\xeb].|\x49\x81[\xc3\xeb].{4}",
)  # fmt: skip


@cache
def plain() -> re.Pattern[bytes]:
    """Matches a run of instructions that neither touch rsp as a value nor jump nor return.

    Compiled when first asked for: that takes longer than the rest of a small program's frames.
    """
    return re.compile(_any(_PLAIN, _PREFIXED) + b"{0,%d}" % RUN_LIMIT, re.DOTALL)


@cache
def quiet() -> re.Pattern[bytes]:
    """Matches a run of instructions of which none can make a frame larger."""
    return re.compile(_any(_PLAIN, _QUIET, _PREFIXED) + b"{0,%d}" % RUN_LIMIT, re.DOTALL)


OPERAND = re.compile(_M, re.DOTALL)
"""ModRM, SIB and displacement."""
