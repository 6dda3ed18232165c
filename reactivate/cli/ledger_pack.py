"""`reactivate ledger pack` and `unpack`: a campaign handed to another machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST_NAMED = 5


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    add_verb(group, pack, example="reactivate ledger pack campaign.tar")
    add_verb(group, unpack, example="reactivate ledger unpack campaign.tar DIR")


def pack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The archive to write; a new file.")],
    as_json: _Json = False,
) -> None:
    """Put the whole campaign into one file.

    Ledger, evidence, checklists, configuration. The same campaign gives the same bytes. Builds are
    not in it; they are made again.
    """
    from reactivate.campaign.packing import pack as put
    from reactivate.units import format_bytes

    state: State = ctx.obj
    found = put(state.workspace(), file)
    if as_json:
        emit_json(
            "reactivate.ledger.pack/1",
            {
                "file": str(found.file),
                "sha256": found.sha256,
                "size_bytes": found.size_bytes,
                "files": found.files,
                "events": found.events,
                "origin": found.origin,
                "missing": list(found.missing),
                "changed": list(found.changed),
                "left_out": list(found.left_out),
            },
        )
        return
    say(
        f"{found.file} · {found.files:,} files, {format_bytes(found.size_bytes)}, "
        f"{found.events:,} events",
        style="bold",
    )
    say(f"  sha256 {found.sha256}")
    for what, names in (
        ("evidence missing", found.missing),
        ("evidence changed, packed as it is", found.changed),
        ("left out: no plain files", found.left_out),
    ):
        if names:
            shown = ", ".join(n.encode("unicode_escape").decode() for n in names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
            say(f"  {what}: {len(names):,} ({shown}{more})", style="yellow")
    say(f"next: reactivate ledger unpack {shlex.quote(str(found.file))} DIR     on any machine")


def unpack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `reactivate ledger pack` wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    as_json: _Json = False,
) -> None:
    """Make a workspace of a packed campaign.

    Every file is held against its digest. If one does not fit, or would be written outside of DIR,
    nothing is written at all.
    """
    from reactivate.campaign.unpacking import unpack as take
    from reactivate.units import format_bytes

    found = take(file, folder)
    if as_json:
        emit_json(
            "reactivate.ledger.unpack/1",
            {
                "workspace": str(found.root),
                "sha256": found.sha256,
                "files": found.files,
                "size_bytes": found.size_bytes,
                "events": found.events,
                "origin": found.origin,
            },
        )
        return
    say(
        f"{found.root} · {found.files:,} files, {format_bytes(found.size_bytes)}, "
        f"{found.events:,} events",
        style="bold",
    )
    say(f"  sha256 {found.sha256}     compare it with what `pack` said")
    say(f"next: reactivate -C {shlex.quote(str(found.root))} status")
