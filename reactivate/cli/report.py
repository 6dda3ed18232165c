"""`reactivate report`: the campaign as one page of HTML."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.report.html.sections import Stale
    from reactivate.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, report, example="reactivate report --open")


def report(
    ctx: typer.Context,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Default: results/report/index.html."),
    ] = None,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", metavar="NAME", help="Only this component; again for more."),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the campaign as one page of HTML.

    Its pictures are written as SVG too. The page needs no network and no scripts. It is made from
    the ledger and its evidence files; nothing is measured. Every number links to its evidence.
    What is missing is said.
    """
    from reactivate.report.html.report import Folders, render_report, write_report

    state: State = ctx.obj
    workspace = state.workspace()
    folder = workspace.results / "report"
    components = tuple(dict.fromkeys(component or ()))
    page = folder / _name(components) if html is None else Path.cwd() / html
    folders = Folders(
        ledger=workspace.ledger, results=workspace.results, decisions=workspace.decisions, page=page
    )
    made = render_report(folders, components=components, stale=_stale(workspace))
    changed = write_report(made, page, folder)
    if as_json:
        pictures = [str((folder / name).relative_to(workspace.root)) for name in made.pictures]
        size_bytes = len(made.html.encode("utf-8"))
        content = {"file": str(page), "size_bytes": size_bytes, "changed": changed}
        emit_json("reactivate.report/1", {**content, "pictures": pictures})
    else:
        say(f"{page}   {'written' if changed else 'unchanged'}, {len(made.html) / 1024:,.0f} KiB")
        say(f"{folder}/   {len(made.pictures):,} pictures, SVG")
        say(f"next: open {shlex.quote(page.absolute().as_uri())} in a browser, or add --open")
    if open_it:
        _open(page)


def _name(components: Sequence[str]) -> str:
    from reactivate.report.analysis.markup import file_part

    if not components:
        return "index.html"
    return f"component-{'+'.join(map(file_part, components))}.html"


def _stale(workspace: Workspace) -> Stale:
    """What `status` says of the evidence; it cannot be told where `status` cannot be told."""
    from reactivate.campaign.review import review
    from reactivate.errors import ReactivateError
    from reactivate.evidence import NotMeasured

    try:
        return {phase.id: phase.stale for phase in review(workspace).phases if phase.stale}
    except ReactivateError as error:
        # A ledger that cannot be read at all stops the report itself.
        return NotMeasured(reason=error.what)


def _open(page: Path) -> None:
    import webbrowser

    from reactivate.errors import MissingToolError

    if not webbrowser.open(page.absolute().as_uri()):
        raise MissingToolError(
            "no browser can be opened here",
            why="neither $BROWSER nor a desktop's own browser was found",
            hint=f"open {shlex.quote(str(page))} where there is one",
        )
