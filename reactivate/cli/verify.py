"""`reactivate verify`: the gates of active components once more, for CI."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import Part, Styled, emit_json, say, talk
from reactivate.cli.light import add_verb
from reactivate.cli.state import State

if TYPE_CHECKING:
    from reactivate.report.verified import Gate, Verified

_STYLES = {"verified": "green", "refused": "red", "inconclusive": "yellow", "broken": "red"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, verify, example="reactivate verify --junit verify.xml")


def verify(
    ctx: typer.Context,
    all_: Annotated[
        bool, typer.Option("--all", help="Every phase of the checklist, also those not active.")
    ] = False,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="REV",
            help="Only if the target's source is not as it was at this commit.",
            show_default=False,
        ),
    ] = "",
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML.", show_default=False)
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", help="Write Markdown for a pull request.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the gates of all active components again, unasked.

    Builds and proves each anew, measures, judges, records; moves no phase. Ends with 3 if a gate
    refuses, 6 if one could not be run, 5 if one cannot be decided.
    """
    from reactivate.campaign.verification import verify as run
    from reactivate.cli.progress import progress
    from reactivate.report.junit import junit as junit_text
    from reactivate.report.summary import headline
    from reactivate.report.summary import summary as summary_text

    say_gate = (lambda _: None) if as_json else tell_gate
    state: State = ctx.obj
    workspace = state.workspace()
    with progress(quiet=as_json) as reporter:
        found = run(workspace, everything=all_, since=since, reporter=reporter, say=say_gate)
    if junit is not None:
        _write(junit, junit_text(found))
    if summary is not None:
        _write(summary, summary_text(found))
    code = found.exit_code
    if as_json:
        emit_json("reactivate.verify/1", {**verified_json(found), "headline": headline(found)})
        raise typer.Exit(int(code))
    print_gates(found)
    say()
    say(headline(found), style="green" if not code else "red")
    if found.uncalibrated:
        say(f"not calibrated on this machine: {', '.join(found.uncalibrated)}", style="yellow")
    if code:
        say(f"[exit {int(code)}]", style="dim")
    say("next: reactivate status")
    raise typer.Exit(int(code))


def _write(path: Path, text: str) -> None:
    from reactivate.errors import WorkspaceError
    from reactivate.files import replace_file

    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be written",
            why=f"{error.strerror or error}; the verification itself is on record",
            hint="name a file in a folder that exists and may be written",
        ) from error


def tell_gate(gate: Gate) -> None:
    """One gate has ended."""
    talk(f"  {gate.phase} · {gate.check} · {gate.ending.value}", style="dim")


def print_gates(found: Verified) -> None:
    """Every gate, then what is known of those that did not pass."""
    from reactivate.cli.step_view import show_verdicts
    from reactivate.cli.table import print_table
    from reactivate.evidence import Verdict

    rows: list[list[Part]] = []
    for gate in found.gates:
        passed = sum(judged.verdict is Verdict.PASS for judged in gate.judgements)
        rows.append(
            [
                gate.phase,
                gate.check,
                f"{passed} of {len(gate.judgements)} pass" if gate.judgements else "",
                f"{gate.seconds:.1f} s",
                Styled(gate.ending.value.upper(), _STYLES[gate.ending.value]),
            ]
        )
    print_table(["phase", "gate", "criteria", "", ""], rows, right=[3])
    for gate in found.gates:
        # The integration asks many things once for each component.
        asked = {j.source: j for j in gate.judgements if j.verdict is not Verdict.PASS}
        open_ = tuple(asked.values())
        if gate.trouble or open_:
            say()
            say(f"{gate.phase} · {gate.check}", style="bold")
        if gate.trouble:
            say(f"  {gate.trouble}")
        if open_:
            show_verdicts(open_)
        sources = {judged.criterion: judged.source for judged in gate.failed}
        then = {sources[criterion]: text for criterion, text in gate.before.items()}
        for source, text in then.items():
            say(f"  before, {source}: {text}")
        if gate.culprit:
            say(f"  most bytes: {gate.culprit}")
        for line in gate.chain:
            say(f"  {line}")
        if gate.folder and (gate.trouble or open_):
            say(f"evidence: {gate.folder}", style="dim")


def verified_json(found: Verified) -> dict[str, Any]:
    """A verification for `--json`."""
    from reactivate.cli.step_view import judgement_json

    document = asdict(found)
    for gate, source in zip(document["gates"], found.gates, strict=True):
        gate["judgements"] = [judgement_json(judged) for judged in source.judgements]
    return {**document, "exit_code": int(found.exit_code)}
