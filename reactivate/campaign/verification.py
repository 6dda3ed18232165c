"""The gates of active components once more, on what is there now: for CI, and before a release.

A verification asks nothing and moves nothing. Its attempts have names of their own, so that no
later step of the campaign refers to them; each compares with what the same verification measured
before, on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from reactivate.campaign import calibrated, measuring, recording, wording
from reactivate.campaign.campaign import grounded
from reactivate.campaign.criteria import checks_of, gate_criteria
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Checked, Ground, Stage, stage_of
from reactivate.campaign.outcome import VERIFICATION, VERIFIED
from reactivate.campaign.passage import Passage
from reactivate.campaign.regression import before, culprit
from reactivate.campaign.review import review
from reactivate.campaign.states import PhaseState
from reactivate.checklist.model import Phase, PhaseKind
from reactivate.errors import (
    LedgerError,
    MachineError,
    MeasurementError,
    ReactivateError,
    UsageError,
)
from reactivate.evidence import Check, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.gate.opening import gate_open
from reactivate.instrument.contract import Reporter
from reactivate.ledger.records import JSON, AttemptRecord, AttemptStatus
from reactivate.report.verified import Ending, Gate, Verified
from reactivate.run.environment import machine
from reactivate.target.source import changed_since
from reactivate.workspace import Workspace

_BUILT = (PhaseKind.BASELINE, PhaseKind.COMPONENT, PhaseKind.INTEGRATION)
_WORDS: Mapping[Ending, str] = {
    Ending.VERIFIED: VERIFIED,
    Ending.REFUSED: "refused",
    Ending.INCONCLUSIVE: "inconclusive",
}

Say = Callable[[Gate], None]
"""Told each gate as it ends."""


def verify(
    workspace: Workspace,
    *,
    only: Collection[str] = (),
    everything: bool = False,
    since: str = "",
    reporter: Reporter,
    say: Say,
) -> Verified:
    """Run the gates again and record what came of it.

    Args:
        workspace: of the campaign.
        only: ids of phases; all active ones by default.
        everything: every phase of the checklist, also such as are not active.
        since: a commit; nothing is measured if the source is as it was then and no evidence is
            stale. "" to measure in any case.
        reporter: progress of instruments.
        say: told each gate as it ends.

    Raises:
        UsageError: no phase is active, or `since` names no commit of the target's source.
        LedgerError: it cannot be recorded.
    """
    begun = time.monotonic()
    with grounded(workspace, decides=False) as (ground, _):
        passage = replay(ground.ledger.events(), now=ground.checklist)
        phases = _phases(ground, passage, only, everything=everything)
        verified = _opened(ground, phases)
        if since and (why := _unchanged(ground, since)):
            verified = replace(verified, unchanged=why)
        else:
            ground = replace(ground, prefix=VERIFICATION)
            gates: list[Gate] = []
            for gate in _gates(ground, passage, phases, reporter):
                say(gate)
                gates.append(gate)
            verified = replace(verified, gates=tuple(gates), commit=_commit(ground, gates))
        verified = replace(verified, seconds=time.monotonic() - begun)
        _note(ground, verified)
    return verified


def _phases(
    ground: Ground, passage: Passage, only: Collection[str], *, everything: bool
) -> list[Phase]:
    found = [
        phase
        for phase in ground.checklist.phases
        if phase.kind in _BUILT
        and (not only or phase.id in only)
        and (everything or passage.states[phase.id] is PhaseState.ACTIVE)
    ]
    if not found:
        raise UsageError(
            "there is nothing to verify",
            why="no phase of the checklist is active yet",
            hint="reactivate next, or reactivate verify --all for every phase of the checklist",
        )
    return found


def _opened(ground: Ground, phases: Sequence[Phase]) -> Verified:
    metrics = {
        metric
        for phase in phases
        for check in checks_of(phase)
        for metric in measuring.asked(gate_criteria(ground.checklist, phase, check))
    }
    unknown = calibrated.standing(ground.ledger).without(calibrated.leant_on(metrics))
    if ground.workspace.settings().calibration_required:
        calibrated.require(unknown)
    notes = ground.ledger.events(kind=EventKind.NOTE)
    return Verified(
        number=1 + sum("verification" in note.data for note in notes),
        target=ground.spec.name,
        commit="",
        at=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        environment=machine(),
        seconds=0.0,
        uncalibrated=unknown,
    )


def _unchanged(ground: Ground, since: str) -> str:
    """Why nothing has to be measured, "" if something has."""
    if ground.spec.source is None:
        raise UsageError(
            f"--since needs a target with a source, and {ground.spec.name} has none",
            why=f"{ground.spec.path} has no `source`",
            hint="reactivate verify",
        )
    changed = changed_since(ground.spec.source, since)
    stale = [phase.id for phase in review(ground.workspace).phases if phase.stale]
    if changed or stale:
        return ""
    return f"the source is as it was at {since}, and no evidence is stale"


def _gates(
    ground: Ground, passage: Passage, phases: Sequence[Phase], reporter: Reporter
) -> Iterator[Gate]:
    for phase in phases:
        stage = stage_of(ground.checklist, phase.id)
        proof, gate = _prove(ground, stage)
        yield gate
        if proof is None:
            continue
        for check in checks_of(phase):
            yield _check(ground, replace(stage, proven=proof), check, passage, reporter)


def _prove(ground: Ground, stage: Stage) -> tuple[tuple[str, str] | None, Gate]:
    """Build and prove anew: what is there now is not what the campaign proved."""
    begun = time.monotonic()
    phase = stage.phase.id
    empty = measuring.environment_of(ground, stage.phase, None)
    attempt = ground.ledger.begin_attempt(phase, f"{VERIFICATION}activate", empty)
    with _on_record(ground, attempt) as trouble:
        done = measuring.enable(ground, stage)
        build = done.build
        proven = (build.artifact_sha256, build.configuration_sha256)
        note: dict[str, JSON] = {
            "about": "verification proof",
            "artifact_sha256": build.artifact_sha256,
            "witnesses": dict(done.witnesses),
            "build_facts": measuring.build_facts(build),
        }
        recording.finish(
            ground, attempt, VERIFIED,
            events=[(EventKind.NOTE, note)],
            environment=measuring.environment_of(ground, stage.phase, build),
        )  # fmt: skip
    seconds = time.monotonic() - begun
    if trouble:
        return None, _broken(phase, "activation", trouble[0], seconds)
    return proven, Gate(phase=phase, check="activation", ending=Ending.VERIFIED, seconds=seconds)


def _check(
    ground: Ground, stage: Stage, check: Check, passage: Passage, reporter: Reporter
) -> Gate:
    begun = time.monotonic()
    phase = stage.phase
    criteria = gate_criteria(ground.checklist, phase, check)
    waived = {w.criterion: f"{w.who}: {w.reason}" for w in passage.waivers.values()}
    attempt = ground.ledger.begin_attempt(
        phase.id, ground.step(check), measuring.environment_of(ground, phase, None)
    )
    done: Checked | None = None
    with _on_record(ground, attempt) as trouble:
        done = measuring.check(
            ground, stage, check, criteria, attempt, reporter, waived=frozenset(waived)
        )
        ending = _ending(done.judgements, waived)
        recording.finish(
            ground, attempt, _WORDS[ending],
            events=[],
            measurements=done.run.measurements,
            judgements=done.judgements,
            environment=measuring.environment_of(ground, phase, done.build),
        )  # fmt: skip
    seconds = time.monotonic() - begun
    folder = f"results/{attempt.folder}/"
    if trouble or done is None:
        return replace(_broken(phase.id, check.value, trouble[0], seconds), folder=folder)
    failed = [j for j in done.judgements if j.verdict is Verdict.FAIL and j.criterion not in waived]
    return Gate(
        phase=phase.id,
        check=check.value,
        ending=ending,
        seconds=seconds,
        judgements=done.judgements,
        waived=waived,
        before=before(ground, phase, check, failed),
        chain=() if done.explanation is None else tuple(wording.chain_lines(done.explanation)),
        culprit=culprit(done.explanation),
        folder=folder,
    )


def _ending(judgements: Sequence[Judgement], waived: Collection[str]) -> Ending:
    if any(j.verdict is Verdict.FAIL and j.criterion not in waived for j in judgements):
        return Ending.REFUSED
    return Ending.VERIFIED if gate_open(judgements, frozenset(waived)) else Ending.INCONCLUSIVE


@contextmanager
def _on_record(ground: Ground, attempt: AttemptRecord) -> Iterator[list[ReactivateError]]:
    """What kept an attempt from its end is on record, and the verification goes on."""
    trouble: list[ReactivateError] = []
    try:
        yield trouble
    except LedgerError:
        raise
    except (MachineError, MeasurementError) as error:
        trouble.append(error)
        reason = f"{error.what}: {error.why}" if error.why else error.what
        note: dict[str, JSON] = {"about": "verification trouble", "reason": reason}
        recording.finish(ground, attempt, "broken", events=[(EventKind.NOTE, note)])
    except BaseException:
        ground.ledger.interrupt_open_attempts("interrupted, or a bug ended it")
        raise


def _broken(phase: str, check: str, error: ReactivateError, seconds: float) -> Gate:
    measured = isinstance(error, MeasurementError)
    return Gate(
        phase=phase,
        check=check,
        ending=Ending.INCONCLUSIVE if measured else Ending.BROKEN,
        seconds=seconds,
        trouble=f"{error.what}: {error.why}" if error.why else error.what,
    )


def _commit(ground: Ground, gates: Sequence[Gate]) -> str:
    """Of the newest build on record; every gate of a verification has the same source."""
    for gate in gates:
        newest = ground.ledger.latest_attempt(
            gate.phase, f"{VERIFICATION}activate", status=AttemptStatus.FINISHED
        )
        if newest is not None:
            return str(ground.ledger.environment(newest.environment_sha256).get("commit", ""))
    return ""


def _note(ground: Ground, found: Verified) -> None:
    data: dict[str, JSON] = {
        "about": "verification",
        "verification": found.number,
        "exit_code": int(found.exit_code),
        "phases": list(dict.fromkeys(gate.phase for gate in found.gates)),
        "failed": list(found.told()),
        "unchanged": found.unchanged,
        "commit": found.commit,
    }
    recording.append(ground, EventKind.NOTE, "", data)
