"""Writing a whole file so that nobody ever sees half of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def replace_file(path: Path, data: bytes) -> bool:
    """Give a file its content, unless it has it; whether it was written.

    A reader, or a kill between two writes, sees the old content or the new.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
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
