"""`reactivate trace`: who grew the stack, and the call chain at its deepest point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate import interruption
from reactivate.cli.guest_options import Which, chosen_operations, positive
from reactivate.cli.light import LightCommand
from reactivate.cli.state import State
from reactivate.errors import ExitCode, UsageError, WorkspaceError

if TYPE_CHECKING:
    from reactivate.run.tracing import Trace
    from reactivate.target.model import Launcher
    from reactivate.workload.operation import Operation

TOP = 3
REPEATS = 3
DEADLINE_SECONDS = 60.0
PARTS = ("growth", "lifecycle", "deepest")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        cls=LightCommand,
        epilog="Example: reactivate trace --operation create -- bindfs -f src mnt",
        context_settings={"allow_interspersed_args": False},
    )(trace)


def trace(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- DAEMON ARGS…]",
            help="A FUSE daemon; default: the campaign's current build.",
        ),
    ] = None,
    operation: Annotated[
        list[str] | None,
        typer.Option("--operation", help="Only this operation; again for more. Default: all."),
    ] = None,
    mount: Annotated[
        Path | None,
        typer.Option("--mount", help="Where it is mounted; default: whichever mount it makes."),
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", help="A daemon that runs; it is left as it was.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Operations; again for more. Default: posix."),
    ] = None,
    workload: Annotated[
        Path | None,
        typer.Option("--workload", help="A script to run in the mount, as an operation."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help=f"Leave out one of {', '.join(PARTS)}.")
    ] = None,
    top: Annotated[
        int, typer.Option("--top", help="Chains of the so many deepest operations.")
    ] = TOP,
    out: Annotated[
        Path | None, typer.Option("--out", help="Keep everything in this file, as JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trace who grew the stack: pages, requests, call chain."""
    from reactivate.instrument.runtime import require_this_machine

    require_this_machine()
    positive(top, "--top")
    which = Which(command=tuple(command or ()), pid=pid, mount=mount)
    _known_parts(without or [])
    if out is not None:
        _writable(out)
    job = _job(ctx.obj, which, suite or [], workload, operation or [])
    found = _run(job, [part for part in PARTS if part not in (without or [])], top, as_json)
    code = _code(found, asked=bool(operation))
    from reactivate.cli.console import emit_json
    from reactivate.cli.trace_view import show_trace, trace_json

    document = trace_json(job.subject, found, code)
    if out is not None:
        text = json.dumps({"schema": "reactivate.trace/1", **document}, indent=1, allow_nan=False)
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        emit_json("reactivate.trace/1", document)
    else:
        program = job.launcher.build.artifact
        show_trace(found, job.subject, program, all_chains=bool(operation), code=code, out=out)
    raise typer.Exit(int(code))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What to trace.

    Attributes:
        subject: the daemon in words.
        settings: of the instruments, by their names.
    """

    subject: str
    launcher: Launcher
    operations: tuple[Operation, ...]
    settings: Mapping[str, Mapping[str, float | int | str]]


def _job(
    state: State, which: Which, suites: list[str], script: Path | None, wanted: list[str]
) -> _Job:
    deadline = DEADLINE_SECONDS
    if which.command or which.attached:
        launcher = which.launcher()
        operations = chosen_operations(
            suites, script, default=("posix",), deadline_seconds=deadline
        )
        operations = launcher.guarded(_named(operations, wanted))
        usual: dict[str, float | int | str] = {"repeats": REPEATS, "deadline_seconds": deadline}
        return _Job(
            subject=" ".join(launcher.build.command),
            launcher=launcher,
            operations=operations,
            settings=dict.fromkeys(PARTS, usual),
        )
    from reactivate.campaign.subject import current_subject

    try:
        workspace = state.workspace()
    except WorkspaceError as error:
        raise UsageError(
            "trace what?",
            why="no daemon was named, and this is not a workspace with a target of its own",
            hint="reactivate trace -- bindfs -f src mnt",
        ) from error
    subject = interruption.run(current_subject, workspace)
    operations = chosen_operations(
        suites, script, default=subject.suites, deadline_seconds=deadline
    )
    on = " + ".join(subject.components) or "nothing on"
    return _Job(
        subject=f"{subject.target}, {subject.phase}: {on}",
        launcher=subject.launcher,
        operations=_named(operations, wanted),
        settings={part: workspace.instrument_settings(part) for part in PARTS},
    )


def _named(operations: Sequence[Operation], wanted: Sequence[str]) -> tuple[Operation, ...]:
    from reactivate.tomlfile import nearest

    names = [operation.name for operation in operations]
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"there is no operation `{name}` among those of the suites{nearest(name, names)}",
                why=f"operations: {', '.join(names)}",
                hint="other operations come with --suite NAME",
            )
    return tuple(o for o in operations if not wanted or o.name in wanted)


def _known_parts(without: Sequence[str]) -> None:
    from reactivate.tomlfile import nearest

    for part in without:
        if part not in PARTS:
            raise UsageError(f"a trace has no part `{part}`{nearest(part, PARTS)}")
    if set(PARTS) <= set(without):
        raise UsageError("nothing is left to trace", why="every part is left out")


def _writable(out: Path) -> None:
    """Before minutes of measuring, not after."""
    try:
        with out.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(f"{out} cannot be written", why=error.strerror or str(error)) from error


def _run(job: _Job, parts: Sequence[str], top: int, quiet: bool) -> Trace:
    from reactivate.cli.progress import progress
    from reactivate.run.tracing import Part
    from reactivate.run.tracing import trace as run_trace
    from reactivate.target.reap import reap_scratch
    from reactivate.target.scratch import scratch_folder

    async def run(folder: Path) -> Trace:
        with progress(quiet=quiet) as reporter:
            return await run_trace(
                job.launcher,
                job.operations,
                parts=[Part(part) for part in parts],
                top=top,
                folder=folder,
                reporter=reporter,
                settings={Part(part): job.settings[part] for part in parts},
            )

    reap_scratch()
    with scratch_folder() as folder:
        return interruption.run(run, folder)


def _code(found: Trace, *, asked: bool) -> ExitCode:
    """A part that is missing, or no chain where one was asked for, is no success."""
    if found.missing:
        return ExitCode.ENVIRONMENT
    without = [chain for chain in found.chains if "not_measured" in chain]
    if without and (asked or len(without) == len(found.chains)):
        return ExitCode.INCONCLUSIVE
    return ExitCode.DONE
