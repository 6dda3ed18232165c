"""What explains a death later: a stopped thread's registers and stack, as a core file.

The thread stands still while this is done and nothing runs in its process: an overflown stack has
no room for anybody. The kernel's own core files depend on settings of the machine, on limits, and
on a handler that may send them elsewhere; this one does not. It holds one thread's registers and
the bytes of its stack, nothing of the heap.

Layout: System V ABI, "Object Files"; core(5); struct elf_prstatus of the kernel.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reactivate.evidence import Address, Pid, Tid
from reactivate.procfs import MemoryMapping, task_folder, thread_name

FORMAT = 1
"""Version of `death.json`."""

LATEST = "death.json"
"""The description of the last deadly signal that a process got."""

MOST_COPIED_BYTES = 256 << 20
"""Of one stack, the deepest part first. Larger ones exist only where the limit was lifted."""

_BELOW_BYTES = 512
"""Below the stack pointer: the red zone (128 bytes on x86-64), and the call that was being made."""

_FARTHEST_BYTES = 1 << 30
"""How far below its stack a stack pointer may be and still be thought to have come from there."""

_PIECE_BYTES = 1 << 20
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PRSTATUS_HEAD = struct.Struct("<iiih2xQQiiii64x")
_CORE_FILE, _NOTE_SEGMENT, _LOADED = 4, 4, 1
_NT_PRSTATUS, _NT_AUXV, _NT_FILE = 1, 6, 0x46494C45


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A thread that is about to get a deadly signal.

    Attributes:
        pid: its process.
        tid: the thread.
        signal: number of the signal.
        code: `si_code`.
        address: the fault address, None if the signal carries none.
        stack_pointer: of the thread.
        instruction_pointer: of the thread.
        registers: its general registers as PTRACE_GETREGSET gives them (NT_PRSTATUS).
        machine: ELF machine number of the processor.
        mappings: of the process, at this moment.
    """

    pid: Pid
    tid: Tid
    signal: int
    code: int
    address: Address | None
    stack_pointer: Address
    instruction_pointer: Address
    registers: bytes
    machine: int
    mappings: tuple[MemoryMapping, ...]


def stack_at(mappings: tuple[MemoryMapping, ...], sp: int) -> MemoryMapping | None:
    """The stack that a stack pointer is on, or has just left at its lower end."""
    for mapping in mappings:
        if mapping.end <= sp or not mapping.permissions.startswith("rw"):
            continue
        return mapping if mapping.start - sp < _FARTHEST_BYTES else None
    return None


def take(stopped: Stopped, folder: Path, stem: str) -> Path:
    """Write `STEM.core`, and `STEM.json` which tells how to read it; `death.json` is the latest.

    Args:
        stopped: the thread; it must stay stopped until this returns.
        folder: for the files; it exists.
        stem: beginning of the core file's name.

    Returns:
        `STEM.json`.

    Raises:
        OSError: the memory cannot be read, or the files cannot be written.
        LookupError: the stack pointer is on no stack.
    """
    stack = stack_at(stopped.mappings, stopped.stack_pointer)
    if stack is None:
        raise LookupError(f"the stack pointer {stopped.stack_pointer:#x} is on no mapped stack")
    low = max(stack.start, Address(stopped.stack_pointer - _BELOW_BYTES))
    high = min(stack.end, low + MOST_COPIED_BYTES)
    core = folder / f"{stem}.core"
    _write_core(core, stopped, low, high)
    main_start = _start_of_main(stopped) if stack.path == "[stack]" else 0
    document = {
        "format": FORMAT,
        "core": core.name,
        "pid": stopped.pid,
        "tid": stopped.tid,
        "thread_name": _name(stopped),
        "signal": stopped.signal,
        "code": stopped.code,
        "address": stopped.address,
        "stack_pointer": stopped.stack_pointer,
        "instruction_pointer": stopped.instruction_pointer,
        "main": stack.path == "[stack]",
        "thread_start": main_start,
        "stack_start": stack.start,
        "stack_end": stack.end,
        "copied_start": low,
        "copied_end": high,
        "mappings": [
            [m.start, m.end, m.permissions, m.offset, m.inode, m.path]
            for m in stopped.mappings
            if m.path
        ],
        "files": _files(stopped),
    }
    record = folder / f"{stem}.json"
    write_document(record, document)
    write_document(folder / LATEST, document)
    return record


def forget(folder: Path, stem: str) -> None:
    """Remove what `take` wrote under this stem, if it is there."""
    for suffix in (".core", ".json"):
        with suppress(OSError):
            (folder / f"{stem}{suffix}").unlink()


def write_document(path: Path, document: object) -> None:
    """JSON, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _write_core(path: Path, stopped: Stopped, low: int, high: int) -> None:
    notes = b"".join(_notes(stopped))
    at = _HEADER.size + 2 * _SEGMENT.size
    with path.open("wb") as file, (task_folder(stopped.pid) / "mem").open("rb", buffering=0) as mem:
        file.write(
            _HEADER.pack(
                b"\x7fELF\x02\x01\x01", _CORE_FILE, stopped.machine, 1, 0, _HEADER.size, 0, 0,
                _HEADER.size, _SEGMENT.size, 2, 0, 0, 0,
            )
        )  # fmt: skip
        file.write(_SEGMENT.pack(_NOTE_SEGMENT, 0, at, 0, 0, len(notes), 0, 4))
        size = high - low
        file.write(_SEGMENT.pack(_LOADED, 6, at + len(notes), low, 0, size, size, 1))
        file.write(notes)
        mem.seek(low)
        while size:
            piece = mem.read(min(_PIECE_BYTES, size))
            if not piece:
                raise OSError("the stack of the stopped thread ends before its mapping")
            file.write(piece)
            size -= len(piece)


def _notes(stopped: Stopped) -> Iterable[bytes]:
    head = _PRSTATUS_HEAD.pack(
        stopped.signal, stopped.code, 0, stopped.signal, 0, 0, stopped.tid, 0, 0, 0
    )
    yield _note(_NT_PRSTATUS, head + stopped.registers + bytes(8))
    with suppress(OSError):
        yield _note(_NT_AUXV, (task_folder(stopped.pid) / "auxv").read_bytes())
    files = [m for m in stopped.mappings if m.path.startswith("/") and m.inode]
    table = struct.pack("<QQ", len(files), 1)
    table += b"".join(struct.pack("<QQQ", m.start, m.end, m.offset) for m in files)
    table += b"".join(os.fsencode(m.path) + b"\0" for m in files)
    yield _note(_NT_FILE, table)


def _note(kind: int, content: bytes) -> bytes:
    padding = bytes(-len(content) % 4)
    return _NOTE.pack(5, len(content), kind) + b"CORE\0\0\0\0" + content + padding


def _start_of_main(stopped: Stopped) -> int:
    """Where the kernel put the main thread's stack pointer at exec; field 28 of /proc/PID/stat."""
    text = (task_folder(stopped.pid) / "stat").read_text(errors="replace")
    return int(text.rpartition(")")[2].split()[25])


def _files(stopped: Stopped) -> dict[str, tuple[int, int]]:
    """Size and time of change of the mapped files: whether they are still the same later."""
    found = {}
    for path in {m.path for m in stopped.mappings if m.inode and "x" in m.permissions}:
        with suppress(OSError, ValueError):
            status = Path(path).stat()
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def _name(stopped: Stopped) -> str:
    with suppress(OSError, ProcessLookupError):
        return thread_name(stopped.pid, stopped.tid)
    return ""
