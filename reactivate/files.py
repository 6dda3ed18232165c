"""Reading a plain file that somebody named, and writing one so that nobody ever sees half of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

_MOST_BYTES = 64 << 20
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}


def kind_of(mode: int) -> str:
    """What a path is, in words, if it is not a plain file; else ""."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def open_plain(path: Path) -> BufferedReader:
    """Open a file for reading. What waits for somebody else, as a named pipe does, is not opened.

    Raises:
        OSError: there is none, it cannot be read, or it is not a plain file.
    """
    # Before it is opened: opening a device may do something, a writer of a pipe may wait for us.
    _require_plain(path, path.stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _require_plain(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(path: Path, *, most_bytes: int | None = None) -> bytes:
    """The content of a plain file of what people and we write: settings, records, decisions.

    Args:
        path: the file.
        most_bytes: no more than its first bytes, however large it is.

    Raises:
        OSError: see `open_plain`; or it is too large to be one.
    """
    with open_plain(path) as file:
        content = file.read(_MOST_BYTES + 1 if most_bytes is None else most_bytes)
    if most_bytes is None and len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {_MOST_BYTES >> 20} MiB", str(path))
    return content


def _require_plain(path: Path, status: os.stat_result) -> None:
    if kind := kind_of(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f"it is {kind}, not a file", str(path))


def refuse_devices(path: Path) -> None:
    """Before a file is put in the place of another: root would do so to /dev/null, for everybody.

    Raises:
        OSError: a pipe, a socket or a device is there.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            _require_plain(path, status)


def replace_file(path: Path, data: bytes) -> bool:
    """Give a file its content, unless it has it; whether it was written.

    A reader, or a kill between two writes, sees the old content or the new.

    Raises:
        OSError: it cannot be written, or is a pipe, a socket or a device; the old content stays.
    """
    refuse_devices(path)
    if path.is_file() and path.read_bytes() == data:
        return False
    part = path.with_name(f".{path.name}.part")
    try:
        # Never through a link that somebody has put in its place.
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return True


def replace_files(folder: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Write texts into a folder by name; returns those whose content changed.

    Raises:
        OSError: one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        folder / name
        for name, content in files.items()
        if replace_file(folder / name, content.encode("utf-8"))
    )
