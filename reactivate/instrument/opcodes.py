"""FUSE opcodes, and which of their errors are everyday answers (include/uapi/linux/fuse.h)."""

from __future__ import annotations

import errno

STATFS = 17

OPCODES: dict[int, str] = {
    1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 5: "READLINK", 6: "SYMLINK",
    8: "MKNOD", 9: "MKDIR", 10: "UNLINK", 11: "RMDIR", 12: "RENAME", 13: "LINK", 14: "OPEN",
    15: "READ", 16: "WRITE", 17: "STATFS", 18: "RELEASE", 20: "FSYNC", 21: "SETXATTR",
    22: "GETXATTR", 23: "LISTXATTR", 24: "REMOVEXATTR", 25: "FLUSH", 26: "INIT", 27: "OPENDIR",
    28: "READDIR", 29: "RELEASEDIR", 30: "FSYNCDIR", 31: "GETLK", 32: "SETLK", 33: "SETLKW",
    34: "ACCESS", 35: "CREATE", 36: "INTERRUPT", 37: "BMAP", 38: "DESTROY", 39: "IOCTL",
    40: "POLL", 41: "NOTIFY_REPLY", 42: "BATCH_FORGET", 43: "FALLOCATE", 44: "READDIRPLUS",
    45: "RENAME2", 46: "LSEEK", 47: "COPY_FILE_RANGE", 48: "SETUPMAPPING", 49: "REMOVEMAPPING",
    50: "SYNCFS", 51: "TMPFILE", 52: "STATX",
}  # fmt: skip

WITHOUT_ANSWER = frozenset({"FORGET", "BATCH_FORGET", "INTERRUPT", "NOTIFY_REPLY"})
"""Opcodes to which the protocol knows no answer."""

_ASKED_ONCE = frozenset(
    {
        "ACCESS", "BMAP", "COPY_FILE_RANGE", "CREATE", "FALLOCATE", "FLUSH", "FSYNC", "FSYNCDIR",
        "GETLK", "GETXATTR", "INTERRUPT", "IOCTL", "LISTXATTR", "LSEEK", "OPEN", "OPENDIR",
        "POLL", "READDIRPLUS", "REMOVEXATTR", "RENAME2", "SETLK", "SETLKW", "SETXATTR", "STATX",
        "SYNCFS", "TMPFILE",
    }
)  # fmt: skip
"""Opcodes that the kernel tries once: ENOSYS is the way to say that there is no such thing."""

_NOT_THERE = {
    "LOOKUP": frozenset({errno.ENOENT}),
    "GETXATTR": frozenset({errno.ENODATA, errno.EOPNOTSUPP}),
    "LISTXATTR": frozenset({errno.EOPNOTSUPP}),
    "TMPFILE": frozenset({errno.EOPNOTSUPP}),
}


def opcode_name(number: int) -> str:
    """`LOOKUP`; `opcode 99` for one that is newer than this table."""
    return OPCODES.get(number, f"opcode {number}")


def error_name(number: int) -> str:
    """`ENOENT` for 2 or -2; the number itself where it has no name."""
    return errno.errorcode.get(abs(number), str(abs(number)))


def everyday(opcode: str, error: int) -> bool:
    """Whether the error is an ordinary answer: nothing there by that name, or not implemented."""
    number = abs(error)
    if number == errno.ENOSYS:
        return opcode in _ASKED_ONCE
    return number in _NOT_THERE.get(opcode, ())
