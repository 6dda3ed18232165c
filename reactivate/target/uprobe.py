"""How often a function of a program was entered: the kernel's own counter, nothing is stopped.

perf_event_open(2) with the PMU `uprobe` (Documentation/ABI/testing/sysfs-bus-event_source-devices).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reactivate import procfs
from reactivate.errors import MissingToolError, PrivilegeError
from reactivate.evidence import Pid

_PMU = Path("/sys/bus/event_source/devices/uprobe/type")
_ATTRIBUTES = struct.Struct("<IIQQQQQIIQQ")
_SIZE_BYTES = 112  # PERF_ATTR_SIZE_VER5
_INHERIT = 1 << 1
_CLOEXEC = 1 << 3
_CALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
_libc = ctypes.CDLL(None, use_errno=True)


class Hits:
    """Counters on all threads of a process; from `counting`."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def count(self) -> int:
        """How often the function was entered so far, threads started meanwhile included."""
        return sum(struct.unpack("<Q", os.read(fd, 8))[0] for fd in self._descriptors)


@contextmanager
def counting(pid: Pid, file: Path, offset: int) -> Iterator[Hits]:
    """Count entries of the function whose code begins at an offset of a file.

    Args:
        pid: the process; other processes that run the same file do not count.
        file: the program or library.
        offset: in bytes, in the file; see `elf_facts.function_offset`.

    Raises:
        MissingToolError: this kernel has no such counters.
        PrivilegeError: they may not be used.
    """
    number = _CALLS.get(platform.machine())
    if not _PMU.exists() or number is None:
        raise MissingToolError(
            "calls of a function cannot be counted here",
            why=f"there is no {_PMU}" if number is not None else platform.machine(),
            hint="use `witness` or `witness_operation` in the target's file",
        )
    descriptors: list[int] = []
    path = ctypes.create_string_buffer(os.fsencode(file))
    attributes = _ATTRIBUTES.pack(
        int(_PMU.read_text()), _SIZE_BYTES, 0, 0, 0, 0, _INHERIT, 0, 0,
        ctypes.addressof(path), offset,
    ).ljust(_SIZE_BYTES, b"\0")  # fmt: skip
    try:
        for tid in procfs.thread_ids(pid):
            made = _libc.syscall(number, attributes, tid, -1, -1, _CLOEXEC)
            if made >= 0:
                descriptors.append(made)
            elif ctypes.get_errno() != 3:  # ESRCH: it has ended
                raise PrivilegeError(
                    "calls of a function cannot be counted here",
                    why=os.strerror(ctypes.get_errno()),
                    hint="run as root, or use `witness_operation` in the target's file",
                )
        yield Hits(descriptors)
    finally:
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)
