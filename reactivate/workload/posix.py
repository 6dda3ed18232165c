"""Operations that every filesystem has; builds are compared on them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from reactivate.workload.mountpath import drop_page_cache, write_file
from reactivate.workload.operation import Operation, Step, nothing

CONTENT = bytes(range(256)) * 256
"""64 KiB, the same in every run."""

_BLOCK = CONTENT[:4096]
_ENTRIES = 64
_FILE = "file"


def _setup_file(folder: Path) -> None:
    write_file(folder / _FILE, CONTENT)


def _setup_entries(folder: Path) -> None:
    for number in range(_ENTRIES):
        write_file(folder / f"entry-{number:03}", b"")


def _new(folder: Path, repetition: int) -> Path:
    return folder / f"new-{repetition}"


def _make_new(folder: Path, repetition: int) -> None:
    write_file(_new(folder, repetition), b"")


def _unlink_new(folder: Path, repetition: int) -> None:
    _new(folder, repetition).unlink()


def _create(folder: Path, repetition: int) -> None:
    os.close(os.open(_new(folder, repetition), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def _open(folder: Path, repetition: int) -> None:
    os.close(os.open(folder / _FILE, os.O_RDONLY))


def _forget_file(folder: Path, repetition: int) -> None:
    drop_page_cache(folder / _FILE)


def _read(folder: Path, repetition: int) -> None:
    descriptor = os.open(folder / _FILE, os.O_RDONLY)
    try:
        if os.read(descriptor, len(CONTENT)) != CONTENT:
            raise OSError(None, "what was read is not what was written")
    finally:
        os.close(descriptor)


def _write(folder: Path, repetition: int) -> None:
    descriptor = os.open(folder / _FILE, os.O_WRONLY)
    try:
        os.pwrite(descriptor, _BLOCK, repetition % 16 * len(_BLOCK))
    finally:
        os.close(descriptor)


def _truncate(folder: Path, repetition: int) -> None:
    # Never the size it has: shorter and longer than the file by turns.
    os.truncate(folder / _FILE, len(CONTENT) + (1000 if repetition % 2 else -1000))


def _touch_content(folder: Path, repetition: int) -> None:
    # After a write the kernel's copy of size and times is no longer valid.
    _write(folder, repetition)


def _getattr(folder: Path, repetition: int) -> None:
    os.stat(folder / _FILE)  # noqa: PTH116 - one call, as bare as it can be


def _lookup(folder: Path, repetition: int) -> None:
    # A name that exists would be answered from the kernel's own cache.
    with contextlib.suppress(FileNotFoundError):
        os.stat(folder / f"absent-{repetition}")  # noqa: PTH116


def _readdir(folder: Path, repetition: int) -> None:
    found = len(os.listdir(folder))  # noqa: PTH208
    if found != _ENTRIES:
        raise OSError(None, f"{found} of {_ENTRIES} entries were listed")


def _mkdir(folder: Path, repetition: int) -> None:
    os.mkdir(_new(folder, repetition))  # noqa: PTH102


def _rmdir(folder: Path, repetition: int) -> None:
    os.rmdir(_new(folder, repetition))  # noqa: PTH106


def _two_files(folder: Path, repetition: int) -> None:
    _make_new(folder, repetition)
    write_file(folder / _FILE, b"old")


def _rename(folder: Path, repetition: int) -> None:
    os.rename(_new(folder, repetition), folder / _FILE)  # noqa: PTH104


def _statfs(folder: Path, repetition: int) -> None:
    os.statvfs(folder)


def _posix(
    name: str,
    run: Step,
    *opcodes: str,
    prepare: Step = nothing,
    tidy: Step = nothing,
    file: bool = False,
) -> Operation:
    return Operation(
        name=name,
        suite="posix",
        opcodes=opcodes,
        run=run,
        setup=_setup_file if file else _setup_entries if name == "readdir" else None,
        prepare=prepare,
        tidy=tidy,
        paired=True,
    )


# No FLUSH among the opcodes: a daemon without it says so once, and is not asked again.
POSIX = (
    _posix("create", _create, "CREATE", tidy=_unlink_new),
    _posix("open", _open, "OPEN", file=True),
    _posix("read", _read, "OPEN", "READ", prepare=_forget_file, file=True),
    _posix("write", _write, "OPEN", "WRITE", file=True),
    _posix("truncate", _truncate, "SETATTR", file=True),
    _posix("getattr", _getattr, "GETATTR", prepare=_touch_content, file=True),
    _posix("lookup", _lookup, "LOOKUP"),
    _posix("readdir", _readdir, "OPENDIR"),
    _posix("mkdir", _mkdir, "MKDIR", tidy=_rmdir),
    _posix("rmdir", _rmdir, "RMDIR", prepare=_mkdir),
    _posix("rename", _rename, "RENAME", prepare=_two_files),
    _posix("unlink", _unlink_new, "UNLINK", prepare=_make_new),
    _posix("statfs", _statfs, "STATFS"),
)
