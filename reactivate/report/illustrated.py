"""The pictures of the analyses: which there are, and under which heading each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reactivate.evidence import Check
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import prose
from reactivate.report.analysis.scenarios import read_by_hand, read_scenarios
from reactivate.report.analysis.shape import Shape
from reactivate.report.html.facts import Facts
from reactivate.report.html.instruments import growth_pictures, sweep_name
from reactivate.report.html.refused import picture_of, refusals
from reactivate.report.html.sections import chain_picture, depth_picture
from reactivate.report.picture.svg import Picture

Pictures = Mapping[str, tuple[str, Picture]]
"""By the name of the file, without `.svg`: the heading it belongs to, and the picture."""


def baseline_pictures(evidence: Evidence, shape: Shape) -> Pictures:
    """How deep each operation of the minimal build goes."""
    facts, phase = Facts.read(evidence, shape), shape.baseline
    return {} if phase is None else _depths(facts, phase.id, "## Stack")


def component_pictures(evidence: Evidence, shape: Shape, name: str) -> Pictures:
    """Depths, refused chains beside the newest ones, and the deepest chain of a component."""
    facts, phase = Facts.read(evidence, shape), shape.phase(name)
    found: dict[str, tuple[str, Picture]] = {}
    for each in refusals(facts, (name,)):
        refused = picture_of(facts, each)
        if refused is not None:
            number = each.decision.number
            found[f"refused-{number:04}"] = (f"### Decision {number}:", refused)
    found |= _depths(facts, name, "## Stack of each operation")
    chain = chain_picture(facts, phase, facts.latest(name, Check.TRACE))
    if isinstance(chain, Picture):
        found["chain"] = ("## Frames that appeared or grew", chain)
    return found


def overflow_pictures(evidence: Evidence) -> Pictures:
    """Growth curves of the newest sweeps."""
    found: dict[str, tuple[str, Picture]] = {}
    for scenario in (*read_scenarios(evidence), *read_by_hand(evidence)):
        for number, picture in enumerate(growth_pictures(scenario) if scenario.newest else ()):
            name = sweep_name(scenario)
            found[f"{name}-{number + 1}" if number else name] = ("## Growth", picture)
    return found


def _depths(facts: Facts, phase: str, heading: str) -> Pictures:
    attempt = facts.latest(phase, Check.BASELINE)
    depths = None if attempt is None else depth_picture(facts, attempt)
    return {} if depths is None else {"depth": (heading, depths)}


def illustrated(text: str, pictures: Pictures, folder: str) -> str:
    """A document with its pictures, each under its heading.

    Args:
        text: Markdown; what stands in a fence is shown as it is, and is no heading.
        pictures: what belongs into it.
        folder: of the pictures, seen from the document.
    """
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        lines.append(line)
        if line.startswith("```") and fence in ("", line):
            fence = "" if fence else line
        elif not fence:
            lines += _embedded(line, pictures, folder)
    return "\n".join(lines)


def _embedded(heading: str, pictures: Pictures, folder: str) -> Sequence[str]:
    return [
        part
        for name, (wanted, picture) in pictures.items()
        if heading == wanted or (wanted.endswith(":") and heading.startswith(wanted))
        for part in ("", f"![{prose(picture.title)}]({folder}/{name}.svg)")
    ]
