"""`reactivate init`: lay out a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, out


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example: reactivate init campaign --target model")(init)


def init(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    target: Annotated[str, typer.Option(help="Name of a file in configs/targets.")] = "model",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a workspace: checklists, configs, probes, results, decision log."""
    from reactivate.workspace import create

    workspace = create(directory, target)
    if as_json:
        emit_json("reactivate.init/1", {"workspace": str(workspace.root), "target": target})
        return
    console = out()
    settings = workspace.settings()
    console.print(f"workspace   {workspace.root}")
    console.print(f"target      {target}   configs/targets/{target}.toml")
    console.print(f"checklist   {settings.checklist.relative_to(workspace.root)}")
    console.print(f"\nnext: cd {directory} && reactivate doctor")
