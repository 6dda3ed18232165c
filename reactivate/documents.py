"""JSON files, read so that nothing in them is taken for what it is not.

Evidence is kept in files that others can write. What Python's reader lets through (NaN, one key
twice, numbers without end, UTF-16) would become a wrong number or a traceback far from the file.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from reactivate.errors import MeasurementError
from reactivate.files import read_plain

Kind = TypeVar("Kind")

MOST_BYTES = 64 << 20
"""A larger document is not read."""
MOST_LEVELS = 64
"""Of lists and tables within each other; ours have ten."""

_WORDS = {int: "a whole number", str: "text", bool: "true or false", list: "a list",
          dict: "a table"}  # fmt: skip
_SHOWN = 40


def read_json(path: Path, *, name: str = "") -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        name: what it is called in an error, instead of its path.

    Raises:
        MeasurementError: it is no file, too large, or refused by `parse_json`.
    """
    try:
        raw = read_plain(path, most_bytes=MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        return parse_json(raw)
    except (OSError, ValueError) as error:
        raise unreadable(name or str(path), error) from error


def unreadable(name: str, error: Exception) -> MeasurementError:
    """The refusal of a JSON file, by whichever reader."""
    why = error.strerror or "" if isinstance(error, OSError) else str(error)
    return MeasurementError(
        f"{name} cannot be read as evidence",
        why=why,
        hint="reactivate ledger verify     shows which files are not as they were",
    )


def parse_json(raw: bytes) -> Any:
    """What a JSON text in UTF-8 says; every number in it is finite and fits into 64 bits.

    Raises:
        ValueError: it is no JSON, nested deeper than `MOST_LEVELS`, names a key twice, or holds a
            number that nothing of ours writes.
    """
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: {error}") from error
    refuse_deep(found, _refuse)
    return found


def whole(table: Mapping[str, Any], key: str) -> int:
    """The whole number at a key, zero or more.

    Raises:
        ValueError: there is none, or something else; true is no number, nor is "5".
    """
    value = _of(int, table, key)
    if value < 0:
        raise ValueError(f"`{key}` is negative: {value}")
    return value


def text(table: Mapping[str, Any], key: str) -> str:
    """The text at a key; raises as `whole` does."""
    return _of(str, table, key)


def flag(table: Mapping[str, Any], key: str) -> bool:
    """Whether it is so, by the value at a key; raises as `whole` does."""
    return _of(bool, table, key)


def tables(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of tables at a key; raises as `whole` does."""
    found = _of(list, table, key)
    for each in found:
        if not isinstance(each, dict):
            raise ValueError(f"`{key}` holds {shown(each)}, not only tables")
    return found


def _of(kind: type[Kind], table: Mapping[str, Any], key: str) -> Kind:
    if not isinstance(table, Mapping):
        raise ValueError(f"{shown(table)} is no table")
    if key not in table:
        raise ValueError(f"`{key}` is missing")
    if type(table[key]) is not kind:
        raise ValueError(f"`{key}` must be {_WORDS[kind]}, not {shown(table[key])}")
    return table[key]  # type: ignore[no-any-return]


def shown(value: object) -> str:
    """A value for a message, never long."""
    try:
        text = repr(value)
    except ValueError:  # a hexadecimal number with more decimal digits than Python shows
        return "a number too long to show"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(twice)} is there twice")
    return found


_TOO_DEEP = f"it is nested deeper than {MOST_LEVELS} levels"
_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def refuse_deep(found: object, refuse: Callable[[Any], None] | None = None) -> None:
    """Refuse a document that is nested too deep.

    Args:
        found: what Python's reader made of it.
        refuse: is given each value, to refuse it.

    Raises:
        ValueError: it is deeper than `MOST_LEVELS`, or as `refuse` does.
    """
    # Level by level: what is nested deep must not nest the calls that refuse it.
    level: list[Any] = [found]
    for _ in range(MOST_LEVELS + 1):
        if refuse is not None:
            for value in level:
                refuse(value)
        around = [value for value in level if type(value) in (dict, list)]
        if not around:
            return
        level = [*chain.from_iterable(v.values() if type(v) is dict else v for v in around)]
    raise ValueError(_TOO_DEEP)


def _refuse(value: Any) -> None:
    kind = type(value)
    if kind is int:
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError("a number does not fit into 64 bits")
    elif kind is float and not math.isfinite(value):
        raise ValueError("a number is not finite")
