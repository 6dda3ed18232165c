"""Whose stacks mean something: native x86-64 programs yes, runtimes that move stacks no.

Goroutines run on small pieces of heap that the Go runtime copies and enlarges. The stacks that the
kernel knows of such a process hold next to nothing of the program, so a number read from them
would be right and worthless. Go is told by what its linker always writes (sections and a note that
survive stripping), not by symbols.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reactivate.errors import MachineError, MeasurementError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.files import open_plain
from reactivate.procfs import task_folder

_MACHINE = "x86_64"
_CLASS_64 = 2
_LITTLE_ENDIAN = 1
_X86_64 = 62
_MACHINES = {3: "i386", 40: "ARM", 183: "AArch64", 243: "RISC-V", 21: "PowerPC", 22: "S/390"}
_PT_NOTE = 4
_GO_SECTIONS = (b".note.go.buildid", b".gopclntab", b".go.buildinfo")
_GO_NOTE_OWNER = b"Go\0\0"

# A header table larger than this is not a linker's work; nothing beyond is looked at.
_MOST_HEADERS = 4096
_MOST_NAME_BYTES = 1 << 20
_MOST_NOTE_BYTES = 1 << 16


def require_this_machine() -> None:
    """Refuse on processors whose registers and red zone this tool does not know.

    Raises:
        MachineError: the machine is not x86-64.
    """
    here = platform.machine()
    if here != _MACHINE:
        raise MachineError(
            f"stacks cannot be measured on {here}",
            why="registers, red zone and system calls are known for x86-64 only, so nothing is "
            "measured rather than something wrong",
            hint="run it on an x86-64 machine",
        )


def require_native(pid: Pid) -> None:
    """Refuse a process whose stacks cannot be measured.

    Raises:
        MeasurementError: it is a Go program.
        MachineError: the machine, or the program, is not x86-64.
        PrivilegeError: the process is another user's.
        ProcessLookupError: it is gone.
    """
    require_this_machine()
    link = task_folder(pid) / "exe"
    try:
        name = str(link.readlink()).removesuffix(" (deleted)")
        with link.open("rb") as file:
            _judge(file, f"process {pid} ({Path(name).name})")
    except PermissionError as error:
        why = f"{error.filename}: {error.strerror}; measuring needs ptrace access to the process"
        hint = "run as the process's own user or as root; see /proc/sys/kernel/yama/ptrace_scope"
        if _is_ours(pid):
            why += ", which is this user's but lets itself not be traced (PR_SET_DUMPABLE)"
            hint = "run as root"
        raise PrivilegeError(f"process {pid} may not be looked at", why=why, hint=hint) from error
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone, or a thread of the kernel") from None


def _is_ours(pid: Pid) -> bool:
    """Whether all user numbers of a process are ours. Its files in /proc may be root's."""
    try:
        status = (task_folder(pid) / "status").read_text(errors="replace")
    except OSError:
        return False
    numbers = status.partition("\nUid:")[2].partition("\n")[0].split()
    return set(numbers) == {str(os.geteuid())}


def require_native_file(program: Path) -> None:
    """Refuse a program file whose stacks could not be measured; a script is no such file.

    Raises:
        MeasurementError: it is a Go program.
        MachineError: the machine, or the program, is not x86-64.
        UsageError: the file cannot be read.
    """
    require_this_machine()
    try:
        with open_plain(program) as file:
            _judge(file, program.name)
    except OSError as error:
        raise UsageError(f"{program} cannot be read", why=error.strerror or str(error)) from error


def is_go(file: BinaryIO) -> bool:
    """Whether an ELF file was linked by Go; False for anything that is no readable ELF file."""
    try:
        return any(name in _GO_SECTIONS for name in _section_names(file)) or _has_go_note(file)
    except (struct.error, OverflowError, OSError, ValueError):
        return False


def _judge(file: BinaryIO, subject: str) -> None:
    head = file.read(20)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return
    machine = int.from_bytes(head[18:20], "little" if head[5] == _LITTLE_ENDIAN else "big")
    if head[4] != _CLASS_64 or machine != _X86_64:
        what = _MACHINES.get(machine, f"machine {machine}")
        if machine == _X86_64:
            what = "x86-64 with 32-bit pointers"
        raise MachineError(
            f"{subject} is a program for {what}",
            why="only x86-64 programs can be measured: registers, red zone and system calls of "
            "others are not known here",
            hint="build it for x86-64, and measure that",
        )
    if is_go(file):
        raise MeasurementError(
            f"{subject} is a Go program: painting its stacks means nothing",
            why="goroutines run on pieces of heap that the Go runtime moves and enlarges; the "
            "stacks that the kernel knows hold nothing of them",
            hint="use Go's own tools: runtime/debug.SetMaxStack, and pprof for who uses it.",
        )


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        raise ValueError("the file ends before its own tables do")
    return data


def _section_names(file: BinaryIO) -> Iterator[bytes]:
    """Names of the sections, by the ELF-64 header's own tables (System V ABI, chapter 4)."""
    header = _at(file, 0, 64)
    (offset,) = struct.unpack_from("<Q", header, 40)
    entry, count, names = struct.unpack_from("<HHH", header, 58)
    if not offset or entry < 64:
        return
    if not count:  # more than 65,279 of them: the first section says how many
        (count,) = struct.unpack_from("<Q", _at(file, offset, 64), 32)
    count = min(count, _MOST_HEADERS)
    if names >= count:
        return
    table = _at(file, offset, entry * count)
    start, size = struct.unpack_from("<QQ", table, entry * names + 24)
    text = _at(file, start, min(size, _MOST_NAME_BYTES))
    for index in range(count):
        (at,) = struct.unpack_from("<I", table, entry * index)
        yield text[at : text.find(b"\0", at)] if at < len(text) else b""


def _has_go_note(file: BinaryIO) -> bool:
    """Whether a note segment is Go's: it is there even where the section table is cut off."""
    header = _at(file, 0, 64)
    (offset,) = struct.unpack_from("<Q", header, 32)
    entry, count = struct.unpack_from("<HH", header, 54)
    if not offset or entry < 56:
        return False
    table = _at(file, offset, entry * min(count, _MOST_HEADERS))
    for index in range(min(count, _MOST_HEADERS)):
        (kind,) = struct.unpack_from("<I", table, entry * index)
        start, size = struct.unpack_from("<Q16xQ", table, entry * index + 8)
        if kind == _PT_NOTE and _GO_NOTE_OWNER in _owners(
            _at(file, start, min(size, _MOST_NOTE_BYTES))
        ):
            return True
    return False


def _owners(notes: bytes) -> Iterator[bytes]:
    at = 0
    while at + 12 <= len(notes):
        owner, description = struct.unpack_from("<II", notes, at)
        yield notes[at + 12 : at + 12 + owner]
        at += 12 + (owner + 3) // 4 * 4 + (description + 3) // 4 * 4
