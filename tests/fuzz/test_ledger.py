"""Damaged bytes of a real ledger: read, verified, merged; told apart from tampering or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_campaigns import go_on, workspace_for

from reactivate.errors import ExitCode
from reactivate.workspace import Workspace
from tests.cli.workspaces import in_process
from tests.fuzz.damage import SEEDS, damaged_bytes, examples, nothing_written_beside

Made = tuple[Workspace, Workspace, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two workspaces with a short campaign each, and the bytes of the first one's ledger."""
    both = [workspace_for(tmp_path_factory.mktemp(name) / "w") for name in ("first", "second")]
    for seed, workspace in enumerate(both, 1):
        go_on(workspace, seed, steps=6)
    return both[0], both[1], both[0].ledger.read_bytes()


BYTES: st.SearchStrategy[Callable[[bytes], bytes]] = st.one_of(
    st.builds(lambda seed: lambda raw: damaged_bytes(raw, seed), SEEDS),
    st.builds(lambda seed: lambda raw: damaged_bytes(raw, seed), SEEDS),
    st.builds(lambda junk: lambda _: junk, st.binary(max_size=200)),
    st.builds(lambda junk: lambda _: b"SQLite format 3\0" + junk, st.binary(max_size=4096)),
)


@examples(0.2)
@given(damage=BYTES)
def test_reading(
    damage: Callable[[bytes], bytes], made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _, raw = made
    content = damage(raw)
    workspace.ledger.write_bytes(content)
    verbs = (["status"], ["ledger", "verify"], ["ledger", "replay"], ["log"], ["export"])
    with nothing_written_beside(workspace.root):
        for verb in verbs:
            told = in_process(["-C", str(workspace.root), *verb], capsys)
            assert told.code != ExitCode.BUG and "Traceback" not in told.err, (verb, told)
            assert told.code == ExitCode.DONE or told.err or told.out, (verb, told)
    # Reading, even of a ruin, changes nothing.
    assert workspace.ledger.read_bytes() == content


@examples(0.2)
@given(damage=BYTES)
def test_merging(
    damage: Callable[[bytes], bytes],
    made: Made,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, own, raw = made
    here, theirs = tmp_path / "around/here", tmp_path / "theirs.db"
    shutil.rmtree(here.parent, ignore_errors=True)
    shutil.copytree(own.root, here)
    theirs.write_bytes(damage(raw))
    before = (here / "ledger.db").read_bytes()
    with nothing_written_beside(here):
        told = in_process(["-C", str(here), "ledger", "merge", str(theirs)], capsys)
    assert told.code != ExitCode.BUG and "Traceback" not in told.err, told
    if told.code != ExitCode.DONE:
        assert (here / "ledger.db").read_bytes() == before, told
