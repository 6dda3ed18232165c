"""One writer at a time: an advisory lock that says who holds it and goes with its process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from reactivate.documents import parse_json, text, whole
from reactivate.errors import LedgerError, LedgerLockedError
from reactivate.files import kind_of, open_plain
from reactivate.texts import visible

_UNKNOWN_HOLDER_SECONDS: Final = 1.0
"""How long to look again while the lock is held but its file names nobody who lives: a holder
writes its name just after it got the lock."""
_POLL_SECONDS: Final = 0.01
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock, as written by the holder.

    Attributes:
        pid: its process id.
        command: its command line, for display.
        since: when it took the lock.
    """

    pid: int
    command: str
    since: str


class WriterLock:
    """An exclusive `flock(2)`. It ends with the process, however that ends; a file left
    behind by a dead holder locks nobody out.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path, holder: Holder) -> Self:
        """Take the lock without waiting for its holder.

        Raises:
            LedgerLockedError: another writer has it; its pid, command and time are named.
            LedgerError: the lock file cannot be made or written.
        """
        try:
            # Python opens with O_CLOEXEC: a daemon that is started later does not inherit it.
            # Neither through a link nor into a pipe that somebody has put in its place.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            status = os.fstat(descriptor)
            if kind := kind_of(status.st_mode):
                raise OSError(errno.EINVAL, f"it is {kind}, not a file")
            # What is written to it here would be lost under its other name.
            if status.st_nlink > 1 and status.st_size and read_holder(path) is None:
                raise OSError(errno.EMLINK, "it is a second name of some other file")
            _lock_now(descriptor, path)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise _unusable(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def read_holder(path: Path) -> Holder | None:
    """The name in the lock file; None if there is none. It may be that of a dead holder."""
    try:
        with open_plain(path) as file:
            fields = parse_json(file.read(_MOST_BYTES))
        return Holder(
            pid=whole(fields, "pid"),
            command=text(fields, "command"),
            since=text(fields, "since"),
        )
    except (OSError, ValueError):
        return None


def locked_error(path: Path, holder: Holder | None) -> LedgerLockedError:
    """The refusal, naming the holder where it is known."""
    ledger = path.name.removesuffix(".lock")
    if holder is None:
        return LedgerLockedError(
            f"{ledger} is being written by another process",
            why=f"{path} is locked, but does not say by whom",
            hint=f"fuser -v {path}     shows who it is; reading commands work meanwhile",
        )
    return LedgerLockedError(
        f"{ledger} is being written by process {holder.pid} (`{visible(holder.command)}`) "
        f"since {visible(holder.since)}",
        why="only one command may write at a time",
        hint="wait for it to end, then try again; `reactivate status` works meanwhile",
    )


def _lock_now(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _UNKNOWN_HOLDER_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = read_holder(path)
            if (holder is not None and _lives(holder.pid)) or time.monotonic() > deadline:
                raise locked_error(path, holder) from None
            time.sleep(_POLL_SECONDS)


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unusable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"{path} cannot be locked for writing",
        why=error.strerror or str(error),
        hint="the folder must exist, be writable and have space: "
        f"ls -ld {path.parent}; df {path.parent}",
    )
