"""The whole command line: every verb is added here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reactivate import __version__
from reactivate.cli import (
    analyze,
    bisect,
    calibrate,
    campaign_verbs,
    checklist_verbs,
    compare,
    doctor,
    export,
    frames,
    history,
    import_trace,
    init,
    ledger_verbs,
    log,
    measure,
    overflow,
    report,
    selftest,
    status,
    target_verbs,
    tour,
    trace,
    verify,
    watch,
)
from reactivate.cli.failure import end_as_a_pipe_does
from reactivate.cli.failure import report as reported
from reactivate.cli.light import LightGroup
from reactivate.cli.state import State
from reactivate.errors import UsageError

_JSON = "reactivate.json"
_Complaint: Any = typer.BadParameter.__base__
"""What all complaints about a command line are; the library exports only this one leaf."""


class Verbs(LightGroup):
    """The top group: turns every error into its message and its exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether errors must be JSON before anything can fail."""
        own = args[: args.index("--")] if "--" in args else args
        ctx.meta[_JSON] = "--json" in own
        try:
            return list(super().parse_args(ctx, args))
        except _Complaint as error:
            raise typer.Exit(reported(_usage(error), as_json=ctx.meta[_JSON])) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            end_as_a_pipe_does()
        except _Complaint as error:
            raise typer.Exit(reported(_usage(error), as_json=ctx.meta[_JSON])) from error
        except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
            raise typer.Exit(reported(error, as_json=ctx.meta[_JSON])) from error


def _usage(error: Any) -> UsageError:
    """The library's complaint about the command line, in our three parts."""
    path = "reactivate" if error.ctx is None else error.ctx.command_path
    return UsageError(
        error.format_message().rstrip("."),
        why="" if error.ctx is None else error.ctx.get_usage(),
        hint=f"{path} --help",
    )


app = typer.Typer(
    cls=Verbs,
    name="reactivate",
    help="Bring the components of a filesystem back one at a time, under measured stack budgets.",
    epilog="Start here: reactivate init DIR --target model, then reactivate next",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
    ctx.obj = state = State(workspace)
    ctx.call_on_close(state.give_back)


_CAMPAIGN = (
    init,
    doctor,
    selftest,
    calibrate,
    campaign_verbs,
    overflow,
    status,
    log,
    verify,
    analyze,
    report,
    history,
    compare,
    bisect,
    export,
    import_trace,
    ledger_verbs,
    checklist_verbs,
    target_verbs,
)
_ANY_DAEMON = (measure, trace, watch, frames)
for module in (*_CAMPAIGN, *_ANY_DAEMON, tour):
    module.register(app)
