"""Temporary folders that do not outlive their maker by more than one call of the tool.

A folder is held by a lock (flock(2)) as long as its maker lives: the kernel lets go when the
process ends, by whatever signal, so no number can be taken for another process's, not even one of
another container. Who removes a folder holds the lock, too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import WorkspaceError
from reactivate.target.unmount import mounts_below

_NAME = re.compile(r"reactivate-[0-9]+-[a-z0-9_]{8}")
_OURS_ALONE = (0o700, 0o711)
"""Nobody else lists it or writes to it; by the second another user gets to a folder of theirs."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A folder whose lock is held; the descriptor is of that very folder, whatever its path is."""

    path: Path
    descriptor: int

    def remove(self) -> None:
        """Remove it with all in it; links are not followed, nor what is mounted there entered.

        Raises:
            OSError: not everything can be removed.
        """
        if mounts_below(self.path):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self.path))
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.name, dir_fd=self.descriptor)
                else:
                    os.unlink(entry.name, dir_fd=self.descriptor)
        self.path.rmdir()


def temporary_folder() -> Path:
    """Where temporary files go: $TMPDIR, else /tmp or /var/tmp.

    Nothing is written to find out: a kill would leave the file behind.

    Raises:
        WorkspaceError: none of them can be written.
    """
    tried = [*filter(None, [os.environ.get("TMPDIR")]), "/tmp", "/var/tmp"]
    for path in map(Path, tried):
        if path.is_dir() and os.access(path, os.W_OK | os.X_OK):
            return path.resolve()
    raise WorkspaceError(
        "there is no folder for temporary files",
        why=f"none of these can be written: {', '.join(tried)}",
        hint="TMPDIR=DIR reactivate … with a folder of yours",
    )


def kept_folder(purpose: str) -> Path:
    """A fresh folder among the temporary ones that nobody removes but the user."""
    return Path(tempfile.mkdtemp(prefix=f"reactivate-{purpose}-", dir=temporary_folder()))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder, for us alone (0700), gone with all in it afterwards.

    After a kill it is there until the next `abandoned`.

    Raises:
        WorkspaceError: it cannot be made.
    """
    scratch = _made()
    try:
        yield scratch.path
    finally:
        with contextlib.suppress(OSError):
            scratch.remove()
        os.close(scratch.descriptor)


def abandoned() -> Iterator[Scratch]:
    """Each scratch folder of this user whose maker is dead; locked while it is looked at.

    Another user's are left alone, and what only has such a name: links, files, folders that others
    may write to.
    """
    try:
        with os.scandir(temporary_folder()) as entries:
            found = sorted(entry.path for entry in entries if _NAME.fullmatch(entry.name))
    except (OSError, WorkspaceError):
        return
    for path in map(Path, found):
        if (scratch := _locked(path)) is not None:
            try:
                yield scratch
            finally:
                os.close(scratch.descriptor)


def _made() -> Scratch:
    base = temporary_folder()
    try:
        while True:
            path = Path(tempfile.mkdtemp(prefix=f"reactivate-{os.getpid()}-", dir=base))
            # Between the two calls it looked abandoned, and may be gone again.
            if (scratch := _locked(path)) is not None:
                return scratch
    except OSError as error:
        raise WorkspaceError(
            "no temporary folder can be made",
            why=f"{error.strerror}: {error.filename}",
            hint="free some space there, or TMPDIR=DIR reactivate … with a folder of yours",
        ) from error


def _locked(path: Path) -> Scratch | None:
    """The folder with its lock, if it is ours, nobody's else and still there."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return None
    state = os.fstat(descriptor)
    if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) in _OURS_ALONE:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(state, path.lstat()):
                return Scratch(path=path, descriptor=descriptor)
    os.close(descriptor)
    return None
