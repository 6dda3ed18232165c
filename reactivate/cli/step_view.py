"""A step as text: what was done, the verdicts, the decision, the next command."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.cli.console import Styled, say
from reactivate.cli.table import print_table
from reactivate.evidence import NotMeasured, Verdict
from reactivate.gate.judgement import Judgement

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


def show_step(report: StepReport, *, with_heading: bool = True, with_commands: bool = True) -> None:
    """Print the report on standard output; the next command is the last line.

    Args:
        with_heading: False where it stands there already.
        with_commands: False where the next step follows by itself.
    """
    if with_heading:
        say(report.heading, style="bold")
    if report.lines:
        _show_lines(report)
    if report.judgements:
        say()
        show_verdicts(report.judgements)
    if report.summary:
        say()
        for line in report.summary.splitlines():
            say(line, style=_OUTCOME_STYLES[report.outcome] if line else "")
    if report.explanation is not None:
        from reactivate.campaign.wording import chain_lines

        say()
        head, *rows = chain_lines(report.explanation)
        say(head)
        for row in rows:
            say(f"  {row}")
    if report.folder:
        say(f"evidence: {report.folder}", style="dim")
    if report.exit_code and with_commands:
        say(f"[exit {int(report.exit_code)}]", style="dim")
    if with_commands:
        _show_commands(report)
    else:
        say()


def _show_lines(report: StepReport) -> None:
    print_table(
        ["", "", "", ""],
        [
            [
                line.label,
                line.text,
                "" if line.seconds is None else f"{line.seconds:.1f} s",
                Styled(line.result, "dim"),
            ]
            for line in report.lines
        ],
        right=[2],
    )


def _show_commands(report: StepReport) -> None:
    if not report.commands:
        return
    *others, last = [*report.commands[1:], report.commands[0]]
    print_table(["", ""], [[c.command, Styled(c.effect, "dim")] for c in others])
    say(f"next: {last.command}", Styled(f"   {last.effect}" if last.effect else "", "dim"))


def show_verdicts(judgements: tuple[Judgement, ...]) -> None:
    """The verdict table: criterion, observed, limit, n, verdict; reasons for what is not PASS.

    What several phases ask alike, with the same answer, is one line with their number.
    """
    alike = Counter(map(_cells, judgements))
    print_table(
        ["criterion", "observed", "limit", "n", "verdict", ""],
        [
            [*cells, Styled(verdict.upper(), _STYLES[Verdict(verdict)]), _times(count)]
            for (*cells, verdict), count in alike.items()
        ],
        right=[3],
    )
    for judgement in judgements:
        if judgement.verdict is not Verdict.PASS and judgement.reason:
            say(f"  {judgement.criterion}: {judgement.reason}")
    if any(j.verdict is Verdict.PASS and j.interval is not None for j in judgements):
        from reactivate.gate.statistics import ASSUMES

        say(Styled(f"  intervals: {ASSUMES}", "dim"))


def _cells(judgement: Judgement) -> tuple[str, ...]:
    return (
        judgement.source,
        _observed(judgement),
        format_value(judgement, "limit"),
        str(judgement.samples),
        judgement.verdict.value,
    )


def _times(count: int) -> Styled:
    return Styled(f"in {count} phases" if count > 1 else "", "dim")


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
        "explanation": None if report.explanation is None else asdict(report.explanation),
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
