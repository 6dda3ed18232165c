"""`reactivate selftest`: can this installation be believed on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reactivate.cli.console import Part, Styled, emit_json, say, talk
from reactivate.cli.light import add_verb


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, selftest, example="reactivate selftest")


def selftest(
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Work in this new folder and leave it.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each gate a planted fault, and see it refused here.

    A small campaign on the embedded filesystem in a temporary folder: a run is killed and cleaned
    up, each gate refuses a walk that calls itself, the fix passes, a damaged ledger is refused, a
    tampered one found. Under a minute. Ends with 5 if anything was not seen.
    """
    from contextlib import nullcontext
    from dataclasses import asdict

    from reactivate.campaign.selftest import Finding, exit_code
    from reactivate.campaign.selftest import selftest as put_to_the_test
    from reactivate.cli.progress import progress
    from reactivate.cli.table import print_table
    from reactivate.target.reap import reap_scratch
    from reactivate.target.scratch import scratch_folder

    def tell(what: str) -> None:
        if not as_json:
            talk(f"  {what}", style="dim")

    findings: list[Finding] = []
    reap_scratch()
    # An alert of the planted walk is what must come.
    with (
        scratch_folder() if keep is None else nullcontext(keep) as outer,
        progress(quiet=True) as reporter,
    ):
        folder = outer / "selftest" if keep is None else keep
        findings += put_to_the_test(folder, reporter, tell)
    code = exit_code(findings)
    if as_json:
        emit_json(
            "reactivate.selftest/1",
            {"findings": [asdict(each) for each in findings], "exit_code": int(code)},
        )
        raise typer.Exit(int(code))
    rows: list[list[Part]] = [
        [
            each.name,
            each.planted,
            each.seen,
            Styled("seen", "green") if each.passed else Styled("NOT SEEN", "red"),
        ]
        for each in findings
    ]
    print_table(["test", "planted", "what came of it", ""], rows)
    say()
    if code:
        say("Nothing that is measured with this installation on this machine proves anything.")
        say(f"[exit {int(code)}]", style="dim")
    say("next: reactivate doctor" if code else "next: reactivate init DIR --target model")
    raise typer.Exit(int(code))
