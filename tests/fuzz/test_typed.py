"""Every verb with hostile arguments: an answer or an error, soon; nothing is written beside."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from made_campaigns import go_on, workspace_for

from reactivate.cli.app import app
from reactivate.errors import ExitCode
from tests.cli.workspaces import in_process
from tests.fuzz.damage import nothing_written_beside

HANGS_AFTER_SECONDS = 60
"""Far more than any of these needs, so that a busy machine is no hang."""

WORDS = (
    "", " ", "-", "--", "---", "-x", "--json=1", "--help=1", "=", "a=b", ".", "..", "folder/../x",
    "/proc/nowhere/x", "*", "@", "@HEAD", ":", ":attempt-1", ":attempt-x", ":attempt-" + "9" * 40,
    "attempt-0", "\udcff\udcfe", "é\u202e", "\x1b[2J", "a\nb", "\t", "\x7f", "a" * 60_000,
    "a/" * 3000, "a." * 3000, "[" * 2000, "0", "-1", "1.5", "nan", "inf", "1e400", "9" * 40,
    "9" * 5000, "٣", "%s", "{}", "$HOME", "`id`", "null", "2026-13-45", "0000-00-00", "1:2:3",
)  # fmt: skip
FILES = ("pipe", "socket", "folder", "loop", "empty", "noise", "unreadable", "zero", "null")
"""Devices are named by links: as root, a fault of ours must not cost the machine its own."""

RUN = {
    "next",
    "tour",
    "calibrate",
    "selftest",
    "overflow",
    "bisect",
    "verify",
    "doctor",
    "target check",
}
"""Verbs that build and mount; they are typed where there is no workspace."""

ENDLESS = {"tour", "calibrate", "selftest", "doctor"}
"""Those of them that need no workspace; with a word too much they only say so."""


def _verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for each, inner in getattr(command, "commands", {}).items():
        yield from _verbs(inner, f"{name} {each}".strip())
    if not hasattr(command, "commands"):
        yield name, command


VERBS = dict(_verbs(typer.main.get_command(app)))


def typed(verb: str, chance: Random) -> list[str]:
    """A command line of the verb: each of its arguments is hostile, or left out if it may be."""
    line = verb.split()
    for parameter in VERBS[verb].params:
        flag = getattr(parameter, "is_flag", False)
        if parameter.name == "help" or (not parameter.required and chance.random() < 0.5):
            continue
        if parameter.param_type_name == "option":
            line.append(parameter.opts[0])
        if not flag:
            line.append(chance.choice(FILES if chance.random() < 0.3 else WORDS))
    if verb in ENDLESS:
        line += ["surplus", "surplus"]
    if chance.random() < 0.1:
        line.insert(chance.randrange(1, len(line) + 1), chance.choice(WORDS))
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hostile files, and a workspace in which much has happened."""
    here = tmp_path_factory.mktemp("typed") / "here"
    here.mkdir()
    os.mkfifo(here / "pipe")
    (here / "folder").mkdir()
    (here / "without").mkdir()  # no word names it, so nothing ever makes a workspace there
    (here / "loop").symlink_to("loop")
    (here / "zero").symlink_to("/dev/zero")
    (here / "null").symlink_to("/dev/null")
    (here / "empty").touch()
    (here / "noise").write_bytes(bytes(range(256)) * 40)
    (here / "unreadable").touch(mode=0)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(here / "socket"))
    go_on(workspace_for(here / "w"), 1, steps=14, worst=True)
    shutil.copytree(here / "w", here.parent / "kept")
    return here


@contextmanager
def soon() -> Iterator[None]:
    """The body must end; a read of a pipe that nobody writes to would not."""

    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS_AFTER_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ask(verb: str, line: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Type it, and see that it ends as the contract says."""
    where = "w" if verb not in RUN else "without"
    with soon():
        told = in_process(["-C", str(place / where), *line], capsys)
    assert told.code in set(ExitCode) - {ExitCode.BUG}, (line, told)
    assert "Traceback" not in told.err and "it hangs" not in told.err, (line, told)
    assert "\x1b" not in told.out + told.err, (line, told)
    assert told.code == ExitCode.DONE or told.err or told.out, (line, told)
    assert (place / "zero").is_symlink() and (place / "null").is_symlink(), line
    assert stat.S_ISFIFO((place / "pipe").stat().st_mode), line


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb(
    verb: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    chance = Random(verb)
    with nothing_written_beside(place):
        for _ in range(max(2, int(os.environ.get("FUZZ_EXAMPLES", "20")) // 10)):
            ask(verb, typed(verb, chance), place, capsys)
