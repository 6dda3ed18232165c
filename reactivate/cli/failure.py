"""The one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

from reactivate.cli.console import show_bug, show_error
from reactivate.errors import (
    ExitCode,
    MachineError,
    ReactivateError,
    UsageError,
    WorkspaceError,
)

_NOT_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What the disk says when it is full or may not be written, wherever that is met."""
_NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP}
"""What it says of a name that can be no file's, wherever that is typed."""
_SHOWN = 60


def report(error: BaseException, *, as_json: bool) -> ExitCode:
    """Show an error, whatever it is; returns the exit code it stands for.

    A terminal that goes away (a closed window, a lost connection) is an interruption, whether its
    signal or the failed writing to it is noticed first; nothing more is said then.
    """
    error = _innermost(error)
    if _terminal_is_gone():
        _say_nothing_more()
        if isinstance(error, OSError) and error.errno == errno.EIO:
            error = KeyboardInterrupt()
    return _show(error, as_json=as_json)


def _show(error: BaseException, *, as_json: bool) -> ExitCode:
    if isinstance(error, KeyboardInterrupt):
        interrupted = ReactivateError(
            "Interrupted",
            why="what was recorded before is safe; no daemon and no mount of this run is left",
            hint="reactivate next",
        )
        show_error(interrupted, ExitCode.INTERRUPTED, as_json=as_json)
        return ExitCode.INTERRUPTED
    if isinstance(error, OSError) and error.errno in _NOT_OURS:
        error = WorkspaceError(
            f"{error.filename or 'A file'} cannot be written",
            why=f"{error.strerror}; what was recorded before is safe",
            hint="reactivate status",
        )
    if isinstance(error, OSError) and error.errno in _NO_NAME:
        name = str(error.filename)
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
        error = UsageError(
            f"{shown} cannot be a file", why=error.strerror or "", hint="name another file"
        )
    if isinstance(error, OSError) and not Path("/proc/self/stat").exists():
        error = MachineError(
            "there is no /proc here",
            why="everything about processes, their stacks and mounts is read there",
            hint="mount -t proc proc /proc, or start the container with it",
        )
    if isinstance(error, ReactivateError):
        show_error(error, error.exit_code, as_json=as_json)
        return error.exit_code
    import traceback

    show_bug(error, "".join(traceback.format_exception(error)), as_json=as_json)
    return ExitCode.BUG


def _terminal_is_gone() -> bool:
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            # What a terminal says when its other end has been closed.
            if error.errno == errno.EIO:
                return True
    return False


def _say_nothing_more() -> None:
    """What is still in a buffer must not fail at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _innermost(error: BaseException) -> BaseException:
    """The one error that explains a group: an interruption first, then one of ours."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_innermost(inner) for inner in error.exceptions]
    for kind in (KeyboardInterrupt, ReactivateError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def end_as_a_pipe_does() -> None:
    """Whoever read our output went away, as `head` does: end silently, the way all tools do."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
