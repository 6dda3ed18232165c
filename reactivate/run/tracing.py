"""Who used the stack: growth, lifecycle and the deepest chain of one daemon."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from reactivate.documents import read_json
from reactivate.instrument.contract import Bench, Instrument, Reporter
from reactivate.instrument.registry import instrument
from reactivate.target.model import Launcher
from reactivate.workload.operation import Operation

Document = Mapping[str, Any]
"""An instrument's evidence file; docs/instruments says what is in it."""


class Part(StrEnum):
    """What a trace is made of, each by the instrument of that name, in this order."""

    GROWTH = "growth"
    """First touches of stack pages, by thread."""
    LIFECYCLE = "lifecycle"
    """FUSE requests by opcode."""
    DEEPEST = "deepest"
    """The call chain at the deepest point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A part that cannot be had on this machine."""

    part: Part
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was found; a part that was not asked for, or is missing, is None or empty.

    Attributes:
        growth: the evidence of the growth instrument.
        lifecycle: the evidence of the lifecycle instrument.
        chains: the evidence of the deepest instrument for each operation, deepest first;
            an entry with `not_measured` has the reason why there is no chain.
        missing: parts that this machine cannot measure.
        remarks: what a reader must know of parts that are not whole here.
    """

    growth: Document | None
    lifecycle: Document | None
    chains: tuple[Document, ...]
    missing: tuple[Missing, ...]
    remarks: tuple[str, ...]


async def trace(
    launcher: Launcher,
    operations: Sequence[Operation],
    *,
    parts: Collection[Part],
    top: int,
    folder: Path,
    reporter: Reporter,
    settings: Mapping[Part, Mapping[str, float | int | str]] | None = None,
) -> Trace:
    """Run the instruments of the parts, each on a mount of its own.

    Args:
        launcher: the daemon.
        operations: what to do.
        parts: what to find out.
        top: chains of the so many deepest operations; 0: of all.
        folder: for evidence; each instrument gets a folder of its own in it.
        reporter: progress.
        settings: of the instruments, where they are not the usual ones.
    """
    documents: dict[Part, Document] = {}
    chains: tuple[Document, ...] = ()
    missing, remarks = [], []
    for part in (part for part in Part if part in parts):
        made = instrument(part.value)
        availability = made.availability()
        if not availability.ready:
            missing.append(Missing(part=part, reason=availability.detail, hint=availability.hint))
            continue
        if availability.hint:
            # Ready, but not all of it: the detail says what is lost.
            remarks.append(f"{part.value}: {availability.detail}")
        own = dict((settings or {}).get(part, {}))
        if part is Part.DEEPEST:
            own["top"] = top
        where = folder / part.value
        where.mkdir(parents=True, exist_ok=True)
        await _run(made, launcher, operations, where, reporter, own)
        if part is Part.DEEPEST:
            chains = _chains(where, operations)
        else:
            documents[part] = read_json(where / f"{part.value}.json")
    return Trace(
        growth=documents.get(Part.GROWTH),
        lifecycle=documents.get(Part.LIFECYCLE),
        chains=chains,
        missing=tuple(missing),
        remarks=tuple(remarks),
    )


async def _run(
    made: Instrument,
    launcher: Launcher,
    operations: Sequence[Operation],
    folder: Path,
    reporter: Reporter,
    settings: Mapping[str, float | int | str],
) -> None:
    await made.measure(
        Bench(
            subject=launcher,
            operations=operations,
            folder=folder,
            evidence_prefix=f"{made.name}/",
            reporter=reporter,
            settings=settings,
        )
    )


def _chains(folder: Path, operations: Sequence[Operation]) -> tuple[Document, ...]:
    files = [folder / f"deepest-{operation.name}.json" for operation in operations]
    found: list[Document] = [read_json(file) for file in files if file.is_file()]
    return tuple(sorted(found, key=lambda d: d.get("deepest_byte_depth", -1), reverse=True))
