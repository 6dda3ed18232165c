"""Scenarios that somebody runs by hand: on record with their evidence, and no part of the campaign.

Such a run is a note with an attempt of its own, under a phase that no checklist has. It has no
measurement and no verdict, so no gate, no reference and no state can rest on it: the analyses show
what died and why, and mark it as provoked by hand. A new kind of event would make the ledger
unreadable for every tool that does not know it; a note is history to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from reactivate.campaign.measuring import surroundings
from reactivate.campaign.wording import chain_lines
from reactivate.errors import LedgerLockedError
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.provoked import ProvokedLedger
from reactivate.ledger.records import JSON, ArtifactRecord
from reactivate.run.overflow.explained import explanation_of
from reactivate.run.overflow.record import document
from reactivate.run.overflow.result import ScenarioResult, StepResult
from reactivate.run.overflow.session import Ran
from reactivate.target.configuration import settings_of, switched_sha256
from reactivate.target.model import TargetSpec
from reactivate.workspace import Workspace

SCHEMA: Final = 1
"""Of the note's data; raised when a member is taken away or changes its meaning."""

_STEP: Final = ("number", "label", "parameter", "value", "stack_limit_bytes", "exercises", "ending",
                "during", "text", "seconds", "depth_bytes", "lost", "classification")  # fmt: skip
"""Of a step, what is on record; the rest of it is in the evidence file."""
_DEATH: Final = ("kind", "text", "signal", "thread")


class Book:
    """Takes down what was run by hand, where there is a ledger that takes it.

    Attributes:
        why_not: why nothing is recorded, "" if everything is.
        recorded: how many scenarios are on record.
    """

    def __init__(
        self,
        workspace: Workspace,
        spec: TargetSpec,
        *,
        ledger: ProvokedLedger | None = None,
        why_not: str = "",
    ) -> None:
        self._workspace, self._spec, self._ledger = workspace, spec, ledger
        self.why_not = why_not
        self.recorded = 0

    def take(self, ran: Ran, folder: Path) -> None:
        """Record a scenario with all its files, or nothing of it.

        Args:
            ran: the scenario.
            folder: of its evidence, below the folder of all results.

        Raises:
            LedgerError, WorkspaceError: nothing was recorded.
        """
        if self._ledger is None:
            return
        result = ran.result
        own = [result.evidence, result.scenario.name]
        files = record_artifacts(folder, only=own)
        below = folder.relative_to(self._workspace.results).as_posix()
        self._ledger.provoked(
            note(result, files, f"results/{below}", configuration=self._settings(ran)),
            outcome=_outcome(result),
            environment=surroundings(self._workspace, self._spec, ran.build),
            folder=below,
            artifacts=files,
            started=ran.started,
        )
        self.recorded += 1

    def _settings(self, ran: Ran) -> dict[str, JSON] | None:
        """The target's settings, unless they were edited while it ran."""
        on = ran.build.components
        if switched_sha256(self._spec, on) != ran.build.configuration_sha256:
            return None
        return dict(settings_of(self._spec.configuration, on))


@contextmanager
def book(workspace: Workspace, spec: TargetSpec) -> Iterator[Book]:
    """The book of a run by hand, which holds the ledger's lock until it is closed.

    Where there is no ledger, or another command writes to it, the run goes on without a record:
    what it shows is the same, and its files stay.

    Args:
        workspace: whose ledger it is.
        spec: the target that is run.

    Raises:
        LedgerError: there is a ledger, and it is damaged, tampered with, of another version, or
            cannot be written; nothing was run.
    """
    with ExitStack() as stack:
        ledger, why_not = None, ""
        if not workspace.ledger.exists():
            why_not = "this workspace has no ledger yet; `reactivate next` begins one"
        else:
            try:
                ledger = stack.enter_context(ProvokedLedger.open(workspace.ledger, writer=True))
            except LedgerLockedError as error:
                why_not = error.what
        yield Book(workspace, spec, ledger=ledger, why_not=why_not)


def note(
    result: ScenarioResult,
    files: Sequence[ArtifactRecord],
    folder: str,
    *,
    configuration: Mapping[str, JSON] | None,
) -> dict[str, JSON]:
    """What the ledger says of a scenario; its members are those of the evidence file.

    Args:
        result: what became of it.
        files: its evidence.
        folder: where that lies, relative to the workspace.
        configuration: settings of the target, None if they are not known.
    """
    full = document(result)
    return {
        **{key: value for key, value in full.items() if key not in ("schema", "steps")},
        "schema": SCHEMA,
        "configuration": configuration,
        "steps": [
            _step(step, shown, result.evidence)
            for step, shown in zip(result.steps, full["steps"], strict=True)
        ],
        "evidence": result.evidence,
        "files": [
            {
                "path": f"{folder}/{file.path}",
                "sha256": file.sha256,
                "size_bytes": file.size_bytes,
            }
            for file in files
        ],
    }


def _step(step: StepResult, shown: Mapping[str, Any], evidence: str) -> dict[str, JSON]:
    death = shown["death"]
    found: dict[str, JSON] = {key: shown[key] for key in _STEP}
    found["configuration"] = dict(step.step.configuration)
    if death is None:
        return {**found, "death": None}
    lines = chain_lines(explanation_of(step, evidence))
    return {**found, "death": {**{key: death[key] for key in _DEATH}, "chain": lines}}


def _outcome(result: ScenarioResult) -> str:
    """`unexpected` before `undecided`: a death is a death, whatever else could not be judged."""
    if result.unexpected:
        return "unexpected"
    return "expected" if result.passed else "undecided"
