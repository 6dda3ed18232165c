"""The command line: every verb is added here, and every error is caught here."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reactivate import __version__
from reactivate.cli import (
    campaign_verbs,
    checklist_verbs,
    doctor,
    init,
    log,
    status,
    target_verbs,
    tour,
)
from reactivate.cli.console import show_bug, show_error
from reactivate.cli.state import State
from reactivate.errors import ExitCode, ReactivateError


class Verbs(TyperGroup):
    """The top group: turns every error into its message and its exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether errors must be JSON before anything can fail."""
        ctx.meta["reactivate.json"] = "--json" in args
        return list(super().parse_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        as_json = bool(ctx.meta["reactivate.json"])
        try:
            return super().invoke(ctx)
        except (ReactivateError, KeyboardInterrupt, BaseExceptionGroup) as error:
            code = _report(error, as_json=as_json)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if type(error).__module__.startswith("typer"):
                raise  # usage errors: typer prints them, exit code 2
            code = _report(error, as_json=as_json)
        raise typer.Exit(code)


def _report(error: BaseException, *, as_json: bool) -> ExitCode:
    error = _innermost(error)
    if isinstance(error, KeyboardInterrupt):
        interrupted = ReactivateError(
            "Interrupted",
            why="the running attempt is on record as interrupted; its daemon and mount are gone",
            hint="reactivate next",
        )
        show_error(interrupted, ExitCode.INTERRUPTED, as_json=as_json)
        return ExitCode.INTERRUPTED
    if isinstance(error, ReactivateError):
        show_error(error, error.exit_code, as_json=as_json)
        return error.exit_code
    show_bug(error, "".join(traceback.format_exception(error)), as_json=as_json)
    return ExitCode.BUG


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


app = typer.Typer(
    cls=Verbs,
    name="reactivate",
    help="Bring the components of a filesystem back one at a time, under measured stack budgets.",
    epilog="Start here: reactivate init DIR --target model, then reactivate next",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"reactivate {__version__}")
        raise typer.Exit()


@app.callback()
def _top(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-C", help="The workspace; default: this folder or one above it."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = State(workspace_path=workspace)


for module in (init, doctor, campaign_verbs, status, log, checklist_verbs, target_verbs, tour):
    module.register(app)


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script. SIGTERM and SIGHUP end a run as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    app(args=list(sys.argv[1:] if arguments is None else arguments))
