"""Everything that follows from the raw record is worked out anew; what differs is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_campaigns import go_on, workspace_for
from tampering import tamper

from reactivate.campaign.campaign import opened
from reactivate.campaign.consistency import Kind
from reactivate.campaign.replaying import Replayed, replay_ledger
from reactivate.cli.progress import SilentReporter
from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from reactivate.report.analysis.write import Wanted, render, write
from reactivate.workspace import Workspace
from tests.cli.workspaces import BINDFS, REFUSES, SET_UP, begun, small


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A campaign with a refusal, relative criteria, and analyses."""
    workspace = workspace_for(tmp_path_factory.mktemp("replayed") / "w")
    go_on(workspace, 1, steps=20, worst=True)
    wanted = Wanted(baseline=True, components=("vector_storage",), overflow=True)
    files = render(workspace.ledger, workspace.results, wanted)
    write(files, workspace.results / "analysis")
    return workspace


@pytest.fixture
def own(campaign: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, to be changed."""
    shutil.copytree(campaign.root, tmp_path / "w", symlinks=True)
    return Workspace(tmp_path / "w")


def told(found: Replayed) -> str:
    return "\n".join(f"{f.place}: {f.why}: {f.recorded} / {f.rebuilt}" for f in found.findings)


def test_what_nobody_touched_is_as_recorded(campaign: Workspace) -> None:
    found = replay_ledger(campaign)
    assert not found.findings, told(found)
    assert found.exit_code is ExitCode.DONE
    with Ledger.open(campaign.ledger, writer=False) as ledger:
        judged = [len(ledger.judgements(a.id)) for a in ledger.attempts()]
        decisions = len(ledger.decisions())
    assert found.verdicts == sum(judged) > 5
    assert found.attempts == sum(bool(n) for n in judged)
    # The index, the campaign report, one file for each decision, three analyses.
    assert found.documents == decisions + 5


@pytest.mark.parametrize("seed", range(2))
def test_any_campaign_is_as_recorded_at_any_step(seed: int, tmp_path: Path) -> None:
    workspace = workspace_for(tmp_path / "w")
    for part in range(3):
        go_on(workspace, 10 * seed + part, steps=5)
        found = replay_ledger(workspace)
        assert not found.findings, told(found)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE verdicts SET verdict = 'pass' WHERE verdict = 'fail'", "verdict"),
        ("UPDATE verdicts SET observed = observed + 1 WHERE typeof(observed) = 'integer'",
         "observed"),
        ("UPDATE verdicts SET reason = 'all is well'", "reason"),
        ('UPDATE verdicts SET "limit" = "limit" * 2 WHERE "limit" > 0', "limit"),
        ("UPDATE measurements SET value = 4000000 WHERE metric = 'stack.peak'", "attempt"),
        ("UPDATE measurements SET samples = '[1]' WHERE metric = 'latency.p50'",
         "baseline.latency.p50: its verdict"),
        ("UPDATE measurements SET value = value * 3 WHERE metric = 'rss.peak'", "rss.peak"),
        ("DELETE FROM measurements WHERE metric = 'stack.limit'", "measurements"),
        ("DELETE FROM verdicts", "verdicts"),
        ("UPDATE attempts SET outcome = 'advanced' WHERE outcome = 'refused'", "outcome"),
        ("DELETE FROM events WHERE seq = (SELECT max(seq) - 1 FROM events)", "events"),
        ("UPDATE events SET data = replace(data, '\"pass\"', '\"fail\"') WHERE kind = 'checked'",
         "verdict"),
        ("UPDATE events SET data = replace(data, '25% of', '75% of')"
         " WHERE kind = 'campaign_started'", "digest"),
        ("UPDATE decisions SET context = replace(context, 'MiB', 'KiB') WHERE kind = 'refused'",
         "summary"),
        ("UPDATE decisions SET reason = 'another' WHERE kind = 'confirmed'", "docs/decisions"),
    ],
)  # fmt: skip
def test_a_change_behind_the_back_is_a_contradiction(
    statement: str, said: str, own: Workspace
) -> None:
    tamper(own.ledger, statement)
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.TAMPERED
    assert said in told(found)


def test_a_changed_decision_is_named_with_its_line(own: Workspace) -> None:
    (path,) = own.decisions.glob("*-baseline-refused.md")
    lines = path.read_text().split("\n")
    number = next(n for n, line in enumerate(lines, start=1) if "FAIL" in line)
    lines[number - 1] = lines[number - 1].replace("FAIL", "PASS")
    path.write_text("\n".join(lines))
    (found,) = replay_ledger(own).findings
    assert found.kind is Kind.CONTRADICTION
    assert found.place == f"docs/decisions/{path.name}:{number}"
    assert "PASS" in found.recorded
    assert "FAIL" in found.rebuilt


def test_an_invented_decision_is_named(own: Workspace) -> None:
    (own.decisions / "0099-all-advance.md").write_text("# 0099\n")
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.TAMPERED
    assert "docs/decisions/0099-all-advance.md: it is of no decision on record" in told(found)


def test_what_a_kill_left_behind_is_no_forgery(own: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in own.decisions.iterdir()}
    with Ledger.open(own.ledger, writer=False) as ledger:
        count = len(ledger.decisions())
    steps = 0
    while count == _decisions(own) and steps < 10:
        go_on(own, 77 + steps, steps=1)
        steps += 1
    for path in own.decisions.iterdir():
        path.unlink()
    for name, content in before.items():
        (own.decisions / name).write_bytes(content)
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert "reactivate log --write" in told(found)


def _decisions(workspace: Workspace) -> int:
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        return len(ledger.decisions())


def test_what_cannot_be_told_is_no_contradiction(own: Workspace) -> None:
    (own.results / "analysis" / "baseline.md").write_text("# Older\n")
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert [f.place for f in found.findings] == ["results/analysis/baseline.md:1"]
    shutil.rmtree(own.results / "analysis")
    (own.decisions / "README.md").unlink()
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert [f.place for f in found.findings] == ["docs/decisions/README.md"]


def test_an_attempt_without_its_checklist_cannot_be_replayed(own: Workspace) -> None:
    shutil.rmtree(own.results / "analysis")
    with Ledger.open(own.ledger, writer=True) as ledger:
        first = next(a for a in ledger.attempts() if ledger.judgements(a.id))
        attempt = ledger.begin_attempt("vector_storage", "verify-baseline", {"kernel": "old"})
        ledger.finish(attempt, "verified", judgements=ledger.judgements(first.id))
    found = replay_ledger(own)
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert [f.why for f in found.findings] == ["the checklist it was judged by is not on record"]


@pytest.mark.fuse
@pytest.mark.root
def test_a_real_campaign_is_as_recorded(needs_fuse: None, needs_root: None, tmp_path: Path) -> None:
    workspace = small(tmp_path / "w", limit=REFUSES, target=BINDFS)
    begun(workspace, steps=SET_UP)
    with opened(workspace) as real:
        for _ in range(2):
            real.step(who="tester", yes=True, reporter=SilentReporter())
        real.waive("stack.peak", reason="known", who="tester")
    found = replay_ledger(workspace)
    assert not found.findings, told(found)
    assert found.verdicts == 1
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        (chain,) = (
            d.context["chain"] for d in ledger.decisions(kind="refused") if "chain" in d.context
        )
    assert found.chains == (not str(chain).startswith("['no call chain"))
    evidence = [*workspace.results.glob("baseline/*/deepest/*.json")]
    for path in evidence:
        path.write_text("{}")
    if found.chains:
        again = replay_ledger(workspace)
        assert again.exit_code is ExitCode.INCONCLUSIVE
        assert "call chain: its evidence is gone" in told(again)
