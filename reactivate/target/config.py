"""configs/targets/NAME.toml → TargetSpec, with every fault of the file at once."""

from __future__ import annotations

import math
from pathlib import Path

from reactivate.errors import UsageError
from reactivate.target.command import BUILD_FIELDS, COMPONENT_FIELDS, FIELD, RUN_FIELDS
from reactivate.target.model import ComponentSwitch, TargetSpec
from reactivate.tomlfile import Key, TomlFile, nearest
from reactivate.workspace import Workspace

_TOP = {"title", "configuration", "artifact", "build", "run", "environment", "component"}
_BUILD = {"commands", "timeout_seconds"}
_RUN = {"command", "for_each_component", "mount_timeout_seconds", "stop_timeout_seconds"}
_COMPONENT = {"id", "needs", "witness"}

_ARTIFACT_FIELDS = frozenset({"probes", "build"})


def target_names(workspace: Workspace) -> tuple[str, ...]:
    """The targets that this workspace knows."""
    return tuple(sorted(path.stem for path in (workspace.configs / "targets").glob("*.toml")))


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
    components = _components(file)
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
    )
    _fields(file, spec.artifact, _ARTIFACT_FIELDS, "artifact")
    if spec.run and not any("{mountpoint}" in argument for argument in spec.run):
        file.fault("`run.command` does not say where to mount: no {mountpoint}", "run", "command")
    file.finish(hint="docs/targets.md describes every key")
    return spec


def _configuration(file: TomlFile) -> Path | None:
    text = file.value(str, "", "configuration")
    if not text:
        return None
    path = file.path.parent.parent.parent / text
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


def _components(file: TomlFile) -> tuple[ComponentSwitch, ...]:
    tables = file.value(list, [], "component") or []
    switches: list[ComponentSwitch] = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            file.fault("components are written as [[component]] tables", "component")
            return ()
        file.known(_COMPONENT, "component", index)
        switches.append(
            ComponentSwitch(
                id=file.value(str, None, "component", index, "id") or "",
                needs=file.texts((), "component", index, "needs"),
                witness=file.value(str, table.get("id", ""), "component", index, "witness") or "",
            )
        )
    _component_names(file, switches)
    return tuple(switches)


def _component_names(file: TomlFile, switches: list[ComponentSwitch]) -> None:
    seen: list[str] = []
    for index, switch in enumerate(switches):
        if switch.id in seen:
            file.fault(f"component `{switch.id}` comes twice", "component", index, "id")
        if switch.id and not switch.id.replace("_", "").replace("-", "").isalnum():
            file.fault(
                f"a component's id has letters, digits, - and _, not {switch.id!r}",
                "component", index, "id",
            )  # fmt: skip
        for need in switch.needs:
            if need not in seen:
                file.fault(
                    f"component `{switch.id}` needs `{need}`, which does not come before it"
                    + nearest(need, seen),
                    "component", index, "needs",
                )  # fmt: skip
        seen.append(switch.id)


def _all_text(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)
