"""What a verification found, for writers of reports: plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reactivate.errors import ExitCode
from reactivate.evidence import Verdict
from reactivate.gate.judgement import Judgement


class Ending(StrEnum):
    """How one gate of a verification ended."""

    VERIFIED = "verified"
    REFUSED = "refused"
    INCONCLUSIVE = "inconclusive"
    BROKEN = "broken"
    """The machine, the build or the daemon kept it from being measured."""


EXIT_CODES = {
    Ending.REFUSED: ExitCode.REFUSED,
    Ending.BROKEN: ExitCode.ENVIRONMENT,
    Ending.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
}
"""In the order in which they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate of one phase, or the proof that its component is on.

    Attributes:
        phase: the phase.
        check: "activation", "baseline", "trace" or "overflow".
        ending: how it ended.
        seconds: wall time, the tool's own share included.
        judgements: every criterion, judged.
        waived: ids of criteria whose failure does not count, with the reason.
        before: what the campaign's own evidence has in place of a failed criterion's value, with
            its attempt, by criterion.
        chain: the call chain at the deepest point as text, () if there is none.
        culprit: the largest entry of that chain, in words; "" if there is none.
        trouble: why it could not be judged, "" if it was.
        folder: its evidence, relative to the workspace; "" if there is none.
    """

    phase: str
    check: str
    ending: Ending
    seconds: float
    judgements: tuple[Judgement, ...] = ()
    waived: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ()
    culprit: str = ""
    trouble: str = ""
    folder: str = ""

    @property
    def failed(self) -> tuple[Judgement, ...]:
        """The criteria that refuse it."""
        return tuple(
            j
            for j in self.judgements
            if j.verdict is Verdict.FAIL and j.criterion not in self.waived
        )

    @property
    def undecided(self) -> tuple[Judgement, ...]:
        """The criteria that nothing is known of; a waiver opens none that is invalid or broke."""
        return tuple(
            j
            for j in self.judgements
            if j.verdict in (Verdict.INVALID, Verdict.ERROR)
            or (j.verdict is Verdict.INCONCLUSIVE and j.criterion not in self.waived)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A whole verification.

    Attributes:
        number: 1 for the first of this ledger.
        target: the target's name.
        commit: of its source, with `+` if it had changes; "" without one.
        at: when it began, UTC.
        environment: kernel, processor, library.
        seconds: wall time of all of it.
        gates: in the order of the checklist.
        unchanged: why nothing had to be measured; "" if it was.
        uncalibrated: instruments that were never seen red on this machine.
    """

    number: int
    target: str
    commit: str
    at: str
    environment: Mapping[str, str]
    seconds: float
    gates: tuple[Gate, ...] = ()
    unchanged: str = ""
    uncalibrated: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """3 if a gate refused, else 6 if one could not run, else 5 if one is open, else 0."""
        endings = {gate.ending for gate in self.gates}
        if not endings and not self.unchanged:
            return ExitCode.INCONCLUSIVE
        return next((code for end, code in EXIT_CODES.items() if end in endings), ExitCode.DONE)

    def told(self) -> Iterator[str]:
        """What keeps it from being passed, in one line each; what refuses comes first."""
        for gate in self.gates:
            yield from (f"{gate.phase}: {gate.check}: {judged.source}" for judged in gate.failed)
        for gate in self.gates:
            if gate.trouble:
                yield f"{gate.phase}: {gate.check}: {gate.trouble}"
        for gate in self.gates:
            for judged in gate.undecided:
                what = f"{judged.source} is {judged.verdict.value.upper()}"
                yield f"{gate.phase}: {gate.check}: {what}"
