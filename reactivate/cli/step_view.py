"""A step as text: what was done, the verdicts, the decision, the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.cli.console import out
from reactivate.evidence import NotMeasured, Verdict
from reactivate.gate.judgement import Judgement

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: "yellow",
    Verdict.ERROR: "red",
}
_OUTCOME_STYLES = {
    Outcome.ADVANCED: "green",
    Outcome.COMPLETE: "green",
    Outcome.RECORDED: "",
    Outcome.REFUSED: "red",
    Outcome.WAITING: "yellow",
    Outcome.INCONCLUSIVE: "yellow",
}


def show_step(report: StepReport) -> None:
    """Print the report on standard output; the next command is the last line."""
    from rich.text import Text

    console = out()
    console.print(Text(report.heading, style="bold"))
    if report.lines:
        _show_lines(report)
    if report.judgements:
        console.print()
        show_verdicts(report.judgements)
    if report.summary:
        console.print()
        console.print(Text(report.summary, style=_OUTCOME_STYLES[report.outcome]))
    if report.folder:
        console.print(Text(f"evidence: {report.folder}", style="dim"))
    if report.exit_code:
        console.print(Text(f"[exit {int(report.exit_code)}]", style="dim"))
    _show_commands(report)
    console.print()


def _show_lines(report: StepReport) -> None:
    from rich.text import Text

    from reactivate.cli.table import print_table

    print_table(
        ["", "", "", ""],
        [
            [
                line.label,
                line.text,
                Text("" if line.seconds is None else f"{line.seconds:.1f} s"),
                Text(line.result, style="dim"),
            ]
            for line in report.lines
        ],
        right=[2],
    )


def _show_commands(report: StepReport) -> None:
    from rich.text import Text

    from reactivate.cli.table import print_table

    if not report.commands:
        return
    *others, last = [*report.commands[1:], report.commands[0]]
    if others:
        print_table(["", ""], [[c.command, Text(c.effect, style="dim")] for c in others])
    effect = f"   {last.effect}" if last.effect else ""
    line = Text(f"next: {last.command}")
    line.append(effect, style="dim")
    out().print(line)


def show_verdicts(judgements: tuple[Judgement, ...]) -> None:
    """The verdict table: criterion, observed, limit, n, verdict; reasons for what is not PASS."""
    from reactivate.cli.table import print_table

    print_table(
        ["criterion", "observed", "limit", "n", "verdict"],
        [
            [
                j.source,
                _observed(j),
                format_value(j, "limit"),
                str(j.samples),
                verdict_text(j.verdict),
            ]
            for j in judgements
        ],
        right=[3],
    )
    for judgement in judgements:
        if judgement.verdict is not Verdict.PASS and judgement.reason:
            out().print(f"  {judgement.criterion}: {judgement.reason}", markup=False)


def verdict_text(verdict: Verdict) -> Text:
    """The verdict in its colour."""
    from rich.text import Text

    return Text(verdict.value.upper(), style=_STYLES[verdict])


def format_value(judgement: Judgement, which: str) -> str:
    """`observed` or `limit` with its unit."""
    from reactivate.units import format_quantity

    value = getattr(judgement, which)
    if isinstance(value, NotMeasured):
        return "not measured" if which == "observed" else "unknown"
    return format_quantity(value, judgement.dimension)


def _observed(judgement: Judgement) -> str:
    from reactivate.units import format_ratio

    text = format_value(judgement, "observed")
    if judgement.interval is not None:
        low, high = judgement.interval
        text += f" [{format_ratio(low)}, {format_ratio(high)}]"
    if judgement.operation:
        text += f" ({judgement.operation})"
    return text


def step_json(report: StepReport) -> dict[str, Any]:
    """The report for `--json`."""
    return {
        "phase": report.phase,
        "heading": report.heading,
        "outcome": report.outcome.value,
        "check": report.check.value if report.check else "",
        "lines": [
            {"label": x.label, "text": x.text, "seconds": x.seconds, "result": x.result}
            for x in report.lines
        ],
        "verdicts": [judgement_json(j) for j in report.judgements],
        "summary": report.summary,
        "commands": [{"command": c.command, "effect": c.effect} for c in report.commands],
        "evidence": report.folder,
        "exit_code": int(report.exit_code),
    }


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """One verdict for `--json`: base units; a missing value is an object with its reason."""
    return {
        "criterion": judgement.criterion,
        "source": judgement.source,
        "check": judgement.check.value,
        "verdict": judgement.verdict.value,
        "observed": _json_value(judgement.observed),
        "limit": _json_value(judgement.limit),
        "unit": judgement.dimension.value,
        "interval": judgement.interval,
        "samples": judgement.samples,
        "operation": judgement.operation,
        "thread": judgement.thread,
        "instrument": judgement.instrument,
        "evidence": judgement.evidence,
        "reason": judgement.reason,
    }


def _json_value(value: float | NotMeasured) -> Any:
    return {"not_measured": value.reason} if isinstance(value, NotMeasured) else value
