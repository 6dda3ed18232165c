"""`reactivate trace` on real daemons: chains, growth, requests, and what is missing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from guest_verbs import reactivate
from guests import bindfs, left_by, running_bindfs

from reactivate.cli.trace_view import histogram


@pytest.mark.fuse
@pytest.mark.root
def test_a_whole_trace_of_one_operation(tmp_path: Path, needs_fuse: None, needs_root: None) -> None:
    done = reactivate(
        "trace", "--operation", "create", "--out", "kept.json", "--", *bindfs(tmp_path, "-f"),
        folder=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err + done.out
    document = json.loads((tmp_path / "kept.json").read_text())
    assert document["schema"] == "reactivate.trace/1"
    chain = document["chains"][0]
    assert chain["operation"] == "create"
    assert chain["attributed_bytes"] >= 0.99 * chain["total_bytes"] > 0
    assert sum(row["size_bytes"] for row in chain["folded"]) == chain["attributed_bytes"]
    assert f"deepest point of `create`, thread main, {chain['caught_at_depth']:,} bytes" in done.out
    for row in chain["folded"]:
        assert f"{row['depth_bytes']:,}" in done.out
        assert row["location"] in done.out
    opcodes = {row["opcode"]: row for row in document["lifecycle"]["opcodes"]}
    assert opcodes["CREATE"]["sent"] == opcodes["CREATE"]["answered"] == 3
    assert opcodes["CREATE"]["waiting"] == 0
    assert "0 unanswered" in done.out
    assert document["growth"]["stacks"][0]["thread"] == "main"
    assert "growth, by " in done.out
    assert left_by(tmp_path) == []


@pytest.mark.fuse
def test_of_many_operations_the_deepest_are_shown(tmp_path: Path, needs_fuse: None) -> None:
    done = reactivate(
        "trace", "--json", "--top", "2", "--without", "growth", "--without", "lifecycle", "--",
        *bindfs(tmp_path, "-f", "--multithreaded"), folder=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    chains = done.json["chains"]
    assert len(chains) == 2
    depths = [chain["deepest_byte_depth"] for chain in chains]
    assert depths == sorted(depths, reverse=True)
    assert {chain["thread"] for chain in chains} == {"worker"}
    assert done.json["growth"] is None
    assert left_by(tmp_path) == []


@pytest.mark.fuse
def test_an_attached_daemon_lives_on_unharmed(tmp_path: Path, needs_fuse: None) -> None:
    with running_bindfs(tmp_path) as pid:
        done = reactivate(
            "trace", "--pid", str(pid), "--operation", "mkdir", "--without", "growth",
            "--without", "lifecycle", folder=tmp_path,
        )  # fmt: skip
        assert done.code == 0, done.err
        (tmp_path / "mnt" / "still").write_text("works")
        assert (tmp_path / "src" / "still").read_text() == "works"


@pytest.mark.fuse
def test_missing_tools_are_named_and_the_rest_is_traced(tmp_path: Path, needs_fuse: None) -> None:
    """A PATH on which there is neither bpftrace nor perf."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bindfs", "fusermount3", "umount"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    done = reactivate(
        "trace", "--operation", "mkdir", "--", *bindfs(tmp_path, "-f"),
        folder=tmp_path, variables={"PATH": str(tools)},
    )  # fmt: skip
    assert done.code == 6, done.err
    assert "growth: not measured: bpftrace is not installed" in done.out
    assert "deepest point of `mkdir`" in done.out
    assert done.out.splitlines()[-1].startswith("next: sudo apt-get install ")
    assert left_by(tmp_path) == []


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.slow(6)
def test_in_a_workspace_it_is_the_campaigns_build(
    tmp_path: Path, needs_fuse: None, needs_root: None
) -> None:
    pytest.importorskip("pyfuse3")
    from reactivate.workspace import create

    create(tmp_path / "ws", "model")
    done = reactivate(
        "trace", "--json", "--operation", "create", "--without", "growth",
        folder=tmp_path / "ws",
    )  # fmt: skip
    assert done.code == 0, done.err + done.out
    assert done.json["subject"].startswith("model, ")
    chain = done.json["chains"][0]
    assert chain["attributed_bytes"] >= 0.99 * chain["total_bytes"] > 0


def test_bad_command_lines_say_what_to_type(tmp_path: Path) -> None:
    true = shutil.which("true") or "true"
    for arguments, word in (
        ((), "trace what?"),
        (("--operation", "craete", "--", true), "did you mean `create`"),
        (("--without", "grwth", "--", true), "did you mean `growth`"),
        (("--out", "no/such/folder/x", "--", true), "cannot be written"),
        (
            ("--without", "growth", "--without", "deepest", "--without", "lifecycle", "--", true),
            "nothing is left to trace",
        ),
        (("--top", "0", "--", true), "--top must be more than 0"),
    ):
        done = reactivate("trace", *arguments, folder=tmp_path)
        assert done.code == 2, (arguments, done)
        assert word in done.err, (arguments, done.err)


def test_help_has_an_example(tmp_path: Path) -> None:
    assert (
        "Example: reactivate trace --operation"
        in reactivate("trace", "--help", folder=tmp_path).out
    )


def test_a_histogram_has_a_block_for_each_power_of_two() -> None:
    assert histogram([]) == ""
    assert histogram([[8, 15, 1]]) == "8 ns █ 16 ns"
    assert histogram([[8, 15, 80], [16, 31, 1], [64, 127, 40]]) == "8 ns █▁ ▄ 128 ns"
    assert os.linesep not in histogram([[0, 1, 3], [2, 3, 1]])
