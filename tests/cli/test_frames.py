"""`reactivate frames` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from frame_programs import compile_program, usage

ROOT = Path(__file__).resolve().parents[2]
# The verb alone, under the group that turns errors into exit codes.
PROGRAM = """
import sys, typer
from reactivate.cli import frames
from reactivate.cli.app import Verbs
app = typer.Typer(cls=Verbs, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback()(lambda: None)
frames.register(app)
app(args=sys.argv[1:], prog_name="reactivate")
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def frames(*arguments: str | Path, folder: Path) -> Ended:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "frames", *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("cli"), "-O2 -fno-omit-frame-pointer")


def test_the_largest_come_first(library: Path) -> None:
    done = frames(library.name, "--top", "3", folder=library.parent)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("unit.so · ")
    assert [line.split()[-1] for line in lines[2:5]] == ["mebibyte", "big", "taken_big"]
    assert lines[2].split()[:2] == ["1,048,592", "B"]
    assert "dynamic" in lines[4]
    assert lines[5].startswith("next: reactivate frames unit.so --top ")
    assert len(lines) == 6


def test_json_has_every_number(library: Path) -> None:
    done = frames(library, "--over", "4 KiB", "--json", folder=library.parent)
    assert done.code == 0
    document = done.json
    said = usage(library.parent)
    assert document["schema"] == "reactivate.frames/1"
    assert document["functions"] == len(said)
    sizes = {f["name"]: f for f in document["frames"]}
    assert all(f["size_bytes"] >= 4096 for f in sizes.values())
    assert sizes["big"]["size_bytes"] == said["big"].size_bytes
    assert sizes["big"]["bound"] == "exact"
    assert sizes["taken_big"]["bound"] == "dynamic"
    assert sizes["aligned_far"]["bound"] == "up to"
    assert "page" in sizes and "small" not in sizes


def test_nothing_that_large(library: Path) -> None:
    done = frames(library, "--over", "1 GiB", folder=library.parent)
    assert done.code == 0
    assert "no frame is that large" in done.out


def test_difference_to_an_earlier_build(library: Path, tmp_path: Path) -> None:
    source = "void sink(void *); void small(void) { char b[900]; sink(b); } void fresh(void) {}"
    now = compile_program(tmp_path, "-O2", source=source)
    done = frames(now, "--diff", library, folder=tmp_path)
    assert done.code == 0, done.err
    rows = {line.split()[-1]: line.split()[0] for line in done.out.splitlines()[2:] if line}
    assert rows["small"] == "grew"
    assert rows["fresh"] == "appeared"
    assert rows["big"] == "went"
    document = frames(now, "--diff", library, "--json", "--top", "1", folder=tmp_path).json
    assert document["schema"] == "reactivate.frames-diff/1"
    (change,) = document["changes"]
    assert (change["name"], change["change"], change["after"]) == ("mebibyte", "went", None)
    assert change["growth_bytes"] == -change["before"]["size_bytes"]
    same = frames(now, "--diff", now, folder=tmp_path)
    assert "0 changed · 2 the same" in same.out


@pytest.mark.parametrize(
    "arguments",
    [["/etc/passwd"], ["/dev/null"], ["absent"], ["."], ["unit.so", "--over", "4 KB"],
     ["unit.so", "--top", "0"], ["unit.so", "--diff", "/etc/passwd"], []],
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_exit_code_2(library: Path, arguments: list[str]) -> None:
    done = frames(*arguments, folder=library.parent)
    assert done.code == 2
    assert done.out == ""
    assert "next: " in done.err
    as_json = frames(*arguments, "--json", folder=library.parent)
    assert as_json.code == 2
    assert as_json.json["exit_code"] == 2


def test_a_hostile_name_reaches_no_terminal(tmp_path: Path) -> None:
    binary = compile_program(tmp_path, "-O2", source="void small(void) {}")
    raw = binary.read_bytes()
    assert raw.count(b"\0small\0") == 2
    binary.write_bytes(raw.replace(b"\0small\0", b"\0\x1b[2Jw\0"))
    done = frames(binary, folder=tmp_path)
    assert done.code == 0
    assert "\x1b" not in done.out and "\\x1b[2Jw" in done.out
