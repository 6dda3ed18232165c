"""Which commit broke a gate, on a small history of a real daemon."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here, small
from tests.target.fiveways import checkout, git, needs_libfuse
from tests.target.test_worktree import photograph
from tests.waiting import until

PLANTED_BYTES = 4096
TARGET = """\
title = "five ways"
source = "SOURCE"
artifact = "{build}/fiveways"
threads = "main"
[build]
commands = [["sh", "-c", 'while [ -e "$3" ]; do echo > "$2/begun"; sleep 0.05; done; \
make -C "$1" OUT="$2" CFLAGS="-g -O1 -fno-stack-protector -Wall -Werror"', \
"sh", "{source}", "{build}", "GATE"]]
[run]
command = ["{build}/fiveways", "-f", "-s", "{mountpoint}"]
[[component]]
id = "vector_storage"
arguments = ["--vector_storage"]
witness_operation = { write = "w.sum", content = "1,2", expect = "3" }
"""
"""Built with the checkout's make; waits as long as a file is there."""

DEEP = f"""\
static int do_rmdir(const char *path)
{{
	volatile char deep[{PLANTED_BYTES}];

	for (size_t i = 0; i < sizeof(deep); i += 512)
		deep[i] = 1;
"""


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    """Seven commits: the third does not build, the sixth plants a deep frame in rmdir."""
    needs_libfuse()
    user = checkout(tmp_path / "user")
    main = user / "fiveways.c"
    for number in range(2, 8):
        text = main.read_text()
        if number == 3:
            text = "#error not today\n" + text
        if number == 4:
            text = text.removeprefix("#error not today\n")
        if number == 6:
            before = "static int do_rmdir(const char *path)\n{\n"
            assert before in text
            text = text.replace(before, DEEP)
        main.write_text(text + f"/* {number} */\n")
        git(user, "commit", "--quiet", "-am", f"Change {number}")
    # What is not committed is none of the search's business, and stays.
    (user / "notes.txt").write_text("mine\n")
    commits = git(user, "rev-list", "--reverse", "HEAD").split()
    return user, commits


@pytest.fixture
def here(
    history: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Here:
    """A workspace with a target that is built from that history."""
    target = TARGET.replace("SOURCE", str(history[0])).replace("GATE", str(tmp_path / "gate"))
    return Here(small(tmp_path / "ws", target=target, limit="stack.operation <= 4 KiB"), capsys)


def options(good: str, bad: str) -> list[str]:
    return ["bisect", "--good", good, "--bad", bad, "--gate", "baseline.baseline"]


def states(here: Here) -> list[dict[str, Any]]:
    """What is on record of all searches."""
    found = (here.root / "results" / "bisect").glob("*/state.json")
    return [json.loads(path.read_text()) for path in found]


@pytest.mark.fuse
@pytest.mark.slow(6)
def test_the_planted_commit_is_found_also_after_a_kill(
    needs_fuse: None, here: Here, history: tuple[Path, list[str]], tmp_path: Path
) -> None:
    user, commits = history
    before = photograph(user)
    gate = tmp_path / "gate"
    process = here.process(*options(commits[0], "HEAD"))

    def builds() -> list[Path]:
        return list((here.root / "results" / "bisect").glob("*/build/own/*/begun"))

    def ended() -> bool:
        return process.poll() is not None

    # When one commit is on record, builds are made to wait; the next one is killed there.
    try:
        until(lambda: states(here) or ended(), "a commit is on record")
        gate.touch()
        for begun in builds():
            begun.unlink()
        until(lambda: builds() or ended(), "the second build begins")
        assert not ended()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert photograph(user) == before
    (state,) = states(here)
    known = [probe["commit"] for probe in state["probes"]]
    assert commits[-1] in known
    gate.unlink()

    found = here(*options(commits[0], "HEAD"), "--json")
    assert found.code == ExitCode.DONE, found.out + found.err
    document = found.json()
    assert photograph(user) == before
    assert document["certain"] is True
    assert document["first_bad"]["commit"] == commits[5]
    assert document["first_bad"]["title"] == "Change 6"
    assert document["last_good"]["commit"] == commits[4]
    change = document["changes"][0]
    assert (change["metric"], change["operation"]) == ("stack.operation", "rmdir")
    # One page, less what another call below do_rmdir had reached before, which is little.
    assert PLANTED_BYTES - 512 <= change["after"] - change["before"] <= PLANTED_BYTES + 64
    assert [p["commit"] for p in document["probes"]][: len(known)] == known
    # All is on record now: nothing is built or measured again, and people are told the same.
    gate.touch()
    told = here(*options(commits[0], "HEAD"))
    assert told.code == ExitCode.DONE
    assert f"{commits[5][:12]}  Change 6" in told.out
    assert "rmdir" in told.out
    assert told.out.splitlines()[-1] == f"next: git -C {user} show {commits[5][:12]}"


@pytest.mark.fuse
def test_what_does_not_build_is_named_and_leaves_suspects(
    needs_fuse: None, here: Here, history: tuple[Path, list[str]]
) -> None:
    user, commits = history
    # The breaking commit's neighbour does not build: nobody can tell which of the two it was.
    git(user, "checkout", "--quiet", "-b", "side", commits[1])
    main = user / "fiveways.c"
    deep = main.read_text().replace("static int do_rmdir(const char *path)\n{\n", DEEP)
    main.write_text("#error not today\n" + deep)
    git(user, "commit", "--quiet", "-am", "Torn")
    main.write_text(deep)
    git(user, "commit", "--quiet", "-am", "Mended")
    torn, mended = git(user, "rev-list", "--reverse", "-2", "HEAD").split()
    found = here(*options(commits[1], "side"))
    assert found.code == ExitCode.INCONCLUSIVE, found.out + found.err
    assert "broken by one of 2 commits" in found.out
    assert f"skipped {torn[:12]}: the build failed" in found.out
    assert "not today" in found.out
    assert mended[:12] in found.out
    # A bad end that cannot be told is no bad end.
    refused = here(*options(commits[1], torn), "--json")
    assert refused.code == ExitCode.INCONCLUSIVE
    assert refused.json()["what"] == f"the bad revision {torn[:12]} is skipped"


def test_ends_that_make_no_history_are_refused(
    here: Here, history: tuple[Path, list[str]], tmp_path: Path
) -> None:
    _, commits = history
    for good, bad, what in (
        (commits[3], commits[3], "is not before"),
        (commits[4], commits[3], "is not before"),
        ("nowhere", "HEAD", "has no commit `nowhere`"),
        ("--all", "HEAD", "has no commit `--all`"),
    ):
        refused = here(*options(good, bad), "--json")
        assert refused.code == ExitCode.USAGE
        assert what in refused.json()["what"]
    (tmp_path / "plain").mkdir()
    refused = here(*options("HEAD~1", "HEAD"), "--source", str(tmp_path / "plain"), "--json")
    assert "is no git checkout" in refused.json()["what"]
    assert not (here.root / "results" / "bisect").exists()


def test_a_gate_is_named_in_full_or_by_its_end(here: Here) -> None:
    ends = ("--good", "HEAD~1", "--bad", "HEAD", "--json")
    unknown = here("bisect", "--gate", "baseline.trace", *ends).json()
    assert unknown["what"] == "there is no gate `baseline.trace`"
    assert "baseline.baseline" in unknown["why"]
    several = here("bisect", "--gate", "overflow.crashes", *ends).json()
    assert several["what"] == "`overflow.crashes` means several criteria"
    assert "vector_storage.overflow.overflow.crashes" in several["why"]
