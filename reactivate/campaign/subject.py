"""What a campaign is about now: the current phase's build, and what exercises it."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.campaign.criteria import components_of, suites_of
from reactivate.campaign.machine import replay
from reactivate.checklist.model import Checklist, Phase, PhaseKind
from reactivate.checklist.parse import load
from reactivate.ledger.store import Ledger
from reactivate.target.build import build
from reactivate.target.config import load_target, target_path
from reactivate.target.model import Launcher
from reactivate.target.mount import TargetLauncher
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A build of the campaign's target, ready to be mounted.

    Attributes:
        target: the target's name.
        phase: id of the phase it belongs to.
        components: what is on.
        suites: names of the suites that exercise it.
        launcher: mounts it.
    """

    target: str
    phase: str
    components: tuple[str, ...]
    suites: tuple[str, ...]
    launcher: Launcher


async def current_subject(workspace: Workspace) -> Subject:
    """The build of the phase that the campaign stands at; of the last one when it is complete.

    Reads the ledger and writes nothing to it; the build itself may have to be made.

    Raises:
        ReactivateError: as from reading the configuration, checklist and ledger, and building.
    """
    settings = workspace.settings()
    checklist = load(settings.checklist)
    phase = _current(workspace, checklist)
    spec = load_target(target_path(workspace, settings.target))
    components = components_of(checklist, phase)
    made = await build(spec, workspace, components)
    return Subject(
        target=spec.name,
        phase=phase.id,
        components=components,
        suites=suites_of(checklist, phase),
        launcher=TargetLauncher(spec, made, workspace),
    )


def _current(workspace: Workspace, checklist: Checklist) -> Phase:
    """The current phase, or the last; a phase without a build is one with nothing on."""
    if not workspace.ledger.exists():
        return next(p for p in checklist.phases if p.kind is not PhaseKind.SETUP)
    with Ledger.open(workspace.ledger, writer=False) as ledger, ledger.snapshot():
        passage = replay(ledger.events(), now=checklist)
    return passage.phase or checklist.phases[-1]
