from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import ConfigurationError, WorkspaceError
from reactivate.tomlfile import TomlFile, nearest


def read(tmp_path: Path, text: str) -> TomlFile:
    path = tmp_path / "file.toml"
    path.write_text(text)
    return TomlFile(path)


def test_lines_of_keys_tables_and_arrays_of_tables(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        'a = 1\n\n[b]  # comment\nc = """\nd = 3\n"""\n"e f" = 4\n\n[[g]]\nh = 1\n[[ g ]]\nh = 2\n',
    )
    assert file.line("a") == 1
    assert file.line("b") == 3
    assert file.line("b", "c") == 4
    assert file.line("b", "e f") == 7
    assert file.line("g", 0) == 9
    assert file.line("g", 0, "h") == 10
    assert file.line("g", 1) == 11
    assert file.line("g", 1, "h") == 12
    assert file.line("g", 1, "missing") == 11
    assert file.line("nowhere", "at all") == 1


def test_all_faults_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = read(tmp_path, 'count = "three"\n[table]\nflag = 1\nspare = 2\nlist = ["a", 1]\n')
    assert file.texts(None, "table", "list") == ("a",)
    assert file.value(bool, None, "table", "flag") is None
    assert file.value(int, 7, "count") == 7
    assert file.value(str, None, "table", "absent") is None
    file.known({"flag", "list", "share"}, "table")
    with pytest.raises(ConfigurationError, match="has 5 faults") as caught:
        file.finish(hint="read the manual")
    assert caught.value.why.splitlines() == [
        f"{file.path}:1: `count` must be a whole number, not 'three'",
        f"{file.path}:2: `table.absent` is missing",
        f"{file.path}:3: `table.flag` must be true or false, not 1",
        f"{file.path}:4: unknown key `table.spare`; did you mean `share`?",
        f"{file.path}:5: `table.list` must hold text only, not 1",
    ]
    assert caught.value.hint == "read the manual"


def test_numbers(tmp_path: Path) -> None:
    file = read(tmp_path, "whole = 2\nbroken = 2.5\nflag = true\n")
    assert file.value(float, None, "whole") == 2.0
    assert file.value(float, None, "broken") == 2.5
    file.finish()
    assert file.value(int, 1, "broken") == 1
    assert file.value(float, 1.0, "flag") == 1.0
    with pytest.raises(ConfigurationError, match="2 faults"):
        file.finish()


def test_a_value_where_a_table_should_be(tmp_path: Path) -> None:
    file = read(tmp_path, "build = 3\n")
    assert file.table("build") == {}
    with pytest.raises(ConfigurationError) as caught:
        file.finish()
    assert caught.value.why == f"{file.path}:1: `build` must be a table"


def test_broken_toml_tells_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not TOML") as caught:
        read(tmp_path, "a = 1\nb = = 2\n")
    assert caught.value.why == f"{tmp_path}/file.toml:2:5: Invalid value"


def test_not_text_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b'a = "\xff"\n')
    with pytest.raises(ConfigurationError, match="UTF-8"):
        TomlFile(path)
    with pytest.raises(WorkspaceError, match="cannot be read"):
        TomlFile(tmp_path / "none")


def test_nearest() -> None:
    assert nearest("modle", ["bindfs", "model"]) == "; did you mean `model`?"
    assert nearest("xyz", ["bindfs", "model"]) == "; known are `bindfs`, `model`"
    assert nearest("xyz", []) == ""
