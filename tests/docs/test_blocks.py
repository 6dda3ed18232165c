"""Every block in the documents is what it says: loaded, parsed, run, or listed here with a reason.

What a session printed is a record of one machine and one day; of it only the commands are checked
(test_commands.py), except where a test below makes it anew.
"""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import sqlite3
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactivate.checklist import language
from reactivate.checklist.parse import load
from reactivate.errors import ReactivateError
from reactivate.ledger import Ledger
from reactivate.run.kernel_trace import read_trace
from reactivate.target.config import load_target
from reactivate.units import UNITS
from reactivate.workload.scenario import load_scenario
from reactivate.workspace import create
from tests.cli.workspaces import in_process
from tests.docs.pages import (
    PROGRAM,
    ROOT,
    SESSION,
    Block,
    blocks,
    shell_lines,
    spellings,
    text_of,
    without_remark,
)

ALL = list(blocks())
SHOWN = {
    "checklist ─► build ─► mount ─► paint · drive · scan ─► gate ─┬─ within budget ─► next"
    " component": "what it is, in a picture",
    "checklists/*.md ──► Checklist ─┐": "a diagram of how data flows",
    "cli → campaign → { gate, ledger, report }": "which way imports point;"
    " tests/test_architecture.py",
    "configs/valgrind.toml:27: valgrind refuses `--alignment=8`: Alignment must be a power of 2"
    " in the range 16..4096.": "messages; tests/instrument/test_valgrind.py makes such ones",
    "calibrated: never. Run reactivate calibrate (about 20 s) so that the gates know their"
    " instruments here.": "three lines of status; tests/run/test_calibration.py",
    "depth       size   location": "a death's call chain, from one machine",
    "vector: 0.1,0.2,0.3       (as many numbers as [vector_storage] dimensions says)":
    "a file of the embedded filesystem with remarks; tests/model/test_search_engine.py",
    "__main__.py   the command line            shell.py      request handlers, plain functions":
    "a list of files",
    "PREVIOUS SEQ CONTENT\\n": "a line that is hashed; tests/ledger/test_audit.py",
    "main               20174     12,289 B   ▏                         0.15 %   of 8.00 MiB,"
    " now 8,400 B": "what watch showed once",
}  # fmt: skip
"""Blocks that nothing here can check, by their first line, with what they are."""

PROGRAMS = {
    PROGRAM, "apt-get", "cc", "cd", "datasette", "git", "grep", "gzip", "less", "make", "man",
    "pip", "python", "sed", "sqlite3", "sudo", "systemd-run", "tar", "ulimit",
}  # fmt: skip
"""What a page may ask a person to type; what is not Debian's base is named by the page."""


def words_of(line: str) -> list[str]:
    """A typed line without leading variables, and without `sudo`."""
    words = line.split()
    while words and (re.fullmatch(r"\w+=\S*", words[0]) or words[0] in ("sudo", "env")):
        words.pop(0)
    return words


def is_typed(block: Block) -> bool:
    """Whether a block shows what a person types."""
    if block.info in ("sh", "console"):
        return True
    lines = [line for line in block.text.splitlines() if line.strip()]
    session = any(line.startswith(SESSION) for line in lines)
    own = [line for line in shell_lines(block) if words_of(line)]
    return session or all(words_of(line)[0] in PROGRAMS for line in own)


def kind_of(block: Block) -> str:
    """By what a block is checked."""
    if block.info:
        return block.info.split()[0] if block.info not in ("sh", "console") else "typed"
    if block.first in SHOWN:
        return "shown"
    return "typed" if is_typed(block) else "unknown"


def of(kind: str) -> list[Block]:
    """All blocks of a kind."""
    return [block for block in ALL if kind_of(block) == kind]


def named(block: Block) -> str:
    """A test's name."""
    return block.where


CHECKED = {"typed", "toml", "sql", "python", "yaml", "markdown", "mermaid", "ebnf", "shown"}


def test_every_block_has_a_kind_that_is_checked() -> None:
    own = (b.text for name in OWN_TESTS for b in [block_of(*name)])
    known = set(own)
    unknown = [
        f"{block.where}: {block.first!r}"
        for block in ALL
        if kind_of(block) not in CHECKED and block.text not in known
    ]
    assert not unknown, "check them, or put them into SHOWN with a reason:\n" + "\n".join(unknown)


def test_what_is_only_shown_is_still_there() -> None:
    assert set(SHOWN) == {block.first for block in ALL if block.first in SHOWN}
    assert all(SHOWN.values())


@pytest.mark.parametrize("block", of("typed"), ids=named)
def test_what_is_typed_is_shell_and_known(block: Block) -> None:
    for line in shell_lines(block):
        if not words_of(line):
            continue
        assert words_of(line)[0] in PROGRAMS, line
        # A synopsis is not shell; what may be typed in its place is.
        for spelling in spellings(without_remark(line).replace("PID|MOUNT", "PID")):
            done = subprocess.run(
                ["bash", "-n", "-c", spelling], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{spelling}: {done.stderr}"
            break


# toml: read by what reads such a file


def _campaign(text: str, folder: Path) -> None:
    given = tomllib.loads(text)
    workspace = create(folder, "model")
    path = workspace.configs / "campaign.toml"
    kept = [
        line
        for line in path.read_text().splitlines()
        if line.partition("=")[0].strip() not in given
    ]
    path.write_text("\n".join([text, *kept]))
    workspace.settings()


def _target(text: str, folder: Path) -> None:
    path = create(folder, "model").configs / "targets" / "own.toml"
    path.write_text(text)
    load_target(path)


def _scenario(text: str, folder: Path) -> None:
    folder.mkdir()
    path = folder / "own.toml"
    path.write_text(text)
    load_scenario(path)


def _instruments(text: str, folder: Path) -> None:
    workspace = create(folder, "model")
    (workspace.configs / "instruments.toml").write_text(text)
    workspace.instrument_settings("watermark")


def _entry_points(text: str, folder: Path) -> None:
    (group,) = tomllib.loads(text)["project"]["entry-points"]
    assert group == "reactivate.instruments"


def loader(text: str) -> Callable[[str, Path], None]:
    """What reads a file with such keys."""
    keys = set(tomllib.loads(text))
    if keys == {"project"}:
        return _entry_points
    if "exercise" in keys:
        return _scenario
    if "run" in keys:
        return _target
    if keys <= {"target", "checklist", "who", "calibration", "scenarios", "integration_times"}:
        return _campaign
    if all(isinstance(value, dict) for value in tomllib.loads(text).values()):
        return _instruments
    raise AssertionError("what reads a file like this? teach the test")


@pytest.mark.parametrize("block", of("toml"), ids=named)
def test_toml_is_read_by_what_reads_such_a_file(block: Block, tmp_path: Path) -> None:
    loader(block.text)(block.text, tmp_path / "own")


# the other languages


@pytest.mark.parametrize("block", of("sql"), ids=named)
def test_sql_runs_on_a_ledger(block: Block, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", writer=True):
        pass
    connection = sqlite3.connect(tmp_path / "ledger.db")
    try:
        connection.execute(block.text)
    finally:
        connection.close()


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each module that is imported, with each name that is taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("block", of("python"), ids=named)
def test_python_compiles_and_its_names_exist(block: Block) -> None:
    tree = ast.parse(block.text)
    compile(tree, block.where, "exec")
    for module, name in imported(tree):
        found = importlib.import_module(module)
        assert not name or hasattr(found, name), f"{module} has no {name}"


@pytest.mark.parametrize("block", of("yaml"), ids=named)
def test_yaml_is_indented_as_yaml(block: Block) -> None:
    """No parser is among the dependencies: indentation and keys are all that is looked at."""
    steps = [0]
    folded_from: int | None = None
    for line in filter(str.strip, block.text.splitlines()):
        assert "\t" not in line
        indent = len(line) - len(line.lstrip())
        if folded_from is not None and indent > folded_from:
            continue
        folded_from = None
        if indent > steps[-1]:
            steps.append(indent)
        while steps[-1] > indent:
            steps.pop()
        assert indent == steps[-1], line
        assert re.match(r"\s*(- )?[\w-]+:( .*)?$", line), line
        if line.rstrip().endswith((": >", ": |")):
            folded_from = indent


@pytest.mark.parametrize("block", of("markdown"), ids=named)
def test_a_checklist_is_one(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "shown.md"
    path.write_text(block.text, encoding="utf-8")
    load(path)


# blocks that a test of their own makes anew


def block_of(page: str, first: str) -> Block:
    """The block of a page that begins with this line."""
    (found,) = (block for block in blocks(page) if block.first.startswith(first))
    return found


CHECKLISTS = "docs/COMPONENT_REACTIVATION_CHECKLIST.md"
GRAMMAR = (CHECKLISTS, "criterion  = sum comparator sum")
FAULT = (CHECKLISTS, "checklists/vexfs.md:")
CRITERIA = (CHECKLISTS, "stack.peak <= 25% of stack.limit")
TRACE = ("docs/import-trace.md", "[10:15:30] VexFS:")
OWN_TESTS = (GRAMMAR, FAULT, CRITERIA, TRACE)


def rules(text: str) -> dict[str, str]:
    """Name to right side, blanks collapsed, of a grammar."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if "=" in (left := line.partition('"')[0]):
            name = left.partition("=")[0].strip()
            found[name] = line.partition("=")[2]
        elif line.strip():
            found[name] += line
    return {key: " ".join(value.split()) for key, value in found.items()}


def test_the_grammar_is_the_parsers() -> None:
    assert language.__doc__ is not None
    indented = [line for line in language.__doc__.splitlines() if line.startswith("    ")]
    shown = rules(block_of(*GRAMMAR).text)
    parsers = rules("\n".join(indented))
    assert parsers == {name: rule for name, rule in shown.items() if name in parsers}
    assert set(shown) - set(parsers) == {"number", "name", "metric", "operation", "unit", "digit"}
    units = set(re.findall(r'"([^"]+)"', shown["unit"]))
    assert units == set(UNITS)


def test_the_criteria_that_are_shown_are_criteria() -> None:
    for line in block_of(*CRITERIA).text.splitlines():
        language.parse_criterion(line.strip())


def test_the_fault_that_is_shown_is_the_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "checklists" / "vexfs.md").read_text(encoding="utf-8")
    (tmp_path / "checklists").mkdir()
    bad = text.replace(
        "`stack.peak <= 25% of stack.limit`", "`stack.peek <= 25% of stack.limit`", 1
    )
    (tmp_path / "checklists" / "vexfs.md").write_text(bad)
    monkeypatch.chdir(tmp_path)
    result = in_process(["checklist", "check", "checklists/vexfs.md"], capsys)
    assert result.code == 2
    said = [line.strip() for line in (result.out + result.err).splitlines()]
    for line in block_of(*FAULT).text.splitlines():
        assert line.strip() in said


def test_the_lines_of_a_kernel_trace_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    shown = block_of(*TRACE).text
    path.write_text(shown)
    trace = read_trace(path)
    assert sum(each.calls + len(each.latencies_ns) for each in trace.functions.values()) == len(
        shown.splitlines()
    )


def test_the_story_of_the_readme_is_the_tours() -> None:
    """Whoever regenerates docs/example regenerates the story: `make example`."""
    script = runpy.run_path(str(ROOT / "scripts" / "readme-story"), run_name="story")
    told = script["filled"](text_of("README.md"))
    assert told == text_of("README.md"), "scripts/readme-story"


# red once: what these tests must not let through


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (_campaign, 'calibration = "perhaps"'),
        (_target, 'title = "x"\n[run]\ncommand = ["x"]'),
        (_scenario, 'title = "x"\n[[exercise]]\nname = "none"'),
        (_instruments, "[watermark]\nrepeat = 3"),
    ],
)
def test_a_faulty_file_would_be_noticed(
    kind: Callable[[str, Path], None], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ReactivateError):
        kind(text, tmp_path / "own")


def test_a_faulty_block_would_be_noticed() -> None:
    faulty = Block(page="x", line=1, info="yaml", text="a:\n  b: 1\n c: 2\n")
    with pytest.raises(AssertionError):
        test_yaml_is_indented_as_yaml(faulty)
    with pytest.raises(AssertionError):
        test_python_compiles_and_its_names_exist(
            Block(page="x", line=1, info="python", text="from reactivate.units import Unitt\n")
        )
    with pytest.raises(AssertionError):
        test_what_is_typed_is_shell_and_known(
            Block(page="x", line=1, info="sh", text="reactivate measure 'x\n")
        )
    with pytest.raises(AssertionError):
        test_what_is_typed_is_shell_and_known(Block(page="x", line=1, info="sh", text="makee x\n"))
    assert kind_of(Block(page="x", line=1, info="", text="some words\n")) == "unknown"
