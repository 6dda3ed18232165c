"""configs/targets/NAME.toml → TargetSpec, with every fault of the file at once."""

from __future__ import annotations

import math
from pathlib import Path

from reactivate.errors import UsageError
from reactivate.target.command import (
    BUILD_FIELDS,
    COMPONENT_FIELDS,
    FIELD,
    RUN_FIELDS,
    uses_components,
)
from reactivate.target.components import read_components
from reactivate.target.configuration import current_settings
from reactivate.target.model import TargetSpec, Threads
from reactivate.target.switches.contract import Way
from reactivate.tomlfile import Key, TomlFile, nearest
from reactivate.workspace import Workspace

_TOP = {
    "title", "source", "configuration", "artifact", "threads", "debug_information",
    "build", "run", "environment", "component",
}  # fmt: skip
_BUILD = {"commands", "timeout_seconds"}
_RUN = {"command", "for_each_component", "mount_timeout_seconds", "stop_timeout_seconds"}

_ARTIFACT_FIELDS = frozenset({"probes", "build"})
_TEMPLATE = "template"
"""The commented file that others are copied from: no target."""


def target_names(workspace: Workspace) -> tuple[str, ...]:
    """The targets that this workspace knows."""
    names = {path.stem for path in (workspace.configs / "targets").glob("*.toml")}
    return tuple(sorted(names - {_TEMPLATE}))


def target_path(workspace: Workspace, name: str) -> Path:
    """The file of a target.

    Raises:
        UsageError: there is no such target; names the nearest.
    """
    names = target_names(workspace)
    if name not in names:
        raise UsageError(f"there is no target `{name}`{nearest(name, names)}")
    return workspace.configs / "targets" / f"{name}.toml"


def load_target(path: Path) -> TargetSpec:
    """Read and check a target's file. Its workspace is the folder that holds `configs/targets`.

    Raises:
        ConfigurationError: with every fault and its line.
        WorkspaceError: the file cannot be read.
    """
    file = TomlFile(path)
    file.known(_TOP)
    file.known(_BUILD, "build")
    file.known(_RUN, "run")
    configuration = _configuration(file)
    components = read_components(file, _root(file))
    spec = TargetSpec(
        name=path.stem,
        path=path,
        title=file.value(str, None, "title") or "",
        build=_build_commands(file),
        build_timeout_seconds=_seconds(file, 300.0, "build", "timeout_seconds"),
        artifact=file.value(str, None, "artifact") or "",
        run=_command(file, RUN_FIELDS, None, "run", "command"),
        run_component=_command(file, COMPONENT_FIELDS, (), "run", "for_each_component"),
        environment=_environment(file),
        mount_timeout_seconds=_seconds(file, 10.0, "run", "mount_timeout_seconds"),
        stop_timeout_seconds=_seconds(file, 10.0, "run", "stop_timeout_seconds"),
        configuration=configuration,
        components=components,
        source=_source(file),
        threads=_threads(file),
        debug_information=_debug_information(file),
    )
    _fields(file, spec.artifact, _ARTIFACT_FIELDS, "artifact")
    if spec.run and not any("{mountpoint}" in argument for argument in spec.run):
        file.fault("`run.command` does not say where to mount: no {mountpoint}", "run", "command")
    _switches(file, spec)
    file.finish(hint="docs/targets.md describes every key")
    return spec


def _root(file: TomlFile) -> Path:
    return file.path.parent.parent.parent


def _source(file: TomlFile) -> Path | None:
    """Whether it is there is found when it is used: a file can be read on any machine."""
    text = file.value(str, "", "source")
    return _root(file) / Path(text).expanduser() if text else None


def _threads(file: TomlFile) -> Threads:
    if "threads" not in file.data:
        return Threads.UNKNOWN
    text = file.value(str, Threads.MAIN.value, "threads")
    if text not in (Threads.MAIN, Threads.POOL):
        file.fault('`threads` must be "main" or "pool"', "threads")
        return Threads.UNKNOWN
    return Threads(text)


def _debug_information(file: TomlFile) -> bool | None:
    if "debug_information" not in file.data:
        return None
    return file.value(bool, False, "debug_information")


def _switches(file: TomlFile, spec: TargetSpec) -> None:
    """Switches that need something else in the file."""
    used = uses_components(spec)
    if spec.source is None:
        for text in (argument for command in spec.build for argument in command):
            if "{source}" in text:
                file.fault(f"{text!r} names {{source}}, but the file has no `source`",
                           "build", "commands")  # fmt: skip
    present = spec.configuration is not None and spec.configuration.is_file()
    known = current_settings(spec.configuration) if present and spec.configuration else {}
    for index, component in enumerate(spec.components):
        at = ("component", index)
        for switch in component.switches:
            if switch.way is Way.BUILD and "features" not in used:
                file.fault("`feature` changes nothing: {features} is in no command", *at, "feature")
            if switch.way is Way.PATCH and spec.source is None:
                file.fault("`patch` needs a `source` to be applied to", *at, "patch")
            if switch.way is Way.CONFIGURATION:
                if "configuration" not in used:
                    file.fault("`setting` changes nothing: {configuration} is in no command",
                               *at, "setting")  # fmt: skip
                for key in switch.effect(on=True).settings:
                    if key not in known:
                        file.fault(f"the configuration has no `{key}`{nearest(key, sorted(known))}",
                                   *at, "setting")  # fmt: skip


def _configuration(file: TomlFile) -> Path | None:
    text = file.value(str, "", "configuration")
    if not text:
        return None
    path = _root(file) / text
    if not path.is_file():
        file.fault(f"there is no configuration file {path}", "configuration")
    return path


def _build_commands(file: TomlFile) -> tuple[tuple[str, ...], ...]:
    if "build" not in file.data:
        return ()
    commands = file.value(list, None, "build", "commands") or []
    checked: list[tuple[str, ...]] = []
    for command in commands:
        if not isinstance(command, list) or not command or not _all_text(command):
            file.fault(
                "every command of `build.commands` must be a list of text, program first",
                "build", "commands",
            )  # fmt: skip
            continue
        for argument in command:
            _fields(file, argument, BUILD_FIELDS, "build", "commands")
        checked.append(tuple(command))
    return tuple(checked)


def _command(
    file: TomlFile, fields: frozenset[str], default: tuple[str, ...] | None, *keys: Key
) -> tuple[str, ...]:
    command = file.texts(default, *keys)
    if default is None and keys[-1] in file.table(*keys[:-1]) and not command:
        file.fault("a command must name a program", *keys)
    for argument in command:
        _fields(file, argument, fields, *keys)
    return command


def _fields(file: TomlFile, argument: str, known: frozenset[str], *keys: Key) -> None:
    for name in FIELD.findall(argument):
        if name not in known:
            file.fault(f"unknown field {{{name}}} in {argument!r}{nearest(name, sorted(known))}",
                       *keys)  # fmt: skip


def _environment(file: TomlFile) -> dict[str, str]:
    environment: dict[str, str] = {}
    for name in file.table("environment"):
        value = file.value(str, "", "environment", name) or ""
        _fields(file, value, RUN_FIELDS, "environment", name)
        if not name or "=" in name or "\0" in name + value:
            file.fault(f"{name!r} cannot be an environment variable", "environment", name)
        environment[name] = value
    return environment


def _seconds(file: TomlFile, default: float, *keys: Key) -> float:
    seconds = file.value(float, default, *keys)
    if seconds is None or not (0 < seconds < math.inf):
        file.fault(f"`{'.'.join(map(str, keys))}` must be more than 0 seconds", *keys)
        return default
    return seconds


def _all_text(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)
