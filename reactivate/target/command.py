"""The `{fields}` of a target's commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from reactivate.target.model import TargetSpec
from reactivate.target.switches.contract import Effect, Way, combined
from reactivate.workspace import Workspace

BUILD_FIELDS = frozenset(
    {"python", "probes", "source", "build", "components", "features", "configuration"}
)
"""Known when a build starts."""

RUN_FIELDS = BUILD_FIELDS - {"source"} | {"mountpoint", "backing"}
"""Known when a build is mounted; the copy of the source may be patched otherwise by then."""

COMPONENT_FIELDS = RUN_FIELDS | {"component"}
"""Known in `run_component`."""

HERE = "here"
"""In the tool's copy of a source: a link to what the user named, the checkout or a part of it."""

FIELD = re.compile(r"\{([^{}]*)\}")


def effect_of(spec: TargetSpec, components: Collection[str]) -> Effect:
    """What all switches do together when these components are on and all others off."""
    return combined(
        switch.effect(on=component.id in components)
        for component in spec.components
        for switch in component.switches
    )


def uses_components(spec: TargetSpec) -> frozenset[str]:
    """The fields that a target's commands and variables use."""
    texts = [spec.artifact, *spec.run, *spec.run_component, *spec.environment.values()]
    texts += [argument for command in spec.build for argument in command]
    effect = effect_of(spec, [component.id for component in spec.components])
    texts += [*effect.arguments, *effect.environment.values()]
    return frozenset(name for text in texts for name in FIELD.findall(text))


def build_depends(spec: TargetSpec) -> bool:
    """Whether another set of components is another build."""
    texts = [spec.artifact, *spec.environment.values()]
    texts += [argument for command in spec.build for argument in command]
    named = {name for text in texts for name in FIELD.findall(text)}
    patched = any(s.way is Way.PATCH for c in spec.components for s in c.switches)
    return patched or bool(named & {"components", "features"})


def set_name(spec: TargetSpec, components: Collection[str]) -> str:
    """A set of components as the name of a folder."""
    # The order in which they are started is no other build.
    named = [switch.id for switch in spec.components if switch.id in components]
    return "+".join(named) or "minimal"


def build_folder(workspace: Workspace, spec: TargetSpec, components: Sequence[str]) -> Path:
    """One folder for each target and set of components, so that builds never mix.

    Where the components are switched only when the daemon is started, there is one build.
    """
    shared = bool(spec.components) and bool(spec.build) and not build_depends(spec)
    name = "shared" if shared else set_name(spec, components)
    return workspace.builds / spec.name / name


def configuration_copy(
    workspace: Workspace, spec: TargetSpec, components: Collection[str]
) -> Path | None:
    """Which configuration file the daemon gets; a copy where components are switched in it."""
    if spec.configuration is None or not effect_of(spec, components).settings:
        return spec.configuration
    return workspace.builds / spec.name / f"{set_name(spec, components)}.toml"


def source_folder(workspace: Workspace, spec: TargetSpec) -> Path:
    """The tool's own copy of the source.

    One for all sets of components: its path is in the debug information, and two builds must not
    differ because of that.
    """
    return workspace.results / "source" / spec.name


def build_fields(
    workspace: Workspace, spec: TargetSpec, components: Sequence[str]
) -> dict[str, str]:
    """The values of `BUILD_FIELDS`, without `components`, which `expand` knows."""
    configuration = configuration_copy(workspace, spec, components)
    fields = {
        "python": sys.executable,
        "probes": str(workspace.probes.resolve()),
        "build": str(build_folder(workspace, spec, components).resolve()),
        "features": ",".join(effect_of(spec, components).features),
        "configuration": str(configuration.resolve()) if configuration else "",
    }
    if spec.source is not None:
        folder = source_folder(workspace, spec)
        fields["source"] = str(folder.resolve() / HERE)
    return fields


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
    """The daemon's command line: `run`, `run_component` for each component, their arguments."""
    command = list(expand(spec.run, fields, components))
    for component in components:
        command += expand(spec.run_component, {**fields, "component": component}, components)
    command += expand(effect_of(spec, components).arguments, fields, components)
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
    # A component's own variables are the daemon's: with them, every build would be another one.
    of_components = effect_of(spec, components).environment if "mountpoint" in fields else {}
    for name, value in {**spec.environment, **of_components}.items():
        if set(FIELD.findall(value)) <= fields.keys() | {"components"}:
            variables[name] = " ".join(expand([value], fields, components))
    return variables
