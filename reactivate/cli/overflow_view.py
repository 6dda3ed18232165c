"""What `overflow` found, as text and for `--json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactivate.campaign.wording import chain_lines
from reactivate.cli.chart import chart
from reactivate.cli.console import Part, Styled, say, talk
from reactivate.cli.table import print_table
from reactivate.errors import ExitCode
from reactivate.evidence import NotMeasured
from reactivate.gate.growth_law import Law, LawKind
from reactivate.run.overflow.explained import explanation_of
from reactivate.run.overflow.record import document
from reactivate.run.overflow.result import Ending, Least, ScenarioResult, StepResult
from reactivate.units import format_bytes, format_count, format_percent
from reactivate.workload.scenario import Expectation, Scenario


def show_list(scenarios: Sequence[Scenario], known: Sequence[str]) -> None:
    """One line per scenario, by category."""
    if not scenarios:
        say("This workspace has no scenarios: no configs/scenarios/*.toml.")
        say("next: reactivate doctor")
        return
    rows: list[list[Part]] = [
        [
            Styled(scenario.name, "bold"),
            scenario.category,
            _components(scenario.components, known),
            f"{len(scenario.steps())}",
            f"{len(scenario.steps(reduced=True))}",
            scenario.title,
        ]
        for scenario in sorted(scenarios, key=lambda each: (each.category, each.name))
    ]
    headers = ("scenario", "category", "needs", "steps", "reduced", "")
    print_table(headers, rows, right=(3, 4))
    say("next: reactivate overflow --scenario NAME")


def _components(names: Sequence[str], known: Sequence[str]) -> str:
    if known and set(names) == set(known):
        return "every component"
    return ", ".join(names) or "no component"


def list_json(scenarios: Sequence[Scenario]) -> dict[str, Any]:
    """The same as data."""
    return {
        "scenarios": [
            {
                "name": scenario.name,
                "title": scenario.title,
                "category": scenario.category,
                "components": list(scenario.components),
                "expect": scenario.expect,
                "steps": len(scenario.steps()),
                "reduced_steps": len(scenario.steps(reduced=True)),
                "file": str(scenario.path),
            }
            for scenario in scenarios
        ]
    }


def results_json(results: Sequence[ScenarioResult]) -> dict[str, Any]:
    """Everything that the evidence files hold."""
    return {"scenarios": [document(result) for result in results]}


# -- one scenario --------------------------------------------------------------------------


def show_result(result: ScenarioResult) -> None:
    """Steps, growth, smallest stack, and each death with its chain and what helps."""
    scenario = result.scenario
    say(
        Styled(scenario.name, "bold"),
        f"   {scenario.title}",
        Styled(f"   {result.set_text}, {result.seconds:.0f} s", "dim"),
    )
    on = ", ".join(result.components) or "no component"
    wanted = " · must overflow" if scenario.expect is Expectation.OVERFLOWS else ""
    say(f"  on: {on}{wanted}", style="dim")
    headers = (result.steps[0].step.parameter, "stack", "deepest", "of limit", "", "")
    print_table(headers, [_row(result, step) for step in result.steps], right=(0, 1, 2, 3))
    for limit, law in result.laws.items():
        _show_law(result, limit, law)
    if result.least is not None:
        _show_least(result.least)
    explained: set[str] = set()
    for step in result.steps:
        key = step.classification.place if step.classification is not None else step.text
        if step.cause is not None and key not in explained:
            explained.add(key)
            _show_death(step, result.evidence)
    say()


def _row(result: ScenarioResult, step: StepResult) -> list[Part]:
    limit, depth = step.step.stack_limit_bytes, step.depth_bytes
    measured = not isinstance(depth, NotMeasured)
    good = step.as_expected(result.scenario.expect)
    style = "green" if good else "red" if step.judged else "yellow"
    ending: list[str] = [step.ending.value]
    if step.cause is not None:
        ending = [f"{step.ending.value}: {step.cause.kind.value.replace('_', ' ')}"]
    if isinstance(step.lost, int):
        ending.append(f"{format_count(step.lost)} lost")
    ending += [f"{name} × {number:,}" for name, number in step.refused.items()]
    value = "" if step.step.value is None else f"{step.step.value}"
    if step.step.order:
        value = " → ".join(step.step.order)
    said = "" if step.ending is Ending.SURVIVED or step.cause is not None else step.text
    return [
        value,
        format_bytes(limit),
        format_bytes(depth) if isinstance(depth, int) else "not measured",
        format_percent(depth / limit) if measured and isinstance(depth, int) else "",
        Styled(", ".join(ending), style),
        Styled(said, "dim"),
    ]


def _show_law(result: ScenarioResult, limit: int, law: Law) -> None:
    own = [step for step in result.steps if step.step.stack_limit_bytes == limit]
    head = f"  growth under {format_bytes(limit)}: "
    if law.kind is LawKind.UNCLEAR:
        say(f"{head}unclear: {law.reason}", style="yellow")
        return
    parts = [law.kind.value, law.formula]
    if law.error is not None:
        parts.append(f"error up to {format_percent(law.error)}, n = {law.n}")
    meets = law.reaches(limit)
    parameter = own[0].step.parameter
    if meets is None:
        parts.append("never reaches the limit")
    else:
        parts.append(f"reaches the limit at {parameter} {meets:,.0f}")
    say(head, " · ".join(parts))
    if law.kind is LawKind.CONSTANT:
        return
    points = [
        (float(step.step.value), float(step.depth_bytes))
        for step in own
        if isinstance(step.step.value, (int, float)) and isinstance(step.depth_bytes, int)
    ]
    deaths = [
        float(step.step.value)
        for step in own
        if isinstance(step.step.value, (int, float)) and step.ending is Ending.DIED
    ]
    encoding = (sys.stdout.encoding or "ascii").lower()
    for line in chart(
        points,
        parameter=parameter,
        limit_bytes=limit,
        deaths=deaths,
        law=law.at,
        unicode=encoding.startswith("utf"),
    ):
        say(f"  {line}")


def _show_least(least: Least) -> None:
    if least.survived_bytes is None:
        say(f"  smallest stack: not found in {least.runs} runs", style="yellow")
        return
    died = f", dies with {least.died_bytes:,}" if least.died_bytes else ", no death was provoked"
    edge = "" if least.settled else "; the edge is not settled"
    say(f"  smallest stack: {least.survived_bytes:,} bytes{died}{edge} ({least.runs} runs)")
    if isinstance(least.touched_bytes, int):
        say(f"  touched there: {least.touched_bytes:,} bytes; the gap: {least.gap}")


def _show_death(step: StepResult, evidence: str) -> None:
    explanation = explanation_of(step, evidence)
    head, *lines = chain_lines(explanation)
    say(f"  {head}")
    chain = len(lines) - len(explanation.remarks)
    for number, line in enumerate(lines):
        say(f"    {line}", style="dim" if number < chain else "")


def show_unrecorded(why_not: str) -> None:
    """That a run leaves nothing in the ledger, and why; nothing if it does."""
    if why_not:
        talk(f"not on record: {why_not}", style="yellow")


def show_end(
    results: Sequence[ScenarioResult], folder: Path, code: ExitCode, *, recorded: int
) -> None:
    """The sum of it, where the evidence lies, and what to type next."""
    good = sum(result.passed and result.complete for result in results)
    seconds = sum(result.seconds for result in results)
    style = "green" if code is ExitCode.DONE else "red" if code is ExitCode.REFUSED else "yellow"
    say(
        Styled(f"{good} of {len(results)} scenarios as expected", style),
        Styled(f", {seconds:.0f} s; evidence: {folder}", "dim"),
    )
    if recorded:
        say("on record as run by hand; no gate counts it: reactivate analyze "
            "--stack-overflow-analysis", style="dim")  # fmt: skip
    held = {text for r in results for s in r.steps if s.box is not None and (text := s.box.why)}
    for text in sorted(held):
        say(f"limits: {text}", style="yellow")
    if code:
        say(f"[exit {int(code)}]", style="dim")
    wrong = next((r.scenario.name for r in results if not (r.passed and r.complete)), "")
    say(f"next: reactivate overflow --scenario {wrong}   after a fix" if wrong
        else "next: reactivate status")  # fmt: skip
