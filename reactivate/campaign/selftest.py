"""Whether this installation can be believed on this machine: every gate is shown a planted fault.

A small campaign on the embedded filesystem, in a folder of its own. A finding is never "it ran":
it is that something was refused, found or removed that had been planted for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reactivate import procfs
from reactivate.campaign.campaign import opened
from reactivate.campaign.outcome import Outcome, StepReport
from reactivate.campaign.selftest_material import (
    CAMPAIGN,
    CHECKLIST,
    CULPRIT,
    FAULT,
    INSTRUMENTS,
    PHASE,
    TARGET,
)
from reactivate.errors import ExitCode, LedgerError
from reactivate.evidence import Verdict
from reactivate.instrument.contract import Reporter
from reactivate.ledger.records import AttemptStatus
from reactivate.ledger.schema import TEXTS
from reactivate.ledger.store import Ledger
from reactivate.target.settings import set_value
from reactivate.workspace import Workspace, create

_WHO = "selftest"
_MOST_STEPS = 20
_MOUNT_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.005

Say = Callable[[str], None]
"""Told what is done next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that had to be seen.

    Attributes:
        name: what was put to the test.
        planted: what was wrong on purpose, or what was mended.
        seen: what came of it, in words.
        passed: whether that is what must come.
        seconds: how long it took.
    """

    name: str
    planted: str
    seen: str
    passed: bool
    seconds: float


def selftest(folder: Path, reporter: Reporter, say: Say) -> Iterator[Finding]:
    """Make a workspace in an empty folder and put the tool to the test in it.

    What cannot be tested here because the machine lacks something ends it.

    Raises:
        MachineError: as from building and mounting; what was seen before was given already.
    """
    workspace = _planted(folder)
    for test in (_kill, _gates, _mended, _ledger, _tampered):
        yield from test(workspace, reporter, say)
    yield _nothing_left(workspace)


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """0 if everything was seen; 5 if not: what is measured here proves nothing."""
    seen = bool(findings) and all(finding.passed for finding in findings)
    return ExitCode.DONE if seen else ExitCode.INCONCLUSIVE


def _planted(folder: Path) -> Workspace:
    workspace = create(folder, "model", reduced=True)
    for path, text in (
        (workspace.checklists / "selftest.md", CHECKLIST),
        (workspace.configs / "targets" / "planted.toml", TARGET),
        (workspace.configs / "instruments.toml", INSTRUMENTS),
        (workspace.configs / "campaign.toml", CAMPAIGN),
    ):
        path.write_text(text, encoding="utf-8")
    key, planted, _ = FAULT
    set_value(workspace, key, planted)
    return workspace


def _kill(workspace: Workspace, reporter: Reporter, say: Say) -> Iterator[Finding]:
    """The tool is killed while it measures; the next call removes what it left."""
    say("a run that is killed while it measures")
    begun = time.monotonic()
    _go_on(workspace, reporter, steps=1)  # the minimal build is proven; its check comes next
    command = [sys.executable, "-m", "reactivate", "-C", str(workspace.root), "next"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as tool:  # fmt: skip
        mounted = _until(lambda: bool(_mounts(workspace)) or tool.poll() is not None)
        tool.send_signal(signal.SIGKILL)
    # A daemon that is quick to notice unmounts by itself; its run folder is there in any case.
    left = sorted({each.partition(" ")[0] for each in _left(workspace)})
    with opened(workspace):
        pass
    after = _left(workspace)
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        interrupted = len(ledger.attempts(status=AttemptStatus.INTERRUPTED))
    yield Finding(
        name="cleanup",
        planted="killed with SIGKILL while mounted",
        seen=f"left {', '.join(left) or 'nothing'}, then {', '.join(after) or 'nothing'}; "
        f"{interrupted} attempt on record as interrupted",
        passed=mounted and bool(left) and not after and interrupted == 1,
        seconds=time.monotonic() - begun,
    )


def _gates(workspace: Workspace, reporter: Reporter, say: Say) -> Iterator[Finding]:
    """Each gate refuses the planted walk; a waiver lets the next gate see it."""
    for check, metric in CULPRIT.items():
        say(f"the {check.value} gate, shown a walk that calls itself")
        begun = time.monotonic()
        report = _go_on(workspace, reporter)
        refused = report.outcome is Outcome.REFUSED and report.check is check
        failed = [j for j in report.judgements if j.verdict is Verdict.FAIL]
        culprits = [j.source for j in failed]
        yield Finding(
            name=f"{check.value} gate",
            planted="recursive search",
            seen=f"{report.outcome.value} by {', '.join(culprits) or 'nothing'}",
            passed=refused and any(metric in source for source in culprits),
            seconds=time.monotonic() - begun,
        )
        if not refused:
            return
        with opened(workspace) as campaign:
            for judgement in failed:
                campaign.waive(judgement.criterion, reason="planted", who=_WHO)


def _mended(workspace: Workspace, reporter: Reporter, say: Say) -> Iterator[Finding]:
    """After the fix the same criteria pass, by their verdicts: the waivers do not count."""
    say("the same gates after the fix")
    begun = time.monotonic()
    key, _, mended = FAULT
    with opened(workspace) as campaign:
        campaign.roll_back(reason="planted", who=_WHO)
    set_value(workspace, key, mended)
    with opened(workspace) as campaign:
        campaign.retry(who=_WHO)
    _go_on(workspace, reporter)
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        verdicts = [
            judgement.verdict
            for check in CULPRIT
            for judgement in ledger.latest_judgements(PHASE, check.value)
        ]
    passed = sum(verdict is Verdict.PASS for verdict in verdicts)
    yield Finding(
        name="all gates",
        planted="the walk made iterative",
        seen=f"{passed} of {len(verdicts)} criteria pass",
        passed=len(verdicts) == len(CULPRIT) == passed,
        seconds=time.monotonic() - begun,
    )


def _ledger(workspace: Workspace, _reporter: Reporter, say: Say) -> Iterator[Finding]:
    """A ledger is read as it was written; one that was damaged is refused."""
    say("a damaged ledger")
    begun = time.monotonic()
    copy = workspace.results / "damaged.db"
    shutil.copyfile(workspace.ledger, copy)
    sound = _opens(workspace.ledger)
    with copy.open("r+b") as file:
        size = copy.stat().st_size
        file.seek(size // 2)
        file.write(os.urandom(size // 4))
    seen = _opens(copy)
    for path in (copy, copy.with_name(f"{copy.name}.lock")):
        path.unlink(missing_ok=True)
    yield Finding(
        name="ledger",
        planted="a quarter of its bytes overwritten in a copy",
        seen=seen or "opened as if nothing had happened",
        passed=not sound and bool(seen),
        seconds=time.monotonic() - begun,
    )


def _tampered(workspace: Workspace, _reporter: Reporter, say: Say) -> Iterator[Finding]:
    """A whole ledger verifies; with a refusal turned into a pass behind its guards it does not."""
    say("a ledger that somebody tampered with")
    begun = time.monotonic()
    command = [
        sys.executable, "-m", "reactivate", "-C", str(workspace.root), "ledger", "verify",
        "--no-git",
    ]  # fmt: skip
    kept = workspace.results / "untouched.db"
    shutil.copyfile(workspace.ledger, kept)
    before = subprocess.run(command, capture_output=True, check=False)
    try:
        changed = _forge(workspace.ledger)
        after = subprocess.run(command, capture_output=True, check=False)
    finally:
        kept.replace(workspace.ledger)
    yield Finding(
        name="tampered ledger",
        planted=f"{changed} verdict turned from fail to pass, guards put back",
        seen=f"exit {before.returncode} as it was, exit {after.returncode} tampered with",
        passed=changed == 1
        and before.returncode == ExitCode.DONE
        and after.returncode == ExitCode.TAMPERED,
        seconds=time.monotonic() - begun,
    )


def _forge(path: Path) -> int:
    """Turn the first refusal into a pass, as somebody who knows SQLite would; how many were."""
    guard = "verdicts_no_update"
    connection = sqlite3.connect(path)
    try:
        connection.execute(f"DROP TRIGGER {guard}")
        changed = connection.execute(
            "UPDATE verdicts SET verdict = ? WHERE id ="
            " (SELECT min(id) FROM verdicts WHERE verdict = ?)",
            (Verdict.PASS.value, Verdict.FAIL.value),
        ).rowcount
        connection.execute(TEXTS[guard])
        connection.commit()
    finally:
        connection.close()
    return changed


def _nothing_left(workspace: Workspace) -> Finding:
    begun = time.monotonic()
    left = _left(workspace)
    return Finding(
        name="nothing left",
        planted="a whole campaign",
        seen=", ".join(left) or "no mount, no process, no run folder",
        passed=not left,
        seconds=time.monotonic() - begun,
    )


def _go_on(workspace: Workspace, reporter: Reporter, *, steps: int = 0) -> StepReport:
    """Steps until one does not advance, or so many; 0 for as many as it takes."""
    with opened(workspace) as campaign:
        for _ in range(steps or _MOST_STEPS):
            report = campaign.step(who=_WHO, yes=True, reporter=reporter)
            if report.outcome is not Outcome.ADVANCED:
                break
        return report


def _opens(path: Path) -> str:
    """Why a ledger cannot be opened for writing; "" if it can."""
    try:
        with Ledger.open(path, writer=True):
            return ""
    except LedgerError as error:
        return error.what


def _mounts(workspace: Workspace) -> list[Path]:
    run = workspace.run.resolve()
    return [m.mountpoint for m in procfs.fuse_mounts() if m.mountpoint.is_relative_to(run)]


def _left(workspace: Workspace) -> list[str]:
    """Mounts, processes and run folders of the workspace that should be gone."""
    found = [f"mount {path}" for path in _mounts(workspace)]
    run = workspace.run.resolve()
    found += [f"folder {path.name}" for path in (run.iterdir() if run.is_dir() else ())]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(run) in (entry / "cmdline").read_bytes():
                    found.append(f"process {entry.name}")
    return found


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _MOUNT_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(_LOOK_AGAIN_SECONDS)
    return False
