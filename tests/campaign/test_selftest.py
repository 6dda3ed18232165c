"""The self-test sees what is planted, and is red where nothing is."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from reactivate.campaign import selftest as module
from reactivate.campaign.selftest import Finding, exit_code, selftest
from reactivate.cli.progress import SilentReporter
from reactivate.errors import ExitCode
from reactivate.procfs import fuse_mounts
from tests.cli.workspaces import in_process

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.usefixtures("needs_fuse")]

SOUND = Finding(name="gate", planted="a fault", seen="refused", passed=True, seconds=1.0)


def test_it_is_not_enough_that_nothing_failed() -> None:
    assert exit_code([SOUND]) == ExitCode.DONE
    assert exit_code([SOUND, replace(SOUND, passed=False)]) == ExitCode.INCONCLUSIVE
    assert exit_code([]) == ExitCode.INCONCLUSIVE


@pytest.mark.slow(15)
@pytest.mark.usefixtures("needs_root")
def test_everything_is_seen_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process(["selftest", "--keep", str(tmp_path / "kept"), "--json"], capsys)
    missed = [each for each in done.json()["findings"] if not each["passed"]]
    assert (done.code, missed) == (ExitCode.DONE, [])
    found = {each["name"]: each for each in done.json()["findings"]}
    assert list(found) == [
        "cleanup", "baseline gate", "trace gate", "overflow gate", "all gates", "ledger",
        "tampered ledger", "nothing left",
    ]  # fmt: skip
    assert found["tampered ledger"]["seen"] == "exit 0 as it was, exit 7 tampered with"
    assert found["trace gate"]["seen"] == "refused by stack.recursion <= 100"
    assert not [m for m in fuse_mounts() if m.mountpoint.is_relative_to(tmp_path)]


def test_a_gate_that_lets_the_planted_walk_pass_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = module.CHECKLIST.replace("512 KiB", "512 MiB")
    monkeypatch.setattr(module, "CHECKLIST", lenient)
    # Up to the search's baseline check, which is the first gate in question.
    monkeypatch.setattr(module, "_MOST_STEPS", 4)
    findings = list(islice(selftest(tmp_path / "w", SilentReporter(), lambda _: None), 2))
    assert findings[1].name == "baseline gate"
    assert findings[1].seen == "advanced by nothing"
    assert exit_code(findings) == ExitCode.INCONCLUSIVE


def test_what_a_killed_run_left_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").mkdir()
    real = module._mounts
    # As if nothing had been removed.
    seen: list[Path] = []

    def sticky(workspace: object) -> list[Path]:
        seen.extend(real(workspace))  # type: ignore[arg-type]
        return seen

    monkeypatch.setattr(module, "_mounts", sticky)
    (finding,) = islice(selftest(tmp_path / "w", SilentReporter(), lambda _: None), 1)
    assert not finding.passed
    assert "then mount" in finding.seen
