"""`reactivate history`: how a number moved over attempts."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import Styled, columns, emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.report.analysis.history import Point


_WIDE = 100
"""Columns of a terminal from which a line of an attempt fits."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, history, example="reactivate history stack.peak --component search_engine")


def history(
    ctx: typer.Context,
    metric: Annotated[
        str, typer.Argument(metavar="METRIC", help="As in `reactivate checklist metrics`.")
    ],
    component: Annotated[
        str | None, typer.Option("--component", metavar="NAME", help="Only this component.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", metavar="NAME", help="Only this operation.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a number moved over attempts.

    The worst value of each attempt: of all operations and threads, of the build under test.
    """
    from reactivate.report.analysis.history import history as points_of
    from reactivate.report.analysis.reader import LedgerReader

    state: State = ctx.obj
    with LedgerReader.opened(state.workspace().ledger) as reader, reader.snapshot():
        points = points_of(reader, metric, component=component or "", operation=operation or "")
    if as_json:
        content = {"metric": metric, "component": component, "operation": operation}
        emit_json("reactivate.history/1", {**content, "points": [_point(p) for p in points]})
        return
    _show(metric, points)


def _point(point: Point) -> dict[str, Any]:
    from reactivate.evidence import NotMeasured
    from reactivate.ledger.origin import origin_of

    attempt, found = point.attempt, point.measurement
    missing = isinstance(found.value, NotMeasured)
    return {
        "attempt": attempt.id,
        "phase": attempt.phase,
        "origin": origin_of(attempt.phase) or None,
        "step": attempt.step,
        "number": attempt.number,
        "started_at": attempt.started_at,
        "outcome": attempt.outcome,
        "value": None if isinstance(found.value, NotMeasured) else found.value,
        "not_measured": found.value.reason if isinstance(found.value, NotMeasured) else None,
        "bound": None if missing else found.bound.value,
        "operation": found.operation,
        "thread": found.thread,
        "instrument": found.instrument,
        "evidence": f"results/{attempt.folder}/{found.evidence}" if found.evidence else "",
        "commit": point.commit or None,
        "artifact_sha256": point.digest("artifact_sha256"),
        "configuration_sha256": point.digest("configuration_sha256"),
    }


def _show(metric: str, points: tuple[Point, ...]) -> None:
    from reactivate.ledger.origin import origin_of
    from reactivate.report.analysis.history import sparkline
    from reactivate.texts import visible

    if not points:
        say(f"{visible(metric)}: not measured in any attempt")
        say("next: reactivate status")
        return
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    line = sparkline([point.measurement.value for point in points], unicode=unicode)
    say(Styled(visible(metric), "bold"), f"  {line}")
    say()
    width = max(len(visible(point.attempt.phase)) for point in points)
    for point in points:
        _row(point, width)
    say()
    own = [point.attempt.phase for point in points if not origin_of(point.attempt.phase)]
    if own:
        say(f"next: reactivate analyze --component {shlex.quote(own[-1])}")
    else:
        say("next: reactivate status")


def _row(point: Point, width: int) -> None:
    from reactivate.evidence import NotMeasured
    from reactivate.report.analysis.values import quantity
    from reactivate.texts import visible

    attempt, found = point.attempt, point.measurement
    if isinstance(found.value, NotMeasured):
        value = Styled(f"not measured: {visible(found.value.reason)}", "yellow")
    else:
        value = Styled(quantity(found.metric, found.value).rjust(10), "")
    when = attempt.started_at[:16].replace("T", " ")
    where = visible(f"({found.operation})") if found.operation else ""
    built = point.digest("artifact_sha256")[:8] or "–"
    configured = point.digest("configuration_sha256")[:8] or "–"
    changed = "+" * point.commit.endswith("+")
    commit = f"  commit {visible(point.commit)[:12]}{changed}" if point.commit else ""
    about = (
        f"  {visible(attempt.outcome):<12}  artifact {built}  configuration {configured}{commit}"
    )
    phase = visible(attempt.phase).ljust(width)
    if columns() < _WIDE:
        say(f"  {phase} {attempt.number:>3}")
        say("    ", value, f"  {where}")
        say(Styled(f"    {when}{about}", "dim"))
        return
    say(f"  {phase}  {attempt.number:>3}  {when}  ", value, f"  {where:<18}", Styled(about, "dim"))
