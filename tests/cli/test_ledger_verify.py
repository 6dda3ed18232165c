"""`reactivate ledger verify` and `anchor`, as they are typed."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import Ledger, schema
from reactivate.report.decision_log import write_log
from tests.cli.workspaces import Here, begun, small
from tests.ledger.material import build


@pytest.fixture
def filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    """A workspace in which something is on record."""
    workspace = small(tmp_path / "w")
    build(workspace.ledger, workspace.results)
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        write_log(ledger, workspace.decisions)
    return Here(workspace, capsys)


def tampered(here: Here, statement: str) -> None:
    connection = sqlite3.connect(here.workspace.ledger)
    for name in ("verdicts_no_update", "events_no_update"):
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    for name in ("verdicts_no_update", "events_no_update"):
        connection.execute(schema.TEXTS[name])
    connection.commit()
    connection.close()


def test_a_whole_ledger_is_told_with_what_was_looked_at(filled: Here) -> None:
    before = filled.workspace.ledger.read_bytes()
    said = filled("ledger", "verify", "--no-git")
    assert said.code == ExitCode.DONE
    assert "13 events, 4 attempts, 16 results, 4 decisions" in said.out
    assert "Whole to event 13, head " in said.out
    assert "No anchor reaches beyond event 12" in said.out
    assert said.out.splitlines()[-1] == "next: reactivate ledger anchor"
    found = filled("ledger", "verify", "--json").json()
    assert (found["exit_code"], found["findings"], found["anchored"]) == (0, [], 12)
    assert filled.workspace.ledger.read_bytes() == before


def test_an_anchor_vouches_for_all_of_it(filled: Here) -> None:
    head, command = filled("ledger", "anchor").out.splitlines()
    assert command == f"next: reactivate ledger verify --anchor {head}"
    said = filled(*command.split()[2:])
    assert said.code == ExitCode.DONE
    assert "No anchor" not in said.out
    assert said.out.splitlines()[-1] == "next: reactivate status"
    seq, sha256 = head.split(":")
    other = filled("ledger", "verify", "--anchor", f"{seq}:{sha256[::-1]}")
    assert other.code == ExitCode.TAMPERED
    assert "the anchor given names" in other.out
    assert filled("ledger", "verify", "--anchor", "13").code == ExitCode.USAGE


def test_the_first_bad_event_is_named(filled: Here) -> None:
    tampered(filled, "UPDATE verdicts SET verdict = 'pass' WHERE id = 3")
    said = filled("ledger", "verify")
    assert said.code == ExitCode.TAMPERED
    assert said.out.splitlines()[0] == (
        "The ledger was tampered with, first at event 8 (attempt_finished): "
        "verdicts: a row is not as it was recorded"
    )
    assert "[exit 7]" in said.out
    (found,) = filled("ledger", "verify", "--json").json()["findings"]
    assert (found["seq"], found["kind"], found["where"]) == (8, "attempt_finished", "chain")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_nobody_writes_to_a_ledger_whose_newest_event_was_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    here = Here(small(tmp_path / "w"), capsys)
    begun(here.workspace, steps=1)
    status = here("status")
    assert status.code == ExitCode.DONE
    assert here("ledger", "anchor").out.partition(":")[2][:8] in status.out
    tampered(here, "UPDATE events SET at = '2025' || substr(at, 5) WHERE seq > 1")
    before = here.workspace.ledger.read_bytes()
    said = here("next", *form)
    assert said.code == ExitCode.TAMPERED
    assert "reactivate ledger verify" in said.out + said.err
    assert here.workspace.ledger.read_bytes() == before


def damage(here: Here) -> None:
    content = bytearray(here.workspace.ledger.read_bytes())
    content[4096 * 3 : 4096 * 8] = bytes(4096 * 5)
    here.workspace.ledger.write_bytes(content)


def newer(here: Here) -> None:
    connection = sqlite3.connect(here.workspace.ledger)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()


def no_database(here: Here) -> None:
    here.workspace.ledger.write_text("nothing of the kind")


@pytest.mark.parametrize("spoil", [damage, newer, no_database])
def test_could_not_be_checked_is_not_tampered_with(
    filled: Here, spoil: Callable[[Here], None]
) -> None:
    spoil(filled)
    assert filled("ledger", "verify").code == ExitCode.LEDGER
    assert filled("ledger", "verify", "--json").json()["exit_code"] == ExitCode.LEDGER


def test_where_nothing_is_on_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(small(tmp_path / "w"), capsys)
    said = here("ledger", "verify")
    assert said.code == ExitCode.DONE
    assert "Nothing is on record yet." in said.out
    assert here("ledger", "anchor").code == ExitCode.USAGE
    assert not here.workspace.ledger.exists()


def test_git_runs_only_if_asked_to(filled: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    refused = filled("ledger", "anchor", "--git-tag")
    assert refused.code == ExitCode.ENVIRONMENT
    for arguments in (
        ["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(filled.root), *arguments], check=True)
    said = filled("ledger", "anchor", "--git-tag", "--git-note", "--json").json()
    assert said["git_tag"].startswith("reactivate/ledger/13-")
    assert said["git_note"]
    found = filled("ledger", "verify", "--json").json()
    assert found["anchored"] == 13
    assert {a["source"].split()[1] for a in found["anchors"][-2:]} == {"tag", "note"}
    monkeypatch.setenv("PATH", "/nonexistent")
    assert filled("ledger", "verify", "--no-git").code == ExitCode.DONE
    assert filled("ledger", "anchor").code == ExitCode.DONE
    assert "git was not asked" in filled("ledger", "verify").out
