"""Pictures as files: written together, and gone with what they showed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reactivate.files import replace_files
from reactivate.report.picture.svg import Picture

_NAME: Final = re.compile(rb'<svg data-file="([A-Za-z0-9_.-]+)" ')
_HEAD_BYTES: Final = 400


def svg_files(pictures: Mapping[str, Picture]) -> dict[str, str]:
    """Pictures by the names of their files, without `.svg`, as what those files hold."""
    return {f"{name}.svg": picture.named(f"{name}.svg") for name, picture in pictures.items()}


def replace_pictures(folder: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Write pictures, and remove those of an earlier time that are none of them.

    A file is removed only if it says that it was written here under the name that it has: what
    a person put there stays, a copy of one of these pictures under another name too.

    Returns:
        those whose content changed.

    Raises:
        OSError: one cannot be written or removed.
    """
    if not files and not folder.is_dir():
        return ()
    changed = replace_files(folder, files)
    for path in folder.glob("*.svg"):
        if path.name not in files and _made_here(path):
            path.unlink()
    return changed


def _made_here(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        found = _NAME.search(file.read(_HEAD_BYTES))
    return found is not None and found[1].decode() == path.name
