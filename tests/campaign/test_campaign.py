"""A campaign against a real daemon: what is done, what goes on record, and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactivate.campaign.campaign import Campaign, opened
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.campaign.review import review
from reactivate.cli.progress import SilentReporter
from reactivate.errors import (
    ConfigurationError,
    LedgerError,
    LedgerLockedError,
    MachineError,
    UsageError,
)
from reactivate.evidence import Verdict
from reactivate.ledger import AttemptStatus, Decision, Ledger
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, REFUSES, SET_UP, begun, small

OWN = f'configuration = "configs/own.toml"\n{BINDFS}'


def step(campaign: Campaign, *, yes: bool = False) -> StepReport:
    return campaign.step(who="tester", yes=yes, reporter=SilentReporter())


def decisions(workspace: Workspace) -> tuple[Decision, ...]:
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        return ledger.decisions()


@contextmanager
def refused(folder: Path) -> Iterator[tuple[Workspace, Campaign]]:
    """A campaign whose baseline was refused."""
    workspace = small(folder, limit=REFUSES, target=OWN)
    (workspace.configs / "own.toml").write_text("depth = 1\n")
    begun(workspace, steps=SET_UP)
    with opened(workspace) as campaign:
        assert step(campaign).outcome is Outcome.ADVANCED
        assert step(campaign).outcome is Outcome.REFUSED
        yield workspace, campaign


def test_one_call_is_one_step(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    with opened(workspace) as campaign:
        waiting = step(campaign)
        assert waiting.outcome is Outcome.WAITING
        assert [line.text for line in waiting.lines] == ["setup.somebody-reads-this"]
        assert step(campaign).outcome is Outcome.WAITING, "asking again changes nothing"
        confirmed = campaign.confirm(["setup.somebody-reads-this"], everything=False, who="tester")
        assert confirmed.summary == "1 item confirmed by tester."
        assert [c.command for c in confirmed.commands] == ["reactivate next"]
        assert step(campaign).heading == "setup · step 1 of 1 · prepare"
        assert step(campaign).heading == "baseline · step 1 of 4 · prepare"


def test_unattended_is_on_record(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    with opened(workspace) as campaign:
        assert step(campaign, yes=True).outcome is Outcome.ADVANCED
    (confirmed,) = decisions(workspace)
    assert (confirmed.kind, confirmed.unattended, confirmed.who) == ("confirmed", True, "tester")
    assert (workspace.decisions / "0001-setup-confirmed.md").is_file()


def test_only_one_writes(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    with opened(workspace), pytest.raises(LedgerLockedError), opened(workspace):
        pass


def test_settings_are_checked_before_anything_is_opened(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    (workspace.configs / "instruments.toml").write_text("[latency]\nrepeats = -1\n")
    with pytest.raises(ConfigurationError), opened(workspace):
        pass
    assert not workspace.ledger.exists()


@pytest.mark.fuse
@pytest.mark.root
def test_a_refusal_is_a_decision_with_its_numbers(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    with refused(tmp_path / "w") as (workspace, campaign):
        waiting = step(campaign, yes=True)
        assert waiting.outcome is Outcome.WAITING
        assert "Look at the frames." in waiting.summary
        assert [c.effect for c in waiting.commands] == ["after a fix", "take the risk, on record"]
    refusal = decisions(workspace)[-1]
    assert (refusal.kind, refusal.who) == ("refused", "gate")
    assert refusal.reason == "1 of 1 criteria of the baseline gate failed"
    status = review(workspace)
    (baseline,) = (phase for phase in status.phases if phase.id == "baseline")
    assert status.failed == ("baseline.baseline.stack.peak",)
    assert baseline.verdicts == {Verdict.FAIL: 1}
    assert baseline.worst is not None
    assert baseline.limit_bytes is not None
    assert 1024 < baseline.worst.value < baseline.limit_bytes
    assert status.next_command == "reactivate retry"


@pytest.mark.fuse
@pytest.mark.root
def test_a_retry_says_whether_anything_changed(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    with refused(tmp_path / "w") as (workspace, campaign):
        report = campaign.retry(who="tester")
        assert "is the one that was refused" in report.summary
        activated = step(campaign)
        assert [line.label for line in activated.lines][-1] == "note"
        (workspace.configs / "own.toml").write_text("depth = 2\n")
        assert "is the one that was refused" not in campaign.retry(who="tester").summary
        assert "note" not in [line.label for line in step(campaign).lines]
        campaign.retry(who="tester", reason="smaller frames")
    assert [d.reason for d in decisions(workspace) if d.kind == "retried"] == [
        "no reason given; the target's configuration is the one that was refused",
        "the target's configuration changed since the refusal",
        "smaller frames",
    ]


@pytest.mark.fuse
@pytest.mark.root
def test_a_waiver_opens_the_gate_and_stays_visible(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    with refused(tmp_path / "w") as (workspace, campaign):
        with pytest.raises(UsageError, match="needs a reason"):
            campaign.waive("stack.peak", reason=" ", who="tester")
        campaign.waive("stack.peak", reason="known | <b>and</b> small", who="tester")
        waiting = step(campaign)
        assert [c.command for c in waiting.commands] == [
            "reactivate confirm --all",
            "reactivate confirm ITEM …",
        ]
        assert step(campaign, yes=True).summary == "baseline is active."
    status = review(workspace)
    (waiver,) = status.waivers
    assert (waiver.criterion, waiver.who) == ("baseline.baseline.stack.peak", "tester")
    advanced = decisions(workspace)[-1]
    assert advanced.reason == "every gate passed, 1 criteria waived"
    page = next(workspace.decisions.glob("*-baseline-waived.md")).read_text()
    assert "| why | known \\| &lt;b>and&lt;/b> small |" in page


@pytest.mark.fuse
def test_a_step_that_breaks_is_on_record_and_moves_nothing(
    needs_fuse: None, tmp_path: Path
) -> None:
    workspace = small(tmp_path / "w", target=BINDFS.replace('["bindfs"', '["false"'))
    begun(workspace, steps=SET_UP)
    with opened(workspace) as campaign:
        before = campaign.announcement()
        with pytest.raises(MachineError):
            step(campaign)
        assert campaign.announcement() == before
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        (attempt,) = ledger.attempts()
        (held,) = ledger.events(kind="inconclusive")
    assert (attempt.status, attempt.outcome) == (AttemptStatus.FINISHED, "error")
    assert "status 1" in str(held.data["reason"])


def test_a_campaign_that_was_not_begun_has_a_status(tmp_path: Path) -> None:
    status = review(small(tmp_path / "w", target=BINDFS))
    assert (status.current, status.state, status.done, status.total) == ("setup", "pending", 0, 4)
    assert status.events == status.measurements == 0
    assert status.next_command == "reactivate confirm setup.somebody-reads-this"


def test_events_that_cannot_have_happened_stop_everything(tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", target=BINDFS)
    begun(workspace)
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        ledger.append("documented", "vector_storage", {"who": "nobody"})
    with opened(workspace) as campaign, pytest.raises(LedgerError, match="event 2"):
        step(campaign)
