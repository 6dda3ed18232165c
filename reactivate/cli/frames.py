"""`reactivate frames`: what each function of a binary takes from the stack, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import Styled, emit_json, say, talk
from reactivate.cli.light import add_verb

if TYPE_CHECKING:
    from reactivate.instrument.frames import (
        Frame,
        FrameChange,
        FrameDifference,
        FrameTable,
    )

_DEFAULT_TOP = 20


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, frames, example="reactivate frames libvexmodel.so --over '2 KiB'")


def frames(
    binary: Annotated[Path, typer.Argument(help="An ELF x86-64 program or shared library.")],
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="The N largest; default 20, with --over all."),
    ] = None,
    over: Annotated[
        str | None, typer.Option("--over", help="Only frames of at least this size, e.g. '4 KiB'.")
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option("--diff", help="An earlier build: show whose frame is another one now."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how many bytes of stack each function's frame takes.

    Read from the call frame information and, with a frame pointer, from the code. Nothing is run.
    """
    from reactivate.instrument.frames import compare_frames, read_frames
    from reactivate.units import parse_bytes

    over_bytes = parse_bytes(over) if over is not None else 0
    if diff is not None:
        before, after = read_frames(diff), read_frames(binary)
        difference = compare_frames(before, after)
        changes = [c for c in difference.changes if c.largest_bytes >= over_bytes]
        if as_json:
            payload = _difference(before, after, difference, changes[:top])
            emit_json("reactivate.frames-diff/1", payload)
        else:
            _show_difference(before, after, difference, changes, top)
        return
    limit = top or (None if over is not None else _DEFAULT_TOP)
    table = read_frames(binary, top=limit, over_bytes=over_bytes)
    if as_json:
        emit_json("reactivate.frames/1", {**_summary(table), "frames": _frames(table)})
        return
    _show_table(table)


def _show_table(table: FrameTable) -> None:
    from reactivate.cli.table import print_table
    from reactivate.units import format_count

    say(f"{table.path.name} · {_counted(table)}")
    if table.frames:
        print_table(
            ["frame", "", "address", "function"],
            [[_exactly(f.size_bytes), _remark(f), f"{f.address:#x}", f.name] for f in table.frames],
            right=(0, 2),
        )
    else:
        say("  no frame is that large", style="dim")
    _talk(table.note)
    if any(f.bound != "exact" for f in table.frames):
        _talk(
            "dynamic, at least: more may be taken at run time · "
            "up to: depends on the alignment at entry"
        )
    rest = table.over - len(table.frames)
    if rest:
        effect = f"   {format_count(rest)} more"
        say(f"next: reactivate frames {table.path} --top {table.over}", Styled(effect, "dim"))
    else:
        say(f"next: reactivate frames {table.path} --diff OTHER")


def _exactly(size_bytes: int) -> str:
    """To the byte: what is compared between builds must not be rounded."""
    return f"{size_bytes:,} B"


def _counted(table: FrameTable) -> str:
    from reactivate.units import format_count

    parts = [f"{format_count(table.functions)} functions from {' and '.join(table.sections)}"]
    if table.untold:
        parts.append(f"{format_count(table.untold)} without frame information, not shown")
    if table.stripped:
        parts.append("stripped: only exported names")
    return " · ".join(parts)


def _remark(frame: Frame) -> str:
    remark = "" if frame.bound == "exact" else str(frame.bound)
    return f"{remark} part".strip() if frame.part else remark


def _talk(text: str) -> None:
    if text:
        talk(text, style="dim")


def _summary(table: FrameTable) -> dict[str, Any]:
    return {
        "binary": str(table.path),
        "functions": table.functions,
        "over": table.over,
        "sections": list(table.sections),
        "without_frame_information": table.untold,
        "left_out": table.left_out,
        "stripped": table.stripped,
        "note": table.note,
    }


def _frames(table: FrameTable) -> list[dict[str, Any]]:
    return [_frame(f) for f in table.frames]


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "name": frame.name,
        "symbol": frame.symbol,
        "address": frame.address,
        "code_bytes": frame.code_bytes,
        "size_bytes": frame.size_bytes,
        "slack_bytes": frame.slack_bytes,
        "bound": frame.bound.value,
        "part": frame.part,
    }


def _show_difference(
    before: FrameTable,
    after: FrameTable,
    difference: FrameDifference,
    changes: Sequence[FrameChange],
    top: int | None,
) -> None:
    from reactivate.cli.table import print_table
    from reactivate.units import format_count

    say(
        f"{before.path} → {after.path} · {format_count(len(difference.changes))} changed · "
        f"{format_count(difference.same)} the same"
    )

    def size(frame: Frame | None) -> str:
        return _exactly(frame.size_bytes) if frame else ""

    shown = changes[:top]
    if shown:
        print_table(
            ["change", "before", "now", "function"],
            [[c.change.value, size(c.before), size(c.after), c.name] for c in shown],
            right=(1, 2),
        )
    _talk(before.note or after.note)
    if len(changes) > len(shown):
        say(f"next: add --top {len(changes)}")
    if difference.nameless_before or difference.nameless_after:
        _talk(
            f"not compared, without a name: {format_count(difference.nameless_before)} before, "
            f"{format_count(difference.nameless_after)} now"
        )


def _difference(
    before: FrameTable,
    after: FrameTable,
    difference: FrameDifference,
    changes: Sequence[FrameChange],
) -> dict[str, Any]:
    return {
        "before": _summary(before),
        "after": _summary(after),
        "same": difference.same,
        "nameless_before": difference.nameless_before,
        "nameless_after": difference.nameless_after,
        "changed": len(difference.changes),
        "changes": [
            {
                "change": c.change.value,
                "name": c.name,
                "growth_bytes": c.growth_bytes,
                "before": _frame(c.before) if c.before else None,
                "after": _frame(c.after) if c.after else None,
            }
            for c in changes
        ],
    }
