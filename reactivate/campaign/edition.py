"""The checklist as an event carries it, and what another edition of it means. Pure.

The ledger holds every edition that was in force, whole, so that it can be understood without the
file, and whatever became of the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache

from reactivate.campaign.criteria import require_passable
from reactivate.campaign.events import EventKind, RecordedEvent, impossible, text
from reactivate.campaign.passage import Passage
from reactivate.campaign.states import PhaseState
from reactivate.checklist.model import Checklist, Phase
from reactivate.checklist.parse import parse
from reactivate.errors import ChecklistError

EDITIONS = frozenset({EventKind.CAMPAIGN_STARTED, EventKind.CHECKLIST_CHANGED})
"""The events that put a checklist in force."""


def edition_data(checklist: Checklist, path: str) -> dict[str, str]:
    """What an event says of the checklist that is in force from it on.

    Args:
        path: the file, relative to the workspace.
    """
    return {
        "checklist": path,
        "checklist_sha256": checklist.sha256,
        "checklist_text": checklist.text,
    }


def read_edition(event: RecordedEvent, *, known: Checklist | None = None) -> Checklist:
    """The checklist that an event put in force.

    Args:
        known: a passable checklist; if its text is the event's, it is not parsed once more.

    Raises:
        LedgerCorruptError: it is missing, has faults, cannot be passed through, or is not the
            one whose digest is given.
    """
    markdown, path = text(event, "checklist_text"), text(event, "checklist")
    if known is not None and known.text == markdown:
        found = known
    else:
        try:
            found = _parsed(markdown, path)
            require_passable(found)
        except ChecklistError as error:
            why = f"its checklist has faults: {error.why or error.what}"
            raise impossible(event, why) from error
    if found.sha256 != text(event, "checklist_sha256"):
        raise impossible(event, "its checklist has another digest than it says")
    return found


@lru_cache(maxsize=16)
def _parsed(markdown: str, path: str) -> Checklist:
    """Replaying happens several times in a call, of the same few texts."""
    return parse(markdown, path)


def changes(then: Checklist, now: Checklist) -> tuple[str, ...]:
    """What was edited, phase by phase, in few words: `2 criteria of search_engine`."""
    old = {phase.id: phase for phase in then.phases}
    new = {phase.id: phase for phase in now.phases}
    found: list[str] = []
    for phase in now.phases:
        if phase.id not in old or old[phase.id].kind is not phase.kind:
            found.append(f"{phase.id} is new")
        elif old[phase.id].sha256 != phase.sha256:
            found += _edits(old[phase.id], phase)
    found += [f"{name} is gone" for name in old if name not in new]
    if [name for name in old if name in new] != [name for name in new if name in old]:
        found.append("the order of the phases")
    return tuple(found) or ("words outside of the phases",)


def _block(phase: Phase) -> tuple[object, ...]:
    return phase.needs, phase.risk, phase.workload, phase.scenarios


def _edits(then: Phase, now: Phase) -> Iterator[str]:
    criteria = _count(
        {(c.check, c.source) for c in then.criteria}, {(c.check, c.source) for c in now.criteria}
    )
    items = _count(
        {(item.id, item.text) for item in (*then.before, *then.after)},
        {(item.id, item.text) for item in (*now.before, *now.after)},
    )
    block = _block(then) != _block(now)
    if criteria:
        yield f"{criteria} {'criterion' if criteria == 1 else 'criteria'} of {now.id}"
    if items:
        yield f"{items} {'item' if items == 1 else 'items'} of {now.id}"
    if block:
        yield f"the block of {now.id}"
    if not (criteria or items or block):
        yield f"the wording of {now.id}"


def _count(then: Collection[object], now: Collection[object]) -> int:
    """How many were touched; one that was replaced by another counts once."""
    return max(len(set(then) - set(now)), len(set(now) - set(then)))


def consequences(before: Passage, after: Passage) -> tuple[str, ...]:
    """What another edition did to a campaign, in sentences."""
    found: list[str] = []
    for name, state in after.states.items():
        earlier = before.states.get(name, state)
        new = [why for why in after.stale.get(name, ()) if why not in before.stale.get(name, ())]
        if state is not earlier:
            found.append(f"{name} goes back from {_words(earlier)} to {_words(state)}")
        elif new and state is PhaseState.ACTIVE:
            found.append(f"{name} stays active, on stale evidence: {' and '.join(new)} changed")
    found += [
        f"the waiver of {name} has ended" for name in before.waivers if name not in after.waivers
    ]
    lost = [item for item in before.confirmed if item not in after.confirmed]
    if lost:
        found.append(f"no longer confirmed: {', '.join(lost)}")
    if before.current != after.current and after.current:
        found.append(f"{after.current} comes next")
    return tuple(found)


def _words(state: PhaseState) -> str:
    return state.value.replace("_", " ")
