"""What one call of `next`, `confirm`, `retry`, `waive` or `rollback` did, for the face to show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reactivate.errors import ExitCode
from reactivate.evidence import Check
from reactivate.gate.judgement import Judgement

if TYPE_CHECKING:
    from reactivate.run.explain import Explanation


VERIFICATION = "verify-"
"""Before the names of a verification's steps in the ledger."""

VERIFIED = "verified"
"""Outcome of a verification's attempt whose gate passed."""


class Outcome(StrEnum):
    """How a step ended."""

    ADVANCED = "advanced"
    REFUSED = "refused"
    WAITING = "waiting"
    INCONCLUSIVE = "inconclusive"
    COMPLETE = "complete"
    RECORDED = "recorded"
    """A decision of a person was written down; nothing was run."""


EXIT_CODES: dict[Outcome, ExitCode] = {
    Outcome.ADVANCED: ExitCode.DONE,
    Outcome.REFUSED: ExitCode.REFUSED,
    Outcome.WAITING: ExitCode.WAITING,
    Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Outcome.COMPLETE: ExitCode.DONE,
    Outcome.RECORDED: ExitCode.DONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was done: a label, what, how long (seconds, None if instant), a result."""

    label: str
    text: str
    seconds: float | None = None
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command the user may type next, and what it does."""

    command: str
    effect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """All there is to say about one step.

    Attributes:
        heading: `search_engine · step 3 of 6 · baseline check`.
        summary: the sentences after the verdicts: what was decided and why.
        commands: what can be typed next, the likeliest first.
        folder: the attempt's folder relative to the workspace, "" if nothing was run.
        explanation: the call chain behind a refused stack budget, None if there is none.
    """

    phase: str
    heading: str
    outcome: Outcome
    lines: tuple[Line, ...] = ()
    check: Check | None = None
    judgements: tuple[Judgement, ...] = ()
    summary: str = ""
    commands: tuple[Command, ...] = ()
    folder: str = ""
    explanation: Explanation | None = None

    @property
    def exit_code(self) -> ExitCode:
        """The process's exit status after this step."""
        return EXIT_CODES[self.outcome]
