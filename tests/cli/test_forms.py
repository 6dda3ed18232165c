"""Every verb in both forms: JSON with a schema, plain text in a pipe, help with an example."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from reactivate.cli.app import app
from reactivate.cli.console import Styled, sentence
from reactivate.cli.table import print_table
from reactivate.errors import ExitCode
from tests.cli.workspaces import Here, begun, command, in_process

VERBS: dict[str, list[str]] = {
    "init": ["NEW"],
    "doctor": [],
    "selftest": ["--keep", "/"],  # not empty: refused; run whole in tests/campaign
    "calibrate": ["--only", "memory"],
    "next": [],
    "confirm": ["--all"],
    "report": [],
    "retry": [],
    "waive": ["stack.peak", "--reason", "known"],
    "rollback": ["--reason", "later"],
    "status": [],
    "log": [],
    "ledger verify": [],
    "ledger anchor": [],
    "ledger merge": ["TRACE"],
    "ledger pack": ["NEW"],
    "ledger unpack": ["TRACE", "NEW"],
    "ledger replay": [],
    "verify": [],
    "import-trace": ["TRACE"],
    "checklist check": [],
    "checklist show": [],
    "checklist metrics": [],
    "target check": ["bindfs"],  # the others take longer; tests/run/test_target_check.py
    "target show": [],
    "target set": ["search_engine.ef", "60"],
    "measure": ["--pid", "999999999", "--mount", "NEW"],
    "trace": ["--pid", "999999999", "--mount", "NEW"],
    "watch": ["999999999", "--once"],
    "frames": ["/bin/true"],
    "overflow": ["--list"],
    "analyze": ["--baseline"],
    "history": ["stack.peak"],
    "compare": [":small", ":small"],
    "bisect": ["--good", "HEAD", "--bad", "HEAD", "--gate", "baseline.baseline"],
}
"""Every verb that has `--json`, with arguments to call it."""
NO_JSON = {"tour", "export"}
ESCAPE = "\x1b"


def verbs() -> Iterator[tuple[str, Any]]:
    """All verbs and groups of the command line, with their path."""

    def below(path: str, group: Any) -> Iterator[tuple[str, Any]]:
        for name, found in group.commands.items():
            yield f"{path} {name}".strip(), found
            if hasattr(found, "commands"):
                yield from below(f"{path} {name}".strip(), found)

    return below("", typer.main.get_command(app))


LEAVES = [name for name, found in verbs() if not hasattr(found, "commands")]


def test_the_table_above_knows_every_verb() -> None:
    assert sorted(LEAVES) == sorted([*VERBS, *NO_JSON])


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_one_document_with_a_schema(here: Here, tmp_path: Path, verb: str) -> None:
    begun(here.workspace)
    arguments = [a.replace("NEW", str(tmp_path / "new")) for a in VERBS[verb]]
    result = here(*verb.split(), *arguments, "--json")
    document = result.json()
    assert document.get("exit_code", ExitCode.DONE) == result.code
    assert result.err == ""
    assert ESCAPE not in result.out
    if result.code == ExitCode.USAGE:
        assert document["schema"] == "reactivate.error/1"
        assert document["what"] and document["hint"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_pipe_gets_plain_lines(here: Here, tmp_path: Path, verb: str) -> None:
    begun(here.workspace)
    arguments = [a.replace("NEW", str(tmp_path / "new")) for a in VERBS[verb]]
    result = here(*verb.split(), *arguments)
    said = result.out + result.err
    assert ESCAPE not in said
    assert "\r" not in said
    # Progress is told on standard error, beside the result.
    last = (result.out or result.err).rstrip().splitlines()[-1]
    assert last.startswith(("next: ", "|")) or verb == "log", last


def test_nothing_is_folded_in_a_pipe(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "word " * 60
    path = here.workspace.checklists / "small.md"
    path.write_text(path.read_text().replace("Somebody reads this", text.strip()))
    result = here("next")
    assert any(text.strip() in line for line in result.out.splitlines())


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_an_example_that_is_a_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = in_process([*name.split(), "--help"], capsys)
    assert result.code == ExitCode.DONE
    assert ESCAPE not in result.out
    (example,) = re.findall(r"^  Example: reactivate (.+)$", result.out, re.MULTILINE)
    words = shlex.split(example)
    assert words[: len(name.split())] == name.split()
    # The example is understood: only what it is about may be missing.
    found = dict(verbs())[name]
    rest = words[len(name.split()) :]
    found.make_context(name, rest, resilient_parsing=False)


def test_a_group_without_a_verb_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["checklist"], ["ledger"], ["target"]):
        result = in_process(group, capsys)
        assert result.code == ExitCode.DONE
        assert "Commands:" in result.out


def test_first_lines_of_help_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["checklist"], ["ledger"], ["target"]):
        assert "..." not in in_process([*group, "--help"], capsys).out.replace("[ARGS]...", "")


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What a command shows on a terminal of 200 columns."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        command(arguments),
        stdout=secondary,
        stderr=secondary,
        env={**inherited, "TERM": "xterm-256color", "COLUMNS": "200", **environment},
    )
    os.close(secondary)
    said = b""
    try:
        while chunk := os.read(primary, 4096):
            said += chunk
    except OSError:  # Linux: the other end was closed
        pass
    os.close(primary)
    process.wait(timeout=60)
    return said.decode().replace("\r\n", "\n")


def test_colour_only_on_a_terminal_that_wants_it(here: Here) -> None:
    begun(here.workspace)
    arguments = ["-C", str(here.root), "status"]
    coloured = on_terminal(arguments)
    plain = on_terminal(arguments, NO_COLOR="1")
    assert ESCAPE in coloured
    assert ESCAPE not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain == here("status").out


def test_table_aligns_wide_and_combined_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        ["name", "size", "note"],
        [["日本", "1", Styled("a", "red")], ["e\u0301x", "1,000", ""], ["[red]", "20", "b"]],
        right=[1],
    )
    assert capsys.readouterr().out == (
        "  name     size   note\n  日本        1   a\n  e\u0301x      1,000\n  [red]      20   b\n"
    )


def test_sentences_leave_names_alone() -> None:
    assert sentence("make is not installed") == "make is not installed."
    assert sentence("there is no target `x`; did you mean `y`?").startswith("There is")
    assert sentence("ledger.db is damaged") == "ledger.db is damaged."
    assert sentence("") == "."


def test_a_reader_that_goes_away_is_no_bug(here: Here) -> None:
    begun(here.workspace)
    arguments = " ".join(map(shlex.quote, command(["-C", str(here.root), "checklist", "show"])))
    done = subprocess.run(
        ["sh", "-c", f"({arguments}; echo $? >&2) | true"], capture_output=True, text=True
    )
    assert done.stderr.strip() in ("141", "0")
    assert "Traceback" not in done.stderr


def test_a_locale_without_our_characters_is_no_bug(here: Here) -> None:
    begun(here.workspace)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        command(["-C", str(here.root), "status"]), capture_output=True, text=True, env=environment
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    assert done.stdout.isascii()


def test_the_quick_door_and_the_long_way_say_the_same(here: Here) -> None:
    begun(here.workspace)
    for option in ([], ["--json"]):
        quick = here("status", *option)
        arguments = ["-C", str(here.root), "status", *option]
        code = f"from reactivate.cli.app import app; app({arguments!r})"
        long = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (long.returncode, long.stdout) == (quick.code, quick.out)
    damaged = here.workspace.ledger
    damaged.write_bytes(b"x" * 200)
    assert here("status", "--json").json()["error"] == "LedgerCorruptError"


def test_status_loads_no_command_line_library(here: Here) -> None:
    begun(here.workspace)
    code = (
        "import json, sys\n"
        "from reactivate.cli.main import run\n"
        "try:\n    run(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "heavy = ['typer', 'pydantic', 'rich', 'trio', 'sqlite_utils', 'tomlkit']\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-C", str(here.root), "status"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr) == []


def test_options_are_read_without_pydantic(here: Here) -> None:
    begun(here.workspace)
    code = (
        "import sys\n"
        "from reactivate.cli.main import run\n"
        "try:\n    run(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert ended.code == 4, ended.code\n"
        "assert 'typer' in sys.modules\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "-C",
            str(here.root),
            "next",
            "--who",
            "me",
            "--until",
            "step",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
