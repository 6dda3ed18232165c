"""Every error a user can meet: what happened, why, and what to type next.

One base class; each leaf owns an exit code. `cli.main` is the one place that catches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """The contract of the exit status, the same in text and JSON mode."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    WAITING = 4
    INCONCLUSIVE = 5
    ENVIRONMENT = 6
    TAMPERED = 7
    LEDGER = 8
    INTERRUPTED = 130


class ReactivateError(Exception):
    """Base of all errors that are shown to the user without a traceback.

    Args:
        what: what happened, one sentence without a full stop at the end.
        why: the cause as far as it is known, may be several lines.
        hint: what to type next.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint


class UsageError(ReactivateError):
    """The command line, or a name on it, cannot be used."""

    exit_code = ExitCode.USAGE


class ConfigurationError(UsageError):
    """A TOML file is malformed or asks for something unknown."""


class ChecklistError(UsageError):
    """A checklist cannot be run; carries every fault found, not only the first."""


class WaitingForPersonError(ReactivateError):
    """A human item is open; nothing goes on until it is confirmed."""

    exit_code = ExitCode.WAITING


class MeasurementError(ReactivateError):
    """A measurement could not be completed or proves nothing."""

    exit_code = ExitCode.INCONCLUSIVE


class ThreadBusyError(MeasurementError):
    """A thread did not go to sleep before the deadline, so its stack could not be read."""


class ComponentNotEnabledError(MeasurementError):
    """The component is not provably on; every number of the run would describe something else."""


class MachineError(ReactivateError):
    """Something outside the tool is missing, forbidden or broken."""

    exit_code = ExitCode.ENVIRONMENT


class MissingToolError(MachineError):
    """A program, device or kernel feature that is needed is not there."""


class PrivilegeError(MachineError):
    """The kernel refuses what the instrument needs."""


class WorkspaceError(MachineError):
    """The workspace cannot be read or written (read-only, full, not a workspace)."""


class BuildError(MachineError):
    """The target does not build; carries the compiler's own words."""


class MountError(MachineError):
    """The target does not mount, or the mount point cannot be used."""


class DaemonDiedError(MachineError):
    """The daemon ended while it was needed; says how and during which operation."""


class DaemonHungError(MachineError):
    """The daemon did not answer before the deadline and was killed."""


class LedgerError(ReactivateError):
    """The ledger cannot be opened, read or written."""

    exit_code = ExitCode.LEDGER


class LedgerTamperedError(LedgerError):
    """What was recorded is not as it was recorded, or a guard that keeps it so is not there."""

    exit_code = ExitCode.TAMPERED


class LedgerLockedError(LedgerError):
    """Another process holds the ledger; names it."""


class LedgerCorruptError(LedgerError):
    """The file is not a ledger or is damaged."""


class LedgerVersionError(LedgerError):
    """The ledger was written by a newer version of the tool."""


@contextmanager
def kernels_text(name: str) -> Iterator[None]:
    """While the body takes a text of /proc apart.

    Raises:
        MachineError: it is not in the kernel's form, as in a container that makes its own.
    """
    try:
        yield
    except (LookupError, ValueError) as error:
        raise MachineError(
            f"what /proc says in `{name}` cannot be read",
            why=str(error),
            hint="reactivate doctor     shows whether this is the kernel's own /proc",
        ) from error
