"""Witnesses against the real embedded filesystem: on, and off."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from reactivate.errors import ComponentNotEnabledError
from reactivate.target.build import build
from reactivate.target.config import load_target
from reactivate.target.mount import TargetLauncher
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES
from reactivate.workload.witness import WITNESSES
from reactivate.workspace import Workspace, create

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

COMPONENTS = tuple(WITNESSES)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    pytest.importorskip("pyfuse3", reason="the extra `model` is not installed")
    return create(tmp_path_factory.mktemp("witness") / "workspace", "model")


def perform(mountpoint: Path, chosen: tuple[Operation, ...]) -> int:
    done = 0
    for operation in chosen:
        folder = mountpoint / f"on-{operation.name}"
        folder.mkdir()
        if operation.setup is not None:
            operation.setup(folder)
        for repetition in range(2):
            operation.prepare(folder, repetition)
            operation.run(folder, repetition)
            operation.tidy(folder, repetition)
            done += 1
    return done


async def answers(workspace: Workspace, components: tuple[str, ...]) -> dict[str, str]:
    """What each witness says on this build, "" where it proves that the component is off."""
    spec = load_target(workspace.configs / "targets" / "model.toml")
    built = await build(spec, workspace, components)
    said = {}
    async with TargetLauncher(spec, built, workspace).mounted() as daemon:
        for name, witness in WITNESSES.items():
            try:
                said[name] = await drive(
                    daemon, witness, daemon.mountpoint, deadline_seconds=60, doing=name
                )
            except ComponentNotEnabledError as error:
                assert name in error.what
                assert "expected" in error.why
                said[name] = ""
        left = [path.name for path in daemon.mountpoint.glob("witness*")]
        assert set(left) <= {"witness.vec", "witness.file"}
        if len(components) == len(COMPONENTS):
            every = tuple(operation for suite in SUITES.values() for operation in suite)
            done = await drive(
                daemon, perform, daemon.mountpoint, every, deadline_seconds=60, doing="all suites"
            )
            assert done == 2 * len(every)
    return said


def test_all_answer_when_all_is_on_and_every_suite_works(workspace: Workspace) -> None:
    said = trio.run(answers, workspace, COMPONENTS)
    assert all(said.values()), said
    assert said["search_engine"] == "_vexfs/search answered with 5 neighbours"


def test_none_answers_when_all_is_off(workspace: Workspace) -> None:
    assert not any(trio.run(answers, workspace, ()).values())


@pytest.mark.parametrize("off", COMPONENTS)
def test_only_the_one_that_is_off_is_silent(workspace: Workspace, off: str) -> None:
    on = tuple(
        component
        for component in COMPONENTS
        if component != off and (off, component) != ("vector_storage", "search_engine")
    )
    said = trio.run(answers, workspace, on)
    assert {name for name, sentence in said.items() if sentence} == set(on)
