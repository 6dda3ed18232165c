"""A user's script as an operation: run once for each repetition, in a folder of the mount."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from reactivate.errors import UsageError
from reactivate.target.death import describe_status
from reactivate.target.scratch import temporary_folder
from reactivate.workload.operation import Operation

_LAST_BYTES = 500


def script_operation(script: Path, *, deadline_seconds: float) -> Operation:
    """The operation that runs a script.

    The script's working folder is the operation's own folder in the mount; the variable
    REACTIVATE_REPETITION counts from 0. An exit status other than 0 fails the measurement.

    Args:
        script: an executable file.
        deadline_seconds: for one run; the script and all it started are killed then.

    Raises:
        UsageError: it is not an executable file.
    """
    path = script.resolve()
    if not path.is_file():
        raise UsageError(f"there is no script {script}")
    if not os.access(path, os.X_OK):
        raise UsageError(
            f"{script} is not executable",
            why="it is run as a program of its own, with the interpreter its first line names",
            hint=f"chmod +x {script}",
        )

    def run(folder: Path, repetition: int) -> None:
        environment = os.environ | {"REACTIVATE_REPETITION": str(repetition)}
        with tempfile.TemporaryFile(dir=temporary_folder()) as said:  # it has no name to be left
            try:
                process = subprocess.Popen(
                    [path], cwd=folder, env=environment, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                )  # fmt: skip
            except OSError as error:
                raise OSError(None, f"{script} cannot be run: {error.strerror}") from error
            finished = _finished(process, deadline_seconds)
            if not finished:
                raise OSError(None, f"{script} was not finished after {deadline_seconds:g} s")
            if process.returncode != 0:
                ended = describe_status(process.returncode)
                raise OSError(None, f"{script} {ended}{_words(said)}")

    return Operation(name=path.stem, suite="script", opcodes=(), run=run)


def _finished(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for its end, then end all that it started: nobody may work on the mount afterwards."""
    descriptor = os.pidfd_open(process.pid)
    try:
        finished = bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
        # Not reaped yet, so the number is still this group's.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return finished


def _words(said: IO[bytes]) -> str:
    """The end of what the script said."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_BYTES))
    text = said.read().decode(errors="replace").strip()
    return f": {text}" if text else ""
