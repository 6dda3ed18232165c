"""What SQLite asks of the disk, written down, refused, or undone as a power cut may undo it.

A shim between SQLite and its own way to files (its VFS, https://www.sqlite.org/vfs.html): every
write, sync, truncation and removal passes through it to the real file.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512
SQLITE_FULL = 13

_SQLITE = ctypes.CDLL("libsqlite3.so.0")
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
# The name as an address: SQLite keeps it, and what follows it.
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class _Methods(Structure):
    """sqlite3_io_methods, to its third version."""

    _fields_ = [
        ("version", c_int), ("close", c_void_p), ("read", c_void_p), ("write", c_void_p),
        ("truncate", c_void_p), ("sync", c_void_p), ("rest", c_void_p * 13),
    ]  # fmt: skip


class _Vfs(Structure):
    """sqlite3_vfs, to its third version."""

    _fields_ = [
        ("version", c_int), ("file_size", c_int), ("longest_path", c_int), ("next", c_void_p),
        ("name", c_char_p), ("data", c_void_p), ("open", c_void_p), ("delete", c_void_p),
        ("rest", c_void_p * 14),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that was asked of the disk.

    Attributes:
        kind: `write`, `truncate`, `sync`, `delete`, or `delete+` if its folder is synced, too.
        path: of the file.
        offset: where it is written, or the length it is cut to.
        data: what is written.
    """

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Disk:
    """What passed the shim, and how much more may pass.

    Attributes:
        acts: everything, in order.
        growths_left: after so many writes that make a file longer the disk is full; None: never.
    """

    acts: list[Act] = field(default_factory=list)
    growths_left: int | None = None

    def full(self, path: str, end: int) -> bool:
        """Whether a write is refused. What lies inside of a file needs no more room."""
        if self.growths_left is None or end <= Path(path).stat().st_size:
            return False
        self.growths_left -= 1
        return self.growths_left < 0


@contextmanager
def shim() -> Iterator[Disk]:
    """Let everything that SQLite does in this process meanwhile pass through a `Disk`."""
    find = _SQLITE.sqlite3_vfs_find
    find.restype = POINTER(_Vfs)
    real = find(None)
    disk, names, tables, kept = Disk(), {}, {}, []
    ours = _Vfs.from_buffer_copy(real.contents)
    ours.name = b"shim"
    real_open, real_delete = _Open(real.contents.open), _Delete(real.contents.delete)

    def opened(_: Any, name: int | None, file: int, flags: int, out: int) -> int:
        code = real_open(cast(real, c_void_p), name, file, flags, out)
        methods = cast(file, POINTER(c_void_p))
        if code == 0 and name and methods[0]:
            names[file] = ctypes.string_at(name).decode()
            if methods[0] not in tables:
                tables[methods[0]] = hooked(cast(methods[0], POINTER(_Methods)).contents)
            methods[0] = ctypes.addressof(tables[methods[0]])
        return int(code)

    def hooked(original: _Methods) -> _Methods:
        table = _Methods.from_buffer_copy(original)
        write, truncate, sync = (
            _Write(original.write), _Truncate(original.truncate), _Sync(original.sync),
        )  # fmt: skip

        def on_write(file: int, data: int, length: int, offset: int) -> int:
            if disk.full(names[file], offset + length):
                return SQLITE_FULL
            content = ctypes.string_at(data, length)
            disk.acts.append(Act(kind="write", path=names[file], offset=offset, data=content))
            return int(write(file, data, length, offset))

        def on_truncate(file: int, size: int) -> int:
            disk.acts.append(Act(kind="truncate", path=names[file], offset=size))
            return int(truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            disk.acts.append(Act(kind="sync", path=names[file]))
            return int(sync(file, flags))

        for name, kind, function in (
            ("write", _Write, on_write), ("truncate", _Truncate, on_truncate),
            ("sync", _Sync, on_sync),
        ):  # fmt: skip
            callback = kind(function)
            kept.append(callback)
            setattr(table, name, cast(callback, c_void_p).value)
        return table

    def deleted(_: Any, name: bytes, with_folder: int) -> int:
        kind = "delete+" if with_folder else "delete"
        disk.acts.append(Act(kind=kind, path=name.decode()))
        return int(real_delete(cast(real, c_void_p), name, with_folder))

    for slot, kind, function in (("open", _Open, opened), ("delete", _Delete, deleted)):
        callback = kind(function)
        kept.append(callback)
        setattr(ours, slot, cast(callback, c_void_p).value)
    _SQLITE.sqlite3_vfs_register(ctypes.byref(ours), 1)
    try:
        yield disk
    finally:
        _SQLITE.sqlite3_vfs_register(real, 1)
        _SQLITE.sqlite3_vfs_unregister(ctypes.byref(ours))


def after_power_cut(acts: Sequence[Act], turn: random.Random) -> dict[str, bytes]:
    """The files as they may be found when power fails during the last of these acts.

    What was synced is there. Of what was not, any sectors may be there, in any order of writing;
    a removal that was not synced may not have happened, and a new file may not exist.
    """
    safe: dict[str, bytes] = {}
    pending: dict[str, list[Act]] = {}
    for act in acts:
        if act.kind == "sync":
            content = safe.get(act.path, b"")
            for each in pending.pop(act.path, []):
                content = _applied(content, each)
            safe[act.path] = content
        elif act.kind == "delete+" and act is not acts[-1]:
            safe.pop(act.path, None)
            pending.pop(act.path, None)
        else:
            pending.setdefault(act.path, []).append(act)
    for path, waiting in pending.items():
        content = safe.get(path)
        torn = [piece for act in waiting for piece in _torn(act, turn)]
        if turn.random() < 0.5:
            turn.shuffle(torn)
        share = turn.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for piece in torn:
            if turn.random() < share:
                content = None if piece.kind[0] == "d" else _applied(content or b"", piece)
        safe.pop(path, None)
        if content is not None:
            safe[path] = content
    return safe


def _applied(content: bytes, act: Act) -> bytes:
    if act.kind == "truncate":
        return content[: act.offset].ljust(act.offset, b"\0")
    if act.kind[0] == "d":
        return b""
    end = act.offset + len(act.data)
    return content[: act.offset].ljust(act.offset, b"\0") + act.data + content[end:]


def _torn(act: Act, turn: random.Random) -> list[Act]:
    """A write in the sectors that a disk writes whole."""
    if act.kind != "write" or turn.random() < 0.5:
        return [act]
    pieces, place = [], 0
    while place < len(act.data):
        length = SECTOR - (act.offset + place) % SECTOR
        data = act.data[place : place + length]
        pieces.append(Act(kind="write", path=act.path, offset=act.offset + place, data=data))
        place += length
    return pieces
