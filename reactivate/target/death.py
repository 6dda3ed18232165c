"""How a daemon ended, in words, and what it said last."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from reactivate.errors import DaemonDiedError
from reactivate.target.model import Daemon, Fault

_TAIL_BYTES = 4096
_TAIL_LINES = 12


class DaemonDeathError(DaemonDiedError):
    """A daemon's death with what an instrument needs to classify it.

    Attributes:
        returncode: exit status, or negative signal number.
        faults: deadly signals it got, oldest first; empty unless it was traced.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        hint: str = "",
        returncode: int | None,
        faults: tuple[Fault, ...],
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.returncode = returncode
        self.faults = faults


def describe_status(returncode: int) -> str:
    """`-11` → "was killed by SIGSEGV", `3` → "exited with status 3"."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}"


def describe_death(daemon: Daemon) -> str:
    """How the daemon ended, with the fault address where it was traced."""
    returncode = daemon.returncode()
    if returncode is None:
        # Only a parent is told how a process ended.
        return "is alive" if daemon.alive() else "ended in a way that was not seen"
    text = describe_status(returncode)
    for fault in reversed(daemon.faults()):
        if fault.signal == -returncode and fault.address is not None:
            return f"{text} at address {fault.address:#x}"
    return text


def log_tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log file; "" if it is empty or gone."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
