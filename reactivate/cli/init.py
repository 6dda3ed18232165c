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
    source: Annotated[
        Path | None,
        typer.Option("--source", help="Git checkout that the target is built from; only read."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a workspace: checklists, configs, probes."""
    from reactivate.trust import give_back
    from reactivate.workspace import create

    workspace = create(directory, target, reduced=reduced, source=source)
    give_back(workspace.root, [workspace.root])
    if as_json:
        emit_json(
            "reactivate.init/1",
            {
                "workspace": str(workspace.root),
                "target": target,
                "source": None if source is None else str(source.absolute()),
            },
        )
        return
    check = "doctor" if source is None else f"target check {target}"
    settings = workspace.settings()
    say(f"workspace   {workspace.root}")
    say(f"target      {target}   configs/targets/{target}.toml")
    if source is not None:
        say(f"source      {source.absolute()}")
    say(f"checklist   {settings.checklist.relative_to(workspace.root)}")
    say()
    say(f"next: cd {shlex.quote(str(directory))} && reactivate {check}")
