"""Whole campaigns in a second: judged by the real gate and recorded by the real recorder, from
numbers that nobody measured.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from reactivate.campaign import measuring, recording
from reactivate.campaign.campaign import Campaign, grounded
from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.deciding import gate_decision
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Checked, Ground, stage_of
from reactivate.campaign.provoked import book
from reactivate.campaign.references import recorded_references
from reactivate.campaign.states import Complete, Step, StepKind, Waiting
from reactivate.cli.progress import SilentReporter
from reactivate.evidence import Check, Measurement, NotMeasured, Role
from reactivate.gate.advice import Classification, OverflowClass
from reactivate.gate.growth_law import Law, LawKind
from reactivate.gate.judge import judge_all
from reactivate.instrument.chain import Chain, Frame
from reactivate.instrument.death import Cause, DeathKind
from reactivate.ledger import Ledger
from reactivate.procfs import Address
from reactivate.run.checks import CheckRun
from reactivate.run.environment import machine
from reactivate.run.overflow.record import document
from reactivate.run.overflow.result import Ending, Least, ScenarioResult, StepResult
from reactivate.run.overflow.session import Ran, results_folder
from reactivate.target.config import load_target, target_path
from reactivate.target.configuration import switched_sha256
from reactivate.target.model import Build
from reactivate.workload.scenario import Expectation, Scenario, find_scenario, load_scenarios
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, CHECKLIST, small

_LIMIT = "stack.peak <= 25% of stack.limit"
RELATIVE = CHECKLIST.replace("LIMIT", _LIMIT).replace(
    f"## Storage{CHECKLIST.partition('## Storage')[2].partition('### Gate: trace')[0]}",
    f"## Storage{CHECKLIST.partition('## Storage')[2].partition('### Gate: trace')[0]}"
    "- [ ] Memory: `rss.peak <= baseline + 50%`\n"
    "- [ ] Depth: `stack.peak <= previous + 64 KiB`\n"
    "- [ ] Time: `latency.p50 <= baseline + 20%`\n\n",
)
"""A small checklist with criteria that are relative to other builds."""


def workspace_for(folder: Path) -> Workspace:
    """A workspace whose campaign can be made."""
    return small(folder, target=BINDFS, checklist=RELATIVE)


def go_on(
    workspace: Workspace, seed: int, *, steps: int, other_machine: str = "", worst: bool = False
) -> None:
    """Perform steps of a campaign, with numbers and decisions by chance.

    Args:
        seed: of chance.
        steps: how many at most.
        other_machine: a kernel that everything seems to be measured on; "" for this one.
        worst: whether the first gate refuses.
    """
    chance = random.Random(seed)
    with grounded(workspace) as (ground, _):
        campaign = Campaign(ground)
        for _ in range(steps):
            passage = replay(ground.ledger.events(), now=ground.checklist)
            step = passage.next_step()
            if isinstance(step, Complete):
                return
            if isinstance(step, Waiting):
                _decide(campaign, step, chance)
            elif step.kind is StepKind.ACTIVATE:
                _activate(ground, step, other_machine)
            elif step.kind is StepKind.CHECK:
                _check(ground, step, chance, frozenset(passage.waivers), other_machine, worst)
            else:
                campaign.step(who="tester", yes=True, reporter=SilentReporter())


def _decide(campaign: Campaign, step: Waiting, chance: random.Random) -> None:
    if step.items:
        campaign.confirm([], everything=True, who="tester")
        return
    failed = [c.split()[2] for c in step.commands if c.startswith("reactivate waive")]
    if failed and chance.random() < 0.5:
        campaign.waive(failed[0], reason="known | <b>risk</b>", who="tester")
    else:
        campaign.retry(who="tester", reason="mended")


def _environment(ground: Ground, step: Step, other_machine: str) -> dict[str, Any]:
    stage = stage_of(ground.checklist, step.phase)
    return {
        **measuring.environment_of(ground, stage.phase, None),
        "components": list(stage.components),
        "artifact_sha256": "a" * 64,
        "configuration_sha256": switched_sha256(ground.spec, stage.components),
        **({"kernel": other_machine} if other_machine else {}),
    }


def _activate(ground: Ground, step: Step, other_machine: str) -> None:
    environment = _environment(ground, step, other_machine)
    attempt = ground.ledger.begin_attempt(step.phase, "activate", environment)
    data = {
        "artifact_sha256": environment["artifact_sha256"],
        "configuration_sha256": environment["configuration_sha256"],
        "components": environment["components"],
        "build_facts": {},
        "witness": "it answered",
        "witnesses": {"vector_storage": "it answered"},
        "previous_artifact_sha256": "",
    }
    recording.finish(ground, attempt, "advanced", events=[(EventKind.ACTIVATED, data)])


def _check(
    ground: Ground,
    step: Step,
    chance: random.Random,
    waived: frozenset[str],
    other_machine: str,
    worst: bool,
) -> None:
    assert step.check
    phase = ground.checklist.phase(step.phase)
    environment = _environment(ground, step, other_machine)
    attempt = ground.ledger.begin_attempt(step.phase, step.check.value, environment)
    evidence = ground.workspace.results / attempt.folder / "watermark" / "watermark.json"
    evidence.parent.mkdir(parents=True)
    evidence.write_text(json.dumps({"seed": chance.random()}))
    measured = measurements(step.check, chance, deep=worst and attempt.number == 2)
    criteria = gate_criteria(ground.checklist, phase, step.check)
    here = {**machine(), **({"kernel": other_machine} if other_machine else {})}
    references = recorded_references(
        ground.ledger, ground.checklist, criteria, step.check, attempt, here=here
    )
    done = Checked(
        run=CheckRun(measurements=tuple(measured), instruments=()),
        judgements=judge_all(criteria, measured, references),
        build=cast(Any, None),
        seconds=0.0,
    )
    events, decisions, outcome = gate_decision(step, done, waived)
    recording.finish(
        ground, attempt, outcome.value, events=events, decisions=decisions,
        measurements=measured, judgements=done.judgements,
    )  # fmt: skip


def measurements(
    check: Check, chance: random.Random, *, deep: bool = False
) -> Sequence[Measurement]:
    """Numbers for a check; one time in six they are too large."""
    much = deep or chance.random() < 1 / 6
    if check is Check.TRACE:
        value = 900 if much else chance.randrange(100)
        return [Measurement(metric="stack.recursion", value=value, instrument="deepest",
                            operation="read", thread="main")]  # fmt: skip
    if check is Check.OVERFLOW:
        crashes = int(much)
        return [Measurement(metric="overflow.crashes", value=crashes, instrument="overflow")]
    base = 3 << 20 if much else 30_000
    made = [
        Measurement(metric="stack.peak", value=base + chance.randrange(9_000),
                    instrument="watermark", operation=operation, thread="main",
                    evidence="watermark/watermark.json", samples=(base, base + 1))
        for operation in ("read", "write", "mkdir")
    ]  # fmt: skip
    made.append(Measurement(metric="stack.limit", value=8 << 20, instrument="watermark",
                            thread="main"))  # fmt: skip
    rss: int | NotMeasured = 20 << 20
    if chance.random() < 1 / 12:
        rss = NotMeasured(reason="the daemon | was <gone>")
    made.append(Measurement(metric="rss.peak", value=rss, instrument="memory"))
    for role in (Role.SUBJECT, Role.BASELINE):
        samples = tuple(chance.gauss(100_000, 1_000) for _ in range(200))
        made.append(
            Measurement(metric="latency.p50", value=sorted(samples)[100], instrument="latency",
                        role=role, operation="read", samples=samples)
        )  # fmt: skip
    return made


def events_of(workspace: Workspace) -> int:
    """How many events a workspace's ledger has."""
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        return ledger.counts().events


def provoke(
    workspace: Workspace,
    *,
    name: str = "deep_recursion",
    components: Sequence[str] = ("vector_storage",),
    expect: Expectation = Expectation.SURVIVES,
    dies: bool = True,
    folder: Path | None = None,
) -> Path:
    """Put a scenario on record that nobody ran by hand: one step survives, the other dies.

    Args:
        folder: of an earlier one, if they are of one call.

    Returns:
        The folder of its evidence.
    """
    spec = load_target(target_path(workspace, workspace.settings().target))
    shipped = load_scenarios(workspace.configs)
    scenario = replace(find_scenario(shipped, name), components=tuple(components), expect=expect)
    folder = folder or results_folder(workspace)
    build = Build(
        components=tuple(components),
        artifact=folder / "daemon",
        artifact_sha256="b" * 64,
        configuration_sha256=switched_sha256(spec, components),
        seconds=0.0,
        log=folder / "log",
        command=(),
    )
    with book(workspace, spec) as taken:
        result = _result(scenario, build.components, dies=dies)
        death = folder / name / "step-2" / "death.json"
        death.parent.mkdir(parents=True)
        death.write_text(json.dumps({"died": dies}))
        (folder / result.evidence).write_text(json.dumps(document(result)))
        taken.take(Ran(result=result, build=build, started=datetime.now(UTC)), folder)
        assert not taken.why_not
    return folder


def _result(scenario: Scenario, components: tuple[str, ...], *, dies: bool) -> ScenarioResult:
    first, second = scenario.steps(reduced=True)[:2]
    frames = [
        Frame(function=name, file="walk.c", line=7, module="d", offset=1, sp=Address(sp),
              size_bytes=size)
        for name, sp, size in (("walk", 0x1000, 2048), ("walk", 0x1800, 2048), ("main", 0x2000, 64))
    ]  # fmt: skip
    cause = Cause(
        kind=DeathKind.OVERFLOW, text="stack overflow of the main thread", signal="SIGSEGV",
        thread="main",
        chain=Chain(frames=frames, deepest=Address(0x1000), start=Address(0x2040),
                    top=Address(0x3000)),
    )  # fmt: skip
    survived = StepResult(
        step=first, ending=Ending.SURVIVED, text="survived", seconds=0.1, depth_bytes=40_960
    )
    died = StepResult(
        step=second, ending=Ending.DIED, text=cause.text, seconds=0.1, during="search", cause=cause,
        classification=Classification(
            kind=OverflowClass.RECURSION, evidence="walk × 966, 2,160 B each, 99.7 % of 2 MiB",
            function="walk", file="walk.c", line=7, size_bytes=2_086_560,
        ),
    )  # fmt: skip
    law = Law(
        kind=LawKind.LINEAR, formula="28,412 B + 2,160 B × ef", slope=2160.0, intercept=28_412.0,
        error=0.0, r2=1.0, n=3, lowest=50.0, highest=800.0,
    )  # fmt: skip
    least = Least(
        survived_bytes=106_496, died_bytes=102_400, settled=True, runs=4, touched_bytes=98_304,
        gap="8,192 bytes",
    )  # fmt: skip
    return ScenarioResult(
        scenario=scenario,
        components=components,
        reduced=True,
        all_steps=len(scenario.steps()),
        steps=(survived, died) if dies else (survived,),
        laws={first.stack_limit_bytes: law},
        least=least,
        evidence=f"{scenario.name}.json",
    )
