"""The house's directions: who may import whom, and what must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "reactivate"

SMALL = {
    "documents",
    "errors",
    "evidence",
    "files",
    "interruption",
    "metrics",
    "places",
    "texts",
    "units",
    "procfs",
    "workspace",
    "trust",
    "tomlfile",
    "extensions",
    "__init__",
}
# Who may import whom; every part may import itself and the small things.
ALLOWED: dict[str, set[str]] = {
    "checklist": set(),
    "ledger": {"gate"},
    "gate": {"checklist"},
    "target": {"elf"},
    "workload": {"target"},
    "elf": set(),
    "instrument": {"elf", "target", "workload"},
    "run": {"target", "workload", "instrument", "checklist", "gate"},
    "campaign": {
        "checklist", "gate", "ledger", "report", "run", "target", "workload", "instrument",
    },
    "report": {"checklist", "gate", "ledger"},
    "cli": {
        "checklist", "gate", "ledger", "run", "campaign", "report",
        "target", "workload", "instrument",
    },
}  # fmt: skip
PURE = ["checklist/language.py", "campaign/machine.py", "gate"]
IMPURE_MODULES = {"os", "subprocess", "time", "trio", "socket", "sqlite3", "datetime", "shutil"}


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def _modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "_template" not in p.parts)


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    for name in _imports(path):
        pieces = name.split(".")
        if pieces[0] != "reactivate" or len(pieces) == 1:
            continue
        other = pieces[1]
        if other == part or other in SMALL:
            continue
        if part == "__main__":
            assert other == "cli"
            continue
        assert other in ALLOWED.get(part, set()), f"{relative} imports {name}"


def test_pure_parts_touch_neither_process_nor_clock_nor_disk() -> None:
    for entry in PURE:
        target = PACKAGE / entry
        files = sorted(target.rglob("*.py")) if target.is_dir() else [target]
        assert files
        for path in files:
            roots = {name.split(".")[0] for name in _imports(path)}
            assert not roots & IMPURE_MODULES, f"{path}: {roots & IMPURE_MODULES}"


def test_help_loads_no_heavy_library() -> None:
    # typer itself loads markdown_it for --help.
    heavy = ["trio", "sqlite_utils", "transitions", "tomlkit"]
    code = (
        "import sys; from typer.testing import CliRunner; from reactivate.cli.app import app; "
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r.output; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_no_module_holds_more_than_one_idea() -> None:
    long = {
        str(p.relative_to(PACKAGE)): n
        for p in _modules()
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_temporary_files_are_made_where_they_are_swept(path: Path) -> None:
    # Without `dir` Python tries folders by writing into them, and a kill leaves what it wrote.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "tempfile"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        module, _, name = ast.unparse(node.func).rpartition(".")
        if module == "tempfile" or (not module and name in names):
            given = {keyword.arg for keyword in node.keywords}
            assert "dir" in given, f"{path}:{node.lineno}: {name} without dir"


def test_no_test_sleeps() -> None:
    """They wait for conditions: `tests/waiting.py`, and in trio `until` of the daemons."""
    tests = Path(__file__).parent
    found = [
        f"{path.relative_to(tests)}:{node.lineno}"
        for path in sorted(tests.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep"
    ]
    assert not found


# What others can write is read by `documents`; these read what is theirs, and say why.
READ_JSON = {
    "documents.py",
    "ledger/codec.py",  # columns of the ledger, many and small
    "instrument/bpftrace_json.py",  # lines of a tool, any of which may be no JSON
    "target/watcher.py",  # lines of our own process
    "cli/tour.py",  # what our own commands print
}


def test_json_is_read_in_one_place() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in {"load", "loads", "JSONDecoder"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "json"
    }
    assert found == READ_JSON
