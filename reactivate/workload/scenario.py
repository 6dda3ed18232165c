"""configs/scenarios/NAME.toml → Scenario, with every fault of the file at once.

Whoever runs scenarios imports everything about them from here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from reactivate.errors import ConfigurationError, UsageError
from reactivate.target.model import BackingFault
from reactivate.tomlfile import TomlFile, nearest
from reactivate.units import parse_bytes
from reactivate.workload.exercises.contract import Exercise, Outcome, Progress
from reactivate.workload.exercises.registry import EXERCISES
from reactivate.workload.scenario_model import (
    PLACEHOLDER,
    Call,
    Category,
    Expectation,
    Faults,
    Limits,
    Restart,
    Scenario,
    Setting,
    StackLimit,
    Step,
    Sweep,
)
from reactivate.workload.scenario_values import (
    components_of,
    exercise_calls,
    settings_of,
    sweep_of,
    whole_or_swept,
)

__all__ = [
    "EXERCISES",
    "BackingFault",
    "Call",
    "Category",
    "Exercise",
    "Expectation",
    "Faults",
    "Limits",
    "Outcome",
    "Progress",
    "Restart",
    "Scenario",
    "Setting",
    "StackLimit",
    "Step",
    "Sweep",
    "find_scenario",
    "load_scenario",
    "load_scenarios",
    "scenario_folder",
]

_TOP = {"title", "category", "components", "expect", "exercise", "sweep", "limits",
        "configuration", "mounts", "faults"}  # fmt: skip
_LIMITS = {"stack", "memory", "processes", "file_size", "seconds"}
_MOUNTS = {"cycles", "restart", "orders"}
_FAULTS = {"backing", "after_bytes", "configuration", "recovers"}
_HINT = "docs/scenarios.md describes every key"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_LEAST_STACK_BYTES = 4096
_LARGEST = 1 << 62

Choice = TypeVar("Choice", bound=StrEnum)


def scenario_folder(configs: Path) -> Path:
    """Where the scenarios of a workspace's configs/ are."""
    return configs / "scenarios"


def load_scenarios(
    configs: Path, *, components: Collection[str] | None = None
) -> tuple[Scenario, ...]:
    """Every scenario of a workspace, by name; () if it has none.

    Args:
        configs: the workspace's configs/ folder.
        components: the ids that the target knows; others are refused. None: any may be named.

    Raises:
        ConfigurationError: with all faults of all files.
        WorkspaceError: a file cannot be read.
    """
    found: list[Scenario] = []
    refused: list[ConfigurationError] = []
    for path in sorted(scenario_folder(configs).glob("*.toml")):
        try:
            found.append(load_scenario(path, components=components))
        except ConfigurationError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise ConfigurationError(
            f"{len(refused)} scenarios have faults",
            why="\n".join(error.why for error in refused),
            hint=_HINT,
        )
    return tuple(found)


def find_scenario(scenarios: Sequence[Scenario], name: str) -> Scenario:
    """The scenario with this name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    for scenario in scenarios:
        if scenario.name == name:
            return scenario
    names = [scenario.name for scenario in scenarios]
    raise UsageError(
        f"there is no scenario `{name}`{nearest(name, names)}",
        why="" if names else "this workspace has no configs/scenarios/*.toml",
    )


def load_scenario(path: Path, *, components: Collection[str] | None = None) -> Scenario:
    """Read and check one scenario.

    Raises:
        ConfigurationError: with every fault and its line.
        WorkspaceError: the file cannot be read.
    """
    file = TomlFile(path)
    file.known(_TOP)
    if not _NAME.fullmatch(path.stem):
        file.fault(f"a scenario's name has lower case letters, digits and _, not {path.stem!r}")
    sweep = sweep_of(file)
    swept = sweep.values if sweep else ()
    calls = exercise_calls(file, swept)
    on = components_of(file, components)
    scenario = Scenario(
        name=path.stem,
        path=path,
        sha256=hashlib.sha256(file.text.encode()).hexdigest(),
        title=file.value(str, None, "title") or "",
        category=_choice(file, Category, None, "category") or Category.STRESS,
        components=on,
        expect=_choice(file, Expectation, Expectation.SURVIVES, "expect") or Expectation.SURVIVES,
        calls=calls,
        sweep=sweep,
        limits=_limits(file),
        configuration=settings_of(file, swept, "configuration"),
        cycles=_cycles(file, swept),
        restart=_choice(file, Restart, Restart.NONE, "mounts", "restart") or Restart.NONE,
        orders=_orders(file, on),
        faults=_faults(file, swept),
    )
    _fits_together(file, scenario)
    file.finish(hint=_HINT)
    return scenario


def _choice(
    file: TomlFile, kind: type[Choice], default: Choice | None, *keys: str
) -> Choice | None:
    text = file.value(str, default.value if default else None, *keys)
    names = [member.value for member in kind]
    if text is None:
        return default
    if text not in names:
        file.fault(f"`{'.'.join(keys)}` cannot be {text!r}{nearest(text, names)}", *keys)
        return default
    return kind(text)


def _limits(file: TomlFile) -> Limits:
    file.known(_LIMITS, "limits")
    seconds = file.value(float, 120.0, "limits", "seconds")
    if seconds is None or not 0 < seconds < 86_400:
        file.fault("`limits.seconds` must be more than 0 and less than a day", "limits", "seconds")
    return Limits(
        stack=_stacks(file),
        memory_bytes=_size(file, "limits", "memory"),
        processes=_processes(file),
        file_size_bytes=_size(file, "limits", "file_size"),
        seconds=seconds or 120.0,
    )


def _stacks(file: TomlFile) -> tuple[StackLimit, ...]:
    limits: list[StackLimit] = []
    for text in file.texts(None, "limits", "stack"):
        limit = _stack(file, text)
        if limit is None:
            continue
        if any((limit.size_bytes, limit.share) == (o.size_bytes, o.share) for o in limits):
            file.fault(f"the stack limit {text} comes twice", "limits", "stack")
        limits.append(limit)
    if not limits and "stack" in file.table("limits"):
        file.fault("`limits.stack` needs at least one limit", "limits", "stack")
    return tuple(limits)


def _stack(file: TomlFile, text: str) -> StackLimit | None:
    if percent := _PERCENT.fullmatch(text):
        share = float(percent[1]) / 100
        if 0 < share <= 1:
            return StackLimit(text=text, share=share)
        file.fault(f"a stack limit of {text} is not more than 0 % and at most 100 %",
                   "limits", "stack")  # fmt: skip
        return None
    try:
        size = parse_bytes(text)
    except UsageError as error:
        file.fault(_reason(error), "limits", "stack")
        return None
    if size < _LEAST_STACK_BYTES:
        file.fault(f"a stack limit of {text} is less than one page", "limits", "stack")
        return None
    return StackLimit(text=text, size_bytes=size)


def _size(file: TomlFile, *keys: str) -> int | None:
    """A size as text; `unlimited`, or nothing, is None."""
    text = file.value(str, "unlimited", *keys)
    if text is None or text == "unlimited":
        return None
    try:
        if (size := parse_bytes(text)) > 0:
            return size
        file.fault(f"`{'.'.join(keys)}` must be more than nothing", *keys)
    except UsageError as error:
        file.fault(_reason(error), *keys)
    return None


def _processes(file: TomlFile) -> int | None:
    if "processes" not in file.table("limits"):
        return None
    number = file.value(int, None, "limits", "processes")
    if number is not None and number < 1:
        file.fault("`limits.processes` must be at least 1", "limits", "processes")
    return number


def _reason(error: UsageError) -> str:
    return "; ".join(part for part in (error.what, error.why, error.hint) if part)


def _cycles(file: TomlFile, swept: Sequence[Setting]) -> int | str:
    file.known(_MOUNTS, "mounts")
    return whole_or_swept(file, swept, 1, (1, 100_000), "mounts", "cycles")


def _orders(file: TomlFile, components: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    orders: list[tuple[str, ...]] = []
    for order in file.value(list, [], "mounts", "orders") or []:
        if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
            file.fault("`mounts.orders` holds lists of components", "mounts", "orders")
            continue
        if sorted(order) != sorted(components):
            file.fault(
                f"the order {order} must hold each of `components` once: {sorted(components)}",
                "mounts", "orders",
            )  # fmt: skip
        if tuple(order) in orders:
            file.fault(f"the order {order} comes twice", "mounts", "orders")
        orders.append(tuple(order))
    return tuple(orders)


def _faults(file: TomlFile, swept: Sequence[Setting]) -> Faults | None:
    if "faults" not in file.data:
        return None
    file.known(_FAULTS, "faults")
    backing = None
    if "backing" in file.table("faults"):
        backing = _choice(file, BackingFault, None, "faults", "backing")
    faults = Faults(
        backing=backing,
        after_bytes=whole_or_swept(
            file, swept, 0, (0, _LARGEST), "faults", "after_bytes", size=True
        ),
        configuration=settings_of(file, swept, "faults", "configuration"),
        recovers=file.value(bool, False, "faults", "recovers") or False,
    )
    if not {"backing", "configuration"} & file.table("faults").keys():
        file.fault("`faults` says nothing that is wrong: no `backing`, no `configuration`",
                   "faults")  # fmt: skip
    if faults.configuration and not faults.recovers:
        file.fault(
            "a `faults.configuration` is refused at mount, so nothing can be exercised under it:"
            " `recovers = true` is missing",
            "faults", "configuration",
        )  # fmt: skip
    if faults.after_bytes and backing is BackingFault.READ_ONLY:
        file.fault("a folder is read-only from the start: no `after_bytes`",
                   "faults", "after_bytes")  # fmt: skip
    return faults


def _fits_together(file: TomlFile, scenario: Scenario) -> None:
    """What single keys cannot know."""
    swept: tuple[Setting | None, ...] = scenario.sweep.values if scenario.sweep else (None,)
    for index, call in enumerate(scenario.calls):
        try:
            needed = {need: None for value in swept for need in call.filled(value).needs}
        except KeyError:  # a value is missing, which is a fault by itself
            continue
        for need in needed:
            if need not in scenario.components:
                file.fault(
                    f"exercise `{call.exercise.name}` needs `{need}`, which is not in `components`",
                    "exercise", index, "name",
                )  # fmt: skip
    durable = [call for call in scenario.calls if call.exercise.durable]
    if scenario.restart is Restart.KILL and not durable:
        file.fault(
            "`restart` looks for what was acknowledged, and no exercise writes anything durable",
            "mounts", "restart",
        )  # fmt: skip
    if scenario.sweep is not None and PLACEHOLDER not in _texts(file.data):
        file.fault(f'the sweep changes nothing: no value is "{PLACEHOLDER}"', "sweep")


def _texts(value: object) -> set[str]:
    """Every text that is a value somewhere."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*(_texts(member) for member in value.values()))
    if isinstance(value, list):
        return set().union(*(_texts(member) for member in value))
    return set()
