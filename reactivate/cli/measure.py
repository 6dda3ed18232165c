"""`reactivate measure`: the stack of any daemon by operation, of any program over its life."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reactivate import interruption
from reactivate.cli.guest_options import Which, chosen_operations, positive, workload_again
from reactivate.cli.light import LightCommand
from reactivate.errors import DaemonHungError, ExitCode, UsageError

REPEATS = 25
DEADLINE_SECONDS = 120.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        cls=LightCommand,
        epilog="Example: reactivate measure -- bindfs -f src mnt",
        # What follows the daemon's name is the daemon's, also where `--` was left out.
        context_settings={"allow_interspersed_args": False},
    )(measure)


def measure(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND ARGS…]", help="A FUSE daemon, or with --exec any program."
        ),
    ] = None,
    mount: Annotated[
        Path | None,
        typer.Option("--mount", help="Where it is mounted; default: whichever mount it makes."),
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", help="A daemon that runs; it is left as it was.")
    ] = None,
    program: Annotated[
        bool, typer.Option("--exec", help="Any program: each thread's deepest point over its life.")
    ] = False,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Operations; again for more. Default: posix."),
    ] = None,
    workload: Annotated[
        Path | None,
        typer.Option("--workload", help="A script to run in the mount, as an operation."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", help="Repetitions of each operation.")
    ] = REPEATS,
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            help="Seconds for one operation (default 120); with --exec for the program (none).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how deep each operation takes a daemon's stack."""
    from reactivate.instrument.runtime import require_this_machine

    require_this_machine()
    which = Which(command=tuple(command or ()), pid=pid, mount=mount)
    if deadline is not None:
        positive(deadline, "--deadline")
    positive(repeats, "--repeats")
    if program:
        if pid is not None or mount is not None or suite or workload:
            raise UsageError(
                "--exec takes a program and nothing else",
                why="--pid, --mount, --suite and --workload are about a mounted filesystem",
                hint="reactivate measure --exec -- PROGRAM ARGS",
            )
        code = _program(which, deadline, as_json=as_json)
    else:
        code = _mount(which, suite or [], workload, repeats, deadline, as_json=as_json)
    raise typer.Exit(int(code))


def _mount(
    which: Which,
    suites: list[str],
    script: Path | None,
    repeats: int,
    deadline: float | None,
    *,
    as_json: bool,
) -> ExitCode:
    from reactivate.cli.measure_view import depths_json, show_depths

    if not which.command and not which.attached:
        raise UsageError(
            "measure what?",
            why="neither a command line, nor --pid, nor --mount was given",
            hint="reactivate measure -- bindfs -f src mnt",
        )

    from reactivate.cli.console import emit_json
    from reactivate.cli.progress import progress
    from reactivate.run.measuring import Depths, measure_depths
    from reactivate.target.reap import reap_scratch
    from reactivate.target.scratch import scratch_folder

    seconds = deadline or DEADLINE_SECONDS
    operations = chosen_operations(suites, script, default=("posix",), deadline_seconds=seconds)
    launcher = which.launcher()
    operations = launcher.guarded(operations)

    async def run(folder: Path) -> Depths:
        with progress(quiet=as_json) as reporter:
            return await measure_depths(
                launcher,
                operations,
                repeats=repeats,
                deadline_seconds=seconds,
                folder=folder,
                reporter=reporter,
            )

    again = workload_again(suites, script) + which.again()
    reap_scratch()
    try:
        with scratch_folder() as folder:
            found = interruption.run(run, folder)
    except DaemonHungError as error:
        error.hint = f"reactivate measure --deadline {2 * seconds:g}{again}"
        raise
    # A table without a single number is no result.
    code = ExitCode.DONE if found.rows else ExitCode.INCONCLUSIVE
    if as_json:
        emit_json("reactivate.measure/1", depths_json(found, launcher.build, code))
    else:
        show_depths(
            found,
            workload_again(suites, script) + which.again(),
            attached=which.attached,
            code=code,
        )
    return code


def _program(which: Which, deadline: float | None, *, as_json: bool) -> ExitCode:
    from reactivate.cli.measure_view import life_json, show_life

    if not which.command:
        raise UsageError("--exec needs a program", hint="reactivate measure --exec -- PROGRAM ARGS")
    import functools

    from reactivate.cli.console import emit_json
    from reactivate.run.program import measure_program

    life = interruption.run(
        functools.partial(measure_program, which.command, deadline_seconds=deadline)
    )
    measured = any(thread.measured for thread in life.threads)
    code = ExitCode.DONE if measured else ExitCode.INCONCLUSIVE
    if as_json:
        emit_json("reactivate.measure.exec/1", life_json(life, code))
    else:
        show_life(life, code=code)
    return code
