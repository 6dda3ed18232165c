"""One commit, held against one gate: build, prove, measure what the gate asks for, judge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.checklist.model import Criterion
from reactivate.errors import MissingToolError
from reactivate.evidence import Check, Measurement, Role, Verdict
from reactivate.gate.evaluate import metric_names, roles
from reactivate.gate.judge import judge_all, needs_more_samples
from reactivate.gate.judgement import Judgement
from reactivate.instrument.contract import Bench, Configurable, Instrument, Reporter
from reactivate.instrument.registry import instruments_of
from reactivate.run.activation import activate
from reactivate.run.overflow.check import check_scenarios, scenarios_for
from reactivate.target.build import build as build_target
from reactivate.target.model import Build, Launcher, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.suites import operations
from reactivate.workspace import Workspace

_TIMED = "latency"
"""The instrument that measures builds in turn, by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What is asked of every commit.

    Attributes:
        name: as the user named it.
        check: which check.
        criteria: what is judged.
        components: what is on.
        added: those of them that the build called `previous` lacks; they are proven to be on.
        suites: names of the suites that are driven.
        scenarios: names of the overflow scenarios that are run.
        times: how many times as often as usual each operation is repeated.
        reduced: only the reduced set of each scenario's steps.
    """

    name: str
    check: Check
    criteria: tuple[Criterion, ...]
    components: tuple[str, ...]
    added: tuple[str, ...]
    suites: tuple[str, ...]
    scenarios: tuple[str, ...] = ()
    times: int = 1
    reduced: bool = False

    @property
    def asked(self) -> frozenset[str]:
        """The names of all metrics in the criteria."""
        return frozenset(name for c in self.criteria for name in _metrics(c))

    def roles(self, *, timed: bool) -> tuple[Role, ...]:
        """The other builds that criteria refer to: those on durations, or those on all else."""
        found = {
            role: None
            for c in self.criteria
            if any(name.startswith("latency.") for name in _metrics(c)) is timed
            for role in (*roles(c.comparison.left), *roles(c.comparison.right))
        }
        return tuple(found)


def _metrics(criterion: Criterion) -> tuple[str, ...]:
    sides = (criterion.comparison.left, criterion.comparison.right)
    return tuple(name.name for side in sides for name in metric_names(side))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One commit's numbers.

    Attributes:
        build: what was measured.
        measurements: all of them.
        judgements: of the gate's criteria.
    """

    build: Build
    measurements: tuple[Measurement, ...]
    judgements: tuple[Judgement, ...]

    @property
    def decisive(self) -> Judgement:
        """The judgement that says most: a failure, else what is not known, else any."""
        order = (Verdict.FAIL, Verdict.ERROR, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.PASS)
        return min(self.judgements, key=lambda j: order.index(j.verdict))


async def measure_gate(
    gate: Gate, spec: TargetSpec, workspace: Workspace, folder: Path, reporter: Reporter
) -> Measured:
    """Build the target as it is now, prove that its components are on, measure and judge.

    Only instruments whose metrics the gate asks for are armed.

    Args:
        spec: the target, its source at the commit.
        workspace: holds builds, mounts and settings.
        folder: for the evidence.

    Raises:
        ReactivateError: as from building, proving, mounting and measuring.
    """
    chosen = scenarios_for(workspace, gate.scenarios, gate.components)
    if gate.added:
        made = (await activate(spec, workspace, gate.components, gate.added)).build
    else:
        made = await build_target(spec, workspace, gate.components)
    recorded: dict[Role, tuple[Measurement, ...]] = {}
    for role in gate.roles(timed=False):
        other = await _reference(gate, role, spec, workspace)
        recorded[role] = await _run(gate, other, workspace, folder / role.value, reporter)
    beside = {
        role: await _reference(gate, role, spec, workspace) for role in gate.roles(timed=True)
    }
    subject = TargetLauncher(spec, made, workspace)
    found = await _run(gate, subject, workspace, folder, reporter, beside=beside, recorded=recorded)
    if chosen and gate.check is Check.OVERFLOW:
        provoked = await check_scenarios(
            workspace, spec, made, chosen, folder, reporter, reduced=gate.reduced
        )
        found = (*found, *provoked.measurements)
    return Measured(
        build=made, measurements=found, judgements=judge_all(gate.criteria, found, recorded)
    )


async def _reference(
    gate: Gate, role: Role, spec: TargetSpec, workspace: Workspace
) -> TargetLauncher:
    """The minimal build, or the one before, of the same commit."""
    without = tuple(c for c in gate.components if c not in gate.added)
    components = without if role is Role.PREVIOUS else ()
    return TargetLauncher(spec, await build_target(spec, workspace, components), workspace)


async def _run(
    gate: Gate,
    subject: Launcher,
    workspace: Workspace,
    folder: Path,
    reporter: Reporter,
    *,
    beside: Mapping[Role, Launcher] | None = None,
    recorded: Mapping[Role, Sequence[Measurement]] | None = None,
) -> tuple[Measurement, ...]:
    """Every instrument that the gate needs, each on mounts of its own.

    Args:
        beside: builds that take turns with the subject; None where the subject is itself a
            reference, which is not timed.
        recorded: what was measured of references before.
    """
    measurements: list[Measurement] = []

    def undecided(found: Sequence[Measurement]) -> set[str]:
        judged = judge_all(gate.criteria, [*measurements, *found], recorded or {})
        # A limit that is exceeded stays exceeded.
        if any(j.verdict is Verdict.FAIL for j in judged):
            return set()
        return {need.operation for need in needs_more_samples(judged)}

    for instrument in _armed(gate, undecided, workspace, timed=beside is not None):
        own = folder / instrument.name
        own.mkdir(parents=True, exist_ok=True)
        measurements += await instrument.measure(
            Bench(
                subject=subject,
                references=beside or {},
                operations=operations(gate.suites),
                folder=own,
                evidence_prefix=f"{instrument.name}/",
                settings=workspace.instrument_settings(instrument.name),
                reporter=reporter,
                times=gate.times,
                metrics=gate.asked,
            )
        )
    return tuple(measurements)


def _armed(
    gate: Gate,
    undecided: Callable[[Sequence[Measurement]], Collection[str]],
    workspace: Workspace,
    *,
    timed: bool,
) -> list[Instrument]:
    """The instruments of the check that measure something that is asked for."""
    armed = [
        each
        for each in instruments_of(gate.check, undecided=undecided, metrics=gate.asked)
        if gate.asked & set(each.measures) and (timed or each.name != _TIMED)
    ]
    for each in armed:
        availability = each.availability()
        if not availability.ready:
            raise MissingToolError(
                f"The instrument {each.name} cannot measure here",
                why=availability.detail,
                hint=availability.hint or "reactivate doctor",
            )
        if isinstance(each, Configurable):
            each.configure(workspace.configs)
    return armed
