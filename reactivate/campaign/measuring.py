"""The steps that touch the target: enabling a component, and running one of its checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reactivate import interruption
from reactivate.campaign.agreement import agreed
from reactivate.campaign.criteria import scenarios_of, suites_of
from reactivate.campaign.references import recorded_references
from reactivate.checklist.model import Checklist, Criterion, Phase, PhaseKind
from reactivate.errors import MeasurementError, WorkspaceError
from reactivate.evidence import Check, Measurement, Role, Verdict
from reactivate.gate.evaluate import metric_names, roles
from reactivate.gate.judge import judge_all, needs_more_samples
from reactivate.gate.judgement import Judgement
from reactivate.instrument.contract import Reporter
from reactivate.ledger.records import JSON, AttemptRecord
from reactivate.ledger.store import Ledger
from reactivate.metrics import METRICS
from reactivate.run.activation import Activation, activate
from reactivate.run.checks import CheckRun, run_check
from reactivate.run.environment import machine, tool_files, tools
from reactivate.run.explain import Explanation, explain
from reactivate.run.overflow.check import ScenarioRun, check_scenarios, scenarios_for
from reactivate.target.build import build as build_target
from reactivate.target.build_profile import build_profile
from reactivate.target.elf_facts import document, elf_facts
from reactivate.target.inputs import inputs_sha256
from reactivate.target.model import Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.scenario import Scenario
from reactivate.workload.suites import operations
from reactivate.workspace import Workspace

_DEPTH_INSTRUMENT = "watermark"
"""The instrument whose failures a call chain explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a step stands on: the workspace and what was read from it.

    Attributes:
        prefix: before the names of the checks in the ledger. The campaign's own have none; those
            of a verification must not become what later steps refer to.
    """

    workspace: Workspace
    checklist: Checklist
    spec: TargetSpec
    ledger: Ledger
    prefix: str = ""

    def step(self, check: Check) -> str:
        """The name of a check's attempts."""
        return f"{self.prefix}{check.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A phase and the builds it is about.

    Attributes:
        components: what is on, this phase's included.
        added: what this phase adds: what `previous` lacks.
        suites: names of the suites that exercise what is on.
        scenarios: names of the overflow scenarios that its overflow check runs.
        proven: digests of artifact and configuration that were proven to be enabled; None for
            those of the phase's newest activation on record.
    """

    phase: Phase
    components: tuple[str, ...]
    added: tuple[str, ...]
    suites: tuple[str, ...]
    scenarios: tuple[str, ...] = ()
    proven: tuple[str, str] | None = None

    @property
    def without(self) -> tuple[str, ...]:
        """The components of the previous build."""
        return tuple(c for c in self.components if c not in self.added)


def stage_of(checklist: Checklist, phase_id: str) -> Stage:
    """What is on in a phase, and what the phase adds."""
    phase = checklist.phase(phase_id)
    earlier = checklist.phases[: checklist.phases.index(phase)]
    before = [p.id for p in earlier if p.kind is PhaseKind.COMPONENT]
    added: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    if phase.kind is PhaseKind.COMPONENT:
        added, components = (phase.id,), (*before, phase.id)
    elif phase.kind is PhaseKind.INTEGRATION:
        added = components = tuple(before)
    return Stage(
        phase=phase,
        components=components,
        added=added,
        suites=suites_of(checklist, phase),
        scenarios=scenarios_of(checklist, phase),
    )


def environment_of(ground: Ground, phase: Phase, build: Build | None) -> dict[str, JSON]:
    """What a result of this phase depends on. Evidence is stale when any of it changes."""
    return {
        **surroundings(ground.workspace, ground.spec, build),
        "checklist_sha256": ground.checklist.sha256,
        "phase_sha256": phase.sha256,
    }


def surroundings(workspace: Workspace, spec: TargetSpec, build: Build | None) -> dict[str, JSON]:
    """Machine, tools, target and build: what any result depends on, whatever asked for it."""
    return {
        **machine(),
        "tools": dict(tools()),
        "tool_files": dict(tool_files()),
        "target": spec.name,
        "components": [] if build is None else list(build.components),
        "artifact_sha256": "" if build is None else build.artifact_sha256,
        "configuration_sha256": "" if build is None else build.configuration_sha256,
        "commit": "" if build is None else build.commit,
        "source_sha256": "" if build is None else build.source_sha256,
        "inputs_sha256": "" if build is None else inputs_sha256(spec, workspace, build.components),
    }


def build_facts(build: Build) -> dict[str, JSON]:
    """What the artifact says of how it was made, as far as stacks are concerned."""
    profile = document(build_profile(build.command))
    return {"profile": profile, **elf_facts(build.artifact).document()}


def enable(ground: Ground, stage: Stage) -> Activation:
    """Build, mount and prove. See `reactivate.run.activation.activate`."""
    # A scenario that cannot be run is found now, not after the other gates.
    scenarios_for(ground.workspace, stage.scenarios, stage.components)
    return interruption.run(activate, ground.spec, ground.workspace, stage.components, stage.added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check that ran to its end, judged.

    Attributes:
        explanation: who was on the stack, where a stack budget was exceeded; else None.
    """

    run: CheckRun
    judgements: tuple[Judgement, ...]
    build: Build
    seconds: float
    explanation: Explanation | None = None


def check(
    ground: Ground,
    stage: Stage,
    kind: Check,
    criteria: Sequence[Criterion],
    attempt: AttemptRecord,
    reporter: Reporter,
    *,
    waived: Collection[str],
) -> Checked:
    """Run one check of a phase and judge it.

    Args:
        waived: ids of criteria whose failure does not refuse.

    Raises:
        MeasurementError: a reference comes from another environment, or the build is not the
            one that was proven.
        ReactivateError: as from building, mounting and measuring.
    """
    recorded = recorded_references(
        ground.ledger, ground.checklist, criteria, kind, attempt,
        here=machine(), prefix=ground.prefix,
    )  # fmt: skip
    folder = _fresh_folder(ground.workspace, attempt)
    started = time.monotonic()

    def undecided(found: Sequence[Measurement]) -> Collection[str]:
        judged = judge_all(criteria, found, recorded)
        # A limit that is exceeded stays exceeded: more samples of another cannot open the gate.
        refused = any(j.verdict is Verdict.FAIL and j.criterion not in waived for j in judged)
        return () if refused else {need.operation for need in needs_more_samples(judged)}

    chosen = scenarios_for(ground.workspace, stage.scenarios, stage.components)
    build, run = interruption.run(
        _measure, ground, stage, kind, criteria, attempt, reporter, undecided
    )
    if kind is Check.TRACE:
        baseline = ground.step(Check.BASELINE)
        run = agreed(run, ground.ledger, stage.phase.id, build, folder, baseline=baseline)
    provoked = None
    if kind is Check.OVERFLOW and chosen:
        provoked = interruption.run(partial(_provoke, ground, build, chosen, folder, reporter))
        run = CheckRun(
            measurements=(*run.measurements, *provoked.measurements),
            instruments=(*run.instruments, provoked.run),
        )
    judgements = judge_all(criteria, run.measurements, recorded)
    return Checked(
        run=run,
        judgements=judgements,
        build=build,
        seconds=time.monotonic() - started,
        explanation=_explanation(ground, stage, build, judgements, waived, folder, reporter)
        or (None if provoked is None else provoked.explanation),
    )


def _fresh_folder(workspace: Workspace, attempt: AttemptRecord) -> Path:
    """The folder of an attempt's evidence; what lies in one already is no evidence of this one."""
    folder = workspace.results / attempt.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise WorkspaceError(
            f"{folder} is there already",
            why="the ledger does not know it, and its files would pass for this attempt's evidence",
            hint=f"mv {folder.parent} {folder.parent}.old",
        ) from error
    return folder


async def _provoke(
    ground: Ground, build: Build, chosen: Sequence[Scenario], folder: Path, reporter: Reporter
) -> ScenarioRun:
    return await check_scenarios(
        ground.workspace,
        ground.spec,
        build,
        chosen,
        folder,
        reporter,
        reduced=ground.workspace.settings().reduced_scenarios,
    )


def _explanation(
    ground: Ground,
    stage: Stage,
    build: Build,
    judgements: Sequence[Judgement],
    waived: Collection[str],
    folder: Path,
    reporter: Reporter,
) -> Explanation | None:
    """Catch the operation that exceeded a stack budget at its deepest point."""
    deep = [
        j.operation
        for j in judgements
        if j.verdict is Verdict.FAIL
        and j.criterion not in waived
        and j.instrument == _DEPTH_INSTRUMENT
        and j.operation
    ]
    if not deep:
        return None
    (operation,) = (o for o in operations(stage.suites) if o.name == deep[0])
    catch = partial(
        explain,
        operation,
        workspace=ground.workspace,
        subject=TargetLauncher(ground.spec, build, ground.workspace),
        folder=folder,
        reporter=reporter,
    )
    return interruption.run(catch)


async def _measure(
    ground: Ground,
    stage: Stage,
    kind: Check,
    criteria: Sequence[Criterion],
    attempt: AttemptRecord,
    reporter: Reporter,
    undecided: Callable[[Sequence[Measurement]], Collection[str]],
) -> tuple[Build, CheckRun]:
    workspace, spec = ground.workspace, ground.spec
    build = await build_target(spec, workspace, stage.components)
    _must_be_proven(ground, stage, build)
    sets = {Role.BASELINE: (), Role.PREVIOUS: stage.without}
    references = {
        role: TargetLauncher(spec, await build_target(spec, workspace, components), workspace)
        for role, components in sets.items()
        if role in _interleaved(criteria)
    }
    run = await run_check(
        kind,
        workspace=workspace,
        subject=TargetLauncher(spec, build, workspace),
        references=references,
        operations=operations(stage.suites),
        folder=workspace.results / attempt.folder,
        reporter=reporter,
        clock=time.monotonic,
        times=(
            workspace.settings().integration_times
            if stage.phase.kind is PhaseKind.INTEGRATION
            else 1
        ),
        undecided=undecided,
        metrics=asked(criteria),
    )
    return build, run


def asked(criteria: Sequence[Criterion]) -> frozenset[str]:
    """The names of all metrics in the criteria."""
    sides = [side for c in criteria for side in (c.comparison.left, c.comparison.right)]
    return frozenset(name.name for side in sides for name in metric_names(side))


def _interleaved(criteria: Sequence[Criterion]) -> frozenset[Role]:
    """The builds that an instrument must measure side by side with the subject."""
    found: set[Role] = set()
    for criterion in criteria:
        sides = (criterion.comparison.left, criterion.comparison.right)
        names = {name.name for side in sides for name in metric_names(side)}
        if any(METRICS[name].instrument == "latency" for name in names):
            found |= {role for side in sides for role in roles(side)}
    return frozenset(found)


def _must_be_proven(ground: Ground, stage: Stage, build: Build) -> None:
    """The build that is measured is the one whose components were proven to be on."""
    proven = stage.proven or _on_record(ground, stage)
    if proven != (build.artifact_sha256, build.configuration_sha256):
        raise MeasurementError(
            f"The build of {stage.phase.id} is not the one that was proven to be enabled",
            why="its source or configuration changed after the proof: artifact "
            f"{build.artifact_sha256[:12]}, proven {proven[0][:12] if proven else 'none'}",
            hint="undo the change, or reactivate rollback --reason … and reactivate retry",
        )


def _on_record(ground: Ground, stage: Stage) -> tuple[str, str] | None:
    activated = ground.ledger.events(phase=stage.phase.id, kind="activated")
    if not activated:
        return None
    newest = activated[-1].data
    return str(newest["artifact_sha256"]), str(newest["configuration_sha256"])
