"""Overflow scenarios on real mounts: the model's recursion, a planted constructor, an abort()."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from reactivate.cli.progress import SilentReporter
from reactivate.errors import ConfigurationError, UsageError
from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.gate.advice import OverflowClass
from reactivate.gate.growth_law import LawKind
from reactivate.instrument.death import DeathKind
from reactivate.procfs import fuse_mounts
from reactivate.run.overflow.check import check_scenarios, scenarios_for
from reactivate.run.overflow.measured import measurements
from reactivate.run.overflow.result import Ending, ScenarioResult
from reactivate.run.overflow.scenario import run_scenario
from reactivate.run.overflow.session import Plan, planned, results_folder, run_plans
from reactivate.run.overflow.step import Site
from reactivate.target.build import build
from reactivate.target.config import load_target, target_path
from reactivate.target.settings import set_value
from reactivate.workload.scenario import load_scenario
from reactivate.workspace import Workspace, create

pytestmark = [pytest.mark.fuse, pytest.mark.root]

WALK = """
title = "Longer and longer candidate lists"
category = "deep_graph_traversal"
components = ["vector_storage", "search_engine"]
[[exercise]]
name = "search"
vectors = 700
batch = 700
ef = "{value}"
[sweep]
parameter = "ef"
values = [50, 200, 400, 600]
reduced = [50, 600]
[limits]
stack = ["4 MiB", "1 MiB"]
memory = "1 GiB"
seconds = 60
"""
CONSTRUCTOR = """
title = "A store is made"
category = "large_vectors"
components = ["vector_storage"]
[[exercise]]
name = "initialise"
[limits]
stack = ["2 MiB"]
"""
STARVED = """
title = "Nobody starts on so little"
category = "stress"
expect = "overflows"
components = []
[[exercise]]
name = "initialise"
[limits]
stack = ["STACK"]
"""
PLAIN = """
title = "A mount"
category = "stress"
components = []
[[exercise]]
name = "initialise"
[limits]
stack = ["1 MiB"]
seconds = 60
"""

# Mounts, answers the kernel's INIT, and gives up at the next request.
GIVES_UP = """
import ctypes, os, struct, sys
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = "fd=%d,rootmode=40000,user_id=%d,group_id=%d" % (fd, os.getuid(), os.getgid())
if libc.mount(b"gives-up", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
while True:
    length, opcode, unique = struct.unpack_from("=IIQ", os.read(fd, 1 << 20))
    if opcode != 26:
        os.abort()
    body = struct.pack("=IIIIHHII", 7, 31, 65536, 0, 8, 8, 65536, 1).ljust(64, bytes(1))
    os.write(fd, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
"""
OWN_TARGET = """
title = "gives up"
artifact = "SOURCE"
[run]
command = ["{python}", "SOURCE", "{mountpoint}"]
mount_timeout_seconds = 60
"""


@pytest.fixture
def workspace(tmp_path: Path, needs_root: None, needs_fuse: None) -> Workspace:
    return create(tmp_path / "workspace", "model")


def ran(
    workspace: Workspace,
    text: str,
    components: tuple[str, ...],
    *,
    target: str = "model",
    name: str = "own",
    reduced: bool = False,
    least: bool = False,
) -> ScenarioResult:
    """Write a scenario, build what it needs, run it."""
    path = workspace.configs / "scenarios" / f"{name}.toml"
    path.write_text(text)
    spec = load_target(target_path(workspace, target))
    folder = results_folder(workspace)

    async def main() -> ScenarioResult:
        site = Site(workspace=workspace, spec=spec, build=await build(spec, workspace, components))
        return await run_scenario(
            site, load_scenario(path), folder, SilentReporter(), reduced=reduced, least=least
        )

    found = trio.run(main)
    document = json.loads((folder / found.evidence).read_text())
    assert [step["ending"] for step in document["steps"]] == [s.ending for s in found.steps]
    assert not [m for m in fuse_mounts() if m.mountpoint.is_relative_to(workspace.root)]
    assert not list(workspace.run.iterdir())
    return found


def by_metric(result: ScenarioResult) -> dict[str, Measurement]:
    return {m.metric: m for m in measurements([result], "scenarios/")}


def test_the_recursive_walk_dies_and_is_called_a_recursion(workspace: Workspace) -> None:
    result = ran(workspace, WALK, ("vector_storage", "search_engine"))
    # A step of the walk takes 2,160 bytes: 400 of them fit into 1 MiB, 600 do not.
    assert [step.ending for step in result.steps] == [Ending.SURVIVED] * 7 + [Ending.DIED]
    dead = result.steps[-1]
    assert dead.cause is not None and dead.cause.kind is DeathKind.OVERFLOW
    assert dead.cause.chain is not None
    assert dead.cause.chain.attributed_ratio >= 0.99
    count, function = dead.cause.chain.recursion
    assert function == "walk" and count * 2160 == pytest.approx(1 << 20, rel=0.03)
    assert dead.classification is not None
    assert dead.classification.kind is OverflowClass.RECURSION
    assert dead.classification.function == "walk"
    assert dead.classification.file.endswith("hnsw_walk.c")
    assert dead.advice
    law = result.laws[4 << 20]
    assert law.kind is LawKind.LINEAR and law.slope == pytest.approx(2160, rel=0.05)
    assert law.reaches(4 << 20) == pytest.approx((4 << 20) / 2160, rel=0.1)
    found = by_metric(result)
    assert found["overflow.crashes"].value == 1
    assert found["overflow.hangs"].value == 0
    assert found["stack.margin"].value == 0.0
    assert found["stack.growth"].value == pytest.approx(600 * 2160, rel=0.05)
    assert "overflow.lost" not in found  # nothing is restarted, so nothing can be lost


def test_the_iterative_walk_survives_and_its_smallest_stack_is_known(
    workspace: Workspace,
) -> None:
    set_value(workspace, "search_engine.implementation", "iterative")
    result = ran(workspace, WALK, ("vector_storage", "search_engine"), reduced=True, least=True)
    assert result.passed and len(result.steps) == 4 and result.all_steps == 8
    assert result.set_text == "reduced set: 4 of 8 steps"
    found = by_metric(result)
    assert found["overflow.crashes"].value == 0
    margin = found["stack.margin"].value
    assert isinstance(margin, float) and 0.75 < margin < 1
    assert found["stack.margin"].bound is Bound.LOWER
    assert isinstance(found["stack.growth"].value, NotMeasured)  # two values make no law
    least = result.least
    assert least is not None and least.survived_bytes is not None
    assert least.died_bytes == least.survived_bytes - 4096
    assert least.runs <= 12
    assert isinstance(least.touched_bytes, int)
    assert abs(least.survived_bytes - least.touched_bytes) <= 12 << 10


def test_a_constructor_with_large_arrays_dies_of_a_large_frame(workspace: Workspace) -> None:
    assert ran(workspace, CONSTRUCTOR, ("vector_storage",)).passed
    set_value(workspace, "vector_storage.initialisation", "stack")
    (dead,) = ran(workspace, CONSTRUCTOR, ("vector_storage",)).steps
    assert dead.overflown and dead.during == "mount"
    assert dead.classification is not None
    assert dead.classification.kind is OverflowClass.LARGE_FRAME
    assert dead.classification.function == "prepare_rows"
    assert dead.classification.size_bytes >= 2 << 20
    assert any("heap" in one.text for one in dead.advice)


def test_a_daemon_that_gives_up_is_no_overflow(workspace: Workspace) -> None:
    source = workspace.root / "gives_up.py"
    source.write_text(GIVES_UP)
    text = OWN_TARGET.replace("SOURCE", str(source))
    (workspace.configs / "targets" / "quitter.toml").write_text(text)
    result = ran(workspace, PLAIN, (), target="quitter")
    (dead,) = result.steps
    assert dead.ending is Ending.DIED and not dead.overflown
    assert dead.cause is not None and dead.cause.kind is DeathKind.ABORT
    assert dead.classification is None and dead.advice == ()
    assert by_metric(result)["overflow.crashes"].value == 1
    # Nothing is known of a stack that was not the reason.
    assert isinstance(by_metric(result)["stack.margin"].value, NotMeasured)


def test_a_red_test_that_stays_green_is_a_failure(workspace: Workspace) -> None:
    red = ran(workspace, STARVED.replace("STACK", "64 KiB"), ())
    assert red.passed and by_metric(red)["overflow.reproduced"].value == 1
    green = ran(workspace, STARVED.replace("STACK", "8 MiB"), ())
    assert not green.passed and by_metric(green)["overflow.reproduced"].value == 0
    assert "overflow.crashes" not in by_metric(green)


def test_what_was_acknowledged_is_looked_for_after_a_kill(
    workspace: Workspace, project_root: Path
) -> None:
    for name in ("kill_and_recover", "backing_full", "backing_io_error"):
        text = (project_root / "configs" / "scenarios" / f"{name}.toml").read_text()
        result = ran(workspace, text, ("transaction_manager",), name=name, reduced=True)
        assert [step.ending for step in result.steps] == [Ending.SURVIVED], name
        assert [step.lost for step in result.steps] == [0], name
        assert by_metric(result)["overflow.lost"].value == 0
        assert bool(result.steps[0].refused) == (name != "kill_and_recover")


def test_an_operation_that_fails_is_neither_green_nor_a_death(workspace: Workspace) -> None:
    # A file may not become larger than a page, and the exercise does not allow that to fail.
    text = PLAIN.replace('"initialise"', '"durable_writes"').replace(
        "components = []", 'components = ["transaction_manager"]'
    ) + 'file_size = "4 KiB"\n'  # fmt: skip
    result = ran(workspace, text, ("transaction_manager",))
    (step,) = result.steps
    assert step.ending in {Ending.REFUSED, Ending.DIED} and not step.overflown
    assert not result.passed
    crashes = by_metric(result)["overflow.crashes"].value
    assert isinstance(crashes, NotMeasured) or crashes == 1


def test_a_scenario_that_cannot_be_run_in_a_phase_is_refused_before_it(
    workspace: Workspace,
) -> None:
    with pytest.raises(ConfigurationError, match="needs search_engine"):
        scenarios_for(workspace, ["deep_recursion"], ["vector_storage"])
    with pytest.raises(ConfigurationError, match=r"deep_recursio.*did you mean"):
        scenarios_for(workspace, ["deep_recursio"], ["vector_storage"])
    assert scenarios_for(workspace, [], []) == ()


def test_a_check_gets_measurements_and_the_chain_of_the_first_death(workspace: Workspace) -> None:
    set_value(workspace, "vector_storage.initialisation", "stack")
    path = workspace.configs / "scenarios" / "own.toml"
    path.write_text(CONSTRUCTOR)
    spec = load_target(target_path(workspace, "model"))
    folder = workspace.results / "attempt"

    async def main() -> None:
        made = await build(spec, workspace, ("vector_storage",))
        found = await check_scenarios(
            workspace, spec, made, [load_scenario(path)], folder, SilentReporter(), reduced=True
        )
        assert {m.operation for m in found.measurements} == {"own"}
        assert found.run.summary == "own (1 step)"
        assert found.explanation is not None
        assert found.explanation.rows[0].location == "prepare_rows"
        assert (folder / found.explanation.evidence).is_file()
        assert all((folder / m.evidence).is_file() for m in found.measurements)

    trio.run(main)


def test_needs_come_with_what_needs_them(workspace: Workspace) -> None:
    spec = load_target(target_path(workspace, "model"))
    (plan,) = planned(spec, [load_scenario(_written(workspace, PLAIN))], ["search_engine"])
    assert plan.components == ("vector_storage", "search_engine")
    with pytest.raises(UsageError, match="no component `searching`"):
        planned(spec, [plan.scenario], ["searching"])


def test_data_outside_of_a_scenarios_own_folder_is_not_touched(workspace: Workspace) -> None:
    precious = workspace.root / "precious.txt"
    precious.write_text("mine")
    before = sorted(path for path in workspace.configs.rglob("*"))
    spec = load_target(target_path(workspace, "model"))
    scenario = replace(load_scenario(_written(workspace, PLAIN)), configuration={
        "vector_storage.dimensions": 64})  # fmt: skip
    plan = Plan(scenario=scenario, components=("vector_storage",))
    configuration = (workspace.configs / "model.toml").read_bytes()

    async def main() -> tuple[ScenarioResult, ...]:
        return await run_plans(
            workspace, spec, [plan], results_folder(workspace), SilentReporter(), reduced=False
        )

    (result,) = trio.run(main)
    assert result.passed
    assert precious.read_text() == "mine"
    assert (workspace.configs / "model.toml").read_bytes() == configuration
    assert sorted(path for path in workspace.configs.rglob("*")) != before  # own.toml was written
    assert not list(workspace.run.iterdir())


def _written(workspace: Workspace, text: str) -> Path:
    path = workspace.configs / "scenarios" / "own.toml"
    path.write_text(text)
    return path
