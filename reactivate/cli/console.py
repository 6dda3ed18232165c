"""Standard output is data, standard error is talk. Colour means one thing each.

red: refused or dead. yellow: a person must look. green: measured and within budget.
dim: evidence and hints. Pipes and NO_COLOR give plain text, and rich is loaded only to colour.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from reactivate.errors import ExitCode, ReactivateError

if TYPE_CHECKING:
    from rich.console import Console


_ARTICLES = frozenset({"a", "an", "it", "no", "the", "there", "this"})
_OTHERWISE = {
    ExitCode.USAGE: "correct it, then type the command again",
    ExitCode.ENVIRONMENT: "mend it, then type the command again",
}
"""What to do about an error that has no hint of its own."""


class Styled(NamedTuple):
    """Text in one style: `red`, `yellow`, `green`, `dim` or `bold`."""

    text: str
    style: str


Part = str | Styled


def say(*parts: Part, style: str = "") -> None:
    """A line on standard output.

    Args:
        parts: pieces of the line, one after the other.
        style: for the pieces that have none of their own.
    """
    _line(parts, style, on_stderr=False)


def talk(*parts: Part, style: str = "") -> None:
    """A line on standard error."""
    _line(parts, style, on_stderr=True)


def watched(stream: IO[str]) -> bool:
    """Whether a terminal that can move its cursor shows the stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """The width of the terminal that shows standard output; a pipe has room for everything."""
    if not sys.stdout.isatty():
        return sys.maxsize
    import shutil

    return shutil.get_terminal_size().columns


def coloured(stream: IO[str]) -> bool:
    """Whether a terminal shows the stream, and nobody asked for plain text."""
    return watched(stream) and not os.environ.get("NO_COLOR")


def _line(parts: tuple[Part, ...], style: str, *, on_stderr: bool) -> None:
    stream = sys.stderr if on_stderr else sys.stdout
    if not coloured(stream):
        text = "".join(part if isinstance(part, str) else part.text for part in parts)
        stream.write(_harmless(text) + "\n")
        stream.flush()  # the two streams are often one file, and their lines have an order
        return
    from rich.text import Text

    styled = [(part, style) if isinstance(part, str) else (part.text, part.style) for part in parts]
    styled = [(_harmless(text), own) for text, own in styled]
    console(on_stderr=on_stderr).print(Text.assemble(*styled))


def _harmless(text: str) -> str:
    """Names of files and what was typed may hold what a terminal would obey; it is written out."""
    if text.isprintable():
        return text
    from reactivate.texts import visible

    return "".join(
        each if each in "\n\t" else visible(each) for each in re.split(r"([\n\t])", text)
    )


@cache
def console(*, on_stderr: bool) -> Console:
    """The terminal, for what moves or is coloured. Lines are never cut to its width."""
    from rich.console import Console

    return Console(stderr=on_stderr, highlight=False, soft_wrap=True, emoji=False)


def emit_json(schema: str, payload: Mapping[str, Any]) -> None:
    """One JSON document on standard output; `schema` is `reactivate.VERB/VERSION`."""
    document = {"schema": schema, **payload}
    # Not even a broken measurement may make this something other than JSON.
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    text = json.dumps(document, indent=2, ensure_ascii=plain, allow_nan=False)
    sys.stdout.write(text + "\n")


def show_error(error: ReactivateError, code: ExitCode, *, as_json: bool) -> None:
    """What happened, why, what to type; then the exit code."""
    if as_json:
        emit_json("reactivate.error/1", error_json(error, code))
        return
    style = "yellow" if code in (ExitCode.WAITING, ExitCode.INTERRUPTED) else "red"
    talk(sentence(error.what), style=style)
    for line in error.why.splitlines():
        talk(f"  {line}" if line else "")
    talk(f"[exit {int(code)}]", style="dim")
    hint = hint_of(error, code)
    # Most hints are a command; some are advice in a sentence.
    talk(hint if hint.endswith(".") else f"next: {hint}")


def hint_of(error: ReactivateError, code: ExitCode) -> str:
    """What to type next; never nothing."""
    return error.hint or _OTHERWISE.get(code, "reactivate status")


def error_json(error: ReactivateError, code: ExitCode) -> dict[str, Any]:
    """An error for `--json`; the faults of a checklist come with their places."""
    found: dict[str, Any] = {
        "error": type(error).__name__,
        "what": error.what,
        "why": error.why,
        "hint": hint_of(error, code),
        "exit_code": int(code),
    }
    faults = getattr(error, "faults", None)
    if faults is not None:
        found["faults"] = [
            {
                "path": fault.path,
                "line": fault.line,
                "column": fault.column,
                "length": fault.length,
                "message": fault.message,
                "suggestion": fault.suggestion,
                "source_line": fault.source_line,
            }
            for fault in faults
        ]
    return found


def show_bug(error: BaseException, trace: str, *, as_json: bool) -> None:
    """An error nobody foresaw: ours, with the traceback."""
    if as_json:
        emit_json(
            "reactivate.error/1",
            {
                "error": type(error).__name__,
                "what": str(error),
                "why": "a bug in reactivate",
                "hint": "report it with the traceback",
                "traceback": trace,
                "exit_code": int(ExitCode.BUG),
            },
        )
        return
    sys.stderr.write(trace)
    talk("This is a bug in reactivate; what was recorded before it is safe.", style="red")
    talk(f"[exit {int(ExitCode.BUG)}]", style="dim")
    talk("next: report it with the traceback above")


def sentence(text: str) -> str:
    """The text as a sentence; a name at its beginning, of a program or a phase, stays as it is."""
    if text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0] in _ARTICLES:
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."
