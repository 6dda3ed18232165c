"""What became of a scenario: its steps, its growth law, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reactivate.evidence import NotMeasured
from reactivate.gate.advice import Advice, Classification
from reactivate.gate.growth_law import Law
from reactivate.instrument.death import Cause, DeathKind
from reactivate.target.model import BoxReport
from reactivate.workload.scenario import Expectation, Scenario, Step


class Ending(StrEnum):
    """How a step ended."""

    SURVIVED = "survived"
    DIED = "died"
    HUNG = "hung"
    """It did not mount, answer or finish in time, and was killed."""
    REFUSED = "refused"
    """The daemon lives, but answered with an error that the scenario does not allow."""
    NOT_RUN = "not run"
    """What the scenario needs cannot be had here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step.

    Attributes:
        step: what was done.
        ending: how it ended.
        text: one sentence on the ending.
        during: what was in flight: "mount", or an exercise; "" if it survived.
        operations: operations that succeeded.
        refused: errors that the scenario allows, by name.
        depth_bytes: deepest touched page of any stack whose limit this is, from the mapping's top.
        cause: why the daemon died; None if it did not.
        classification: why the stack was so deep; None if no chain tells.
        advice: what is known to help, the strongest first.
        lost: acknowledged files that were gone or changed after a restart.
        seconds: wall time.
        box: how the limits held; None if nothing was mounted.
    """

    step: Step
    ending: Ending
    text: str
    seconds: float
    during: str = ""
    operations: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    depth_bytes: int | NotMeasured = field(
        default_factory=lambda: NotMeasured(reason="the daemon did not live to be looked at")
    )
    cause: Cause | None = None
    classification: Classification | None = None
    advice: tuple[Advice, ...] = ()
    lost: int | NotMeasured = field(
        default_factory=lambda: NotMeasured(reason="the scenario restarts nothing")
    )
    box: BoxReport | None = None

    @property
    def overflown(self) -> bool:
        """Whether a stack overflow is proven."""
        return self.cause is not None and self.cause.kind is DeathKind.OVERFLOW

    @property
    def judged(self) -> bool:
        """Whether its ending says anything of the target."""
        return self.ending not in {Ending.NOT_RUN, Ending.REFUSED}

    def as_expected(self, expectation: Expectation) -> bool:
        """Whether it did what the scenario expects, and lost nothing."""
        if isinstance(self.lost, int) and self.lost:
            return False
        if expectation is Expectation.OVERFLOWS:
            return self.overflown
        return self.ending is Ending.SURVIVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """The least stack with which a scenario's last step survives.

    Attributes:
        survived_bytes: least limit that was survived; None if none was.
        died_bytes: largest limit that was not survived, 0 if every one was.
        settled: whether the edge is known to the page.
        runs: mounts that it took.
        touched_bytes: deepest page touched under the least limit.
        gap: what lies between the two, in words.
    """

    survived_bytes: int | None
    died_bytes: int
    settled: bool
    runs: int
    touched_bytes: int | NotMeasured
    gap: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """One scenario.

    Attributes:
        scenario: what was run.
        components: what was on.
        reduced: whether only the reduced set of steps was run.
        all_steps: how many steps the full set has.
        steps: in order.
        laws: how depth grows with the swept value, by stack limit as written in the table.
        least: the smallest stack, if it was looked for.
        evidence: the evidence file, relative to the folder given to `run_scenario`.
    """

    scenario: Scenario
    components: tuple[str, ...]
    reduced: bool
    all_steps: int
    steps: tuple[StepResult, ...]
    laws: dict[int, Law] = field(default_factory=dict)
    least: Least | None = None
    evidence: str = ""

    @property
    def passed(self) -> bool:
        """Whether every step did what is expected."""
        return all(step.as_expected(self.scenario.expect) for step in self.steps)

    @property
    def complete(self) -> bool:
        """Whether every step could be run and judged."""
        return all(step.judged for step in self.steps)

    @property
    def unexpected(self) -> bool:
        """Whether a step that could be judged did what is not expected."""
        return any(s.judged and not s.as_expected(self.scenario.expect) for s in self.steps)

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(step.seconds for step in self.steps)

    @property
    def set_text(self) -> str:
        """`all 8 steps` or `reduced set: 4 of 8 steps`."""
        if self.reduced and len(self.steps) < self.all_steps:
            return f"reduced set: {len(self.steps)} of {self.all_steps} steps"
        return f"all {self.all_steps} steps" if self.all_steps > 1 else "1 step"
