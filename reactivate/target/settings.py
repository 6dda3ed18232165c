"""The target's own configuration: its digest per component, and changes that keep its comments."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from reactivate.documents import shown
from reactivate.errors import ConfigurationError, UsageError, WorkspaceError
from reactivate.target.command import effect_of
from reactivate.target.config import load_target, target_path
from reactivate.target.model import TargetSpec
from reactivate.target.switches.contract import Setting
from reactivate.tomlfile import TomlFile, nearest
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed setting."""

    path: Path
    key: str
    before: Setting
    after: Setting


def set_value(workspace: Workspace, key: str, value: str) -> Change:
    """Change one setting of the campaign's target, in place, all else kept byte for byte.

    Args:
        workspace: whose campaign.toml names the target.
        key: `SECTION.KEY`, or `KEY` for a top-level value.
        value: the new value; it is given the type that the old one has.

    Raises:
        UsageError: no such key (names the nearest), or not a value of that type.
        ConfigurationError: the file is malformed, or the target has none.
        WorkspaceError: the file cannot be read or written.
    """
    spec = load_target(target_path(workspace, workspace.settings().target))
    if spec.configuration is None:
        raise ConfigurationError(
            f"the target {spec.name} has no configuration file",
            why=f"{spec.path} has no `configuration`",
        )
    path = spec.configuration
    file = TomlFile(path)
    section, _, name = key.rpartition(".")
    before = _present(file, section, name)
    after = _like(before, value, key)
    _replace(path, _edited(file, {key: after}))
    return Change(path=path, key=key, before=before, after=after)


def with_settings(path: Path, changes: Mapping[str, Setting]) -> str:
    """The text of a configuration file with some settings changed; the file stays as it is.

    Args:
        path: the file.
        changes: new values by `SECTION.KEY`, or `KEY`; numbers stay numbers, text stays text.

    Raises:
        UsageError: no such key (names the nearest), or a value of another type.
        ConfigurationError: the file is malformed.
        WorkspaceError: the file cannot be read.
    """
    file = TomlFile(path)
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        _like(_present(file, section, name), str(value).lower() if value is True or value is False
              else str(value), key)  # fmt: skip
    return _edited(file, changes)


def write_switched(
    spec: TargetSpec, components: Collection[str], copy: Path | None, base: Path | None = None
) -> None:
    """Write the copy of the configuration in which components are switched, comments kept.

    Does nothing where no component is switched in it.

    Args:
        spec: the target.
        components: what is on.
        copy: where it goes.
        base: what it is made from; the target's own file by default.

    Raises:
        ConfigurationError: the file is malformed, or lacks a key.
        WorkspaceError: it cannot be read or written.
    """
    changes = effect_of(spec, components).settings
    base = base or spec.configuration
    if copy is None or base is None or not changes:
        return
    text = with_settings(base, changes)
    if not copy.is_file() or copy.read_text(encoding="utf-8") != text:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
        _replace(copy, text)


def _edited(file: TomlFile, changes: Mapping[str, Setting]) -> str:
    expected = tomllib.loads(file.text)
    try:
        document = tomlkit.parse(file.text)
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            (document[section] if section else document)[name] = value
            (expected[section] if section else expected)[name] = value
        text = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigurationError(f"{file.path} cannot be edited", why=str(error)) from error
    # Not used unless it means exactly what was asked for.
    if tomllib.loads(text) != expected:
        raise ConfigurationError(f"{file.path} cannot be edited", why="its layout is too unusual")
    return text


def _present(file: TomlFile, section: str, name: str) -> Setting:
    sections = {key: value for key, value in file.data.items() if isinstance(value, dict)}
    if section and section not in sections:
        raise UsageError(
            f"{file.path} has no section `{section}`{nearest(section, sorted(sections))}"
        )
    table = sections[section] if section else file.data
    settings = sorted(key for key, value in table.items() if not isinstance(value, dict))
    if name not in settings:
        where = f"section `{section}` of {file.path}" if section else f"{file.path}"
        raise UsageError(f"{where} has no key `{name}`{nearest(name, settings)}")
    value = table[name]
    if isinstance(value, (str, int, float)):
        return value
    raise UsageError(
        f"`{section}.{name}` is a {type(value).__name__}",
        why="only text, numbers, true and false can be set from the command line",
        hint=f"edit {file.path}",
    )


def _like(before: Setting, value: str, key: str) -> Setting:
    """The text as a value of the type of the old one."""
    try:
        if isinstance(before, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(before, (int, float)):
            number = type(before)(value)
            # Digits of other scripts are numbers to Python, nan and inf to TOML.
            if not value.isascii() or not math.isfinite(number):
                raise ValueError
            return number
    except (KeyError, ValueError, OverflowError):
        wanted = "true or false" if isinstance(before, bool) else type(before).__name__
        raise UsageError(
            f"{shown(value)} cannot be the value of `{key}`",
            why=f"it is {shown(before)} now, so it must be {wanted}",
        ) from None
    return value


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never half of one."""
    # A symbolic link stays one: what it points to is replaced.
    real = path.resolve()
    partial = real.with_name(f".{real.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(real.stat().st_mode & 0o777)
        partial.replace(real)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WorkspaceError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            hint="check the permissions and the free space of the workspace",
        ) from error
