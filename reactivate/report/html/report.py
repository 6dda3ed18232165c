"""Putting the report together, and writing it with its pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reactivate.checklist.model import PhaseKind
from reactivate.errors import WorkspaceError
from reactivate.evidence import Check
from reactivate.files import replace_file, replace_files
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, file_part, prose
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.scenarios import ScenarioFacts, read_by_hand, read_scenarios
from reactivate.report.analysis.shape import Shape, read_shape
from reactivate.report.decision_log import file_name
from reactivate.report.html.facts import Facts, among
from reactivate.report.html.first import first_screen
from reactivate.report.html.instruments import (
    calibration_section,
    growth_pictures,
    history_section,
    overflow_section,
    sweep_name,
)
from reactivate.report.html.links import Links
from reactivate.report.html.page import document, markdown, navigation, section
from reactivate.report.html.refused import Refusal, picture_of, refusals
from reactivate.report.html.sections import (
    Stale,
    attempt_section,
    chain_picture,
    decision_section,
    depth_picture,
    missing_section,
    page_title,
    phase_section,
    refused_section,
    summary,
    worst_picture,
)
from reactivate.report.picture.files import replace_pictures, svg_files
from reactivate.report.picture.svg import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where things are.

    Attributes:
        ledger: the ledger.
        results: the folder of all results.
        decisions: the folder of the decision log.
        page: the file that is to be written.
    """

    ledger: Path
    results: Path
    decisions: Path
    page: Path

    def up(self, folder: Path) -> str:
        """From the page to a folder, with `/` at its end."""
        return f"{os.path.relpath(folder, self.page.parent)}/"

    @property
    def inside(self) -> bool:
        """Whether page and results move together."""
        page, ledger = (Path(os.path.realpath(each)) for each in (self.page, self.ledger))
        return page.is_relative_to(ledger.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that is not written yet.

    Attributes:
        html: the page.
        pictures: SVG files by name.
        whole: whether these are all pictures that the campaign has now.
    """

    html: str
    pictures: Mapping[str, str]
    whole: bool = True


def render_report(folders: Folders, *, components: Sequence[str] = (), stale: Stale) -> Report:
    """The report of a campaign, or of some components.

    Nothing but the ledger, its evidence files and the names in the decision log is read; no clock.

    Raises:
        UsageError: there is no such component.
        LedgerError: the ledger cannot be read.
    """
    with LedgerReader.opened(folders.ledger) as reader:
        evidence = Evidence(
            reader=reader, results=folders.results, up=folders.up(folders.results), anchored=True
        )
        shape = read_shape(reader)
        for name in components:
            shape.phase(name)
        facts = Facts.read(evidence, shape)
        html = _page(facts, folders, components, stale)
        return Report(html=html, pictures=_files(facts, components), whole=not components)


def _page(facts: Facts, folders: Folders, only: Sequence[str], stale: Stale) -> str:
    shape = facts.shape
    shown = [p for p in shape.phases if p.kind is not PhaseKind.SETUP and among(p.id, only)]
    anchors = {phase.id: f"phase-{shape.phases.index(phase)}" for phase in shown}
    links = Links(
        decisions=folders.up(folders.decisions),
        files={
            each.number: file_name(each)
            for each in facts.decisions
            if (folders.decisions / file_name(each)).is_file()
        },
        phases=anchors,
    )
    whole = not only
    title = page_title(facts)
    named = "" if whole else f": {', '.join(code(name) for name in only)}"
    parts = [markdown([f"# {prose(title)}{named}", ""])]
    parts.append(first_screen(facts, links, stale, only, _picture_files(folders)))
    parts.append(_legend(folders))
    contents = [("summary", "Where it stands"), ("refusals", "Refusals")] if whole else []
    contents += [(anchors[phase.id], phase.id) for phase in shown]
    contents += [("overflow", "Overflows")] if whole else []
    contents += [("history", "History"), ("decisions", "Decisions"), ("attempts", "Attempts")]
    contents += [("calibration", "Calibration"), ("missing", "What is missing")]
    parts.append(navigation([*contents, ("evidence", "Evidence")]))
    if whole:
        parts += [summary(facts, links, stale), refused_section(facts, links)]
    parts += [phase_section(facts, links, phase, alone=not whole) for phase in shown]
    if whole:
        parts.append(overflow_section(facts))
    parts.append(history_section(facts, links, only))
    parts.append(decision_section(facts, links, only))
    parts.append(attempt_section(facts, links, only))
    parts.append(calibration_section(facts, folders.up(folders.results)))
    parts.append(missing_section(facts, only))
    parts.append(section("evidence", "Evidence", markdown(facts.evidence.section()[2:])))
    return document(title if whole else f"{title}: {', '.join(only)}", parts)


def _legend(folders: Folders) -> str:
    lines = [
        "Every number leads to its evidence; numbers before a colon are attempts. Red is refused, "
        "dead or over budget; yellow is for a person to look at; green is measured and within "
        "budget.",
        "",
    ]
    if not folders.inside:
        lines += [
            "This page lies outside of its workspace: its links hold as long as both stay where "
            "they are.",
            "",
        ]
    return markdown(lines)


def _picture_files(folders: Folders) -> Callable[[Refusal], str]:
    """Where the picture of a refusal is written, seen from the page."""
    up = folders.up(folders.results / "report").removeprefix("./")
    return lambda found: quote(f"{up}{file_part(_refused_name(found))}.svg", safe="/._-~")


def _refused_name(found: Refusal) -> str:
    return f"refused-{found.decision.number:04}-{found.decision.phase}"


def _files(facts: Facts, only: Sequence[str]) -> dict[str, str]:
    """The pictures as files of their own."""
    found: dict[str, Picture] = {}
    worst = None if only else worst_picture(facts)
    if worst is not None:
        found["attempts"] = worst
    for phase in facts.shape.phases:
        if not among(phase.id, only):
            continue
        measured = facts.latest(phase.id, Check.BASELINE)
        depth = None if measured is None else depth_picture(facts, measured)
        if depth is not None:
            found[f"depth-{phase.id}"] = depth
        chain = chain_picture(facts, phase, facts.latest(phase.id, Check.TRACE))
        if isinstance(chain, Picture):
            found[f"chain-{phase.id}"] = chain
    for each in refusals(facts, only):
        compared = picture_of(facts, each)
        if compared is not None:
            found[_refused_name(each)] = compared
    for scenario in (*read_scenarios(facts.evidence), *read_by_hand(facts.evidence)):
        if scenario.newest and _is_among(scenario, only):
            for number, picture in enumerate(growth_pictures(scenario)):
                more = f"-{number + 1}" if number else ""
                found[f"{sweep_name(scenario)}{more}"] = picture
    return svg_files({file_part(name): picture for name, picture in found.items()})


def _is_among(scenario: ScenarioFacts, only: Sequence[str]) -> bool:
    if scenario.by_hand:
        return not only or not {*only}.isdisjoint(scenario.components)
    return among(scenario.attempt.phase, only)


def write_report(report: Report, page: Path, pictures: Path) -> bool:
    """Write page and pictures; returns whether the page's content changed.

    Raises:
        WorkspaceError: one cannot be written.
    """
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        if report.whole:
            replace_pictures(pictures, report.pictures)
        else:
            replace_files(pictures, report.pictures)
        return replace_file(page, report.html.encode("utf-8"))
    except OSError as error:
        raise WorkspaceError(
            f"the report {page} cannot be written",
            why=error.strerror or str(error),
            hint="make room or give permission, then type the command again",
        ) from error


__all__ = ["Folders", "Report", "Shape", "render_report", "write_report"]
