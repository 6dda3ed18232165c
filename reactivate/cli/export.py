"""`reactivate export`: the ledger for other programs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, talk
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

_FORMATS = ("json", "csv", "prometheus", "folded", "provoked")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, export, example="reactivate export --format prometheus --out reactivate.prom")


def export(
    ctx: typer.Context,
    wanted: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help=f"One of {', '.join(_FORMATS)}."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to; default: standard output."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what was written as JSON; needs --out.")
    ] = False,
) -> None:
    """Write the ledger in another form.

    json is everything, csv every measurement, prometheus the newest values, folded the newest
    call chains weighted by bytes, provoked a CSV of the scenarios that were run by hand. Nothing is
    measured, and nothing in the workspace changes.
    """
    from reactivate.errors import UsageError
    from reactivate.report.analysis.reader import LedgerReader
    from reactivate.report.export.write import Format, write_file
    from reactivate.report.export.write import export as pieces_of
    from reactivate.texts import visible
    from reactivate.tomlfile import nearest

    state: State = ctx.obj
    if wanted not in _FORMATS:
        raise UsageError(
            f"there is no format `{wanted}`{nearest(wanted, _FORMATS)}",
            hint="reactivate export --format json",
        )
    if as_json and out is None:
        raise UsageError(
            "`--json` says what was written to a file, and none is named",
            hint=f"reactivate export --format {wanted} --out FILE --json",
        )
    workspace = state.workspace()
    missing: list[str] = []
    size_bytes = 0
    with LedgerReader.opened(workspace.ledger) as reader:
        pieces = pieces_of(reader, workspace.results, Format(wanted), missing)
        if out is None:
            # The formats are UTF-8, whatever the terminal is.
            for piece in pieces:
                sys.stdout.buffer.write(piece.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        else:
            size_bytes = write_file(pieces, out)
    if out is not None and as_json:
        written = {"format": wanted, "file": str(out), "size_bytes": size_bytes}
        emit_json("reactivate.exported/1", {**written, "not_exported": missing})
        return
    for each in missing:
        talk(f"not exported: {visible(each)}", style="yellow")
    if out is not None:
        talk(f"{visible(str(out))}   {size_bytes:,} bytes")
        talk(f"next: less {shlex.quote(visible(str(out)))}")
