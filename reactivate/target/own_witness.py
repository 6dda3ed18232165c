"""A witness that a target's file describes: write a file, read one, compare."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import ComponentNotEnabledError

_MOST_BYTES = 1 << 20
_CONNECTION_ENDED = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWitness:
    """What a component alone answers.

    Attributes:
        write: path in the mount of the file that is written; "" if only something is read.
        content: what is written.
        read: path of the file that is read back.
        expect: what must come; line ends at the end do not count.
    """

    write: str
    content: str
    read: str
    expect: str

    def __call__(self, mount: Path) -> str:
        """Ask, and say in one sentence what came.

        Raises:
            ComponentNotEnabledError: something else came.
            OSError: the connection to the daemon ended meanwhile.
        """
        try:
            came = self._ask(mount)
        except OSError as error:
            if error.errno in _CONNECTION_ENDED:
                raise
            raise self._silent(f"{error.strerror} on {error.filename}") from error
        if came.rstrip(b"\r\n") != self.expect.rstrip("\r\n").encode():
            raise self._silent(repr(came[:60].decode("utf-8", "replace")))
        return f"{self.read} read {self.expect.rstrip()!r}"

    def _ask(self, mount: Path) -> bytes:
        written = mount / self.write if self.write else None
        if written is not None:
            written.write_bytes(self.content.encode())
        try:
            # Past the page cache where the filesystem allows it: the daemon is to answer.
            descriptor = os.open(mount / self.read, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                return os.read(descriptor, _MOST_BYTES)
            finally:
                os.close(descriptor)
        finally:
            if written is not None:
                written.unlink(missing_ok=True)

    def _silent(self, came: str) -> ComponentNotEnabledError:
        return ComponentNotEnabledError(
            f"the witness {self.read} does not answer",
            why=f"expected {self.expect.rstrip()!r}; came: {came}",
            hint="run the daemon by hand and try the same",
        )
