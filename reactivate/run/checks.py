"""Which instruments a check arms, and their run one after the other on fresh mounts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import MissingToolError
from reactivate.evidence import Check, Measurement, Role
from reactivate.instrument.contract import Bench, Configurable, Instrument, Reporter
from reactivate.instrument.registry import instruments_of
from reactivate.target.model import Launcher
from reactivate.workload.operation import Operation
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRun:
    """One instrument's part of a check, for display."""

    instrument: str
    seconds: float
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """Everything one check measured."""

    measurements: tuple[Measurement, ...]
    instruments: tuple[InstrumentRun, ...]


async def run_check(
    check: Check,
    *,
    workspace: Workspace,
    subject: Launcher,
    references: Mapping[Role, Launcher],
    operations: Sequence[Operation],
    folder: Path,
    reporter: Reporter,
    clock: Callable[[], float],
    times: int,
    undecided: Callable[[Sequence[Measurement]], Collection[str]],
    metrics: Collection[str] = (),
) -> CheckRun:
    """Run every instrument of `check`.

    Args:
        references: builds that comparing instruments interleave with the subject.
        folder: the attempt's folder; each instrument gets a subfolder of its own.
        clock: monotonic seconds, for the times shown.
        times: see `Bench.times`.
        undecided: asked by sampling instruments, with everything measured in this check so
            far, which operations need more samples before the gate can decide.
        metrics: names of the metrics that the criteria ask for; slow instruments run only
            where one of theirs is among them.

    Raises:
        ConfigurationError: the settings file of an instrument has a fault.
        MissingToolError: an instrument of this check cannot work here. A check with one
            instrument less is another check, so nothing is run.
    """
    measurements: list[Measurement] = []

    def undecided_by_now(found: Sequence[Measurement]) -> Collection[str]:
        return undecided([*measurements, *found])

    instruments = instruments_of(check, undecided=undecided_by_now, metrics=metrics)
    _all_available(instruments)
    for instrument in instruments:
        if isinstance(instrument, Configurable):
            instrument.configure(workspace.configs)
    runs: list[InstrumentRun] = []
    for instrument in instruments:
        own = folder / instrument.name
        own.mkdir(parents=True, exist_ok=True)
        started = clock()
        bench = Bench(
            subject=subject,
            references=references,
            operations=operations,
            folder=own,
            evidence_prefix=f"{instrument.name}/",
            settings=workspace.instrument_settings(instrument.name),
            reporter=reporter,
            times=times,
            metrics=frozenset(metrics),
        )
        found = await instrument.measure(bench)
        measurements += found
        runs.append(
            InstrumentRun(
                instrument=instrument.name,
                seconds=clock() - started,
                summary=_summary(found, operations),
            )
        )
    return CheckRun(measurements=tuple(measurements), instruments=tuple(runs))


def _all_available(instruments: Sequence[Instrument]) -> None:
    for instrument in instruments:
        availability = instrument.availability()
        if not availability.ready:
            raise MissingToolError(
                f"The instrument {instrument.name} cannot measure here",
                why=availability.detail,
                hint=availability.hint or "reactivate doctor",
            )


def _summary(found: Sequence[Measurement], operations: Sequence[Operation]) -> str:
    measured = [m for m in found if m.role is Role.SUBJECT and m.operation]
    if not measured:
        return f"{len(operations)} operations"
    repeats = max((len(m.samples) for m in measured), default=1)
    return f"{len({m.operation for m in measured})} operations × {max(repeats, 1)}"
