"""Reading a file that somebody named, and writing one so that nobody ever sees half of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path


def open_file(path: Path) -> BufferedReader:
    """Open a file to be read; what is no file is refused before it is waited for.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    # A pipe that nobody writes to would keep whoever opens it, and a device may have no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, *, most_bytes: int = -1) -> bytes:
    """What `open_file` gives, or the first bytes of it."""
    with open_file(path) as file:
        return file.read(most_bytes)


def refuse_devices(path: Path) -> None:
    """Before a file is put in the place of another: root would do so to /dev/null, for everybody.

    Raises:
        OSError: a pipe, a socket or a device is there.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))


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
