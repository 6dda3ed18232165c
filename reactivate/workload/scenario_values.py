"""The parts of a scenario's file in which the swept value may stand, each checked with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reactivate.errors import UsageError
from reactivate.tomlfile import Key, TomlFile, nearest
from reactivate.units import parse_bytes
from reactivate.workload.exercises.contract import Exercise, Parameter, Value
from reactivate.workload.exercises.registry import EXERCISES
from reactivate.workload.scenario_model import PLACEHOLDER, Call, Setting, Sweep

_SWEEP = {"parameter", "values", "reduced"}
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false",
          tuple: "a list of text"}  # fmt: skip


def sweep_of(file: TomlFile) -> Sweep | None:
    """The [sweep] table; None if there is none."""
    if "sweep" not in file.data:
        return None
    file.known(_SWEEP, "sweep")
    values = _swept(file, "values")
    reduced = _swept(file, "reduced") if "reduced" in file.table("sweep") else values
    for value in reduced:
        if value not in values:
            file.fault(f"{value!r} of `sweep.reduced` is not in `sweep.values`", "sweep", "reduced")
    return Sweep(
        parameter=file.value(str, None, "sweep", "parameter") or "",
        values=values,
        reduced=tuple(value for value in values if value in reduced),
    )


def _swept(file: TomlFile, name: str) -> tuple[Setting, ...]:
    values = file.value(list, None, "sweep", name)
    if values is None:
        return ()
    if not values:
        file.fault(f"`sweep.{name}` is empty", "sweep", name)
    good = [value for value in values if type(value) in (int, float, str)]
    if len(good) < len(values) or len({isinstance(value, str) for value in good}) > 1:
        file.fault(f"`sweep.{name}` must hold numbers only, or text only", "sweep", name)
    if len(set(good)) < len(good):
        file.fault(f"`sweep.{name}` holds a value twice", "sweep", name)
    return tuple(good)


def components_of(file: TomlFile, known: Collection[str] | None) -> tuple[str, ...]:
    """The `components` list: each once, and each one that the target has."""
    names = file.texts(None, "components")
    for index, name in enumerate(names):
        if name in names[:index]:
            file.fault(f"component `{name}` comes twice", "components")
        elif known is not None and name not in known:
            file.fault(f"unknown component `{name}`{nearest(name, sorted(known))}", "components")
    return names


def exercise_calls(file: TomlFile, swept: Sequence[Setting]) -> tuple[Call, ...]:
    """The [[exercise]] tables."""
    tables = file.value(list, None, "exercise")
    if tables is None:
        return ()
    calls: list[Call] = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            file.fault("exercises are written as [[exercise]] tables", "exercise")
            return ()
        name = file.value(str, None, "exercise", index, "name")
        if name is None:
            continue
        if name not in EXERCISES:
            file.fault(f"there is no exercise `{name}`{nearest(name, sorted(EXERCISES))}",
                       "exercise", index, "name")  # fmt: skip
            continue
        calls.append(_call(file, index, EXERCISES[name], swept))
    return tuple(calls)


def _call(file: TomlFile, index: int, exercise: Exercise, swept: Sequence[Setting]) -> Call:
    keys = ("exercise", index)
    file.known({"name", *exercise.parameters}, *keys)
    table = file.table(*keys)
    values: dict[str, Value] = {}
    for name, parameter in exercise.parameters.items():
        if name not in table:
            if parameter.default is None:
                file.fault(
                    f"exercise `{exercise.name}` needs `{name}`: {parameter.meaning}",
                    *keys, "name",
                )  # fmt: skip
            else:
                values[name] = parameter.default
            continue
        written = table[name]
        if written == PLACEHOLDER:
            _check_swept(file, parameter, swept, *keys, name)
            values[name] = PLACEHOLDER
        elif why := unfit(parameter, written):
            file.fault(f"`{name}` {why}", *keys, name)
        else:
            values[name] = _converted(parameter, written)
    return Call(exercise=exercise, values=values)


def _check_swept(
    file: TomlFile, parameter: Parameter, swept: Sequence[Setting], *keys: Key
) -> None:
    if "sweep" not in file.data:
        file.fault(f"`{keys[-1]}` is {PLACEHOLDER}, and there is no [sweep]", *keys)
    for value in swept:
        if why := unfit(parameter, value):
            file.fault(f"`{keys[-1]}` {why} (from `sweep.values`)", *keys)


def unfit(parameter: Parameter, value: object) -> str:
    """Why a value cannot be a parameter's, without its name; "" if it can."""
    if parameter.kind is tuple:
        if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
            return f"must be {_KINDS[tuple]}, not {value!r}"
        wrong = [
            member for member in value if parameter.choices and member not in parameter.choices
        ]
        return f"cannot hold {wrong[0]!r}{nearest(wrong[0], parameter.choices)}" if wrong else ""
    if type(value) is not parameter.kind and not (parameter.kind is float and type(value) is int):
        return f"must be {_KINDS[parameter.kind]}, not {value!r}"
    if isinstance(value, str):
        if parameter.choices and value not in parameter.choices:
            return f"cannot be {value!r}{nearest(value, parameter.choices)}"
        return ""
    if isinstance(value, (int, float)):
        if parameter.lowest is not None and not value >= parameter.lowest:
            return f"must be at least {parameter.lowest:g}, not {value!r}"
        if parameter.highest is not None and not value <= parameter.highest:
            return f"must be at most {parameter.highest:g}, not {value!r}"
    return ""


def _converted(parameter: Parameter, value: object) -> Value:
    if isinstance(value, list):
        return tuple(str(member) for member in value)
    if parameter.kind is float and isinstance(value, int):
        return float(value)
    assert isinstance(value, (str, int, float))  # unfit() has seen to it
    return value


def settings_of(file: TomlFile, swept: Sequence[Setting], *keys: str) -> dict[str, Setting]:
    """A table of the target's settings by `SECTION.KEY`; a nested table means the same."""
    settings: dict[str, Setting] = {}
    for name, value in file.table(*keys).items():
        members = value if isinstance(value, dict) else {"": value}
        for inner, member in members.items():
            full = f"{name}.{inner}" if inner else name
            if not isinstance(member, (str, int, float)):
                file.fault(f"`{full}` must be text, a number, true or false", *keys, name)
                continue
            if member == PLACEHOLDER and not swept and "sweep" not in file.data:
                file.fault(f"`{full}` is {PLACEHOLDER}, and there is no [sweep]", *keys, name)
            settings[full] = member
    return settings


def whole_or_swept(
    file: TomlFile,
    swept: Sequence[Setting],
    default: int,
    bounds: tuple[int, int],
    *keys: str,
    size: bool = False,
) -> int | str:
    """A whole number (of a size: also `64 KiB`) within bounds, or the swept value."""
    value = file.table(*keys[:-1]).get(keys[-1], default)
    name = ".".join(keys)
    parameter = Parameter(kind=int, default=None, meaning="", lowest=bounds[0], highest=bounds[1])
    if value == PLACEHOLDER:
        _check_swept(file, parameter, swept, *keys)
        return PLACEHOLDER
    if size and isinstance(value, str):
        try:
            value = parse_bytes(value)
        except UsageError as error:
            file.fault(f"`{name}`: {error.what}", *keys)
            return default
    if why := unfit(parameter, value):
        file.fault(f"`{name}` {why}", *keys)
        return default
    assert isinstance(value, int)  # unfit() has seen to it
    return value
