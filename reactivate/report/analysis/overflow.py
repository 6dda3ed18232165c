"""The stack-overflow analysis: what was provoked, what died, why, and what the numbers suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactivate.evidence import Check, NotMeasured
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.ordering import order_section
from reactivate.report.analysis.scenarios import (
    Death,
    ScenarioFacts,
    overflow_attempts,
    read_deaths,
    read_scenarios,
    whole,
)
from reactivate.report.analysis.shape import Shape, latest
from reactivate.report.analysis.values import Values, cell, number
from reactivate.units import format_bytes, format_count, format_percent

_MOST_DEATHS = 50
_MOST_CITED = 3


def overflow_analysis(evidence: Evidence, shape: Shape) -> str:
    """All scenarios, deaths, growth laws, smallest stacks, causes, combinations, order."""
    scenarios = read_scenarios(evidence)
    deaths = read_deaths(evidence, scenarios)
    ran = overflow_attempts(evidence)
    lines = [
        "# Stack overflow",
        "",
        f"From the ledger and the evidence files of its {len(ran):,} finished overflow checks. "
        "Runs of `reactivate overflow` by hand are not in the ledger and do not count here.",
        "",
    ]
    lines += _scenario_section(evidence, scenarios)
    lines += _death_section(evidence, deaths)
    lines += _cause_section(evidence, deaths)
    lines += _law_section(evidence, scenarios)
    lines += _smallest_section(evidence, shape)
    lines += _combination_section(evidence, scenarios, deaths)
    lines += order_section(evidence, shape, deaths)
    return "\n".join([*lines, *evidence.section()])


def _scenario_section(evidence: Evidence, scenarios: Sequence[ScenarioFacts]) -> list[str]:
    lines = ["## Scenarios", ""]
    if not scenarios:
        return [*lines, "Not measured: no scenario is on record.", ""]
    rows = []
    for each in scenarios:
        row = [code(each.attempt.phase), f"{each.attempt.number}", code(each.name)]
        if isinstance(each.content, NotMeasured):
            row += [f"not measured: {prose(each.content.reason)}", "", "", ""]
        else:
            row += [
                prose(str(each.content.get("set", ""))),
                _endings(each.steps),
                _deepest(each.steps),
                "as expected" if each.content.get("passed") is True else "**not as expected**",
            ]
        rows.append([*row, evidence.cite(each.attempt, each.path)])
    headers = ["phase", "attempt", "scenario", "steps", "endings", "deepest", "result", "evidence"]
    return lines + table(headers, rows)


def _endings(steps: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        ending = str(step.get("ending", "unknown"))
        counts[ending] = counts.get(ending, 0) + 1
    return ", ".join(f"{count:,} {prose(ending)}" for ending, count in counts.items()) or "none"


def _deepest(steps: Sequence[Mapping[str, Any]]) -> str:
    known = [
        (depth / limit, depth, limit)
        for step in steps
        if (depth := whole(step.get("depth_bytes"))) is not None
        and (limit := whole(step.get("stack_limit_bytes")))
    ]
    if not known:
        return "not measured"
    share, depth, limit = max(known)
    return f"{format_bytes(depth)} of {format_bytes(limit)} ({format_percent(share)})"


def _death_section(evidence: Evidence, deaths: Sequence[Death]) -> list[str]:
    lines = ["## Deaths", ""]
    if not deaths:
        return [*lines, "No death is on record.", ""]
    unwanted = [death for death in deaths if not death.provoked]
    lines += [
        f"{len(deaths):,} on record, {len(deaths) - len(unwanted):,} of them asked for: "
        "below the smallest stack, or by a scenario that expects them.",
        "",
    ]
    ordered = [*unwanted, *(death for death in deaths if death.provoked)]
    rows = [
        [
            code(death.attempt.phase),
            prose(death.where),
            "yes" if death.provoked else "**no**",
            prose(death.text),
            prose(death.cause) or "not proven",
            evidence.cite(death.attempt, death.path),
        ]
        for death in ordered[:_MOST_DEATHS]
    ]
    headers = ["phase", "where", "asked for", "died of", "class", "evidence"]
    lines += table(headers, rows)
    if len(ordered) > _MOST_DEATHS:
        lines += [f"{len(ordered) - _MOST_DEATHS:,} more are left out.", ""]
    return lines


def _cause_section(evidence: Evidence, deaths: Sequence[Death]) -> list[str]:
    lines = ["## Causes, worst first", ""]
    groups: dict[tuple[str, str], list[Death]] = {}
    for death in deaths:
        if death.cause:
            groups.setdefault((death.cause, death.place), []).append(death)
    if not groups:
        why = "no death on record has a call chain that proves a class"
        return [*lines, f"None: {why}.", ""] if deaths else [*lines, "None: nothing died.", ""]
    ordered = sorted(
        groups.items(), key=lambda each: (-len(each[1]), -max(d.bytes for d in each[1]), each[0])
    )
    rows = [
        [
            prose(cause),
            code(place),
            format_count(len(found)),
            format_bytes(max(death.bytes for death in found)),
            evidence.cite(found[-1].attempt, found[-1].path),
        ]
        for (cause, place), found in ordered
    ]
    return lines + table(["class", "place", "deaths", "largest", "evidence"], rows)


def _law_section(evidence: Evidence, scenarios: Sequence[ScenarioFacts]) -> list[str]:
    lines = ["## Growth", ""]
    rows = []
    for each in scenarios:
        for law in each.laws if each.newest else ():
            limit = whole(law.get("stack_limit_bytes"))
            reach = law.get("reaches_limit_at")
            formula = str(law.get("formula") or law.get("reason") or "")
            rows.append(
                [
                    code(each.attempt.phase),
                    code(each.name),
                    "unknown" if limit is None else format_bytes(limit),
                    prose(str(law.get("kind", ""))),
                    prose(formula),
                    _number(law.get("n")),
                    _number(reach) if reach is not None else "–",
                    evidence.cite(each.attempt, each.path),
                ]
            )
    if not rows:
        return [*lines, "Not measured: no scenario on record sweeps a value.", ""]
    headers = ["phase", "scenario", "limit", "law", "depth", "n", "limit reached at", "evidence"]
    return lines + table(headers, rows)


def _number(value: object) -> str:
    told = isinstance(value, (int, float)) and not isinstance(value, bool)
    return format_count(round(value)) if told else "unknown"  # type: ignore[call-overload]


def _smallest_section(evidence: Evidence, shape: Shape) -> list[str]:
    rows = []
    for phase in shape.measured:
        attempt = latest(evidence.reader, phase.id, Check.OVERFLOW)
        values = Values(evidence.reader, attempt)
        found = values.largest("stack.minimum")
        why = "no finished overflow check" if attempt is None else "not looked for"
        limit = number(values.one("stack.limit", "", "main"))
        least = number(found)
        share = format_percent(least / limit) if least is not None and limit else "cannot be told"
        reproduced = values.largest("overflow.reproduced")
        row = [code(phase.id), cell(found, why=why), share, cell(reproduced, why=why)]
        rows.append([*row, values.cite(evidence, found)])
    lines = ["## Smallest stacks", ""]
    if not rows:
        return [*lines, "Not measured: the ledger knows no component.", ""]
    return lines + table(["phase", "survives with", "of limit", "deaths below", "evidence"], rows)


def _combination_section(
    evidence: Evidence, scenarios: Sequence[ScenarioFacts], deaths: Sequence[Death]
) -> list[str]:
    lines = ["## Combinations of components", ""]
    dead: dict[tuple[str, ...], list[Death]] = {}
    for death in deaths:
        if death.components and not death.provoked:
            dead.setdefault(death.components, []).append(death)
    combinations = dict.fromkeys(each.components for each in scenarios if each.components)
    if not combinations:
        return [*lines, "Not measured: no scenario is on record.", ""]
    rows = []
    for components in sorted(combinations, key=lambda each: (len(each), each)):
        newest = [each for each in scenarios if each.components == components and each.newest]
        bad = [each for each in newest if _passed(each) is not True]
        earlier = dead.get(components, [])
        row = [" ".join(code(each) for each in components)]
        row += [_safety(newest, bad, earlier), f"{len(newest):,}", f"{len(earlier):,}"]
        telling = [(each.attempt, each.path) for each in bad]
        telling += [(each.attempt, each.path) for each in earlier]
        telling += [(each.attempt, each.path) for each in newest]
        cited = [evidence.cite(attempt, path) for attempt, path in telling[:_MOST_CITED]]
        rows.append([*row, " ".join(dict.fromkeys(cited))])
    lines += [
        "Safe: every scenario that the newest checks ran with exactly these components on ended "
        "as expected. It says nothing about scenarios that were not run.",
        "",
    ]
    headers = ["on", "", "newest scenarios", "deaths ever", "evidence"]
    return lines + table(headers, rows)


def _passed(each: ScenarioFacts) -> bool | None:
    """Whether every step ended as expected; None where some were not run, or nobody can say."""
    if isinstance(each.content, NotMeasured):
        return None
    passed = each.content.get("passed")
    if passed is True and each.content.get("complete") is not True:
        return None
    return passed if isinstance(passed, bool) else None


def _safety(
    newest: Sequence[ScenarioFacts], bad: Sequence[ScenarioFacts], dead: Sequence[Death]
) -> str:
    if not newest:
        return "not measured by the newest checks"
    if any(_passed(each) is False for each in bad):
        return "**dangerous**"
    if bad:
        return "cannot be told"
    return "safe now, died before" if dead else "safe"
