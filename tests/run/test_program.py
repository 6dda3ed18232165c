"""Programs of known depth, measured over their whole lives from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guest_verbs import command, environment, reactivate
from known_depth import program_path
from trace_programs import programs

from reactivate.procfs import PAGE_BYTES

CUSHION_BYTES = 4096


def lives(
    *arguments: str | Path, folder: Path, given: str = "", code: int = 0, deadline: str = "60"
) -> tuple[dict[str, Any], str]:
    """The document, and what the program said."""
    done = reactivate(
        "measure", "--exec", "--json", "--deadline", deadline, "--", *map(str, arguments),
        folder=folder, given=given,
    )  # fmt: skip
    assert done.code == code, done.err + done.out
    return done.json, done.err


def thread(document: dict[str, Any], kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [t for t in document["threads"] if t["thread"] == kind]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("kind", ["main", "pthread"])
@pytest.mark.parametrize("size", [64, 5_000, 70_000, 1_000_000, 7_000_000])
def test_the_deepest_byte_is_found_to_the_byte(tmp_path: Path, kind: str, size: int) -> None:
    document, said = lives(program_path("depth"), kind, folder=tmp_path, given=f"{size}\n")
    base, lowest = (int(word, 16) for word in said.split()[:2])
    assert base - lowest == (size + 15) // 16 * 16
    found = thread(document, "main" if kind == "main" else "worker")
    top = int(found["top"], 16)
    if size > CUSHION_BYTES:
        assert top - found["depth_bytes"] == lowest
    else:  # what the program does before it goes to its depth may lie deeper
        assert top - found["depth_bytes"] <= lowest
    assert 0 <= found["at_most_bytes"] - found["depth_bytes"] < PAGE_BYTES
    assert found["exact"] == (found["at_most_bytes"] == found["depth_bytes"])
    assert document["status"] == 0


@pytest.mark.parametrize("kind", ["main", "pthread"])
def test_near_the_top_zeros_are_seen_too(tmp_path: Path, kind: str) -> None:
    document, said = lives(program_path("depth"), kind, folder=tmp_path, given="40000 z\n")
    lowest = int(said.split()[1], 16)
    found = thread(document, "main" if kind == "main" else "worker")
    assert found["exact"]
    assert int(found["top"], 16) - found["depth_bytes"] == lowest


def test_threads_on_reused_stacks_are_told_apart(tmp_path: Path) -> None:
    """glibc drops a dead thread's stack before its end, and hands it out again."""
    with subprocess.Popen(
        command("measure", "--exec", "--json", "--", str(program_path("shortlived"))),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env=environment(),
    ) as tool:  # fmt: skip
        assert tool.stdin is not None and tool.stderr is not None and tool.stdout is not None
        lowest = {}
        for size in (200_000, 20_000, 100_000):
            tool.stdin.write(f"{size}\n")
            tool.stdin.flush()
            tid, address = tool.stderr.readline().split()
            lowest[int(tid)] = int(address, 16)
        tool.stdin.close()
        document = json.loads(tool.stdout.read())
    workers = {t["tid"]: t for t in document["threads"] if t["thread"] == "worker"}
    assert workers.keys() == lowest.keys()
    assert [w["reused_stack"] for _, w in sorted(workers.items())] == [False, True, True]
    for tid, worker in workers.items():
        assert int(worker["top"], 16) - worker["depth_bytes"] == lowest[tid]
        assert worker["at_most_bytes"] - worker["depth_bytes"] < PAGE_BYTES


@pytest.mark.parametrize(("mode", "kind"), [("overflow", "main"), ("thread", "worker")])
def test_an_overflow_fills_its_stack_and_is_named(tmp_path: Path, mode: str, kind: str) -> None:
    document, _ = lives(programs() / "deaths", mode, folder=tmp_path)
    found = thread(document, kind)
    assert document["status"] == -11
    assert document["overflow"] == kind
    assert "stack overflow" in document["ended"]
    assert found["limit_bytes"] - found["depth_bytes"] < 2 * PAGE_BYTES


@pytest.mark.parametrize(("mode", "status"), [("exit", 3), ("abort", -6), ("sent", -11)])
def test_other_ends_are_no_overflow(tmp_path: Path, mode: str, status: int) -> None:
    document, _ = lives(programs() / "deaths", mode, folder=tmp_path)
    assert document["status"] == status
    assert document["overflow"] is None
    assert thread(document, "main")["depth_bytes"] > 0


def test_the_last_image_is_measured_and_children_are_counted(tmp_path: Path) -> None:
    document, said = lives(
        "sh", "-c", f"ls / | wc -l; exec {program_path('depth')} main",
        folder=tmp_path, given="100000\n",
    )  # fmt: skip
    assert document["execs"] == 1
    assert document["children"] == 2
    found = thread(document, "main")
    assert int(found["top"], 16) - found["depth_bytes"] == int(said.split()[-1], 16)


def test_time_over_is_an_end_of_which_the_stack_is_known(tmp_path: Path) -> None:
    document, _ = lives("sleep", "1000", folder=tmp_path, deadline="0.5")
    assert document["timed_out"] is True
    assert document["status"] == -9
    assert thread(document, "main")["depth_bytes"] > 0


def test_the_table_says_which_stacks_were_reused_and_the_exit_status(tmp_path: Path) -> None:
    done = reactivate(
        "measure", "--exec", "--", str(programs() / "deaths"), "exit", folder=tmp_path
    )
    assert done.code == 0
    assert "exit status 3" in done.out
    assert done.out.splitlines()[0].startswith("deaths · pid ")
    assert "deaths: asked to fail" in done.err


def test_a_go_program_gets_no_number(tmp_path: Path) -> None:
    """The negative control; a C program with Go's section where there is no Go."""
    if shutil.which("objcopy") is None:
        pytest.skip("objcopy is not installed (Debian package binutils)")
    (tmp_path / "section").write_bytes(b"x")
    subprocess.run(
        [
            "objcopy", "--add-section", f".note.go.buildid={tmp_path / 'section'}",
            program_path("depth"), tmp_path / "go",
        ],
        check=True,
    )  # fmt: skip
    for command_line in ([str(tmp_path / "go"), "main"], ["sh", "-c", "exec ./go main"]):
        done = reactivate("measure", "--exec", "--", *command_line, folder=tmp_path)
        assert done.code == 5
        assert "is a Go program: painting its stacks means nothing" in done.err
        assert done.out == ""


def test_what_cannot_be_run_says_so(tmp_path: Path) -> None:
    done = reactivate("measure", "--exec", "--", "no-such-program", folder=tmp_path)
    assert done.code == 2
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    done = reactivate("measure", "--exec", "--", str(broken), folder=tmp_path)
    assert done.code == 6
    assert "No such file" in done.err
