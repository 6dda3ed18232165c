"""Who is on the stack when a stack budget is exceeded: the chain behind a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactivate.documents import read_json, tables, text, unreadable, whole
from reactivate.errors import ReactivateError
from reactivate.instrument.contract import Bench, Reporter
from reactivate.instrument.registry import instrument
from reactivate.target.model import Launcher
from reactivate.workload.operation import Operation
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """One line of a folded call chain; depths are bytes from the top of the stack mapping."""

    depth_bytes: int
    size_bytes: int
    location: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The call chain at an operation's deepest point, or why there is none.

    Attributes:
        operation: the operation.
        thread: "main" or "worker", "" if there is no chain.
        depth_bytes: depth of the deepest byte.
        attributed: share of the bytes above it that belong to a known frame, 0 to 1.
        rows: innermost frame first, recursion folded.
        missing: why there is no chain, "" if there is one.
        evidence: the evidence file, relative to the attempt's folder.
        death: what the daemon died of there, "" if it is alive.
        remarks: what follows from the chain: its class, and what is known to help.
    """

    operation: str
    thread: str = ""
    depth_bytes: int = 0
    attributed: float = 0.0
    rows: tuple[ChainRow, ...] = ()
    missing: str = ""
    evidence: str = ""
    death: str = ""
    remarks: tuple[str, ...] = ()


async def explain(
    operation: Operation,
    *,
    workspace: Workspace,
    subject: Launcher,
    folder: Path,
    reporter: Reporter,
) -> Explanation:
    """Catch the operation at its deepest point. A refusal stands without it, so nothing raises.

    Args:
        folder: the attempt's folder; the evidence goes into its subfolder `deepest`.
    """
    deepest = instrument("deepest")
    availability = deepest.availability()
    if not availability.ready:
        return Explanation(operation=operation.name, missing=availability.detail)
    own = folder / deepest.name
    own.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        subject=subject,
        operations=(operation,),
        folder=own,
        reporter=reporter,
        evidence_prefix=f"{deepest.name}/",
        settings=workspace.instrument_settings(deepest.name),
    )
    try:
        measured = await deepest.measure(bench)
    except ReactivateError as error:
        return Explanation(operation=operation.name, missing=f"{error.what}: {error.why}")
    return read(folder, measured[0].evidence)


def read(folder: Path, evidence: str) -> Explanation:
    """The chain in an evidence file of the instrument `deepest`.

    Raises:
        MeasurementError: the file cannot be read, or is no call chain.
    """
    document = read_json(folder / evidence, name=evidence)
    try:
        return _chain(document, evidence)
    except ValueError as error:
        raise unreadable(evidence, error) from error


def _chain(document: Mapping[str, Any], evidence: str) -> Explanation:
    operation = text(document, "operation")
    if "not_measured" in document:
        missing = text(document, "not_measured")
        return Explanation(operation=operation, missing=missing, evidence=evidence)
    total = whole(document, "total_bytes")
    if not total:
        raise ValueError("the chain has no bytes")
    return Explanation(
        operation=operation,
        thread=text(document, "thread"),
        depth_bytes=whole(document, "caught_at_depth"),
        attributed=whole(document, "attributed_bytes") / total,
        rows=tuple(
            ChainRow(
                depth_bytes=whole(row, "depth_bytes"),
                size_bytes=whole(row, "size_bytes"),
                location=text(row, "location"),
                place=text(row, "place"),
            )
            for row in tables(document, "folded")
        ),
        evidence=evidence,
    )
