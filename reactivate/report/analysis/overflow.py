"""The stack-overflow analysis: what was provoked, what died, why, and what the numbers suggest."""

from __future__ import annotations

from collections.abc import Sequence

from reactivate.evidence import Check, NotMeasured
from reactivate.report.analysis.by_hand import (
    by_hand_chains,
    by_hand_table,
    place_of,
    smallest_by_hand,
)
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose, table
from reactivate.report.analysis.ordering import order_section
from reactivate.report.analysis.scenarios import (
    Death,
    ScenarioFacts,
    overflow_attempts,
    read_by_hand,
    read_deaths,
    read_scenarios,
    whole,
)
from reactivate.report.analysis.shape import Shape, latest
from reactivate.report.analysis.steps import step_cells
from reactivate.report.analysis.values import Values, cell, number
from reactivate.units import format_bytes, format_count, format_percent

_MOST_DEATHS = 50
_MOST_CITED = 3


def overflow_analysis(evidence: Evidence, shape: Shape) -> str:
    """All scenarios, deaths, growth laws, smallest stacks, causes, combinations, order."""
    scenarios, by_hand = read_scenarios(evidence), read_by_hand(evidence)
    both = (*scenarios, *by_hand)
    deaths = read_deaths(evidence, both)
    ran = overflow_attempts(evidence)
    lines = [
        "# Stack overflow",
        "",
        f"From the ledger and its evidence files. Finished overflow checks: {len(ran):,}. "
        f"Scenarios run by hand (`reactivate overflow`): {len(by_hand):,}; they are marked so, and "
        "count for no gate.",
        "",
    ]
    lines += _scenario_section(evidence, scenarios)
    lines += by_hand_table(evidence, by_hand)
    lines += _death_section(evidence, deaths)
    lines += by_hand_chains(evidence, deaths)
    lines += _cause_section(evidence, deaths)
    lines += _law_section(evidence, both)
    lines += _smallest_section(evidence, shape, by_hand)
    lines += _combination_section(evidence, scenarios, by_hand, deaths)
    lines += order_section(evidence, shape, deaths)
    return "\n".join([*lines, *evidence.section()])


def _scenario_section(evidence: Evidence, scenarios: Sequence[ScenarioFacts]) -> list[str]:
    lines = ["## Scenarios", ""]
    if not scenarios:
        return [*lines, "Not measured: no scenario is on record.", ""]
    rows = []
    for each in scenarios:
        row = [code(each.attempt.phase), f"{each.attempt.number}", code(each.name)]
        rows.append([*row, *step_cells(each), evidence.cite(each.attempt, each.path)])
    headers = ["phase", "attempt", "scenario", "steps", "endings", "deepest", "result", "evidence"]
    return lines + table(headers, rows)


def _death_section(evidence: Evidence, deaths: Sequence[Death]) -> list[str]:
    lines = ["## Deaths", ""]
    if not deaths:
        return [*lines, "No death is on record.", ""]
    unwanted = [death for death in deaths if not death.provoked]
    lines += [
        f"{len(deaths):,} on record, {len(deaths) - len(unwanted):,} of them asked for: "
        "below the smallest stack, or by a scenario that expects them. "
        f"Of all, provoked by hand: {sum(death.by_hand for death in deaths):,}.",
        "",
    ]
    ordered = [*unwanted, *(death for death in deaths if death.provoked)]
    rows = [
        [
            place_of(death),
            prose(death.where),
            "yes" if death.provoked else "**no**",
            prose(death.text),
            prose(f"{death.cause}: {death.proof}" if death.proof else death.cause) or "not proven",
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
                    place_of(each),
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


def _smallest_section(
    evidence: Evidence, shape: Shape, by_hand: Sequence[ScenarioFacts]
) -> list[str]:
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
    rows += smallest_by_hand(evidence, by_hand)
    lines = ["## Smallest stacks", ""]
    if not rows:
        return [*lines, "Not measured: the ledger knows no component.", ""]
    return lines + table(["phase", "survives with", "of limit", "deaths below", "evidence"], rows)


def _combination_section(
    evidence: Evidence,
    scenarios: Sequence[ScenarioFacts],
    by_hand: Sequence[ScenarioFacts],
    deaths: Sequence[Death],
) -> list[str]:
    lines = ["## Combinations of components", ""]
    dead: dict[tuple[str, ...], list[Death]] = {}
    for death in deaths:
        if death.components and not death.provoked and not death.by_hand:
            dead.setdefault(death.components, []).append(death)
    combinations = dict.fromkeys(e.components for e in (*scenarios, *by_hand) if e.components)
    if not combinations:
        return [*lines, "Not measured: no scenario is on record.", ""]
    rows = []
    for components in sorted(combinations, key=lambda each: (len(each), each)):
        newest = [each for each in scenarios if each.components == components and each.newest]
        own = [each for each in by_hand if each.components == components and each.newest]
        bad = [each for each in (*newest, *own) if _passed(each) is not True]
        earlier = dead.get(components, [])
        row = [" ".join(code(each) for each in components)]
        row += [_safety(newest, earlier), f"{len(newest):,}", f"{len(earlier):,}", _tried(own)]
        telling = [(each.attempt, each.path) for each in bad]
        telling += [(each.attempt, each.path) for each in earlier]
        telling += [(each.attempt, each.path) for each in (*newest, *own)]
        cited = [evidence.cite(attempt, path) for attempt, path in telling[:_MOST_CITED]]
        rows.append([*row, " ".join(dict.fromkeys(cited))])
    lines += [
        "Safe: every scenario that the newest checks ran with exactly these components on ended "
        "as expected. It says nothing about scenarios that were not run. What was run by hand "
        "makes nothing safe: it may have been another build.",
        "",
    ]
    headers = ["on", "", "newest scenarios", "deaths ever", "by hand", "evidence"]
    return lines + table(headers, rows)


def _passed(each: ScenarioFacts) -> bool | None:
    """Whether every step ended as expected; None where some were not run, or nobody can say."""
    if isinstance(each.content, NotMeasured):
        return None
    passed = each.content.get("passed")
    if passed is True and each.content.get("complete") is not True:
        return None
    return passed if isinstance(passed, bool) else None


def _safety(newest: Sequence[ScenarioFacts], dead: Sequence[Death]) -> str:
    if not newest:
        return "not measured by the newest checks"
    passed = [_passed(each) for each in newest]
    if False in passed:
        return "**dangerous**"
    if None in passed:
        return "cannot be told"
    return "safe now, died before" if dead else "safe"


def _tried(by_hand: Sequence[ScenarioFacts]) -> str:
    """What the newest runs by hand came to."""
    passed = [_passed(each) for each in by_hand]
    words = {True: "as expected", False: "**not as expected**", None: "cannot be told"}
    told = [f"{passed.count(each):,} {word}" for each, word in words.items() if each in passed]
    return ", ".join(told) or "–"
