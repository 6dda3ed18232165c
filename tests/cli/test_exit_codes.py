"""Each exit code by a situation that really is one, in text and in JSON alike."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from reactivate import errors
from reactivate.errors import ExitCode, ReactivateError
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, REFUSES, SET_UP, Here, Make, begun

DAEMON_ENDS = """\
title = "ends"
artifact = "false"
[run]
command = ["false", "{mountpoint}"]
mount_timeout_seconds = 60
[[component]]
id = "vector_storage"
"""
both_forms = pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])


def assert_said(result: object, code: ExitCode, form: list[str]) -> None:
    assert result.code == code, result
    if form:
        assert result.json()["exit_code"] == code
        assert result.err == ""
    elif code:
        assert f"[exit {int(code)}]" in result.out + result.err


@both_forms
def test_0_a_step_that_advances(here: Here, form: list[str]) -> None:
    begun(here.workspace, steps=1)
    assert_said(here("next", *form), ExitCode.DONE, form)


def test_1_a_bug_is_reported_as_one() -> None:
    code = (
        "from reactivate.cli import app, main\n"
        "@app.app.command()\n"
        "def broken(as_json: bool = False) -> None:\n"
        "    raise ZeroDivisionError('by nothing')\n"
        "main.run(['broken'{}])\n"
    )
    for option in ("", ", '--as-json'"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(option)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == ExitCode.BUG
        assert "ZeroDivisionError: by nothing" in done.stderr
        assert "[exit 1]\nnext: report it" in done.stderr


@both_forms
@pytest.mark.parametrize(
    "arguments",
    [
        ["next", "--until", "noon"],
        ["next", "--no-such-option"],
        ["no-such-verb"],
        ["waive", "stack.peak"],
        ["confirm", "no-such-item"],
        ["retry"],
        ["target", "set", "no.such", "1"],
    ],
    ids=" ".join,
)
def test_2_a_command_line_that_means_nothing(
    here: Here, arguments: list[str], form: list[str]
) -> None:
    begun(here.workspace)
    before = here.recorded()
    assert_said(here(*arguments, *form), ExitCode.USAGE, form)
    assert here.recorded() == before


@pytest.mark.fuse
@pytest.mark.root
def test_3_a_gate_refuses_4_then_a_person_must_act(
    needs_fuse: None, needs_root: None, make: Make
) -> None:
    here = make(limit=REFUSES, target=BINDFS)
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    refused = here("next", "--json")
    assert_said(refused, ExitCode.REFUSED, ["--json"])
    (verdict,) = refused.json()["steps"][0]["verdicts"]
    assert verdict["verdict"] == "fail"
    assert verdict["observed"] > verdict["limit"] == 1024
    for form in ([], ["--json"]):
        assert_said(here("next", *form), ExitCode.WAITING, form)
    # Not even unattended: `--yes` is for items, never for a gate.
    assert here("next", "--yes").code == ExitCode.WAITING
    assert here("retry").code == ExitCode.DONE
    activated = here("next")
    assert "artifact and configuration are those that were refused" in activated.out
    assert activated.code == ExitCode.DONE
    again = here("next")
    assert_said(again, ExitCode.REFUSED, [])
    assert again.out.rstrip().splitlines()[-1].startswith("next: reactivate retry")


@both_forms
def test_4_an_item_is_open(here: Here, form: list[str]) -> None:
    assert_said(here("next", *form), ExitCode.WAITING, form)


@pytest.mark.fuse
@both_forms
def test_5_the_build_is_not_the_one_that_was_proven(
    needs_fuse: None, make: Make, form: list[str]
) -> None:
    here = make(target=f'configuration = "configs/own.toml"\n{BINDFS}')
    here.write("configs/own.toml", "depth = 1\n")
    begun(here.workspace, steps=SET_UP)
    assert here("next").code == ExitCode.DONE
    here.write("configs/own.toml", "depth = 2\n")
    before = here.recorded()[1]
    assert_said(here("next", *form), ExitCode.INCONCLUSIVE, form)
    assert here.recorded()[1] == before
    assert here("status", "--json").json()["state"] == "baseline check"


@pytest.mark.fuse
@both_forms
def test_6_the_daemon_ends_at_once(needs_fuse: None, make: Make, form: list[str]) -> None:
    here = make(target=DAEMON_ENDS)
    begun(here.workspace, steps=SET_UP)
    result = here("next", *form)
    assert_said(result, ExitCode.ENVIRONMENT, form)
    assert here("status", "--json").json()["state"] == "activating"


def _leaves(kind: type[ReactivateError]) -> Iterator[type[ReactivateError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _leaves(inner)


@both_forms
@pytest.mark.parametrize(
    "verb", [["next"], ["status"], ["log"], ["ledger", "verify"]], ids=" ".join
)
def test_7_a_guard_of_the_ledger_is_gone(here: Here, verb: list[str], form: list[str]) -> None:
    begun(here.workspace)
    connection = sqlite3.connect(here.workspace.ledger)
    connection.execute("DROP TRIGGER verdicts_no_update")
    connection.close()
    assert_said(here(*verb, *form), ExitCode.TAMPERED, form)


def test_every_code_of_an_error_has_one() -> None:
    ours = [kind for kind in _leaves(ReactivateError) if kind.__module__ == errors.__name__]
    assert len(ours) > 15
    assert {kind.exit_code for kind in ours} == set(ExitCode) - {
        ExitCode.DONE,
        ExitCode.REFUSED,
        ExitCode.INTERRUPTED,
    }


@both_forms
@pytest.mark.parametrize("verb", ["next", "status", "log"])
def test_8_the_ledger_is_no_ledger(here: Here, verb: str, form: list[str]) -> None:
    here.workspace.ledger.write_bytes(b"not a database, but somebody's notes")
    assert_said(here(verb, *form), ExitCode.LEDGER, form)
    assert here.workspace.ledger.read_bytes() == b"not a database, but somebody's notes"


def test_no_workspace_is_an_environment_without_one(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = Here(Workspace(tmp_path), capsys)  # type: ignore[arg-type]
    for verb in ("status", "next", "log"):
        for form in ([], ["--json"]):
            result = outside(verb, *form)
            assert_said(result, ExitCode.ENVIRONMENT, form)
            assert "reactivate init DIR" in result.out + result.err
