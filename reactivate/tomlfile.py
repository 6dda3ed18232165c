"""Reading a TOML file so that every fault in it is told at once, with its line.

tomllib reads the values but knows no lines; where a key stands is found in the text itself.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from reactivate.documents import shown
from reactivate.errors import ConfigurationError, WorkspaceError
from reactivate.files import read_plain

Kind = TypeVar("Kind")
Key = str | int

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"""^\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)$")
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false",
          list: "a list", dict: "a table"}  # fmt: skip


class TomlFile:
    """One file, its values, and the faults found so far."""

    def __init__(self, path: Path) -> None:
        """Read and parse.

        Raises:
            WorkspaceError: the file cannot be read.
            ConfigurationError: it is not TOML.
        """
        self.path = path
        self._faults: list[tuple[int, str]] = []
        try:
            self.text = read_plain(path).decode("utf-8")
            self.data: dict[str, object] = tomllib.loads(self.text)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be read", why=error.strerror or "") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not UTF-8 text", why=str(error)) from error
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(path, str(error)) from error
        # tomllib lets through what Python says of numbers that are too long, and of deep nesting.
        except (ValueError, RecursionError) as error:
            why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
            raise ConfigurationError(f"{path} cannot be read as TOML", why=why) from error
        self._lines = _lines(self.text)

    def line(self, *keys: Key) -> int:
        """1-based line of a key, or of the nearest table around it that has one."""
        for length in range(len(keys), 0, -1):
            if found := self._lines.get(keys[:length]):
                return found
        return 1

    def fault(self, message: str, *keys: Key) -> None:
        """Note a fault at a key."""
        self._faults.append((self.line(*keys), message))

    def table(self, *keys: Key) -> dict[str, object]:
        """The table at a key; empty, with a fault where it is something else, if there is none."""
        value: object = self.data
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key, {})
            elif isinstance(value, list) and isinstance(key, int):
                value = value[key]
        if isinstance(value, dict):
            return value
        self.fault(f"`{_name(keys)}` must be a table", *keys)
        return {}

    def known(self, names: Iterable[str], *keys: Key) -> None:
        """Note every key of a table that is not among the names."""
        known = sorted(names)
        for key in self.table(*keys):
            if key not in known:
                self.fault(f"unknown key `{_name((*keys, key))}`{nearest(key, known)}", *keys, key)

    def value(self, kind: type[Kind], default: Kind | None, *keys: Key) -> Kind | None:
        """The value at a key; the default, with a fault where that is None, if there is none.

        A whole number serves where a number is asked for; true and false are never numbers.
        """
        table = self.table(*keys[:-1])
        if keys[-1] not in table:
            if default is None:
                self.fault(f"`{_name(keys)}` is missing", *keys)
            return default
        value = table[str(keys[-1])]
        if kind is float and type(value) is int:
            try:
                return kind(value)  # type: ignore[call-arg]
            except OverflowError:
                self.fault(f"`{_name(keys)}` is too large for a number", *keys)
                return default
        if type(value) is kind:
            return value
        self.fault(f"`{_name(keys)}` must be {_WORDS[kind]}, not {shown(value)}", *keys)
        return default

    def texts(self, default: Sequence[str] | None, *keys: Key) -> tuple[str, ...]:
        """A list of text; faults as in `value`."""
        values = self.value(list, None if default is None else list(default), *keys)
        if values is None:
            return ()
        for value in values:
            if not isinstance(value, str):
                self.fault(f"`{_name(keys)}` must hold text only, not {shown(value)}", *keys)
        return tuple(value for value in values if isinstance(value, str))

    def finish(self, hint: str = "") -> None:
        """Raise if any fault was noted.

        Raises:
            ConfigurationError: with all of them, one a line, in the order of the file.
        """
        if not self._faults:
            return
        lines = [f"{self.path}:{line}: {message}" for line, message in sorted(self._faults)]
        count = "one fault" if len(lines) == 1 else f"{len(lines)} faults"
        raise ConfigurationError(f"{self.path} has {count}", why="\n".join(lines), hint=hint)


def nearest(name: str, known: Sequence[str]) -> str:
    """ "; did you mean `x`?", or what there is to choose from."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"; did you mean `{close[0]}`?"
    return f"; known are {', '.join(f'`{one}`' for one in known)}" if known else ""


def _syntax_error(path: Path, message: str) -> ConfigurationError:
    place = _PLACE.search(message)
    where = f"{path}:{place[1]}:{place[2]}" if place else str(path)
    return ConfigurationError(
        f"{path} is not TOML", why=f"{where}: {_PLACE.sub('', message).strip()}"
    )


def _lines(text: str) -> Mapping[tuple[Key, ...], int]:
    """Where tables and keys begin. Keys written in unusual ways are left out, not guessed."""
    found: dict[tuple[Key, ...], int] = {}
    counts: dict[tuple[Key, ...], int] = {}
    table: tuple[Key, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                index = counts.get(table, 0)
                counts[table] = index + 1
                found.setdefault(table, number)
                table = (*table, index)
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, assignment[1].strip("\"'")), number)
    return found


def _name(keys: Sequence[Key]) -> str:
    return ".".join(str(key + 1) if isinstance(key, int) else key for key in keys)
