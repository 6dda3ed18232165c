"""Aligned columns without frames, never folded, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reactivate.cli.console import out

if TYPE_CHECKING:
    from rich.text import Text

_WIDEST = 400


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    right: Sequence[int] = (),
    indent: int = 2,
) -> None:
    """Print rows under dim headers.

    Args:
        headers: one per column; all empty for no header line.
        rows: cells, as text or styled text; plain strings are printed as they are.
        right: indices of the columns that are flush right.
        indent: blanks before the first column.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
        show_header=any(headers),
        header_style="dim",
    )
    for index, header in enumerate(headers):
        table.add_column(header, no_wrap=True, justify="right" if index in right else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console = out()
    with console.capture() as capture:
        console.print(Padding(table, (0, 0, 0, indent), expand=False), width=_WIDEST, crop=False)
    for line in capture.get().splitlines():
        console.file.write(line.rstrip() + "\n")
