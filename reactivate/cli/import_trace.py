"""`reactivate import-trace`: text results of the kernel-tracing manager into the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import Part, emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from datetime import date

    from reactivate.campaign.importing import Imported

_MOST_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, import_trace, name="import-trace", example="reactivate import-trace trace.txt")


def import_trace(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Text results of the kernel-tracing manager.")],
    day: Annotated[
        str,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", show_default=False,
            help="Day of the first line; default: the day on which the file was written.",
        ),
    ] = "",
    utc: Annotated[bool, typer.Option("--utc", help="Its times are UTC, not local.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Put a kernel trace on record, beside the runs of its time.

    Lines that are not understood are counted and shown. Nothing of it is judged by a gate: another
    tool measured it.
    """
    from reactivate.campaign.importing import function_json
    from reactivate.campaign.importing import import_trace as put_on_record

    state: State = ctx.obj
    found = put_on_record(state.workspace(), file, day=_day(day), utc=utc)
    if as_json:
        trace = found.trace
        emit_json(
            "reactivate.import.trace/1",
            {
                "day": found.day.isoformat(),
                "lines": trace.lines,
                "unknown": trace.unknown,
                "examples": trace.examples,
                "left_out": trace.left_out,
                "functions": {n: function_json(f) for n, f in trace.functions.items()},
                "overlaps": [
                    {
                        "attempt": o.span.attempt,
                        "name": o.span.name,
                        "lines": dict(o.lines),
                        "requests": dict(found.requests[o.span.attempt]),
                    }
                    for o in found.overlaps
                ],
                "evidence": found.folder,
            },
        )
        return
    _print(found)


def _day(text: str) -> date | None:
    from datetime import date

    from reactivate.errors import UsageError

    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"`{text}` is no date", hint="--date 2026-01-31") from None


def _print(found: Imported) -> None:
    from reactivate.cli.table import print_table
    from reactivate.units import format_duration_ns

    trace = found.trace
    say(f"{len(trace.functions):,} functions, {trace.lines:,} lines, day {found.day}", style="bold")
    rows: list[list[Part]] = []
    ordered = sorted(trace.functions.items(), key=lambda each: (-each[1].calls, each[0]))
    for name, function in ordered[:_MOST_ROWS]:
        latencies = [function.latency_ns(share) for share in (0.5, 0.99, 1.0)]
        shown = ["" if value is None else format_duration_ns(value) for value in latencies]
        rows.append([name, f"{function.calls:,}", f"{len(function.latencies_ns):,}", *shown])
    print_table(["function", "calls", "complete", "p50", "p99", "longest"], rows,
                right=[1, 2, 3, 4, 5])  # fmt: skip
    if len(ordered) > _MOST_ROWS:
        say(f"  {len(ordered) - _MOST_ROWS:,} more in the evidence", style="dim")
    say()
    if found.overlaps:
        for overlap in found.overlaps:
            lines = ", ".join(f"{name} {count:,}" for name, count in overlap.lines.most_common(4))
            say(f"  during {overlap.span.name}: {sum(overlap.lines.values()):,} lines ({lines})")
            sent = found.requests[overlap.span.attempt]
            if sent:
                most = sorted(sent.items(), key=lambda each: -each[1])[:4]
                told = ", ".join(f"{opcode} {count:,}" for opcode, count in most)
                say(f"    FUSE requests: {sum(sent.values()):,} ({told})", style="dim")
    else:
        say("  It falls into the time of no attempt on record; --date and --utc place it.")
    if trace.unknown:
        say()
        say(f"  {trace.unknown:,} lines were not understood, such as:", style="yellow")
        for example in trace.examples:
            say(f"    {example}")
    if trace.left_out:
        say(f"  {trace.left_out:,} lines about further functions were left out", style="yellow")
    say(f"evidence: {found.folder}", style="dim")
    say("next: reactivate history imported.latency.max")
