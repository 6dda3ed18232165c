"""Whether a phase's evidence still describes what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reactivate.campaign.criteria import checks_of
from reactivate.campaign.outcome import VERIFICATION, VERIFIED
from reactivate.checklist.model import Checklist, Phase
from reactivate.errors import MachineError, UsageError
from reactivate.ledger.records import JSON, AttemptRecord, AttemptStatus
from reactivate.ledger.store import Ledger
from reactivate.workspace import Workspace

if TYPE_CHECKING:
    from reactivate.target.model import TargetSpec


def stale(
    workspace: Workspace,
    target: str,
    checklist: Checklist,
    phase: Phase,
    ledger: Ledger,
    edits: Mapping[str, tuple[str, ...]],
) -> str:
    """What changed since the phase's evidence was taken; "" if nothing did.

    Args:
        edits: what changed in the checklist since the evidence of a phase was begun.
    """
    edited = edits.get(phase.id, ())
    newest = _newest(ledger, phase, "", "")
    if not newest:
        return f"changed since it was begun: {', '.join(edited)}" if edited else ""
    again = _newest(ledger, phase, VERIFICATION, VERIFIED)
    if len(again) == len(newest) and again[0].id > newest[-1].id:
        # Measured anew since, and every gate passed: by that, what is on record still holds.
        then = ledger.environment(again[-1].environment_sha256)
        if then.get("checklist_sha256") == checklist.sha256:
            edited = ()
    else:
        then = ledger.environment(newest[-1].environment_sha256)
    changed = _changed(workspace, target, phase, then, edited)
    return f"changed since it was measured: {', '.join(changed)}" if changed else ""


def _newest(ledger: Ledger, phase: Phase, prefix: str, outcome: str) -> list[AttemptRecord]:
    """The newest finished attempt of each check; only where it ended so, if that is asked."""
    found = (
        ledger.latest_attempt(phase.id, f"{prefix}{check.value}", status=AttemptStatus.FINISHED)
        for check in checks_of(phase)
    )
    return [a for a in found if a is not None and outcome in ("", a.outcome)]


def _changed(
    workspace: Workspace,
    target: str,
    phase: Phase,
    then: Mapping[str, JSON],
    edited: Sequence[str],
) -> list[str]:
    """What is not as it was in an environment."""
    # Only where there is evidence: what reads the target is not quick to load.
    from reactivate.run.environment import machine
    from reactivate.target.config import load_target, target_path
    from reactivate.target.configuration import switched_sha256

    changed = [key for key, value in machine().items() if then.get(key) != value]
    own = "its part of the checklist"
    if then.get("phase_sha256") != phase.sha256:
        changed.append(own)
    changed += [what for what in edited if what != own]
    if then.get("target") != target:
        return [*changed, "the target"]
    components = then.get("components")
    spec = load_target(target_path(workspace, target))
    names = [str(c) for c in components] if isinstance(components, list) else []
    if then.get("configuration_sha256") != switched_sha256(spec, names):
        changed.append("the target's configuration")
    if _source_differs(spec, str(then.get("commit", ""))):
        changed.append("the target's source")
    return changed


def _source_differs(spec: TargetSpec, commit: str) -> bool:
    """Whether the source is not that commit; unknown, hence no, where that had changes itself."""
    if spec.source is None or not commit or commit.endswith("+"):
        return False
    from reactivate.target.source import changed_since

    try:
        return bool(changed_since(spec.source, commit))
    except (UsageError, MachineError):
        # The commit, or the checkout, is gone: it cannot be what it was.
        return True
