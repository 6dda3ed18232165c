"""The `{fields}` of a target's commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reactivate.target.model import TargetSpec
from reactivate.workspace import Workspace

BUILD_FIELDS = frozenset({"python", "probes", "build", "components", "configuration"})
"""Known when a build starts."""

RUN_FIELDS = BUILD_FIELDS | {"mountpoint", "backing"}
"""Known when a build is mounted."""

COMPONENT_FIELDS = RUN_FIELDS | {"component"}
"""Known in `run_component`."""

FIELD = re.compile(r"\{([^{}]*)\}")


def build_folder(workspace: Workspace, spec: TargetSpec, components: Sequence[str]) -> Path:
    """One folder for each target and set of components, so that builds never mix."""
    # The order in which they are started is no other build.
    named = [switch.id for switch in spec.components if switch.id in components]
    return workspace.builds / spec.name / ("+".join(named) or "minimal")


def build_fields(
    workspace: Workspace, spec: TargetSpec, components: Sequence[str]
) -> dict[str, str]:
    """The values of `BUILD_FIELDS`, without `components`, which `expand` knows."""
    return {
        "python": sys.executable,
        "probes": str(workspace.probes.resolve()),
        "build": str(build_folder(workspace, spec, components).resolve()),
        "configuration": str(spec.configuration.resolve()) if spec.configuration else "",
    }


def expand(
    arguments: Sequence[str], fields: Mapping[str, str], components: Sequence[str]
) -> tuple[str, ...]:
    """Fill in the fields.

    `{components}` as a whole argument becomes one argument for each component, none if there
    are none; inside a longer one the names are joined by blanks.

    Raises:
        KeyError: a field is unknown; `load_target` has checked that none is.
    """
    known = {**fields, "components": " ".join(components)}
    expanded: list[str] = []
    for argument in arguments:
        if argument == "{components}":
            expanded.extend(components)
        else:
            expanded.append(FIELD.sub(lambda match: known[match[1]], argument))
    return tuple(expanded)


def run_command(
    spec: TargetSpec, fields: Mapping[str, str], components: Sequence[str]
) -> tuple[str, ...]:
    """The daemon's command line: `run`, then `run_component` for each component."""
    command = list(expand(spec.run, fields, components))
    for component in components:
        command += expand(spec.run_component, {**fields, "component": component}, components)
    return tuple(command)


def environment(
    spec: TargetSpec, fields: Mapping[str, str], components: Sequence[str]
) -> dict[str, str]:
    """The whole environment: explicit, so that a target is the same in every shell and in CI.

    Variables with fields that are not known yet (a mount point, during a build) are left out.
    """
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name, value in spec.environment.items():
        if set(FIELD.findall(value)) <= fields.keys() | {"components"}:
            variables[name] = " ".join(expand([value], fields, components))
    return variables
