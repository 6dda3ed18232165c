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


def render(ledger: Path, results: Path, wanted: Wanted) -> Mapping[str, str]:
    """File name to Markdown. Nothing but the ledger and its evidence files is read.

    Raises:
        UsageError: there is no such component.
        LedgerError: the ledger cannot be read.
    """
    # No snapshot: while large evidence is compared it would keep a result from being recorded.
    # What is on record does not change, and every number names its attempt.
    with LedgerReader.opened(ledger) as reader:
        shape = read_shape(reader)
        files: dict[str, str] = {}
        # Each document names the evidence that it used itself, so each compares for itself.
        if wanted.baseline:
            files["baseline.md"] = baseline_analysis(_evidence(reader, results), shape)
        for name in wanted.components:
            content = component_analysis(_evidence(reader, results), shape, name)
            files[f"component-{file_part(name)}.md"] = content
        if wanted.overflow:
            content = overflow_analysis(_evidence(reader, results), shape)
            files["stack-overflow.md"] = content
    return files


def write(files: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
    """Write the files; returns those whose content changed.

    Raises:
        WorkspaceError: one cannot be written.
    """
    try:
        return replace_files(folder, files)
    except OSError as error:
        raise WorkspaceError(
            f"the analysis in {folder} cannot be written",
            why=error.strerror or str(error),
            hint="make room or give permission, then type the command again",
        ) from error


def _evidence(reader: LedgerReader, results: Path) -> Evidence:
    return Evidence(reader=reader, results=results)
