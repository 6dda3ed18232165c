"""`reactivate analyze`: what the ledger says, as Markdown in results/analysis."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, analyze, example="reactivate analyze --component search_engine")


def analyze(
    ctx: typer.Context,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="The minimal build: depth, memory, latency.")
    ] = False,
    component: Annotated[
        list[str] | None,
        typer.Option(
            "--component",
            metavar="NAME",
            help="A component: against the minimal build and the build before it; again for more.",
        ),
    ] = None,
    overflow: Annotated[
        bool,
        typer.Option(
            "--stack-overflow-analysis", help="All scenarios, deaths, causes, smallest stacks."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write analyses of the campaign, as Markdown.

    They are made from the ledger and its evidence files alone; nothing is measured. Every number
    names its evidence. Files that are missing or were changed are named, and not read.
    """
    from reactivate.errors import UsageError
    from reactivate.report.analysis.write import Wanted, render, write

    state: State = ctx.obj
    if not (baseline or component or overflow):
        raise UsageError(
            "nothing to analyze was named",
            hint="reactivate analyze --baseline, --component NAME or --stack-overflow-analysis",
        )
    workspace = state.workspace()
    wanted = Wanted(baseline=baseline, components=tuple(component or ()), overflow=overflow)
    made = render(workspace.ledger, workspace.results, wanted)
    folder = workspace.results / "analysis"
    changed = {path.name for path in write(made, folder)}
    place = folder.relative_to(workspace.root)
    paths = {name: str(place / name) for name in made.documents}
    drawn = [str(place / name / file) for name, files in made.pictures.items() for file in files]
    if as_json:
        files = [{"path": path, "changed": name in changed} for name, path in paths.items()]
        emit_json("reactivate.analyze/1", {"files": files, "pictures": drawn})
        return
    for name, path in paths.items():
        say(f"{path}   {'written' if name in changed else 'unchanged'}")
    say(f"{place}/*/   {len(drawn):,} pictures, SVG, shown in them")
    say(f"next: less {shlex.quote(str(folder / next(iter(paths))))}")
