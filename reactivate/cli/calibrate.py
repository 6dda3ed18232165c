"""`reactivate calibrate`: every instrument against programs of known behaviour, on this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate import interruption
from reactivate.cli.console import Part, Styled, emit_json, say, talk
from reactivate.cli.light import add_verb
from reactivate.cli.state import State
from reactivate.errors import ExitCode, WorkspaceError

if TYPE_CHECKING:
    from reactivate.evidence import Dimension
    from reactivate.instrument.contract import Reporter
    from reactivate.run.calibrate.record import Calibrated, Calibration, Series


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, calibrate, example="reactivate calibrate --only watermark")


def calibrate(
    ctx: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this instrument; may be given again. Default: all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find each instrument's error and cost here, and see it red.

    Programs that know the depth of their own stack are compiled here; each instrument measures
    them, and is shown planted faults that the gate's own arithmetic must refuse. In a workspace the
    result is kept in its ledger. Ends with 5 if an instrument is wrong or blind.
    """
    from reactivate.cli.progress import progress

    state: State = ctx.obj
    with progress(quiet=as_json) as reporter:
        found, evidence = _calibrate(state, tuple(only or ()), reporter)
    doubtful = [each for each in found.instruments if each.available and not each.trusted]
    code = ExitCode.DONE if found.trusted else ExitCode.INCONCLUSIVE
    if as_json:
        from reactivate.campaign.calibrated import calibration_json

        emit_json(
            "reactivate.calibrate/1",
            {
                **calibration_json(found, cases=True),
                "kept": evidence is not None,
                "evidence": None if evidence is None else str(evidence),
                "exit_code": int(code),
            },
        )
        raise typer.Exit(int(code))
    _print(found)
    say()
    for each in doubtful:
        say(f"{each.instrument} cannot be trusted here: {_doubt(each)}", style="red")
    if evidence is None:
        talk("Not kept: this is no workspace.", style="yellow")
    else:
        say(f"kept in the ledger; evidence: {evidence}/", style="dim")
    if code:
        say(f"[exit {int(code)}]", style="dim")
    say("next: reactivate doctor" if code else "next: reactivate next")
    raise typer.Exit(int(code))


def _calibrate(
    state: State, only: tuple[str, ...], reporter: Reporter
) -> tuple[Calibration, Path | None]:
    """In the workspace with a record; without a workspace just so."""
    from reactivate.campaign.calibrated import calibrate_here

    try:
        workspace = state.workspace()
    except WorkspaceError:
        if state.workspace_path is not None:
            raise
        return _just_so(only, reporter), None
    found, folder = calibrate_here(workspace, reporter, only=only)
    return found, folder.relative_to(workspace.root)


def _just_so(only: tuple[str, ...], reporter: Reporter) -> Calibration:
    from reactivate.run.calibration import calibrate
    from reactivate.target.reap import reap_scratch
    from reactivate.target.scratch import scratch_folder
    from reactivate.workspace import template_folder

    template = template_folder()
    reap_scratch()
    with scratch_folder() as folder:
        (folder / "evidence").mkdir()
        return interruption.run(
            partial(
                calibrate,
                sources=template / "probes" / "groundtruth",
                configs=template / "configs",
                mounts=folder,
                evidence=folder / "evidence",
                reporter=reporter,
                only=only,
            )
        )


def _print(found: Calibration) -> None:
    from reactivate.cli.table import print_table

    environment = found.environment
    named = [f"{name} {environment[name]}" for name in ("bpftrace", "perf", "valgrind")]
    say(
        f"{environment['kernel']} · {environment['cpu']} · {environment['libc']} · "
        f"{' · '.join(named)} · {found.at} · {found.seconds:.1f} s",
        style="bold",
    )
    say()
    print_table(
        ["instrument", "measured", "cases", "error", "expected", ""],
        [row for each in found.instruments for row in _errors(each)],
        right=[2],
    )
    say()
    print_table(
        ["instrument", "seen red", "planted fault", "criterion", "observed", "overhead"],
        [row for each in found.instruments for row in _plants(each)],
        right=[5],
    )
    missing = [each for each in found.instruments if each.missing]
    if missing:
        say()
        print_table(
            ["not calibrated", "", ""],
            [[each.instrument, Styled(each.missing, "yellow"), each.hint] for each in missing],
        )


def _errors(each: Calibrated) -> list[list[Part]]:
    return [
        [
            "" if number else each.instrument,
            series.name,
            str(len(series.cases)),
            Styled(_span(series.errors, series.dimension), _style(series)),
            _span((series.least, series.most), series.dimension),
            Styled(series.constant, "dim"),
        ]
        for number, series in enumerate(each.series)
    ]


def _style(series: Series) -> str:
    return "green" if series.as_expected else "red"


def _plants(each: Calibrated) -> list[list[Part]]:
    rows: list[list[Part]] = []
    for number, plant in enumerate(each.plants):
        rows.append(
            [
                "" if number else each.instrument,
                Styled("yes", "green") if plant.red else Styled("NO", "red"),
                plant.fault,
                plant.criterion,
                plant.observed,
                "" if number else _overhead(each),
            ]
        )
    return rows


def _overhead(each: Calibrated) -> str:
    cost = each.overhead
    if cost is None:
        return ""
    return f"{cost.seconds:.2f} s each" if cost.seconds is not None else f"{cost.ratio:.2f}×"


def _span(errors: tuple[int, int], dimension: Dimension) -> str:
    """`0 B`, or `-3,727 … -559 B`."""
    unit = {"bytes": " B", "ns": " µs", "count": ""}[dimension.value]
    scale = 1000 if dimension.value == "ns" else 1
    texts = [f"{round(error / scale):,}" for error in dict.fromkeys(errors)]
    return " … ".join(texts) + unit


def _doubt(each: Calibrated) -> str:
    """What of it is not as it should be."""
    doubts: list[Any] = [
        f"{series.name}: error {_span(series.errors, series.dimension)}"
        for series in each.series
        if not series.as_expected
    ]
    doubts += [
        f"{plant.fault}: {plant.criterion} was {plant.planted} with it, {plant.without} without"
        for plant in each.plants
        if not plant.red
    ]
    if not each.plants:
        doubts.append(each.missing or "it was shown no fault")
    return "; ".join(doubts)
