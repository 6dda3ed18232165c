"""The verbs that need no workspace as a command line of their own, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__)), *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def reactivate(
    *arguments: str,
    folder: Path,
    given: str = "",
    variables: dict[str, str] | None = None,
    seconds: float = 170,
) -> Ended:
    """Run it in a folder, with `given` on standard input."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder, input=given, capture_output=True, text=True, timeout=seconds,
        env=environment() | (variables or {}), check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def main(arguments: Sequence[str]) -> None:
    from reactivate.cli import measure, trace, watch
    from reactivate.cli.app import Verbs
    from reactivate.cli.state import State

    app = typer.Typer(cls=Verbs, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.callback()
    def top(ctx: typer.Context) -> None:
        ctx.obj = State(None)

    for module in (measure, trace, watch):
        module.register(app)
    app(args=list(arguments), prog_name="reactivate")


if __name__ == "__main__":
    main(sys.argv[1:])
