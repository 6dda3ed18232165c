"""Places in source code as people read them.

Debug information says where somebody once built the program: `/tmp/build-x7f3/src/walk.c:42`. That
folder is another one on another machine and after the next build, and tells a reader nothing.
Evidence files keep the whole of it; whatever is shown has the end of it, alike everywhere.
"""

from __future__ import annotations

import re
from typing import Final

_ABSOLUTE: Final = re.compile(r"(?:^|(?<=[\s(]))/.*?:\d+")
"""From a `/` that begins a word to the next line number."""
_KEPT: Final = 3
_PASSING: Final = re.compile(
    r"(build|worktree|checkout|tmp|cache|tree|pip)s?([-_.].*)?"
    r"|\.cache|tmp\w{6,8}|(.*[-_.])?[0-9a-f]{12,}|.*[-_.]\d{8,}.*"
)
"""Folders that one build or one machine has: named for it, or by a digest, a date, a number."""


def format_place(text: str) -> str:
    """A place, or a text that holds places, with the ends of absolute paths.

    At most the last three parts of a path are kept, and of these what comes after a folder that
    only one build has. Relative paths and short ones (`/usr/include/stdio.h:1`) stay as they are.
    It depends on the text alone: no folder of this machine is asked for.
    """
    return _ABSOLUTE.sub(lambda found: _end(found[0]), text)


def _end(path: str) -> str:
    *folders, name = path.split("/")[1:]
    kept = folders[1 - _KEPT :]
    passing = [at for at, folder in enumerate(kept) if _PASSING.fullmatch(folder)]
    if passing:
        kept = kept[passing[-1] + 1 :]
    elif len(folders) < _KEPT:
        return path
    return "/".join(["…", *kept, name])
