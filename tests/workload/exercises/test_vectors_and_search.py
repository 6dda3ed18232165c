"""On the real model: what the exercises say they did, and what a broken answer does to them."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import tomlkit
from mounting import CONFIG, Mounted, mounted

from reactivate.workload.exercises.contract import Outcome, Progress
from reactivate.workload.exercises.made_vectors import Shape, batches, bulk, vector
from reactivate.workload.exercises.registry import EXERCISES
from reactivate.workload.scenario import Scenario, Step, load_scenario

SCENARIOS = CONFIG.parent / "scenarios"
BOTH = ("vector_storage", "search_engine")
MIB = 1 << 20


def configured(folder: Path, **settings: str | int) -> Path:
    """The shipped configuration with other values; `search_engine__m = 8` for `search_engine.m`."""
    document = tomlkit.parse(CONFIG.read_text(encoding="utf-8"))
    for name, value in settings.items():
        section, _, key = name.partition("__")
        assert key in document[section]
        document[section][key] = value
    path = folder / "configured.toml"
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return path


def run(mount: Mounted, exercise: str, **values: object) -> Outcome:
    known = EXERCISES[exercise]
    filled = {name: parameter.default for name, parameter in known.parameters.items()}
    return known.run(mount.path, {**filled, **values}, Progress())


def last_step(scenario: Scenario, limit_bytes: int) -> Step:
    return next(
        step
        for step in reversed(scenario.steps(reduced=True, inherited_stack_bytes=8 * MIB))
        if step.stack_limit_bytes == limit_bytes
    )


def do(step: Step, mount: Mounted) -> None:
    """The exercises of a step under its stack limit, as far as one can be set after the mount."""
    _, hard = resource.prlimit(mount.process.pid, resource.RLIMIT_STACK)
    limits = (step.stack_limit_bytes, hard)
    resource.prlimit(mount.process.pid, resource.RLIMIT_STACK, limits)
    resource.prlimit(mount.process.pid, resource.RLIMIT_CORE, (0, 0))
    for call in step.calls:
        call.exercise.run(mount.path, call.values, Progress())


def test_made_vectors_are_the_same_every_time_and_have_their_shape() -> None:
    for shape in Shape:
        assert vector(5, 16, shape) == vector(5, 16, shape)
        assert len(vector(5, 16, shape).split(",")) == 16
        assert len(vector(5, 1, shape).split(",")) == 1
    assert vector(5, 16) != vector(6, 16)
    assert vector(5, 16, Shape.IDENTICAL) == vector(6, 16, Shape.IDENTICAL)
    line = [float(vector(n, 4, Shape.LINE).split(",")[0]) for n in range(2000)]
    assert line == sorted(set(line))
    one, other = (vector(n, 128, Shape.CLUSTERED).split(",") for n in (3, 11))
    assert one[4:] == other[4:]
    assert one != other
    assert bulk(3, 2, 4).decode().splitlines() == [vector(3, 4), vector(4, 4)]
    assert list(batches(250, 100)) == [(0, 0, 100), (1, 100, 100), (2, 200, 50)]


@pytest.mark.fuse
def test_vectors_and_searches_on_one_mount(tmp_path: Path, needs_fuse: None) -> None:
    with mounted(tmp_path, *BOTH, config=configured(tmp_path, vector_storage__dimensions=32)) as m:
        small = {"vectors": 60, "dimensions": 32, "batch": 25}
        assert run(m, "vectors_store", **small).operations == 60
        assert m.stats()["vectors"] == "60"
        assert run(m, "vectors_update", **small, rounds=2).operations == 180
        assert m.stats()["vectors"] == "120"
        assert run(m, "vectors_delete", **small).operations == 120
        assert m.stats()["vectors"] == "120"
        assert run(m, "vectors_concurrent", **small, writers=3).operations == 180
        assert m.stats()["vectors"] == "300"
        for shape in Shape:
            done = run(m, "search", **small, queries=3, ef=100, k=200, shape=shape.value)
            assert done.operations == 63
        assert m.stats()["searches"] == "12"
        # Fewer dimensions than configured: the target's answer, not a shorter run.
        with pytest.raises(OSError, match="Invalid argument"):
            run(m, "vectors_store", **{**small, "dimensions": 31})


@pytest.mark.fuse
def test_vectors_that_are_not_counted_are_told(tmp_path: Path, needs_fuse: None) -> None:
    # Without the component a `.vec` file is a plain file: written, and no vector stored.
    with mounted(tmp_path) as mount, pytest.raises(OSError, match="counts no vectors"):
        run(mount, "vectors_store", vectors=20)


@pytest.mark.fuse
def test_a_count_that_does_not_fit_is_told(tmp_path: Path, needs_fuse: None) -> None:
    with mounted(tmp_path, "vector_storage") as mount:
        run(mount, "vectors_store", vectors=20, batch=10)
        # The same files once more: they are replaced, and no vectors are added.
        with pytest.raises(OSError, match="counts 20 vectors, and 40 were stored"):
            run(mount, "vectors_store", vectors=20, batch=10)


@pytest.mark.fuse
@pytest.mark.parametrize("walk", ["recursive", "iterative"])
def test_deep_recursion_kills_the_recursive_walk_only(
    walk: str, tmp_path: Path, needs_fuse: None
) -> None:
    step = last_step(load_scenario(SCENARIOS / "deep_recursion.toml"), 2 * MIB)
    config = configured(tmp_path, search_engine__implementation=walk)
    with mounted(tmp_path, *BOTH, config=config) as mount:
        if walk == "iterative":
            do(step, mount)
            assert mount.process.poll() is None
        else:
            with pytest.raises(OSError, match=r"connection abort|not connected"):
                do(step, mount)
            assert mount.process.wait(20) == -signal.SIGSEGV


@pytest.mark.fuse
def test_large_allocations_survives_as_configured(tmp_path: Path, needs_fuse: None) -> None:
    step = last_step(load_scenario(SCENARIOS / "large_allocations.toml"), 2 * MIB)
    assert step.configuration == {"vector_storage.dimensions": 4096}
    with mounted(
        tmp_path, "vector_storage", config=configured(tmp_path, vector_storage__dimensions=4096)
    ) as mount:
        do(step, mount)
        assert mount.process.poll() is None
