"""Where things are in a mount, found with as few requests to the daemon as possible."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

CONTROL_FOLDER = "_vexfs"


@cache
def mount_root(folder: Path) -> Path:
    """The root of the mount that a folder is in; asked once, so that measured steps are bare."""
    for candidate in (folder, *folder.parents):
        if os.path.ismount(candidate):
            return candidate
    return folder


def control(folder: Path, name: str) -> Path:
    """The path of `_vexfs/NAME` in the mount of this folder."""
    return mount_root(folder) / CONTROL_FOLDER / name


def read_stats(folder: Path) -> dict[str, str]:
    """`_vexfs/stats` as a mapping.

    Raises:
        OSError: there is no such file.
    """
    text = control(folder, "stats").read_text(encoding="utf-8", errors="replace")
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, separator, value in pairs if separator}


def write_file(path: Path, content: bytes) -> None:
    """Open, write all, close: errors that a daemon reports at close are raised, too."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)


def read_file(path: Path, most_bytes: int = 1 << 20) -> bytes:
    """Open, read in one call if the daemon allows, close."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = b""
        while piece := os.read(descriptor, most_bytes):
            content += piece
        return content
    finally:
        os.close(descriptor)


def drop_page_cache(path: Path) -> None:
    """Forget the kernel's copy of a file, so that the next read asks the daemon."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
