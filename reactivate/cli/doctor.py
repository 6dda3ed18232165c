"""`reactivate doctor`: what this machine can measure, and what mends what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from reactivate.cli.console import emit_json, out
from reactivate.errors import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example: reactivate doctor --json")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Probe instruments, tools and devices. Exit 6 if something is missing."""
    from reactivate.run.doctor import examine, missing

    findings = examine()
    absent = missing(findings)
    code = ExitCode.ENVIRONMENT if absent else ExitCode.DONE
    if as_json:
        emit_json(
            "reactivate.doctor/1",
            {
                "findings": [
                    {
                        "group": f.group,
                        "subject": f.subject,
                        "condition": f.condition.value,
                        "detail": f.detail,
                        "needs": f.needs,
                        "hint": f.hint,
                    }
                    for f in findings
                ],
                "exit_code": int(code),
            },
        )
        raise typer.Exit(int(code))
    from rich.text import Text

    from reactivate.cli.table import print_table

    styles = {"ready": "green", "partly": "yellow", "missing": "red"}
    print_table(
        ["", "condition", "here", "needed for, or needs"],
        [
            [f.subject, Text(f.condition.value, style=styles[f.condition]), f.detail, f.needs]
            for f in findings
        ],
    )
    console = out()
    for finding in absent:
        if finding.hint:
            console.print(f"  {finding.subject}: {finding.hint}", markup=False)
    if code:
        console.print(Text(f"[exit {int(code)}]", style="dim"))
        console.print("next: mend the above, then reactivate doctor")
    else:
        console.print("next: reactivate next")
    raise typer.Exit(int(code))
