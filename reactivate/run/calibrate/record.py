"""What calibrating an instrument shows: its error, its cost, and whether it was seen red."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.evidence import Dimension, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is known, and what the instrument made of it.

    Attributes:
        name: what was done.
        truth: what the program knows of itself.
        found: what the instrument said.
    """

    name: str
    truth: int
    found: int

    @property
    def error(self) -> int:
        """How much too much was found; negative if too little."""
        return self.found - self.truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Cases whose errors have one cause.

    Attributes:
        name: what the cases have in common.
        dimension: unit of truth, value and error.
        cases: one or more.
        least: the smallest error that is expected.
        most: the largest error that is expected.
        constant: where an error that is expected comes from; "" if none is.
    """

    name: str
    dimension: Dimension
    cases: tuple[Case, ...]
    least: int = 0
    most: int = 0
    constant: str = ""

    @property
    def errors(self) -> tuple[int, int]:
        """The smallest and the largest."""
        found = [case.error for case in self.cases]
        return min(found), max(found)

    @property
    def as_expected(self) -> bool:
        """Whether every error is between `least` and `most`."""
        return all(self.least <= case.error <= self.most for case in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A limit that a planted fault exceeds, judged by the gate's own arithmetic.

    Attributes:
        fault: what was planted.
        criterion: as it would stand in a checklist.
        without: the verdict where nothing was planted.
        planted: the verdict on the planted fault.
        observed: what the gate saw of it, with its unit.
    """

    fault: str
    criterion: str
    without: Verdict
    planted: Verdict
    observed: str

    @property
    def red(self) -> bool:
        """Refused with the fault, and only with it.

        Without it a bound that lies on one side leaves a criterion open, which is no refusal.
        """
        calm = self.without in (Verdict.PASS, Verdict.INCONCLUSIVE)
        return self.planted is Verdict.FAIL and calm


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What the instrument costs here.

    Attributes:
        ratio: of the median duration of a small request, with it to without it; None if that
            has no meaning for it.
        seconds: it holds the daemon up for so long for each operation; None if it does not.
    """

    ratio: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One instrument, on this machine, today.

    Attributes:
        instrument: its name.
        available: whether it works here at all; one that does and was not calibrated is broken.
        detail: what it works with here: "ready (bpftrace 0.17.0)".
        series: errors; empty if nothing of known size could be measured.
        plants: faults it was shown.
        overhead: its cost, None if it has none worth telling.
        missing: why the instrument could not be calibrated, or what of it was not, "" if all was.
        hint: what mends that, "" if nothing does.
        seconds: how long this took.
    """

    instrument: str
    available: bool = True
    detail: str = ""
    series: tuple[Series, ...] = ()
    plants: tuple[Plant, ...] = ()
    overhead: Overhead | None = None
    missing: str = ""
    hint: str = ""
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many things of known size were measured."""
        return sum(len(series.cases) for series in self.series)

    @property
    def red(self) -> bool:
        """Whether it found every fault that was planted for it, and nothing where none was."""
        return bool(self.plants) and all(plant.red for plant in self.plants)

    @property
    def as_expected(self) -> bool:
        """Whether no error is other than expected."""
        return all(series.as_expected for series in self.series)

    @property
    def trusted(self) -> bool:
        """Whether a gate may lean on it here."""
        return self.red and self.as_expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All instruments on this machine.

    Attributes:
        at: when it began, ISO-8601 in UTC.
        environment: what it holds for: kernel, processor, C library, versions of the tools.
        instruments: in the order of `doctor`.
        seconds: how long it took.
    """

    at: str
    environment: dict[str, str]
    instruments: tuple[Calibrated, ...]
    seconds: float

    @property
    def trusted(self) -> bool:
        """Whether every instrument that works here is one to lean on."""
        able = [found for found in self.instruments if found.available]
        return bool(able) and all(found.trusted for found in able)
