"""Calibrations in a workspace: on record, and what a gate may therefore lean on.

A gate that is green says something only where its instruments have been seen red.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reactivate import interruption
from reactivate.campaign.events import EventKind
from reactivate.errors import MeasurementError, WorkspaceError
from reactivate.ledger.store import Ledger
from reactivate.metrics import COMPUTED, METRICS

if TYPE_CHECKING:
    from reactivate.instrument.contract import Reporter
    from reactivate.ledger.records import JSON
    from reactivate.run.calibrate.record import Calibration
    from reactivate.workspace import Workspace

COMMAND = "reactivate calibrate"
ABOUT_SECONDS = 20
"""How long a calibration takes, roughly; for those who are asked for one."""

EVIDENCE = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the latest calibration on record is worth now.

    Attributes:
        at: when it began, "" if there was none.
        changed: what is not as it was then: "kernel", "perf", …; nothing of it counts then.
        trusted: the instruments that found what was planted, with errors as expected.
        failed: the instruments that did not.
        missing: the instruments that could not be tried.
    """

    at: str = ""
    changed: tuple[str, ...] = ()
    trusted: frozenset[str] = frozenset()
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for `status` and `doctor`."""
        if not self.at:
            return (
                f"never. Run {COMMAND} (about {ABOUT_SECONDS} s) so that the gates know their "
                "instruments here."
            )
        day = f"{self.at[:10]} {self.at[11:16]} UTC"
        if self.changed:
            return f"{day}, stale: {', '.join(self.changed)} changed since. Run {COMMAND}."
        parts = [f"{len(self.trusted)} instruments seen red"]
        if self.failed:
            parts.append(f"not to be trusted: {', '.join(self.failed)}")
        if self.missing:
            parts.append(f"not here: {', '.join(self.missing)}")
        return f"{day}, {'; '.join(parts)}"

    @property
    def current(self) -> bool:
        """Whether there is one that still holds."""
        return bool(self.at) and not self.changed

    def without(self, instruments: Iterable[str]) -> tuple[str, ...]:
        """Those of the instruments that were not seen red on this machine as it is."""
        trusted = self.trusted if self.current else frozenset()
        return tuple(name for name in instruments if name not in trusted)


def standing(ledger: Ledger) -> Standing:
    """What the latest calibration in a ledger is worth now."""
    events = ledger.events(kind=EventKind.CALIBRATED)
    if not events:
        return Standing()
    from reactivate.run.environment import machine, tool_files

    now: dict[str, JSON] = {**machine(), **tool_files()}
    latest = events[-1].data
    then = latest.get("valid_for")
    known = then if isinstance(then, dict) else {}
    # One calibration may be of some instruments only; an older one of others still holds.
    rows: dict[str, Mapping[str, JSON]] = {}
    for event in events:
        found = event.data.get("instruments")
        if event.data.get("valid_for") != known or not isinstance(found, list):
            continue
        rows |= {str(row["instrument"]): row for row in found if isinstance(row, dict)}
    return Standing(
        at=str(latest.get("at", events[-1].at)),
        changed=tuple(key for key, value in now.items() if known.get(key) != value),
        trusted=frozenset(name for name, row in rows.items() if row.get("trusted")),
        failed=tuple(n for n, r in rows.items() if r.get("available") and not r.get("trusted")),
        missing=tuple(name for name, row in rows.items() if not row.get("available")),
    )


def leant_on(metrics: Collection[str]) -> tuple[str, ...]:
    """The instruments that measure these metrics."""
    return tuple(sorted({METRICS[m].instrument for m in metrics if m in METRICS} - COMPUTED))


def require(unknown: Collection[str]) -> None:
    """Refuse to measure with them.

    Raises:
        MeasurementError: there are some.
    """
    if unknown:
        raise MeasurementError(
            f"the check was not run: {', '.join(unknown)} not calibrated on this machine",
            why='configs/campaign.toml says calibration = "required", and a gate whose instrument '
            "was never seen red could be green because the instrument is blind",
            hint=COMMAND,
        )


def calibrate_here(
    workspace: Workspace, reporter: Reporter, *, only: Sequence[str] = ()
) -> tuple[Calibration, Path]:
    """Calibrate, and put it on record.

    Args:
        workspace: gets the record and the evidence.
        reporter: progress.
        only: names of instruments; none for all.

    Returns:
        What was found, and the folder of its evidence.

    Raises:
        LedgerLockedError: another call is writing.
        MissingToolError, BuildError: the programs cannot be compiled; nothing is recorded.
        WorkspaceError: the evidence cannot be written.
    """
    from reactivate.run.calibration import calibrate
    from reactivate.run.environment import machine, tool_files
    from reactivate.target.reap import reap
    from reactivate.workspace import template_folder

    own = workspace.probes / "groundtruth"
    sources = own if own.is_dir() else template_folder() / "probes" / "groundtruth"
    # Held to the end: no step is measured while the machine is busy with this.
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        reap(workspace)
        number = len(ledger.events(kind=EventKind.CALIBRATED)) + 1
        folder = _fresh(workspace.results / "calibration", number)
        found = interruption.run(
            partial(
                calibrate,
                sources=sources,
                configs=workspace.configs,
                mounts=workspace.root,
                evidence=folder,
                reporter=reporter,
                only=only,
            )
        )
        text = json.dumps(calibration_json(found, cases=True), indent=1) + "\n"
        (folder / EVIDENCE).write_text(text, encoding="utf-8")
        ledger.append(
            EventKind.CALIBRATED,
            "",
            {
                **calibration_json(found),
                "valid_for": {**machine(), **tool_files()},
                "evidence": folder.relative_to(workspace.root).as_posix(),
                "evidence_sha256": hashlib.sha256(text.encode()).hexdigest(),
            },
        )
    return found, folder


def _fresh(parent: Path, number: int) -> Path:
    """A new folder; one that an unrecorded calibration has left is not used again."""
    while (folder := parent / f"{number:03}").exists():
        number += 1
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise WorkspaceError(
            f"{folder} cannot be made",
            why=error.strerror or str(error),
            hint="check the permissions and the free space of the workspace",
        ) from error
    return folder


def calibration_json(found: Calibration, *, cases: bool = False) -> dict[str, JSON]:
    """A calibration as plain values.

    Args:
        found: the calibration.
        cases: with every single case, not only the errors of each series.
    """
    rows: list[JSON] = []
    for each in found.instruments:
        series: list[JSON] = []
        for one in each.series:
            least, most = one.errors
            row: dict[str, JSON] = {
                "name": one.name,
                "unit": one.dimension.value,
                "cases": len(one.cases),
                "error_least": least,
                "error_most": most,
                "expected_least": one.least,
                "expected_most": one.most,
                "constant": one.constant,
                "as_expected": one.as_expected,
            }
            if cases:
                row["each"] = [{**asdict(case), "error": case.error} for case in one.cases]
            series.append(row)
        cost = each.overhead
        rows.append(
            {
                "instrument": each.instrument,
                "available": each.available,
                "detail": each.detail,
                "cases": each.cases,
                "series": series,
                "overhead_ratio": None if cost is None else cost.ratio,
                "overhead_seconds": None if cost is None else cost.seconds,
                "red": each.red,
                "as_expected": each.as_expected,
                "trusted": each.trusted,
                "plants": [
                    {
                        "fault": p.fault,
                        "criterion": p.criterion,
                        "without": p.without.value,
                        "planted": p.planted.value,
                        "observed": p.observed,
                        "red": p.red,
                    }
                    for p in each.plants
                ],
                "missing": each.missing,
                "hint": each.hint,
                "seconds": each.seconds,
            }
        )
    return {
        "at": found.at,
        "environment": found.environment,
        "seconds": found.seconds,
        "trusted": found.trusted,
        "instruments": rows,
    }
