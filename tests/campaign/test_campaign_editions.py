"""A checklist that is edited between two calls, in a workspace on disk. Nothing is mounted here:
what would need a mount is put on record by the writer that the campaign uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactivate.campaign import recording
from reactivate.campaign.campaign import Campaign, opened
from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Ground
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.campaign.review import review
from reactivate.campaign.states import PhaseState, Step, StepKind
from reactivate.checklist.parse import load
from reactivate.errors import ChecklistError, UsageError
from reactivate.evidence import Check
from reactivate.instrument.contract import Reporter
from reactivate.ledger.records import JSON, Event
from reactivate.ledger.store import Ledger
from reactivate.target.config import load_target, target_path
from reactivate.workspace import Workspace, create


class Silent(Reporter):
    """Nothing is measured here, so nothing is reported."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create(tmp_path / "campaign", "model")


def events(workspace: Workspace, kind: str | None = None) -> tuple[Event, ...]:
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        return ledger.events(kind=kind)


def edit(workspace: Workspace, old: str, new: str) -> None:
    path = workspace.settings().checklist
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


def confirm_all(campaign: Campaign) -> StepReport:
    return campaign.confirm([], everything=True, who="ada")


def told(report: StepReport) -> list[str]:
    return [f"{line.label} {line.text}" for line in report.lines if line.label != "open"]


@contextmanager
def writing(workspace: Workspace) -> Iterator[Ground]:
    settings = workspace.settings()
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        yield Ground(
            workspace=workspace,
            checklist=load(settings.checklist),
            spec=load_target(target_path(workspace, settings.target)),
            ledger=ledger,
        )


def baseline_measured(workspace: Workspace) -> None:
    """The minimal build went through its first gate."""
    with opened(workspace) as campaign:
        confirm_all(campaign)
    with writing(workspace) as ground:
        phase = ground.checklist.phase("baseline")
        criteria = gate_criteria(ground.checklist, phase, Check.BASELINE)
        verdicts: Mapping[str, JSON] = {criterion.id: "pass" for criterion in criteria}
        proof: Mapping[str, JSON] = {"artifact_sha256": "a", "witness": "", "components": []}
        for kind, data in (
            (EventKind.PREPARED, {}),
            (EventKind.ACTIVATED, proof),
            (EventKind.CHECKED, {"check": "baseline", "verdicts": verdicts}),
            (EventKind.GATE_PASSED, {"check": "baseline"}),
        ):
            recording.append(ground, kind, "baseline", data)


def setup_done(workspace: Workspace) -> None:
    with opened(workspace) as campaign:
        confirm_all(campaign)
        report = campaign.step(who="ada", yes=False, reporter=Silent())
        assert report.outcome is Outcome.ADVANCED


def test_the_ledger_alone_says_where_the_campaign_stands(workspace: Workspace) -> None:
    setup_done(workspace)
    workspace.settings().checklist.write_text("gone", encoding="utf-8")
    passage = replay(events(workspace))
    assert passage.current == "baseline"
    (start,) = events(workspace, "campaign_started")
    assert start.data["checklist"] == "checklists/vexfs.md"
    assert start.data["checklist_sha256"] == passage.checklist.sha256


def test_an_edit_is_recorded_once_and_told(workspace: Workspace) -> None:
    setup_done(workspace)
    edit(workspace, "Nothing else runs on this machine", "Nothing else is running here")
    edit(workspace, "`stack.idle <= 5% of stack.limit`", "`stack.idle <= 4% of stack.limit`")
    with opened(workspace) as campaign:
        report = campaign.step(who="ada", yes=False, reporter=Silent())
    assert report.outcome is Outcome.WAITING
    (since,) = events(workspace, "campaign_started")
    (line,) = told(report)
    assert line == (
        f"checklist changed since {since.at[:10]} {since.at[11:16]} UTC: "
        "1 criterion of baseline; 1 item of baseline"
    )
    with opened(workspace) as campaign:
        assert not told(campaign.step(who="ada", yes=False, reporter=Silent()))
    (event,) = events(workspace, "checklist_changed")
    assert event.data["checklist_text"] == workspace.settings().checklist.read_text("utf-8")
    assert event.data["changed"] == ["1 criterion of baseline", "1 item of baseline"]


def test_status_shows_an_edit_before_it_is_recorded(workspace: Workspace) -> None:
    setup_done(workspace)
    baseline_measured(workspace)
    before = review(workspace)
    assert before.phases[1].state == "trace check"
    recorded = events(workspace)
    edit(workspace, "`stack.idle <= 5% of stack.limit`", "`stack.idle <= 4% of stack.limit`")
    edit(workspace, "- [ ] Somebody with the right to say no reads the refusals\n", "")
    found = review(workspace)
    assert [phase.state for phase in found.phases[:2]] == ["active", "activating"]
    assert "its part of the checklist" in found.phases[0].stale
    assert "its part of the checklist" in found.phases[1].stale
    assert not found.phases[2].stale
    assert events(workspace) == recorded
    with opened(workspace):
        assert len(events(workspace)) == len(recorded) + 1
    assert review(workspace).phases == found.phases
    step = replay(events(workspace)).next_step()
    assert isinstance(step, Step)
    assert (step.kind, step.phase) == (StepKind.ACTIVATE, "baseline")


def test_an_edited_criterion_undoes_what_it_judged_and_no_more(workspace: Workspace) -> None:
    setup_done(workspace)
    baseline_measured(workspace)
    edit(workspace, "`stack.idle <= 5% of stack.limit`", "`stack.idle <= 4% of stack.limit`")
    with opened(workspace) as campaign, pytest.raises(UsageError, match="nothing to retry"):
        campaign.retry(who="ada")
    passage = replay(events(workspace))
    assert passage.states["setup"] is PhaseState.ACTIVE
    assert passage.states["baseline"] is PhaseState.ACTIVATING
    assert set(passage.stale) == {"baseline"}
    assert set(passage.confirmed) == {
        item.id for name in ("setup", "baseline") for item in passage.checklist.phase(name).before
    }


def test_a_tick_is_no_edit(workspace: Workspace) -> None:
    setup_done(workspace)
    path = workspace.settings().checklist
    path.write_text(path.read_text("utf-8").replace("- [ ]", "- [x]"), encoding="utf-8")
    with opened(workspace) as campaign:
        confirm_all(campaign)
    assert not events(workspace, "checklist_changed")
    review(workspace)


def test_a_faulty_edit_is_refused_and_leaves_no_trace(workspace: Workspace) -> None:
    setup_done(workspace)
    recorded = events(workspace)
    edit(workspace, "`stack.idle <= 5% of stack.limit`", "`stack.idle`")
    with pytest.raises(ChecklistError), opened(workspace):
        pass
    with pytest.raises(ChecklistError):
        review(workspace)
    assert events(workspace) == recorded
    edit(workspace, "`stack.idle`", "`stack.idle <= 5% of stack.limit`")
    with opened(workspace) as campaign:
        confirm_all(campaign)
    assert not events(workspace, "checklist_changed")
