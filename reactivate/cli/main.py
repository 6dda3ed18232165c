"""The entry point: signals, streams, and a quick door for the verb that is typed most."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reactivate.cli.failure import end_as_a_pipe_does, report
from reactivate.cli.plain import HANDLER
from reactivate.interruption import heed, leave


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script. SIGTERM and SIGHUP end it as Ctrl-C does."""
    _open_what_is_closed()
    heed()
    for stream in (sys.stdout, sys.stderr):
        # A locale without our block characters gets plain ones, not a traceback.
        stream.reconfigure(errors=HANDLER)  # type: ignore[union-attr]
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if (plain := _plain_status(given)) is not None:
            sys.exit(_status(*plain))
        from reactivate.cli.app import app

        app(args=given, prog_name="reactivate")
    finally:
        leave()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            end_as_a_pipe_does()


def _open_what_is_closed() -> None:
    """Whoever started us may have closed standard streams: the next file to be opened, the ledger
    perhaps, would get the number that we and our children write to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, and all below it are open by now.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _plain_status(arguments: list[str]) -> tuple[Path | None, bool] | None:
    """Folder and form if this is `[-C DIR] status [--json]` and nothing more, else None.

    `status` is looked at all the time, in prompts and in loops; loading the library that
    reads command lines takes longer than the status itself.
    """
    folder: Path | None = None
    if len(arguments) > 2 and arguments[0] in ("-C", "--workspace"):
        folder, arguments = Path(arguments[1]), arguments[2:]
    if arguments not in (["status"], ["status", "--json"]):
        return None
    return folder, arguments[-1] == "--json"


def _status(folder: Path | None, as_json: bool) -> int:
    # It ends at once: looking for garbage among what is loaded would be a thirtieth of its time.
    gc.disable()
    try:
        from reactivate.cli.state import State
        from reactivate.cli.status_view import show_status

        show_status(State(folder).workspace(), as_json=as_json)
    except BrokenPipeError:
        end_as_a_pipe_does()
    except (Exception, KeyboardInterrupt) as error:
        return int(report(error, as_json=as_json))
    finally:
        gc.enable()
    return 0
