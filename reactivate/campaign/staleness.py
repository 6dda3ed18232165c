"""Whether a phase's evidence still describes what is there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
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
    from reactivate.run.environment import changed_tools, machine
    from reactivate.target.config import load_target, target_path
    from reactivate.target.configuration import switched_sha256
    from reactivate.target.inputs import inputs_sha256

    changed = [key for key, value in machine().items() if then.get(key) != value]
    changed += changed_tools(_mapping(then.get("tools")), _mapping(then.get("tool_files")))
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
    # An empty one is of an attempt that was not built.
    if then.get("inputs_sha256", "") not in ("", inputs_sha256(spec, workspace, names)):
        changed.append("what builds and runs the target")
    if not spec.build and _program_differs(spec, str(then.get("artifact_sha256", ""))):
        changed.append("the target's program")
    if _source_differs(spec, names, then):
        changed.append("the target's source")
    return changed


def _mapping(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}


def _program_differs(spec: TargetSpec, sha256: str) -> bool:
    """Whether an installed program is another one; what has fields is told by its build."""
    if not sha256 or "{" in spec.artifact:
        return False
    path = shutil.which(spec.artifact) if "/" not in spec.artifact else spec.artifact
    try:
        return path is None or hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256
    except OSError:
        return True


def _source_differs(spec: TargetSpec, components: Sequence[str], then: Mapping[str, JSON]) -> bool:
    """Whether the source is another one; where it had changes not committed, by their digest."""
    commit = str(then.get("commit", ""))
    if spec.source is None or not commit:
        return False
    from reactivate.target.command import effect_of
    from reactivate.target.source import changed_since, fingerprint_of

    try:
        if commit.endswith("+"):
            now = fingerprint_of(spec.source, effect_of(spec, components).patches)
            return then.get("source_sha256") != now
        return bool(changed_since(spec.source, commit))
    except (UsageError, MachineError, OSError):
        # The commit, or the checkout, is gone: it cannot be what it was.
        return True
