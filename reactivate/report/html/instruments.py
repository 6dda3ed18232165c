"""What the instruments are worth here, and how numbers moved over the attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.evidence import NotMeasured
from reactivate.ledger.origin import origin_of
from reactivate.ledger.records import JSON
from reactivate.report.analysis.markup import code, file_part, link, prose, table
from reactivate.report.analysis.overflow import overflow_analysis
from reactivate.report.analysis.scenarios import ScenarioFacts, read_by_hand, read_scenarios
from reactivate.report.analysis.values import cell
from reactivate.report.html.facts import Facts, sweeps
from reactivate.report.html.links import Links
from reactivate.report.html.page import figure, folded, markdown, section
from reactivate.report.picture.curve import curve
from reactivate.report.picture.svg import Picture

_FOLLOWED = ("stack.peak", "stack.operation", "rss.peak", "latency.p99", "stack.minimum")


def history_section(facts: Facts, links: Links, only: Sequence[str] = ()) -> str:
    """The worst value of some metrics in every attempt that has one."""
    reader = facts.evidence.reader
    rows: dict[int, dict[str, str]] = {}
    for metric in _FOLLOWED:
        for phase in only or (None,):
            for moment in reader.moments(metric, phase=phase):
                rows.setdefault(moment.attempt, {})[metric] = cell(moment.measurement)
    lines = ["The worst of all operations and threads, of the build under test.", ""]
    found = []
    for number in sorted(rows):
        attempt = facts.attempts[number]
        row = [links.phase(attempt.phase), facts.evidence.attempt(attempt), prose(attempt.outcome)]
        found.append([*row, *(rows[number].get(metric, "–") for metric in _FOLLOWED)])
    headers = ["phase", "attempt", "state", *(code(metric) for metric in _FOLLOWED)]
    lines += table(headers, found) if found else ["Not measured: no attempt has any of them.", ""]
    return section("history", "History over attempts", markdown(lines))


def calibration_section(facts: Facts, results_up: str) -> str:
    """Error, cost and planted faults of every instrument, by the newest calibration."""
    events = facts.evidence.reader.events(kind="calibrated")
    if not events:
        lines = ["Not measured: no calibration is on record. `reactivate calibrate` makes one."]
        return section("calibration", "Calibration of the instruments", markdown(lines))
    newest = events[-1]
    listed = newest.data.get("instruments")
    rows = [
        _instrument(each)
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping)
    ]
    path = newest.data.get("evidence")
    where = "not on record"
    if isinstance(path, str):
        below = path.removeprefix("results/")
        there = below != path and ".." not in below.split("/")
        where = link(path, f"{results_up}{below}/") if there else code(path)
    lines = [
        f"By event {newest.seq} of the ledger, {newest.at[:16].replace('T', ' ')} UTC; "
        f"evidence: {where}. A gate's green counts only where its instruments were seen red.",
        "",
    ]
    headers = ["instrument", "seen red", "as expected", "largest error", "operation under it"]
    lines += table([*headers, "not available because"], rows)
    return section("calibration", "Calibration of the instruments", markdown(lines))


def _instrument(each: Mapping[str, JSON]) -> list[str]:
    ratio = each.get("overhead_ratio")
    told = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
    row = [code(str(each.get("instrument")))]
    row += ["PASS" if each.get("red") is True else "no"]
    row += ["yes" if each.get("as_expected") is True else "no", _error(each.get("series"))]
    row += [f"{ratio:,.2f}×" if told else "not measured"]
    return [*row, prose(str(each.get("missing") or ""))]


def _error(series: JSON) -> str:
    found = [
        (abs(float(error)), str(each.get("unit", "")))
        for each in (series if isinstance(series, list) else [])
        if isinstance(each, Mapping)
        for error in (each.get("error_least"), each.get("error_most"))
        if isinstance(error, (int, float)) and not isinstance(error, bool)
    ]
    if not found:
        return "not measured"
    largest, unit = max(found)
    return f"{largest:,.6g} {prose(unit)}".strip()


def overflow_section(facts: Facts) -> str:
    """Growth curves, then the whole analysis of overflows."""
    scenarios, by_hand = read_scenarios(facts.evidence), read_by_hand(facts.evidence)
    figures = [
        figure(picture, f"{each.name} ({_place(each)}), attempt {each.attempt.number}")
        + markdown([f"Evidence: {facts.evidence.cite(each.attempt, each.path)}"])
        for each in (*scenarios, *by_hand)
        if each.newest
        for picture in growth_pictures(each)
    ]
    unread = [
        f"- {code(each.attempt.phase)}, {code(each.name)}: {prose(each.content.reason)}"
        for each in scenarios
        if isinstance(each.content, NotMeasured)
    ]
    drawn = figures or [markdown(["No sweep is on record.", ""])]
    lines = overflow_analysis(facts.evidence, facts.shape).split("\n")
    # The page says once, for all that it shows, what its evidence is worth.
    analysis = lines[1 : lines.index("## Evidence")] if "## Evidence" in lines else lines[1:]
    return section(
        "overflow",
        "Overflows",
        markdown(["### Growth curves", "", *(["Not drawn:", "", *unread] if unread else [])]),
        *drawn,
        folded(
            "scenarios, deaths, causes, smallest stacks, suggested order",
            markdown(analysis, deeper=1),
        ),
    )


def growth_pictures(scenario: ScenarioFacts) -> tuple[Picture, ...]:
    """A picture for each swept parameter."""
    return tuple(
        curve(f"{scenario.name} in {_place(scenario)}", series, parameter=parameter)
        for parameter, series in sweeps(scenario).items()
    )


def sweep_name(scenario: ScenarioFacts) -> str:
    """Of its pictures. By hand one scenario runs with this and with that component on."""
    number = f"-{scenario.attempt.number:03}" if scenario.by_hand else ""
    return file_part(f"growth-{scenario.attempt.phase}{number}-{scenario.name}")


def _place(scenario: ScenarioFacts) -> str:
    """Where a scenario was run, plain text."""
    if scenario.by_hand:
        origin = origin_of(scenario.attempt.phase)
        return f"a run by hand{f' of {origin}' if origin else ''}, which counts for no gate"
    return scenario.attempt.phase
