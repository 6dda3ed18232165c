"""A program that nobody built for us, as a `Build`: its file and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reactivate.files import open_plain
from reactivate.target.model import Build


def build_of(program: Path, command: tuple[str, ...], *, name: Path | None = None) -> Build:
    """Describe an executable file.

    Args:
        program: the file; /proc/PID/exe will do.
        command: the command line that runs it.
        name: its path for display, if it is another one.

    Raises:
        OSError: it cannot be read.
    """
    with open_plain(program) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Build(
        components=(),
        artifact=name or program,
        artifact_sha256=digest,
        configuration_sha256="",
        seconds=0.0,
        log=Path("/dev/null"),
        command=command,
    )
