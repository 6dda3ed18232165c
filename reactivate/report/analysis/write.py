"""Writing analyses into results/analysis: whole files, and only where their content changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import WorkspaceError
from reactivate.files import replace_files
from reactivate.report.analysis.baseline import baseline_analysis
from reactivate.report.analysis.component import component_analysis
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import file_part
from reactivate.report.analysis.overflow import overflow_analysis
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import read_shape
from reactivate.report.illustrated import (
    Pictures,
    baseline_pictures,
    component_pictures,
    illustrated,
    overflow_pictures,
)
from reactivate.report.picture.files import replace_pictures, svg_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which analyses to make.

    Attributes:
        baseline: that of the minimal build.
        components: those of these components.
        overflow: that of all stack overflows.
    """

    baseline: bool = False
    components: tuple[str, ...] = ()
    overflow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyses:
    """Analyses that are not written yet.

    Attributes:
        documents: file name to Markdown.
        pictures: for each document, under its name without `.md`, the SVG files that it shows;
            they lie in a folder of that name beside it.
    """

    documents: Mapping[str, str]
    pictures: Mapping[str, Mapping[str, str]]


def render(ledger: Path, results: Path, wanted: Wanted) -> Analyses:
    """The analyses. Nothing but the ledger and its evidence files is read.

    Raises:
        UsageError: there is no such component.
        LedgerError: the ledger cannot be read.
    """
    documents: dict[str, str] = {}
    pictures: dict[str, Mapping[str, str]] = {}

    def add(name: str, text: str, shown: Pictures) -> None:
        documents[f"{name}.md"] = illustrated(text, shown, name)
        pictures[name] = svg_files({file: picture for file, (_, picture) in shown.items()})

    # No snapshot: while large evidence is compared it would keep a result from being recorded.
    # What is on record does not change, and every number names its attempt.
    with LedgerReader.opened(ledger) as reader:
        shape = read_shape(reader)
        # Each document names the evidence that it used itself, so each compares for itself.
        if wanted.baseline:
            evidence = _evidence(reader, results)
            shown = baseline_pictures(evidence, shape)
            add("baseline", baseline_analysis(evidence, shape), shown)
        for component in dict.fromkeys(wanted.components):
            evidence = _evidence(reader, results)
            shown = component_pictures(evidence, shape, component)
            text = component_analysis(evidence, shape, component)
            add(f"component-{file_part(component)}", text, shown)
        if wanted.overflow:
            evidence = _evidence(reader, results)
            shown = overflow_pictures(evidence)
            add("stack-overflow", overflow_analysis(evidence, shape), shown)
    return Analyses(documents=documents, pictures=pictures)


def write(made: Analyses, folder: Path) -> tuple[Path, ...]:
    """Write documents and pictures; returns the documents whose content changed.

    Raises:
        WorkspaceError: one cannot be written.
    """
    try:
        for name, files in made.pictures.items():
            replace_pictures(folder / name, files)
        return replace_files(folder, made.documents)
    except OSError as error:
        raise WorkspaceError(
            f"the analysis in {folder} cannot be written",
            why=error.strerror or str(error),
            hint="make room or give permission, then type the command again",
        ) from error


def _evidence(reader: LedgerReader, results: Path) -> Evidence:
    return Evidence(reader=reader, results=results)
