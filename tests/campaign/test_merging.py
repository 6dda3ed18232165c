"""Other campaigns in the ledger: all of it there, and nothing of ours moved."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_campaigns import go_on, workspace_for
from tampering import forged, tamper

from reactivate.campaign.ledger_check import check_ledger
from reactivate.campaign.machine import replay
from reactivate.campaign.merging import merge
from reactivate.campaign.packing import pack
from reactivate.campaign.replaying import replay_ledger
from reactivate.campaign.review import review
from reactivate.campaign.status import CampaignStatus
from reactivate.errors import ExitCode, LedgerError, LedgerTamperedError, ReactivateError
from reactivate.ledger import Ledger
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.origin import origin_of
from reactivate.workspace import Workspace
from tests.cli.workspaces import in_process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> list[Workspace]:
    """Three campaigns at different places; to be copied."""
    made = []
    for seed, steps in ((1, 13), (2, 14), (3, 11)):
        workspace = workspace_for(tmp_path_factory.mktemp("campaigns") / f"w{seed}")
        go_on(workspace, seed, steps=steps, worst=seed == 2)
        made.append(workspace)
    return made


def copied(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.root, folder)
    return Workspace(folder)


def standing(workspace: Workspace) -> CampaignStatus:
    """Where it stands; events and head of its file are of the file, not of the campaign."""
    return dataclasses.replace(review(workspace), events=0, head="")


def content(workspace: Workspace, *, merged: bool) -> list[tuple[Any, ...]]:
    """Every attempt with all it brought, but for its id."""
    found: list[tuple[Any, ...]] = []
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        for attempt in ledger.attempts():
            if bool(origin_of(attempt.phase)) is merged:
                own = dataclasses.replace(attempt, id=0)
                found.append((
                    own, ledger.environment(attempt.environment_sha256),
                    ledger.measurements(attempt.id), ledger.judgements(attempt.id),
                    ledger.artifacts(attempt.id),
                ))  # fmt: skip
    return sorted(found, key=repr)


def evidence(workspace: Workspace) -> dict[str, str]:
    folder = workspace.results / "merged"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("ours", range(3))
def test_nothing_of_ours_moves(ours: int, campaigns: list[Workspace], tmp_path: Path) -> None:
    own = copied(campaigns[ours], tmp_path / "own")
    alone = copied(campaigns[ours], tmp_path / "alone")
    for theirs in campaigns:
        if theirs is not campaigns[ours]:
            assert merge(own, theirs.root).attempts > 0
    assert standing(own) == standing(alone)
    with (
        Ledger.open(own.ledger, writer=False) as one,
        Ledger.open(alone.ledger, writer=False) as other,
    ):
        assert replay(one.events()).next_step() == replay(other.events()).next_step()
    # Nor does what is measured from here on refer to what was merged.
    for workspace in (own, alone):
        go_on(workspace, 44, steps=5)
    verdicts = [
        [(a.phase, a.step, a.number, j) for a, _, _, j, _ in content(w, merged=False)]
        for w in (own, alone)
    ]
    assert verdicts[0] == verdicts[1]
    one_by_one = [(s.state, s.current, s.phases, s.open_items, s.failed, s.next_command, s.evidence)
                  for s in map(standing, (own, alone))]  # fmt: skip
    assert one_by_one[0] == one_by_one[1]
    found = replay_ledger(own)
    assert not found.findings


def test_all_of_theirs_is_there_once(campaigns: list[Workspace], tmp_path: Path) -> None:
    own, theirs = copied(campaigns[0], tmp_path / "own"), campaigns[1]
    found = merge(own, theirs.root)
    assert not (found.missing or found.changed or found.left_out)
    expected, merged = content(theirs, merged=False), content(own, merged=True)
    assert len(expected) == len(merged) == found.attempts
    for before, after in zip(expected, merged, strict=True):
        one, other = before[0], after[0]
        assert dataclasses.replace(other, phase=one.phase, folder=one.folder) == one
        assert other.phase == f"{found.origin}.{one.phase}"
        assert before[1:] == after[1:]
    assert len(evidence(own)) == found.copied == sum(len(row[4]) for row in merged)
    ledger = own.ledger.read_bytes()
    again = merge(own, theirs.ledger)
    assert (again.attempts, again.known, again.is_new) == (0, found.attempts, False)
    assert own.ledger.read_bytes() == ledger, "merging twice is merging once"
    with Ledger.open(own.ledger, writer=False) as opened:
        note = opened.events()[-1].data
    assert note["file_sha256"] == hashlib.sha256(theirs.ledger.read_bytes()).hexdigest()
    with Ledger.open(theirs.ledger, writer=False) as opened:
        assert note["events"] == [1, opened.events()[-1].seq]
        assert [d["reason"] for d in note["decisions"]] == [d.reason for d in opened.decisions()]


def test_the_order_does_not_matter_and_only_what_is_new_is_added(
    campaigns: list[Workspace], tmp_path: Path
) -> None:
    one, other = copied(campaigns[0], tmp_path / "1"), copied(campaigns[0], tmp_path / "2")
    later = copied(campaigns[1], tmp_path / "later")
    merge(one, later.root)
    go_on(later, 9, steps=3)
    added = merge(one, later.root)
    assert 0 < added.attempts < 4
    merge(one, campaigns[2].root)
    merge(other, campaigns[2].root)
    merge(other, later.root)
    assert content(one, merged=True) == content(other, merged=True)
    assert evidence(one) == evidence(other)


def test_a_ledger_that_went_on_in_two_places(campaigns: list[Workspace], tmp_path: Path) -> None:
    own = copied(campaigns[0], tmp_path / "own")
    one, other = copied(campaigns[1], tmp_path / "1"), copied(campaigns[1], tmp_path / "2")
    go_on(one, 5, steps=3)
    go_on(other, 6, steps=3)
    first, second = merge(own, one.root), merge(own, other.root)
    assert first.origin == second.origin
    assert second.attempts > 0
    assert second.known == len(content(campaigns[1], merged=False))
    total = len(content(own, merged=True))
    assert total == first.attempts + second.attempts
    assert merge(own, one.root).attempts == merge(own, other.root).attempts == 0


def test_a_pack_is_merged_like_its_workspace(campaigns: list[Workspace], tmp_path: Path) -> None:
    one, other = copied(campaigns[0], tmp_path / "1"), copied(campaigns[0], tmp_path / "2")
    pack(campaigns[1], tmp_path / "theirs.tar")
    merge(one, tmp_path / "theirs.tar")
    merge(other, campaigns[1].root)
    assert content(one, merged=True) == content(other, merged=True)
    assert evidence(one) == evidence(other)
    assert not (one.results / "merged" / ".incoming").exists()


def test_evidence_that_is_gone_or_another_is_named(
    campaigns: list[Workspace], tmp_path: Path
) -> None:
    own, theirs = copied(campaigns[0], tmp_path / "1"), copied(campaigns[1], tmp_path / "2")
    first, second, *_ = sorted(theirs.results.rglob("watermark.json"))
    first.unlink()
    first.symlink_to("/etc/passwd")
    second.write_text("{}")
    found = merge(own, theirs.root)
    assert found.missing == (first.relative_to(theirs.results).as_posix(),)
    assert found.changed == (second.relative_to(theirs.results).as_posix(),)
    assert found.copied == len(evidence(own))
    # The merge itself has said so; what is there and differs is another matter.
    checked = check_ledger(own, ask_git=False)
    assert not checked.findings
    told = "2 evidence files of merged attempts did not come with them, as recorded"
    assert told in checked.notes
    came = next((own.results / "merged").rglob("watermark.json"))
    name = came.relative_to(own.root)
    came.write_text("{}")
    (differs,) = check_ledger(own, ask_git=False).findings
    assert differs.what == f"{name} has another content"
    came.unlink()
    (gone,) = check_ledger(own, ask_git=False).findings
    assert gone.what == f"{name} is gone"


def _text(theirs: Workspace) -> None:
    theirs.ledger.write_text("no ledger")


def _other_database(theirs: Workspace) -> None:
    theirs.ledger.unlink()
    with sqlite3.connect(theirs.ledger) as connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()


def _newer(theirs: Workspace) -> None:
    tamper(theirs.ledger, "PRAGMA user_version = 99")


def _damaged(theirs: Workspace) -> None:
    content = bytearray(theirs.ledger.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xa5" * 20_000
    theirs.ledger.write_bytes(content)


def _verdict(theirs: Workspace) -> None:
    tamper(theirs.ledger, "UPDATE verdicts SET verdict = 'pass' WHERE verdict = 'fail'")


def _deleted(theirs: Workspace) -> None:
    tamper(theirs.ledger, "DELETE FROM measurements WHERE metric = 'stack.peak'")


def _environment(theirs: Workspace) -> None:
    tamper(theirs.ledger, "UPDATE environments SET content = replace(content, 'Linux', 'GNU')")


def _guard(theirs: Workspace) -> None:
    with sqlite3.connect(theirs.ledger) as connection:
        connection.execute("DROP TRIGGER events_no_update")
    connection.close()


def _empty(theirs: Workspace) -> None:
    theirs.ledger.write_bytes(b"")


def _gone(theirs: Workspace) -> None:
    theirs.ledger.unlink()


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (_text, {8}), (_other_database, {8}), (_newer, {8}), (_damaged, {8}), (_verdict, {7}),
        (_deleted, {7}), (_environment, {7}), (_guard, {7, 8}), (_empty, {2}), (_gone, {2}),
    ],
)  # fmt: skip
def test_what_is_no_whole_ledger_is_refused(
    change: Callable[[Workspace], None],
    codes: set[int],
    campaigns: list[Workspace],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, theirs = copied(campaigns[0], tmp_path / "1"), copied(campaigns[1], tmp_path / "2")
    change(theirs)
    before = own.ledger.read_bytes()
    result = in_process(["-C", str(own.root), "ledger", "merge", str(theirs.ledger)], capsys)
    assert result.code in codes, result.err
    assert str(theirs.ledger) in result.err
    assert "next: " in result.err
    assert own.ledger.read_bytes() == before
    assert not (own.results / "merged").exists()


@pytest.mark.parametrize("where", ["phase", "folder"])
def test_nothing_is_written_or_removed_outside_of_results(
    campaigns: list[Workspace], tmp_path: Path, where: str
) -> None:
    """An attempt that no event of the machine speaks of, in a ledger that fits itself."""
    own, theirs = copied(campaigns[0], tmp_path / "1"), copied(campaigns[1], tmp_path / "2")
    with Ledger.open(theirs.ledger, writer=True) as ledger:
        attempt = ledger.begin_attempt("odd", "import-trace", {})
        folder = theirs.results / attempt.folder
        folder.mkdir(parents=True)
        (folder / "hostile").write_text("hostile")
        ledger.finish(attempt, "recorded", artifacts=record_artifacts(folder))
    outside = "../../../../precious"

    def forge(bare: sqlite3.Connection) -> None:
        bare.execute(f"UPDATE attempts SET {where} = ? WHERE phase = 'odd'", (outside,))
        if where == "phase":
            bare.execute("UPDATE events SET phase = ? WHERE phase = 'odd'", (outside,))

    forged(theirs, forge)
    precious = tmp_path / "precious" / "attempt-001" / "file"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    with pytest.raises(LedgerTamperedError, match="was not merged") as refused:
        merge(own, theirs.root)
    assert "lies elsewhere" in refused.value.why
    assert [p for p in (tmp_path / "precious").rglob("*") if p.is_file()] == [precious]
    if where == "folder":
        assert "lies outside of results" in check_ledger(theirs, ask_git=False).findings[0].what


def test_our_own_campaign_and_a_locked_ledger(campaigns: list[Workspace], tmp_path: Path) -> None:
    own = copied(campaigns[0], tmp_path / "1")
    for same in (own.root, own.ledger, campaigns[0].root):
        with pytest.raises(ReactivateError, match="own campaign") as refused:
            merge(own, same)
        assert refused.value.exit_code is ExitCode.USAGE
    with Ledger.open(own.ledger, writer=True), pytest.raises(LedgerError) as locked:
        merge(own, campaigns[1].root)
    assert locked.value.exit_code is ExitCode.LEDGER


KILLED = """
import os, signal, sys
from pathlib import Path
from reactivate.campaign import merging
from reactivate.ledger.store import Ledger
from reactivate.workspace import Workspace
own, theirs, what, count = sys.argv[1:]
left = int(count)
def counting(function):
    def called(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return called
if what == "copy":
    merging._copied = counting(merging._copied)
else:
    Ledger._event = counting(Ledger._event)
merging.merge(Workspace(Path(own)), Path(theirs))
"""


@pytest.mark.parametrize(("what", "count"), [("copy", 1), ("event", 0), ("event", 9)])
def test_a_kill_leaves_nothing_half_merged(
    what: str, count: int, campaigns: list[Workspace], tmp_path: Path
) -> None:
    own, whole = copied(campaigns[0], tmp_path / "1"), copied(campaigns[0], tmp_path / "2")
    before = standing(own)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(own.root), str(campaigns[1].root), what, str(count)],
        cwd=ROOT, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -9
    assert standing(own) == before
    assert not content(own, merged=True)
    merge(own, campaigns[1].root)
    merge(whole, campaigns[1].root)
    assert content(own, merged=True) == content(whole, merged=True)
    assert evidence(own) == evidence(whole)


FULL = """
import resource, signal, sys
from pathlib import Path
from reactivate.campaign.merging import merge
from reactivate.errors import ReactivateError
from reactivate.workspace import Workspace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
own, theirs, most = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
try:
    merge(Workspace(Path(own)), Path(theirs))
except ReactivateError as error:
    print(error.what, error.why)
    sys.exit(int(error.exit_code))
"""


@pytest.mark.parametrize("beyond", [-1, 8_192])
def test_a_full_disk_leaves_nothing_half_merged(
    beyond: int, campaigns: list[Workspace], tmp_path: Path
) -> None:
    own, theirs = copied(campaigns[0], tmp_path / "1"), copied(campaigns[1], tmp_path / "2")
    most = 20 if beyond < 0 else own.ledger.stat().st_size + beyond
    before = own.ledger.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(own.root), str(theirs.root), str(most)],
        cwd=ROOT, check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (ExitCode.ENVIRONMENT, ExitCode.LEDGER), done.stderr
    assert own.ledger.read_bytes() == before
    assert not evidence(own)


def test_history_and_compare_show_where_it_comes_from(
    campaigns: list[Workspace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = copied(campaigns[0], tmp_path / "own")
    origin = merge(own, campaigns[1].root).origin
    here = ["-C", str(own.root)]
    points = in_process(
        [*here, "history", "stack.peak", "--component", "baseline", "--json"], capsys
    ).json()["points"]
    assert {point["origin"] for point in points} == {None, origin}
    assert {point["phase"] for point in points} == {"baseline", f"{origin}.baseline"}
    assert all((own.root / point["evidence"]).is_file() for point in points)
    compared = in_process([*here, "compare", ":baseline", f":{origin}.baseline", "--json"], capsys)
    assert compared.code == ExitCode.DONE, compared.err
    assert compared.json()["checks"]
    whole = in_process([*here, "compare", str(own.root), str(own.root), "--json"], capsys)
    assert origin not in whole.out
