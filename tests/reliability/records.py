"""What a ledger says, read without touching it; and what of it must not depend on kills."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reactivate.campaign.events import IGNORED, UNDECIDED, EventKind
from reactivate.ledger import AttemptStatus, Ledger
from reactivate.ledger.records import AttemptRecord, Decision, Event

_MOVES_NOTHING = IGNORED | {EventKind.INCONCLUSIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Events, attempts and decisions of one moment."""

    events: tuple[Event, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def running(self) -> tuple[AttemptRecord, ...]:
        return tuple(a for a in self.attempts if a.status is AttemptStatus.RUNNING)

    @property
    def interrupted(self) -> int:
        return sum(a.status is AttemptStatus.INTERRUPTED for a in self.attempts)

    @property
    def finished(self) -> Counter[tuple[str, str]]:
        """How often each step of each phase was finished, and came to something."""
        finished = (
            a
            for a in self.attempts
            if a.status is AttemptStatus.FINISHED and a.outcome not in UNDECIDED
        )
        return Counter((a.phase, a.step) for a in finished)


def read(ledger: Path, scratch: Path) -> Recorded:
    """Read a copy, with its journal: what a kill left half written stays for the next call."""
    scratch.mkdir(exist_ok=True)
    copy = scratch / ledger.name
    for suffix in ("", "-journal"):
        shutil.rmtree(scratch / (ledger.name + suffix), ignore_errors=True)
        (scratch / (ledger.name + suffix)).unlink(missing_ok=True)
        source = ledger.with_name(ledger.name + suffix)
        if source.exists():
            shutil.copyfile(source, scratch / source.name)
    if not copy.exists():
        return Recorded()
    with Ledger.open(copy, writer=False) as opened:
        return Recorded(
            events=tuple(opened.events()),
            attempts=tuple(opened.attempts()),
            decisions=tuple(opened.decisions()),
        )


def lost(before: Recorded, after: Recorded) -> list[str]:
    """What was on record and is not any more, or is otherwise than it was."""
    found = []
    if after.events[: len(before.events)] != before.events:
        found.append("events that were recorded are gone or changed")
    if [e.seq for e in after.events] != list(range(1, len(after.events) + 1)):
        found.append("events are not numbered one after the other")
    if after.decisions[: len(before.decisions)] != before.decisions:
        found.append("decisions that were recorded are gone or changed")
    later = {a.id: a for a in after.attempts}
    for attempt in before.attempts:
        now = later.get(attempt.id)
        if now is None:
            found.append(f"attempt {attempt.id} has vanished")
        elif attempt.status is not AttemptStatus.RUNNING and now != attempt:
            found.append(f"attempt {attempt.id} had ended and was changed")
    return found


def outcome(ledger: Path) -> dict[str, object]:
    """What a campaign comes to, without times and numbers of attempts."""
    with Ledger.open(ledger, writer=False) as opened:
        steps = [
            (e.kind, e.phase, e.data.get("artifact_sha256"))
            for e in opened.events()
            if e.kind not in _MOVES_NOTHING
        ]
        phases = sorted({e.phase for e in opened.events()})
        return {
            "events": steps,
            "decisions": [(d.kind, d.phase, d.who, d.unattended) for d in opened.decisions()],
            "verdicts": sorted(
                (phase, j.criterion, j.verdict.value)
                for phase in phases
                for j in opened.latest_judgements(phase)
            ),
        }
