"""`reactivate watch`: the stacks of a running process against their limits, live."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import talk
from reactivate.cli.guest_options import positive
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.errors import ExitCode, WorkspaceError
from reactivate.evidence import Pid

if TYPE_CHECKING:
    from reactivate.instrument.alerts import AlertShares

INTERVAL_SECONDS = 1.0
_LEAST_INTERVAL_SECONDS = 0.05


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, watch, example="reactivate watch mnt --interval 0.5")


def watch(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="PID|MOUNT",
            help="A process, or a folder with a FUSE mount (./7 for one named 7).",
        ),
    ],
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between two looks.")
    ] = INTERVAL_SECONDS,
    duration: Annotated[
        float | None, typer.Option("--for", help="Seconds after which to stop; default: its end.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each look.")
    ] = False,
) -> None:
    """Watch every thread's stack against its limit, live."""
    positive(interval, "--interval")
    if duration is not None:
        positive(duration, "--for")
    pid, shares = _process(what), _shares(ctx.obj)
    from reactivate.cli.watch_view import Alarm, view
    from reactivate.instrument.runtime import require_native
    from reactivate.run.attach import gone
    from reactivate.run.watching import StackView

    shown, alarm = view(pid, as_json=as_json), Alarm()
    looks = 0
    try:
        require_native(pid)
        with StackView(pid, shares) as stacks:
            for _ in _moments(pid, max(interval, _LEAST_INTERVAL_SECONDS), duration, once=once):
                picture = stacks.look()
                shown.show(picture, alarm.raised(picture))
                looks += 1
    except ProcessLookupError:
        if not looks:
            raise gone(pid) from None
        if not as_json:
            talk(f"process {pid} has ended")
    except KeyboardInterrupt:
        # This is how one stops watching; nothing was interrupted.
        if not as_json:
            talk("")
    raise typer.Exit(int(ExitCode.DONE))


def _shares(state: State) -> AlertShares:
    """What this workspace calls an alert; without a workspace the usual."""
    from reactivate.instrument.alerts import DEFAULT_SHARES, load

    try:
        workspace = state.workspace()
    except WorkspaceError:
        if state.workspace_path is not None:
            raise
        return DEFAULT_SHARES
    return load(workspace.configs)


def _process(what: str) -> Pid:
    """The process of that number, or the one that serves the mount of that name."""
    if what.isascii() and what.isdecimal():
        return Pid(int(what))
    from reactivate.run.attach import mount_at, server_of

    return server_of(mount_at(Path(what)))


def _moments(pid: Pid, interval: float, duration: float | None, *, once: bool) -> Iterator[None]:
    """Now, and then every interval, counted from the first so that no time is lost.

    Raises:
        ProcessLookupError: the process has ended; at once, not at the next moment.
    """
    descriptor = os.pidfd_open(pid)
    try:
        begin = time.monotonic()
        number = 0
        while True:
            yield
            number += 1
            due = number * interval
            if once or (duration is not None and due > duration):
                return
            left = max(0.0, begin + due - time.monotonic())
            if select.select([descriptor], [], [], left)[0]:
                raise ProcessLookupError(f"process {pid} has ended")
    finally:
        os.close(descriptor)
