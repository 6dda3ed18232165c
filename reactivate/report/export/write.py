"""An export to a file or to standard output, in pieces: memory does not grow with the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from reactivate.errors import MeasurementError, WorkspaceError
from reactivate.files import refuse_devices
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import read_shape
from reactivate.report.export.document import json_export
from reactivate.report.export.flat import csv_export
from reactivate.report.export.folded import folded_export
from reactivate.report.export.prometheus import prometheus_export
from reactivate.report.export.provoked import provoked_export


class Format(StrEnum):
    """What the ledger can be written as."""

    JSON = "json"
    CSV = "csv"
    PROMETHEUS = "prometheus"
    FOLDED = "folded"
    PROVOKED = "provoked"


def export(
    reader: LedgerReader, results: Path, wanted: Format, missing: list[str]
) -> Iterator[str]:
    """The text of an export, in pieces.

    Args:
        reader: the ledger.
        results: the folder of all results, for `folded` and `provoked`.
        wanted: the format.
        missing: gets a sentence for everything that could not be read.

    Raises:
        MeasurementError: `folded`, and there is no call chain at all.
        LedgerError: the ledger cannot be read.
    """
    match wanted:
        case Format.JSON:
            return json_export(reader)
        case Format.CSV:
            return csv_export(reader)
        case Format.PROMETHEUS:
            return prometheus_export(reader)
        case Format.PROVOKED:
            return provoked_export(Evidence(reader=reader, results=results))
        case Format.FOLDED:
            evidence = Evidence(reader=reader, results=results)
            return _some(folded_export(evidence, read_shape(reader), missing), missing)


def _some(lines: Iterator[str], missing: list[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        raise MeasurementError(
            "there is no call chain to export",
            why="\n".join(missing) or "no finished trace check is on record",
            hint="reactivate next",
        )
    yield first
    yield from lines


def write_file(pieces: Iterable[str], path: Path) -> int:
    """Write pieces to a file, which is replaced only once it is whole; returns its bytes.

    Raises:
        WorkspaceError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    size_bytes = 0
    try:
        refuse_devices(path)
        with part.open("wb") as file:
            for piece in pieces:
                size_bytes += file.write(piece.encode("utf-8", "backslashreplace"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WorkspaceError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            hint="make room or give permission, or name another file with --out",
        ) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size_bytes
