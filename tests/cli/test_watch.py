"""`reactivate watch` on real processes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from guest_verbs import command, environment, reactivate
from guests import running_bindfs
from known_depth import running

from reactivate.workspace import create
from tests.waiting import PATIENCE_SECONDS


def test_one_look_is_one_json_object(tmp_path: Path) -> None:
    with running("depth", "pthread") as program:
        program.ask("2000000")
        done = reactivate("watch", str(program.pid), "--once", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    document = done.json
    assert document["schema"] == "reactivate.watch/1"
    assert document["pid"] == program.pid
    worker = next(t for t in document["threads"] if t["thread"] == "worker")
    assert worker["used_bytes"] >= 2_000_000
    assert worker["level"] == "calm"
    assert document["alerts"] == []


@pytest.mark.fuse
def test_a_mount_is_as_good_as_a_number(tmp_path: Path, needs_fuse: None) -> None:
    with running_bindfs(tmp_path, "--multithreaded") as pid:
        done = reactivate("watch", "mnt", "--once", folder=tmp_path)
        assert done.code == 0, done.err
        lines = done.out.splitlines()
        assert " main " in lines[0] and str(pid) in lines[0]
        assert len(lines) > 1
        assert all("of 8.00 MiB" in line for line in lines)


def test_each_alert_comes_once_when_its_level_is_reached(tmp_path: Path) -> None:
    with (
        running("depth", "main") as program,
        subprocess.Popen(
            command("watch", str(program.pid), "--interval", "0.05", "--json"),
            stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(),
        ) as tool,
    ):  # fmt: skip
        assert tool.stdout is not None
        first = json.loads(tool.stdout.readline())
        limit = first["threads"][0]["limit_bytes"]
        seen = []
        for share, level in ((0.8, "warning"), (0.95, "critical")):
            program.ask(str(int(share * limit)))
            while not (alerts := json.loads(tool.stdout.readline())["alerts"]):
                pass
            seen += [alert["level"] for alert in alerts]
            assert alerts[0]["text"].startswith(f"{level}: thread {program.pid} (main) has used ")
        for _ in range(3):
            assert json.loads(tool.stdout.readline())["alerts"] == []
        program.process.kill()
        program.process.wait()
        tool.communicate(timeout=PATIENCE_SECONDS)  # it ends by itself, with the process
    assert seen == ["warning", "critical"]
    assert tool.returncode == 0


def test_in_a_pipe_there_are_lines_and_on_a_terminal_bars(tmp_path: Path) -> None:
    with running("depth", "main") as program:
        options = ("watch", str(program.pid), "--interval", "0.05")
        with subprocess.Popen(
            command(*options), stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
        ) as tool:
            assert tool.stdout is not None
            lines = [tool.stdout.readline() for _ in range(3)]
            tool.kill()
        assert all(line.endswith("\n") and "\x1b" not in line for line in lines), lines
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            command(*options), stdout=theirs, cwd=tmp_path,
            env=environment() | {"TERM": "xterm", "COLUMNS": "120"},
        ) as tool:  # fmt: skip
            os.close(theirs)
            shown = b""
            looks = f"process {program.pid}".encode()
            while piece := _read(ours):
                shown += piece
                if shown.count(looks) >= 3:
                    program.process.kill()  # it ends by itself, with the process
        os.close(ours)
        assert tool.returncode == 0
    assert shown.count(looks) >= 3
    assert b"\x1b[2F\x1b[J" in shown  # back over the two lines of the last look


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side of the terminal is closed
        return b""


def test_what_cannot_be_watched_says_so(tmp_path: Path) -> None:
    for what, code, word in (
        ("4194301", 2, "no process 4194301"),
        ("absent", 2, "is not a FUSE mount"),
        (str(os.getpid()), 2, "--interval must be more than 0"),
    ):
        options = ["--interval", "0"] if what == str(os.getpid()) else []
        done = reactivate("watch", what, "--once", *options, folder=tmp_path)
        assert (done.code, word in done.err) == (code, True), done.err


def test_help_has_an_example(tmp_path: Path) -> None:
    assert "Example: reactivate watch" in reactivate("watch", "--help", folder=tmp_path).out


def test_the_workspace_says_what_an_alert_is(tmp_path: Path) -> None:
    settings = create(tmp_path / "campaign", "model").configs / "ebpf.toml"
    with running("depth", "main") as program:
        program.ask("2000000")  # a quarter of the usual 8 MiB
        options = ("watch", str(program.pid), "--once", "--json")
        seen = []
        for percent in (75, 10):
            settings.write_text(f"[alerts]\nwarning_percent = {percent}\n")
            done = reactivate(*options, folder=tmp_path / "campaign")
            assert done.code == 0, done.err
            seen.append([t["level"] for t in done.json["threads"] if t["thread"] == "main"])
        settings.write_text("[alerts]\nwarning_percent = 95\n")
        refused = reactivate(*options, folder=tmp_path / "campaign")
    assert seen == [["calm"], ["warning"]]
    assert refused.code == 2
    assert "ebpf.toml" in refused.json["what"]
