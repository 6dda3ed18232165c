"""Aligned columns without frames, never folded, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from reactivate.cli.console import Part, Styled, say

_GAP = 3


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Part]],
    *,
    right: Sequence[int] = (),
    indent: int = 2,
) -> None:
    """Print rows under dim headers.

    Args:
        headers: one per column; all empty for no header line.
        rows: cells, plain or styled.
        right: indices of the columns that are flush right.
        indent: blanks before the first column.
    """
    lines: list[Sequence[Part]] = list(rows)
    if any(headers):
        lines.insert(0, [Styled(header, "dim") for header in headers])
    widths = [
        max((_cells(_text(cell)) for cell in column), default=0)
        for column in zip(*lines, strict=True)
    ]
    for line in lines:
        _print_row(line, widths, right, indent)


def _print_row(
    row: Sequence[Part], widths: Sequence[int], right: Sequence[int], indent: int
) -> None:
    last = max((i for i, cell in enumerate(row) if _text(cell)), default=-1)
    parts: list[Part] = [" " * indent]
    for index, cell in enumerate(row[: last + 1]):
        padding = " " * (widths[index] - _cells(_text(cell)))
        if index in right:
            parts += [padding, cell]
        else:
            parts += [cell, padding if index < last else ""]
        if index < last and widths[index]:
            parts.append(" " * _GAP)
    say(*parts)


def _text(cell: Part) -> str:
    return cell if isinstance(cell, str) else cell.text


def _cells(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    wide = sum(east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(combining(char)) for char in text)
