"""What somebody ran by hand: shown beside what the checks saw, always marked, never counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.evidence import NotMeasured
from reactivate.ledger.origin import origin_of
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, code_block, prose, table
from reactivate.report.analysis.scenarios import Death, ScenarioFacts, whole
from reactivate.report.analysis.steps import step_cells
from reactivate.units import format_bytes, format_percent

_MOST_RUNS = 50
_MOST_CHAINS = 10


def place_of(each: ScenarioFacts | Death) -> str:
    """The phase that it was seen in; that it was seen by hand, where that is so."""
    if not each.by_hand:
        return code(each.attempt.phase)
    origin = origin_of(each.attempt.phase)
    return f"by hand, {code(origin)}" if origin else "by hand"


def by_hand_table(evidence: Evidence, runs: Sequence[ScenarioFacts]) -> list[str]:
    """Every scenario that was run by hand, newest first; nothing where there is none."""
    if not runs:
        return []
    rows = []
    for each in tuple(reversed(runs))[:_MOST_RUNS]:
        environment = evidence.reader.environment(each.attempt.environment_sha256)
        artifact = str(environment.get("artifact_sha256", ""))[:12]
        commit = str(environment.get("commit", ""))
        row = [place_of(each), each.attempt.started_at[:19].replace("T", " "), code(each.name)]
        row += [" ".join(code(one) for one in each.components) or "nothing", *step_cells(each)]
        row.append(" ".join(code(one) for one in (artifact, commit[:12]) if one) or "–")
        rows.append([*row, evidence.cite(each.attempt, each.path)])
    lines = ["By hand; no gate counts it:", ""]
    headers = ["", "began, UTC", "scenario", "on", "steps", "endings", "deepest", "result"]
    lines += table([*headers, "build", "evidence"], rows)
    left = len(runs) - len(rows)
    return [*lines, f"{left:,} older ones are left out.", ""] if left else lines


def by_hand_chains(evidence: Evidence, deaths: Sequence[Death]) -> list[str]:
    """The call chain of each kind of death by hand, the newest of it."""
    newest: dict[tuple[str, str], Death] = {}
    for death in deaths:
        if death.by_hand and death.chain:
            key = (death.cause, death.place) if death.cause else (death.text, "")
            newest.pop(key, None)
            newest[key] = death
    lines = []
    for death in tuple(reversed(newest.values()))[:_MOST_CHAINS]:
        cited = evidence.cite(death.attempt, death.path)
        lines += [f"{place_of(death)}, {prose(death.where)} ({cited}):", ""]
        lines += code_block(death.chain)
    return lines


def smallest_by_hand(evidence: Evidence, runs: Sequence[ScenarioFacts]) -> list[list[str]]:
    """Rows for the table of smallest stacks: of the newest runs that looked for one."""
    rows = []
    for each in runs:
        least = None if isinstance(each.content, NotMeasured) else each.content.get("least")
        if not each.newest or not isinstance(least, Mapping):
            continue
        survived, died = whole(least.get("survived_bytes")), whole(least.get("died_bytes"))
        limits = [whole(step.get("stack_limit_bytes")) for step in each.steps]
        limit = max((found for found in limits if found), default=None)
        row = [f"{place_of(each)}: {code(each.name)}"]
        row += ["not found" if survived is None else format_bytes(survived)]
        told = survived is not None and limit
        row += [
            format_percent(survived / limit) if told and survived and limit else "cannot be told"
        ]
        row += ["none" if died is None else f"dies with {format_bytes(died)}"]
        rows.append([*row, evidence.cite(each.attempt, each.path)])
    return rows


def by_hand_section(
    evidence: Evidence, runs: Sequence[ScenarioFacts], deaths: Sequence[Death]
) -> list[str]:
    """Of one component: what was run by hand with it on, and the call chains of the deaths."""
    lines = ["## Scenarios run by hand", ""]
    if not runs:
        return [*lines, "None is on record.", ""]
    return [*lines, *by_hand_table(evidence, runs), *by_hand_chains(evidence, deaths)]
