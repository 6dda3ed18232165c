"""The [[component]] tables of a target's file, with every fault of theirs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from reactivate.target.command import FIELD, RUN_FIELDS
from reactivate.target.model import ComponentSwitch
from reactivate.target.own_witness import OwnWitness
from reactivate.target.switches.contract import combined
from reactivate.target.switches.read import SWITCH_KEYS, read_switches
from reactivate.tomlfile import Key, TomlFile, nearest

_WITNESS_KEYS = {"witness", "witness_operation", "witness_symbol", "witness_suite"}
_COMPONENT = {"id", "needs"} | _WITNESS_KEYS | SWITCH_KEYS


def read_components(file: TomlFile, workspace: Path) -> tuple[ComponentSwitch, ...]:
    """All components, in the file's order; faults go to the file.

    Args:
        file: the target's file.
        workspace: what paths in it are relative to.
    """
    tables = file.value(list, [], "component") or []
    switches: list[ComponentSwitch] = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            file.fault("components are written as [[component]] tables", "component")
            return ()
        switches.append(_component(file, index, table, workspace))
    _check_names(file, switches)
    return tuple(switches)


def _component(
    file: TomlFile, index: int, table: dict[str, object], workspace: Path
) -> ComponentSwitch:
    at: tuple[Key, ...] = ("component", index)
    file.known(_COMPONENT, *at)
    asked = [k for k in ("witness", "witness_operation", "witness_symbol") if k in table]
    if len(asked) > 1:
        file.fault(f"one witness is enough: `{asked[0]}` or `{asked[1]}`", *at, asked[1])
    own_id = file.value(str, None, *at, "id") or ""
    made = ComponentSwitch(
        id=own_id,
        needs=file.texts((), *at, "needs"),
        witness=file.value(str, own_id, *at, "witness") or "",
        operation=_operation(file, index) if "witness_operation" in table else None,
        symbol=file.value(str, "", *at, "witness_symbol") or "",
        suite=file.value(str, "posix", *at, "witness_suite") or "",
        switches=read_switches(file, index, workspace),
    )
    effect = combined(switch.effect(on=True) for switch in made.switches)
    for text in (*effect.arguments, *effect.environment.values()):
        for name in FIELD.findall(text):
            if name not in RUN_FIELDS:
                told = nearest(name, sorted(RUN_FIELDS))
                file.fault(f"unknown field {{{name}}} in {text!r}{told}", *at,
                           "arguments" if text in effect.arguments else "environment")  # fmt: skip
    for name, value in effect.environment.items():
        if not name or "=" in name or "\0" in name + value:
            file.fault(f"{name!r} cannot be an environment variable", *at, "environment")
    return made


def _operation(file: TomlFile, index: int) -> OwnWitness | None:
    at: tuple[Key, ...] = ("component", index, "witness_operation")
    file.known({"write", "content", "read", "expect"}, *at)
    write = file.value(str, "", *at, "write") or ""
    read = file.value(str, write, *at, "read") or ""
    expect = file.value(str, None, *at, "expect") or ""
    content = file.value(str, "", *at, "content") or ""
    for path in filter(None, (write, read)):
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\0" in path:
            file.fault(f"{path!r} must be a path inside of the mount", *at)
    if not read:
        file.fault("a witness needs a file to `read`", *at)
    if not expect.strip():
        file.fault("a witness that expects nothing proves nothing", *at)
    if write == read and content.rstrip() == expect.rstrip():
        file.fault("every filesystem gives back what was written: that proves nothing", *at)
    return OwnWitness(write=write, content=content, read=read, expect=expect)


def _check_names(file: TomlFile, switches: list[ComponentSwitch]) -> None:
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
