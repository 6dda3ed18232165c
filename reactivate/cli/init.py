"""`reactivate init`: lay out a workspace."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, init, example="reactivate init campaign --target model")


def init(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    target: Annotated[str, typer.Option(help="Name of a file in configs/targets.")] = "model",
    reduced: Annotated[
        bool, typer.Option("--reduced", help="Overflow scenarios with fewer steps; on record.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a workspace: checklists, configs, probes."""
    from reactivate.workspace import create

    workspace = create(directory, target, reduced=reduced)
    if as_json:
        emit_json("reactivate.init/1", {"workspace": str(workspace.root), "target": target})
        return
    settings = workspace.settings()
    say(f"workspace   {workspace.root}")
    say(f"target      {target}   configs/targets/{target}.toml")
    say(f"checklist   {settings.checklist.relative_to(workspace.root)}")
    say()
    say(f"next: cd {shlex.quote(str(directory))} && reactivate doctor")
