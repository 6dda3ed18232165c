"""Where an attempt comes from: this ledger's own campaign, or another one that was merged into it.

A merged attempt stands under the phase `ORIGIN.PHASE`. No checklist has a phase with a dot, so
nothing that asks for a phase of the campaign ever finds one. What somebody ran by hand stands under
such a phase for the same reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from reactivate.ledger import codec
from reactivate.ledger.records import JSON, AttemptRecord, Decision, Event

MERGE: Final = "merge"
"""What the `about` of the note of a merge says."""

PROVOKED: Final = "provoked"
"""What the `about` of the note of a scenario run by hand says."""

BY_HAND: Final = "provoked.overflow"
"""The phase of scenarios that somebody ran by hand."""

_PREFIX: Final = "merged-"
_DIGITS: Final = 12

MERGED_PHASES: Final = f"phase GLOB '{_PREFIX}*.*'"
"""SQL that holds for attempts that were merged."""

OTHER_PHASES: Final = f"({MERGED_PHASES} OR phase = '{BY_HAND}')"
"""SQL that holds for attempts that are not the campaign's own: merged, or run by hand."""


def origin_of(phase: str) -> str:
    """The campaign that an attempt of this phase was merged from, "" for this ledger's own."""
    origin, dot, _ = phase.partition(".")
    return origin if dot and origin.startswith(_PREFIX) else ""


def by_hand(phase: str) -> bool:
    """Whether an attempt of this phase is a scenario run by hand, here or in a merged ledger."""
    return phase.removeprefix(f"{origin_of(phase)}.") == BY_HAND


def is_phase(name: str) -> bool:
    """Whether attempts may be of this phase: evidence lies in a folder of that name."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is not None


def is_folder(name: str) -> bool:
    """Whether evidence of an attempt may lie there, below the folder of all results."""
    return name.isprintable() and not name.startswith("/") and ".." not in name.split("/")


def campaign_origin(first: Event) -> str:
    """The name of a campaign, wherever its ledger is copied to: by its first event."""
    return f"{_PREFIX}{_digest([_event(first)])[:_DIGITS]}"


def event_digest(event: Event) -> str:
    """The digest of an event as it was recorded."""
    return _digest([_event(event)])


def attempt_digest(attempt: AttemptRecord, rows: Iterable[codec.Columns]) -> str:
    """The digest of an attempt with all its results, the same in every ledger that has it.

    Args:
        attempt: as recorded by the ledger that measured it.
        rows: its measurements, verdicts and artifacts, as columns; their `attempt` does not count.
    """
    own: dict[str, JSON] = {
        "phase": attempt.phase,
        "step": attempt.step,
        "number": attempt.number,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "status": attempt.status.value,
        "outcome": attempt.outcome,
        "environment_sha256": attempt.environment_sha256,
        "folder": attempt.folder,
    }
    results = ({k: v for k, v in row.items() if k != "attempt"} for row in rows)
    return _digest((own, *results))


def left_behind(note: Mapping[str, JSON]) -> Iterator[tuple[str, int, str]]:
    """The evidence files that a merge recorded as missing or changed where it took them from.

    Args:
        note: the data of its event.

    Returns:
        Phase and number of the attempt in the ledger that has the note, and the artifact's path.
    """
    names = [n for key in ("missing", "changed") for n in _list(note, key) if isinstance(n, str)]
    for each in _list(note, "attempts"):
        if not isinstance(each, Mapping):
            continue
        phase, number = str(each.get("phase")), int(str(each.get("number", 0)))
        # Notes of earlier versions do not name the folder there.
        folder = each.get("folder") or f"{phase.partition('.')[2]}/attempt-{number:03}"
        for name in names:
            if name.startswith(f"{folder}/"):
                yield phase, number, name.removeprefix(f"{folder}/")


def _list(note: Mapping[str, JSON], key: str) -> Sequence[JSON]:
    found = note.get(key)
    return found if isinstance(found, list) else ()


def decision_data(decision: Decision) -> dict[str, JSON]:
    """A decision as plain data, for the note of a merge."""
    return {
        "number": decision.number,
        "at": decision.at,
        "kind": decision.kind,
        "phase": decision.phase,
        "criterion": decision.criterion,
        "reason": decision.reason,
        "who": decision.who,
        "unattended": decision.unattended,
        "supersedes": decision.supersedes,
        "context": dict(decision.context),
    }


def _event(event: Event) -> dict[str, JSON]:
    return {
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "phase": event.phase,
        "attempt": event.attempt,
        "data": event.data,
    }


def _digest(parts: Iterable[Mapping[str, JSON]]) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(codec.dump(part, "a digest").encode() + b"\n")
    return hashed.hexdigest()
