"""What a target's configuration says to the enabled components, as a digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

from reactivate.target.command import (
    RUN_FIELDS,
    build_depends,
    effect_of,
    environment,
    run_command,
)
from reactivate.target.model import TargetSpec
from reactivate.target.switches.contract import Setting
from reactivate.tomlfile import TomlFile


def configuration_sha256(path: Path | None, components: Sequence[str]) -> str:
    """Digest of what a configuration says to the enabled components; "" without a file.

    Counts the sections named like an enabled component and all top-level values. Comments and
    layout do not count: a digest changes when, and only when, the daemon would read another value.

    Raises:
        ConfigurationError: it is not TOML.
        WorkspaceError: it cannot be read.
    """
    if path is None:
        return ""
    data = TomlFile(path).data
    relevant = {
        name: value
        for name, value in data.items()
        if name in components or not isinstance(value, dict)
    }
    text = json.dumps(relevant, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def current_settings(path: Path) -> dict[str, Setting]:
    """All values of a configuration that can be set, by `SECTION.KEY`, or `KEY`.

    Raises:
        ConfigurationError: it is not TOML.
        WorkspaceError: it cannot be read.
    """
    found: dict[str, Setting] = {}
    for name, value in TomlFile(path).data.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for key, setting in entries:
            if isinstance(setting, (str, int, float)):
                found[f"{name}.{key}" if key else name] = setting
    return found


def settings_of(path: Path | None, components: Sequence[str]) -> dict[str, Setting]:
    """The values that `configuration_sha256` counts, by `SECTION.KEY`, or `KEY`; for people.

    Raises:
        ConfigurationError: it is not TOML.
        WorkspaceError: it cannot be read.
    """
    found = {} if path is None else current_settings(path)
    return {
        # Records hold no NaN and no infinity.
        name: value if not isinstance(value, float) or math.isfinite(value) else str(value)
        for name, value in found.items()
        if "." not in name or name.split(".", 1)[0] in components
    }


def command_text(spec: TargetSpec, components: Sequence[str]) -> dict[str, object]:
    """What differs when the daemon is started with other components, without any path.

    Fields stay fields: a mount point is another one each time.
    """
    fields = {name: f"{{{name}}}" for name in RUN_FIELDS}
    effect = effect_of(spec, components)
    fields["features"] = ",".join(effect.features)
    return {
        "command": run_command(spec, fields, components),
        "environment": {
            name: value
            for name, value in environment(spec, fields, components).items()
            if name in spec.environment or name in effect.environment
        },
        "settings": dict(effect.settings),
    }


def switched_sha256(spec: TargetSpec, components: Sequence[str]) -> str:
    """Digest of all that the enabled components hang on, the artifact excepted.

    Where a component is switched when the daemon is started, command line, environment and
    settings are in it: the artifact is the same then, and evidence must still tell builds apart.

    Raises:
        ConfigurationError: the target's configuration is not TOML.
        WorkspaceError: it cannot be read.
    """
    file = configuration_sha256(spec.configuration, components)
    if not _switched_at_start(spec):
        return file
    text = json.dumps([file, command_text(spec, components)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _switched_at_start(spec: TargetSpec) -> bool:
    if not spec.components:
        return False
    effect = effect_of(spec, [component.id for component in spec.components])
    return bool(
        effect.arguments
        or effect.environment
        or effect.settings
        or (spec.run_component and not build_depends(spec))
    )
