"""What was run by hand is on record with its evidence, and no part of the campaign."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from made_campaigns import events_of, go_on, provoke, workspace_for

from reactivate.campaign import provoked
from reactivate.campaign.ledger_check import check_ledger
from reactivate.campaign.machine import replay
from reactivate.campaign.merging import merge
from reactivate.campaign.packing import pack
from reactivate.campaign.passage import Passage
from reactivate.campaign.provoked import book
from reactivate.campaign.replaying import replay_ledger
from reactivate.campaign.review import review
from reactivate.campaign.status import CampaignStatus
from reactivate.campaign.unpacking import unpack
from reactivate.errors import ExitCode, LedgerError
from reactivate.ledger import Event, Ledger
from reactivate.ledger.origin import BY_HAND, by_hand, origin_of
from reactivate.ledger.provoked import ProvokedLedger, provoked_notes
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.write import Wanted, render, write
from reactivate.report.export.write import Format, export
from reactivate.target.config import load_target, target_path
from reactivate.workload.scenario import Expectation
from reactivate.workspace import Workspace
from tests.cli.workspaces import in_process

ALL = Wanted(components=("vector_storage",), overflow=True)


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> list[Workspace]:
    """Two campaigns in the middle; to be copied."""
    made = []
    for seed, steps in ((1, 13), (2, 6)):
        workspace = workspace_for(tmp_path_factory.mktemp("campaigns") / f"w{seed}")
        go_on(workspace, seed, steps=steps, worst=seed == 2)
        made.append(workspace)
    return made


@pytest.fixture
def own(campaigns: list[Workspace], tmp_path: Path) -> Workspace:
    return copied(campaigns[0], tmp_path / "own")


def copied(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.root, folder)
    return Workspace(folder)


def standing(workspace: Workspace) -> CampaignStatus:
    """Where it stands; events and head of its file are of the file, not of the campaign."""
    return dataclasses.replace(review(workspace), events=0, head="")


def moved(workspace: Workspace) -> list[Any]:
    """Where it stands without times, and every verdict of the campaign."""
    status = standing(workspace)
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        verdicts = [
            (a.phase, a.step, a.number, a.outcome, ledger.judgements(a.id))
            for a in ledger.attempts()
            if not by_hand(a.phase)
        ]
        decided = [(d.kind, d.phase, d.criterion, d.reason) for d in ledger.decisions()]
    named = (status.state, status.current, status.phases, status.open_items, status.failed,
             status.next_command, status.evidence, status.interrupted)  # fmt: skip
    return [named, verdicts, decided]


def told(passage: Passage) -> list[object]:
    """All that a passage says, but for the numbers of its events."""
    fields = {f.name for f in dataclasses.fields(passage)} - {"seq", "checklist", "waivers"}
    refusal = passage.refusal and passage.refusal.standing
    own = [getattr(passage, name) for name in sorted(fields - {"refusal"})]
    return [*own, passage.next_step(), list(passage.waivers), refusal]


def analyses(workspace: Workspace) -> dict[str, str]:
    return dict(render(workspace.ledger, workspace.results, ALL).documents)


def notes(workspace: Workspace) -> tuple[Event, ...]:
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        return provoked_notes(ledger)


def test_no_state_verdict_or_reference_moves(
    campaigns: list[Workspace], own: Workspace, tmp_path: Path
) -> None:
    alone = copied(campaigns[0], tmp_path / "alone")
    provoke(own)
    provoke(own, expect=Expectation.OVERFLOWS, components=[])
    later = datetime(2099, 1, 2, 3, 59, tzinfo=UTC)
    with ProvokedLedger.open(own.ledger, writer=True, clock=lambda: later) as ledger:
        ledger.provoked({}, outcome="expected", environment={}, folder="overflow/x", artifacts=(),
                        started=later)  # fmt: skip
    assert standing(own) == standing(alone), "not even the time at which it moved last"
    # Nor does what is decided and measured from here on.
    for workspace in (own, alone):
        go_on(workspace, 7, steps=4)
    assert moved(own) == moved(alone)
    provoke(own)
    assert moved(own) == moved(alone)
    with Ledger.open(own.ledger, writer=False) as ledger:
        hand = [a for a in ledger.attempts() if by_hand(a.phase)]
        assert len(hand) == 4
        for attempt in hand:
            assert not ledger.measurements(attempt.id) and not ledger.judgements(attempt.id)


def test_it_is_history_wherever_it_stands_among_the_events(
    campaigns: list[Workspace], own: Workspace
) -> None:
    provoke(own)
    for campaign in campaigns:
        with (
            Ledger.open(campaign.ledger, writer=False) as ledger,
            Ledger.open(own.ledger, writer=False) as ours,
        ):
            events, hand = ledger.events(), [e for e in ours.events() if by_hand(e.phase)]
        assert [e.kind for e in hand] == ["attempt_started", "note", "attempt_finished"]
        expected = told(replay(events))
        for place in range(len(events) + 1):
            mixed = [*events[:place], *hand, *events[place:]]
            numbered = [dataclasses.replace(e, seq=n) for n, e in enumerate(mixed, start=1)]
            assert told(replay(numbered)) == expected


def test_the_note_says_what_was_seen_and_names_every_file(own: Workspace) -> None:
    folder = provoke(own)
    (event,) = notes(own)
    note: Any = event.data
    assert (note["schema"], note["scenario"], note["components"]) == (
        1, "deep_recursion", ["vector_storage"],
    )  # fmt: skip
    assert (note["expect"], note["passed"], note["complete"]) == ("survives", False, True)
    survived, died = note["steps"]
    assert (survived["ending"], survived["depth_bytes"], survived["death"]) == (
        "survived", 40_960, None,
    )  # fmt: skip
    assert died["death"]["text"] == "stack overflow of the main thread"
    assert died["classification"]["kind"] == "recursion"
    assert "walk × 966, 2,160 B each" in died["classification"]["evidence"]
    assert any("walk × 2" in line for line in died["death"]["chain"])
    assert died["value"] and died["parameter"] == "ef" and died["stack_limit_bytes"]
    (law,) = note["growth"]
    assert (law["kind"], law["formula"]) == ("linear", "28,412 B + 2,160 B × ef")
    assert note["least"]["survived_bytes"] == 106_496
    below = folder.relative_to(own.root).as_posix()
    assert {each["path"] for each in note["files"]} == {
        f"{below}/deep_recursion.json", f"{below}/deep_recursion/step-2/death.json",
    }  # fmt: skip
    with Ledger.open(own.ledger, writer=False) as ledger:
        attempt = ledger.attempt(event.attempt or 0)
        artifacts = {f"{below}/{a.path}": a.sha256 for a in ledger.artifacts(attempt.id)}
        environment = ledger.environment(attempt.environment_sha256)
    assert artifacts == {each["path"]: each["sha256"] for each in note["files"]}
    assert (attempt.phase, attempt.outcome) == (BY_HAND, "unexpected")
    assert environment["artifact_sha256"] == "b" * 64
    assert {"kernel", "tools", "commit", "configuration_sha256"} <= environment.keys()


def test_the_documented_members_are_the_recorded_ones(own: Workspace, project_root: Path) -> None:
    provoke(own)
    (event,) = notes(own)
    note: Any = event.data
    page = (project_root / "docs" / "exports.md").read_text(encoding="utf-8")
    rows = page.partition("| member of `data` | |\n")[2].partition("\n\n")[0].splitlines()[1:]
    cells = [row.strip("| ").split(" | ", 1) for row in rows]
    members = {name for first, _ in cells for name in re.findall(r"`(\w+)`", first)}
    assert members | {"about", "schema"} == note.keys()
    inner = {first.strip("`"): set(re.findall(r"`(\w+)`", text)) for first, text in cells}
    died = note["steps"][1]
    told = died.keys() | died["death"].keys() | died["classification"].keys()
    assert inner["steps"] == told | {"not_measured"}
    assert inner["growth"] == note["growth"][0].keys()
    assert inner["least"] == note["least"].keys()
    assert inner["files"] == note["files"][0].keys()
    assert f"`schema` in the data is {provoked.SCHEMA}" in page


def test_scenarios_of_one_call_do_not_claim_each_others_files(own: Workspace) -> None:
    folder = provoke(own)
    provoke(own, name="large_allocations", folder=folder)
    with Ledger.open(own.ledger, writer=False) as ledger:
        hand = [a for a in ledger.attempts() if by_hand(a.phase)]
        paths = [{artifact.path for artifact in ledger.artifacts(a.id)} for a in hand]
    assert paths == [
        {f"{name}.json", f"{name}/step-2/death.json"}
        for name in ("deep_recursion", "large_allocations")
    ]
    assert not check_ledger(own, ask_git=False).findings


def test_a_changed_and_a_deleted_file_are_named(own: Workspace) -> None:
    folder = provoke(own)
    before = check_ledger(own, ask_git=False)
    assert not before.findings
    (folder / "deep_recursion.json").write_text("{}")
    (folder / "deep_recursion" / "step-2" / "death.json").unlink()
    after = check_ledger(own, ask_git=False)
    name = f"results/{folder.relative_to(own.results)}/deep_recursion"
    assert {f.what for f in after.findings} == {
        f"{name}.json has another content", f"{name}/step-2/death.json is gone",
    }  # fmt: skip
    # What the ledger itself says of it stands, and the file is not believed.
    text = analyses(own)["stack-overflow.md"]
    assert "walk × 966, 2,160 B each" in text
    assert "deep_recursion.json`: **changed**" in text and "death.json`: **missing**" in text


def test_a_changed_note_is_a_forgery(own: Workspace) -> None:
    provoke(own)
    with closing(sqlite3.connect(own.ledger)) as bare, bare:
        triggers = bare.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'"
        ).fetchall()
        for name, _ in triggers:
            bare.execute(f"DROP TRIGGER {name}")
        bare.execute("UPDATE events SET data = replace(data, '966', '966000') WHERE kind = 'note'")
        for _, sql in triggers:
            bare.execute(sql)
    (found,) = check_ledger(own, ask_git=False).findings
    assert (found.kind, found.what) == ("note", "events: a row is not as it was recorded")


def test_analyses_show_it_and_say_that_it_counts_for_nothing(own: Workspace) -> None:
    without = analyses(own)
    assert "run by hand (`reactivate overflow`): 0;" in without["stack-overflow.md"]
    provoke(own)
    provoke(own, expect=Expectation.OVERFLOWS)
    files = analyses(own)
    text = files["stack-overflow.md"]
    rows = [line for line in text.splitlines() if line.startswith("| by hand")]
    assert sum("**not as expected**" in row for row in rows) >= 1
    assert any("recursion: walk × 966, 2,160 B each, 99.7 % of 2 MiB" in row for row in rows)
    assert any("| linear | 28,412 B + 2,160 B × ef |" in row for row in rows)
    assert any("| 104 KiB |" in row and "dies with 100 KiB" in row for row in rows)
    assert "2 on record, 1 of them asked for" in text
    assert "Of all, provoked by hand: 2." in text
    assert "2,048 each" in text, "the call chain"
    assert "by hand; no gate counts it" in text.lower()
    (row,) = [line for line in text.splitlines() if "1 **not as expected** |" in line]
    assert row.startswith("| `vector_storage` | not measured by the newest checks | 0 | 0 |")
    assert "walk × 966" in files["component-vector_storage.md"]
    assert "None is on record." in without["component-vector_storage.md"]
    # Written and replayed: the same bytes from the same record.
    write(render(own.ledger, own.results, ALL), own.results / "analysis")
    assert not replay_ledger(own).findings


def test_a_component_that_died_by_hand_comes_later_until_it_survives(own: Workspace) -> None:
    def deaths_by_hand() -> str:
        text = analyses(own)["stack-overflow.md"].partition("## Order that")[2]
        (row,) = [line for line in text.splitlines() if "| `vector_storage` |" in line]
        return row.split(" | ")[5]

    assert deaths_by_hand() == "0"
    provoke(own)
    provoke(own)
    assert deaths_by_hand() == "1", "only the newest run of the same scenario tells"
    provoke(own, dies=False)
    assert deaths_by_hand() == "0"


def test_exports_hold_it(own: Workspace) -> None:
    def text(wanted: Format) -> str:
        with LedgerReader.opened(own.ledger) as reader:
            return "".join(export(reader, own.results, wanted, missing))

    missing: list[str] = []
    before = text(Format.CSV), text(Format.PROMETHEUS).partition("# HELP reactivate_ledger")[0]
    folder = provoke(own)
    whole = json.loads(text(Format.JSON))
    (note,) = [e for e in whole["events"] if e["data"].get("about") == "provoked"]
    assert note["kind"] == "note" and note["data"]["steps"][1]["death"]
    # No measurement came with it.
    after = text(Format.CSV), text(Format.PROMETHEUS).partition("# HELP reactivate_ledger")[0]
    assert before == after
    head, survived, died = text(Format.PROVOKED).splitlines()
    assert head.startswith("phase,attempt,started_at,scenario,")
    assert ",survived,40960,," in survived
    assert ",died,,stack overflow of the main thread,recursion," in died
    assert "by hand;death in deep_recursion" in text(Format.FOLDED)
    (folder / "deep_recursion.json").write_text("{}")
    missing.clear()
    with pytest.raises(Exception, match="no call chain"):
        text(Format.FOLDED)
    assert any("deep_recursion.json is changed" in each for each in missing)


def test_it_travels_in_a_pack(own: Workspace, tmp_path: Path) -> None:
    folder = provoke(own)
    pack(own, tmp_path / "campaign.tar")
    unpack(tmp_path / "campaign.tar", tmp_path / "there")
    there = Workspace(tmp_path / "there")
    assert not check_ledger(there, ask_git=False).findings
    evidence = (there.results / folder.relative_to(own.results)) / "deep_recursion.json"
    assert evidence.read_bytes() == (folder / "deep_recursion.json").read_bytes()
    assert notes(there) == notes(own)
    assert analyses(there) == analyses(own)


def test_it_is_merged_once(campaigns: list[Workspace], own: Workspace, tmp_path: Path) -> None:
    theirs = copied(campaigns[1], tmp_path / "theirs")
    provoke(theirs)
    provoke(theirs, dies=False)
    before = standing(own)
    first = merge(own, theirs.root)
    assert not (first.missing or first.changed or first.left_out)
    assert standing(own) == before
    assert [e.data for e in notes(own)] == [e.data for e in notes(theirs)]
    assert {origin_of(e.phase) for e in notes(own)} == {first.origin}
    recorded = events_of(own)
    again = merge(own, theirs.root)
    assert (again.attempts, events_of(own)) == (0, recorded)
    provoke(theirs)
    assert merge(own, theirs.root).attempts == 1
    assert len(notes(own)) == 3
    assert not check_ledger(own, ask_git=False).findings
    assert not replay_ledger(own).findings
    files = analyses(own)
    assert f"by hand, `{first.origin}`" in files["stack-overflow.md"]
    assert "None is on record." in files["component-vector_storage.md"], "of this campaign only"


def test_it_is_whole_or_not_there(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    provoke(own)
    recorded, kept = events_of(own), notes(own)
    for method in ("_event", "_end", "_insert_all"):
        calls: list[str] = []

        def broken(
            self: ProvokedLedger, *arguments: Any, name: str = method, calls: list[str] = calls
        ) -> Any:
            calls.append(name)
            if len(calls) == {"_event": 3, "_end": 1, "_insert_all": 2}[name]:
                raise KeyboardInterrupt
            return getattr(Ledger, name)(self, *arguments)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(ProvokedLedger, method, broken, raising=False)
            provoke(own)
        assert calls
        assert (events_of(own), notes(own)) == (recorded, kept)
    assert not check_ledger(own, ask_git=False).findings
    provoke(own)
    assert len(notes(own)) == 2


def test_while_another_command_writes_nothing_is_recorded_and_it_is_said(own: Workspace) -> None:
    spec = load_target(target_path(own, "own"))
    recorded = events_of(own)
    with (
        Ledger.open(own.ledger, writer=True),
        book(own, spec) as taken,
    ):
        assert "is being written by process" in taken.why_not
    # And the other way round: a run by hand keeps other writers out until it has ended.
    with (
        book(own, spec) as taken,
        pytest.raises(LedgerError, match="is being written by process"),
        Ledger.open(own.ledger, writer=True),
    ):
        pass
    assert taken.why_not == "" and events_of(own) == recorded


def test_a_damaged_ledger_is_refused_before_anything_runs(
    own: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    own.ledger.write_bytes(own.ledger.read_bytes()[:-4096])
    done = in_process(["-C", str(own.root), "overflow", "--scenario", "baseline_minimal"], capsys)
    assert done.code == ExitCode.LEDGER, done.out
    assert not list(own.results.glob("overflow/*"))


def test_without_a_ledger_none_is_made(tmp_path: Path) -> None:
    fresh = workspace_for(tmp_path / "fresh")
    spec = load_target(target_path(fresh, "own"))
    with book(fresh, spec) as taken:
        assert "has no ledger yet" in taken.why_not
    assert not fresh.ledger.exists()


def test_the_log_and_the_report_of_the_campaign_are_as_before(
    campaigns: list[Workspace], own: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: str) -> str:
        done = in_process(["-C", str(own.root), *command], capsys)
        assert done.code == 0, done.err
        return done.out

    said("log", "--write")
    commands: Sequence[tuple[str, ...]] = (
        ("log",), ("log", "--check"), ("log", "--json"), ("history", "stack.peak"),
    )  # fmt: skip
    before = [said(*command) for command in commands]
    provoke(own)
    assert [said(*command) for command in commands] == before
    said("report")
    page = (own.results / "report" / "index.html").read_text()
    assert "a run by hand, which counts for no gate" in page
    assert "walk × 966" in page
