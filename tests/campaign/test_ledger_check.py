"""What the ledger answers for beside its own rows: evidence, decision files, checklist, anchors."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reactivate.campaign import git_anchors
from reactivate.campaign.edition import edition_data
from reactivate.campaign.ledger_check import Checked, check_ledger, parse_anchor
from reactivate.checklist.parse import load
from reactivate.errors import ExitCode, LedgerCorruptError, LedgerVersionError, UsageError
from reactivate.ledger import Ledger, schema
from reactivate.report.decision_log import write_log
from reactivate.report.logged import Anchor
from reactivate.workspace import Workspace
from tests.campaign.tampering import forged
from tests.cli.workspaces import small
from tests.ledger.material import build, cut_off

SEED = random.SystemRandom().randrange(1 << 32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a ledger, evidence and a decision log; tests work on copies."""
    workspace = small(tmp_path_factory.mktemp("made") / "w")
    edition = edition_data(load(workspace.settings().checklist), "checklists/small.md")
    build(workspace.ledger, workspace.results, {**edition, "target": "model"})
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        write_log(ledger, workspace.decisions)
    return workspace


@pytest.fixture
def workspace(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy to do something to."""
    shutil.copytree(made.root, tmp_path / "w", symlinks=True)
    return Workspace(tmp_path / "w")


def look(workspace: Workspace, *given: Anchor) -> Checked:
    return check_ledger(workspace, given=given, ask_git=False)


def whats(checked: Checked) -> list[str]:
    return [finding.what for finding in checked.findings]


def test_nothing_is_found_where_nobody_touched_anything(workspace: Workspace) -> None:
    checked = look(workspace)
    assert whats(checked) == []
    assert checked.exit_code is ExitCode.DONE
    assert (checked.files, checked.editions, checked.logged.files) == (4, 1, 4)
    assert checked.reach == 12
    assert checked.audit.head is not None
    assert checked.audit.head[0] == 13
    assert checked.notes == ("git was not asked for anchors",)


def test_every_edited_decision_file_is_found(workspace: Workspace) -> None:
    turn = random.Random(SEED)
    files = sorted(p for p in workspace.decisions.glob("*.md") if p.name != "CAMPAIGN.md")
    assert len(files) == 5
    for number in range(60):
        path = files[number % len(files)]
        before = path.read_bytes()
        place = turn.randrange(len(before))
        after = turn.choice(
            [
                before[:place] + b"~" + before[place + 1 :],
                before[:place] + before[place + 1 :],
                before[:place] + b"\xff" + before[place:],
                before + b"\n",
                before[:place],
            ]
        )
        path.write_bytes(after)
        assert after == before or whats(look(workspace)), f"{path.name} at {place}, seed {SEED}"
        path.write_bytes(before)
    assert not whats(look(workspace))


def test_an_index_cut_at_a_line_is_found(workspace: Workspace) -> None:
    path = workspace.decisions / "README.md"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    for rows in range(1, 4):
        path.write_text("".join(lines[:-rows]), encoding="utf-8")
        assert whats(look(workspace)) == ["README.md is not what the ledger says"], rows


def test_what_a_kill_leaves_of_the_log_is_no_finding(workspace: Workspace) -> None:
    """Killed after the commit, before or while the files were written."""
    files = sorted(workspace.decisions.glob("0*.md"))
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        ledger.append("note", "", {})
    files[-1].unlink()
    checked = look(workspace)
    assert not whats(checked)
    assert checked.notes[0] == f"not written to the decision log: 1, first {files[-1].name}"
    first = files[0].read_text()
    files[0].write_text("".join(x for x in first.splitlines(True) if "superseded by" not in x))
    assert files[0].read_text() != first
    index = workspace.decisions / "README.md"
    index.write_text("".join(x for x in index.read_text().splitlines(True) if "| [0004]" not in x))
    assert not whats(look(workspace))


def test_every_deleted_decision_file_is_found(workspace: Workspace) -> None:
    *older, newest = sorted(workspace.decisions.glob("0*.md"))
    assert len(older) == 3
    gone = "is gone; reactivate log --write makes it again"
    for path in older:
        content = path.read_bytes()
        path.unlink()
        checked = look(workspace)
        assert whats(checked) == [f"{path.name} {gone}"]
        assert checked.findings[0].seq
        path.write_bytes(content)
    assert not whats(look(workspace))
    shutil.rmtree(workspace.decisions)
    assert whats(look(workspace)) == [f"{name} {gone}" for name in
                                      (*(p.name for p in older), "README.md")]  # fmt: skip
    # The newest may be one that a kill left unwritten.
    assert look(workspace).notes[0] == f"not written to the decision log: 1, first {newest.name}"


def test_calibration_evidence_is_compared(workspace: Workspace) -> None:
    folder = workspace.results / "calibration" / "001"
    folder.mkdir(parents=True)
    evidence = folder / "calibration.json"
    evidence.write_text("{}")
    recorded = {"evidence": "results/calibration/001",
                "evidence_sha256": hashlib.sha256(b"{}").hexdigest()}  # fmt: skip
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        seq = ledger.append("calibrated", "", recorded).seq
    assert not whats(look(workspace))
    evidence.write_text("{ }")
    assert whats(look(workspace)) == [
        "results/calibration/001/calibration.json has another content"
    ]
    evidence.unlink()
    (found,) = look(workspace).findings
    assert (found.seq, found.what) == (seq, "results/calibration/001/calibration.json is gone")
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        ledger.append("calibrated", "", {**recorded, "evidence": "results/calibration/../../.."})
    assert "is no place of a calibration's evidence" in whats(look(workspace))[-1]


def test_a_decision_that_is_not_on_record_is_found(workspace: Workspace) -> None:
    copied = workspace.decisions / "0005-search-waived.md"
    old = (workspace.decisions / "0003-search-waived.md").read_text()
    copied.write_text(old.replace("# 0003", "# 0005"))
    assert whats(look(workspace)) == ["0005-search-waived.md: no such decision is on record"]
    for digits, findings in ((5000, 0), (18, 1)):  # a number that no ledger has is no head
        copied.write_text(f"| ledger | event {'9' * digits}, `{'0' * 64}` |\n")
        assert len(whats(look(workspace))) == findings
    copied.write_text("# Why we use FUSE\n")  # somebody's own
    assert not whats(look(workspace))


def test_every_swapped_or_missing_evidence_file_is_found(workspace: Workspace) -> None:
    files = sorted(p for p in workspace.results.rglob("*") if p.is_file())
    assert len(files) == 4
    for path in files:
        name = path.relative_to(workspace.root)
        before = path.read_bytes()
        for after in (before + b" ", before[:-1], before.upper(), b"", files[0].read_bytes()[::-1]):
            path.write_bytes(after)
            assert whats(look(workspace)) == [f"{name} has another content"]
        path.unlink()
        assert whats(look(workspace)) == [f"{name} is gone"]
        (workspace.root / "elsewhere").write_bytes(before)
        path.symlink_to(workspace.root / "elsewhere")
        assert whats(look(workspace)) == [f"{name} is gone"]
        path.unlink()
        path.write_bytes(before)
    assert not whats(look(workspace))
    (found,) = look_without(workspace, files[-1]).findings
    assert (found.seq, found.kind, found.where) == (8, "attempt_finished", "artifacts")


def look_without(workspace: Workspace, path: Path) -> Checked:
    path.unlink()
    return look(workspace)


def test_a_checklist_edited_on_disk_is_said_and_one_edited_on_record_is_found(
    workspace: Workspace,
) -> None:
    path = workspace.settings().checklist
    path.write_text(path.read_text().replace("25%", "75%"))
    checked = look(workspace)
    assert not checked.findings
    assert "small.md was edited since event 1" in checked.notes[-1]

    def loosen(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE events SET data = replace(data, '25%', '75%') WHERE seq = 1")

    forged(workspace, loosen)
    checklist = [f for f in look(workspace).findings if f.where == "checklist"]
    assert [f.seq for f in checklist] == [1]
    assert "another digest" in checklist[0].what


@pytest.mark.parametrize("last", [0, 4, 8, 11])
def test_a_tail_cut_off_is_found_by_the_decision_files(workspace: Workspace, last: int) -> None:
    forged(workspace, lambda connection: cut_off(connection, last))
    checked = look(workspace)
    cut = [f for f in checked.findings if f.where == "anchors"]
    assert f"the ledger ends with {last}: its tail was cut off" in cut[-1].what
    for path in workspace.decisions.iterdir():  # even where the last of them were removed
        if path.name[:4] not in ("0004", "READ"):
            path.unlink()
    assert look(workspace).findings


def test_a_ledger_written_anew_is_found_by_any_head_kept_elsewhere(workspace: Workspace) -> None:
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        head = ledger.head()
    assert head is not None
    kept = parse_anchor(f"{head.seq}:{head.sha256}")
    forged(workspace, lambda c: c.execute("UPDATE verdicts SET verdict = 'pass' WHERE id = 3"))
    assert {f.where for f in look(workspace).findings} == {"anchors", "decisions"}
    shutil.rmtree(workspace.decisions)
    with Ledger.open(workspace.ledger, writer=True) as ledger:  # it fits itself
        write_log(ledger, workspace.decisions)
    assert not look(workspace).findings
    (found,) = look(workspace, kept).findings
    assert found.what.startswith("the anchor given names")
    assert "it was rewritten" in found.what
    workspace.ledger.unlink()
    assert "the ledger ends with 0" in look(workspace, kept).findings[-1].what


@pytest.mark.parametrize(
    "text", ["", "12", "12:abc", "x:" + "0" * 64, "1:" + "G" * 64, "9" * 5000 + ":" + "0" * 64]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_anchor(text)


@pytest.fixture
def repository(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace in a repository, below its top."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    top = workspace.root.parent
    for arguments in (
        ["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(top), *arguments], check=True)
    return workspace


@pytest.mark.parametrize("put", [git_anchors.put_tag, git_anchors.put_note])
def test_git_keeps_a_head(repository: Workspace, put: Callable[[Workspace, int, str], str]) -> None:
    with Ledger.open(repository.ledger, writer=False) as ledger:
        head = ledger.head()
    assert head is not None
    assert git_anchors.anchors(repository) == ()
    put(repository, head.seq, head.sha256)
    put(repository, head.seq, head.sha256)
    checked = check_ledger(repository)
    assert not checked.findings
    assert checked.reach == head.seq == 13
    assert checked.notes == ()
    forged(repository, lambda c: c.execute("UPDATE verdicts SET verdict = 'pass' WHERE id = 3"))
    shutil.rmtree(repository.decisions)
    found = [f.what for f in check_ledger(repository).findings if f.where == "anchors"]
    assert found
    assert all(what.startswith("git ") for what in found)
    # So it was git that knew.
    assert {f.where for f in look(repository).findings} == {"decisions"}
    other = Workspace(repository.root.parent / "other")  # whose ledger is another file
    other.root.mkdir()
    assert git_anchors.anchors(other) == ()


def test_where_there_is_no_repository_it_is_said(workspace: Workspace) -> None:
    assert any(note.startswith("git was not asked: ") for note in check_ledger(workspace).notes)


def test_what_cannot_be_checked_is_another_answer(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.ledger)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerVersionError):
        look(workspace)
    content = bytearray(workspace.ledger.read_bytes())
    content[60:64] = schema.VERSION.to_bytes(4, "big")
    workspace.ledger.write_bytes(content)
    assert not look(workspace).findings
    content[4096 * 3 : 4096 * 6] = bytes(4096 * 3)
    workspace.ledger.write_bytes(content)
    with pytest.raises(LedgerCorruptError):
        look(workspace)
