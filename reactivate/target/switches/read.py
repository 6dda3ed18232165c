"""How the switches of a [[component]] are written in a target's file."""

from __future__ import annotations

from pathlib import Path

from reactivate.target.switches.arguments import ArgumentsSwitch
from reactivate.target.switches.build_feature import FeatureSwitch
from reactivate.target.switches.configuration_file import SettingSwitch
from reactivate.target.switches.contract import Setting, Switch
from reactivate.target.switches.environment import EnvironmentSwitch
from reactivate.target.switches.patch import PatchSwitch
from reactivate.tomlfile import TomlFile

SWITCH_KEYS = frozenset({"arguments", "environment", "feature", "setting", "patch"})
"""The keys of a component that say how it is switched."""


def read_switches(file: TomlFile, index: int, workspace: Path) -> tuple[Switch, ...]:
    """All switches of the component at an index; faults go to the file.

    Args:
        file: the target's file.
        index: position of the component, from 0.
        workspace: what paths of patches are relative to.
    """
    table = file.table("component", index)
    at = ("component", index)
    found: list[Switch] = []
    if "arguments" in table:
        found.append(ArgumentsSwitch(arguments=file.texts(None, *at, "arguments")))
    if "environment" in table:
        variables = {
            name: file.value(str, "", *at, "environment", name) or ""
            for name in file.table(*at, "environment")
        }
        found.append(EnvironmentSwitch(variables=variables))
    if "feature" in table:
        found.append(FeatureSwitch(feature=file.value(str, "", *at, "feature") or ""))
    if "setting" in table and (setting := _setting(file, index)):
        found.append(setting)
    if "patch" in table:
        path = workspace / (file.value(str, "", *at, "patch") or "")
        if not path.is_file():
            file.fault(f"there is no patch {path}", *at, "patch")
        found.append(PatchSwitch(path=path))
    return tuple(found)


def _setting(file: TomlFile, index: int) -> SettingSwitch | None:
    at = ("component", index, "setting")
    file.known({"key", "on", "off"}, *at)
    table = file.table(*at)
    key = file.value(str, None, *at, "key") or ""
    on = _value(file, index, "on", default=True)
    off = _value(file, index, "off", default=False)
    if type(on) is not type(off) or on == off:
        file.fault(f"`on` and `off` of `{key}` must be two values of one kind", *at)
        return None
    return SettingSwitch(key=key, on=on, off=off) if table else None


def _value(file: TomlFile, index: int, name: str, *, default: bool) -> Setting:
    value = file.table("component", index, "setting").get(name, default)
    if isinstance(value, (str, int, float)):
        return value
    file.fault(f"`{name}` must be text, a number, true or false", "component", index, "setting")
    return default
