"""What a target's file says to build and run, as a digest: when it changes, evidence is stale."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from reactivate.files import open_plain
from reactivate.target.command import BUILD_FIELDS, effect_of, expand
from reactivate.target.configuration import command_text
from reactivate.target.model import TargetSpec
from reactivate.workspace import Workspace

_PROBES = re.compile(r"\{probes\}(?:/([^/\s]+))?")
_MADE = frozenset({"__pycache__", "build"})
"""Folders that runs and builds leave behind."""


def inputs_sha256(spec: TargetSpec, workspace: Workspace, components: Sequence[str]) -> str:
    """Digest of commands, environment, patches and probes, for a set of components.

    Source and configuration are not in it, nor any path of this machine: a field stays a field.
    """
    fields = {name: f"{{{name}}}" for name in BUILD_FIELDS}
    effect = effect_of(spec, components)
    fields["features"] = ",".join(effect.features)
    told = [
        [expand(command, fields, components) for command in spec.build],
        spec.artifact,
        command_text(spec, components),
        [_content(patch) for patch in effect.patches],
        [[name, _content(path)] for name, path in _probes(spec, workspace)],
    ]
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _probes(spec: TargetSpec, workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """Files of the probes that the target's file names: `{probes}/model`, or all of them."""
    words = [*(word for command in spec.build for word in command), spec.artifact]
    words += [*spec.run, *spec.run_component, *spec.environment.values()]
    found = [match[1] for word in words for match in _PROBES.finditer(word)]
    named = sorted({name for name in found if name}) or [""] * bool(found)
    for name in named:
        for folder, below, files in os.walk(workspace.probes / name):
            below[:] = sorted(set(below) - _MADE)
            for file in sorted(files):
                path = Path(folder) / file
                yield str(path.relative_to(workspace.probes)), path


def _content(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"
