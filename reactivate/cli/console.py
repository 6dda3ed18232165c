"""Standard output is data, standard error is talk. Colour means one thing each.

red: refused or dead. yellow: a person must look. green: measured and within budget.
dim: evidence and hints. NO_COLOR and pipes give plain text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from reactivate.errors import ExitCode, ReactivateError

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> Console:
    """Console of standard output."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Console of standard error."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
    if not console.is_terminal:
        # A pipe has no width: rows are never folded where a program reads them.
        console = Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, width=200)
    return console


def emit_json(schema: str, payload: Mapping[str, Any]) -> None:
    """One JSON document on standard output; `schema` is `reactivate.VERB/VERSION`."""
    sys.stdout.write(json.dumps({"schema": schema, **payload}, indent=2, ensure_ascii=False) + "\n")


def show_error(error: ReactivateError, code: ExitCode, *, as_json: bool) -> None:
    """What happened, why, what to type; then the exit code."""
    if as_json:
        emit_json(
            "reactivate.error/1",
            {
                "error": type(error).__name__,
                "what": error.what,
                "why": error.why,
                "hint": error.hint,
                "exit_code": int(code),
            },
        )
        return
    from rich.text import Text

    console = err()
    style = "yellow" if code in (ExitCode.WAITING, ExitCode.INTERRUPTED) else "red"
    console.print(Text(f"{error.what}.", style=style))
    if error.why:
        console.print(Text(_indented(error.why)))
    console.print(Text(f"[exit {int(code)}]", style="dim"))
    if error.hint:
        console.print(Text(f"next: {error.hint}"))


def show_bug(error: BaseException, trace: str, *, as_json: bool) -> None:
    """An error nobody foresaw: ours, with the traceback."""
    if as_json:
        emit_json(
            "reactivate.error/1",
            {
                "error": type(error).__name__,
                "what": str(error),
                "why": "a bug in reactivate",
                "hint": "report it with the traceback below",
                "traceback": trace,
                "exit_code": int(ExitCode.BUG),
            },
        )
        return
    sys.stderr.write(trace)
    sys.stderr.write(
        "This is a bug in reactivate; what was recorded before it is safe.\n[exit 1]\n"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines())
