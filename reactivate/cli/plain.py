"""What our signs look like where a terminal has ASCII only: never a question mark in a bar."""

from __future__ import annotations

import codecs
from typing import Final

HANDLER: Final = "reactivate.plain"
"""For `errors=` of a stream."""

_PLAIN: Final = {
    "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "×": "x", "±": "+-", "≤": "<=",
    "≥": ">=", "²": "2", "µ": "u", "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "=", "▍": "=",
    "▎": "-", "▏": "|", "━": "=", "─": "-", "│": "|", "└": "+", "┄": "-", "●": "o",
}  # fmt: skip


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unfit = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in unfit), error.end


codecs.register_error(HANDLER, _replace)
