"""Every command in the documents is one: the verb exists, its options do, and they can be read."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from reactivate.cli.app import app
from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from reactivate.report.decision_log import write_log
from reactivate.workspace import Workspace, create
from tests.cli.workspaces import CHECKLIST, PASSES, begun, in_process
from tests.docs.pages import ROOT, Command, blocks, commands, pages, spellings, text_of
from tests.report.hostile import build

PHASES = (("baseline", 0), ("vector_storage", 100), ("search_engine", 900))
_COMPLAINT: Any = typer.BadParameter.__base__
GROUP: Any = typer.main.get_command(app)


def understood(words: list[str]) -> list[str]:
    """Read a command line as the program would; returns the verb's path.

    Raises:
        AssertionError: with what the program says of it.
    """
    try:
        context = GROUP.make_context("reactivate", list(words))
        rest = [*context._protected_args, *context.args]
        group, path = GROUP, []
        while hasattr(group, "commands"):
            assert rest, f"{' '.join(path)} is a group of verbs"
            name, group, rest = group.resolve_command(context, rest)
            path.append(name)
        group.make_context(" ".join(path), rest, parent=context)
    except _COMPLAINT as complaint:
        raise AssertionError(complaint.format_message()) from complaint
    return path


ALL = [command for page in pages() for command in commands(page)]


def is_name(command: Command) -> bool:
    """Whether a page only names a verb, and shows no call of it."""
    group: Any = GROUP
    for word in command.text.split():
        group = getattr(group, "commands", {}).get(word)
        if group is None:
            return False
    return True


@pytest.mark.parametrize("page", pages())
def test_every_command_line_is_understood(page: str) -> None:
    wrong = []
    for command in commands(page):
        if page == "docs/cli.md" and "[OPTIONS]" in command.text:
            continue  # written by the program itself
        if is_name(command):
            continue
        for line in spellings(command.text):
            try:
                understood(shlex.split(line))
            except (AssertionError, ValueError) as why:
                wrong.append(f"{command.where}: reactivate {line}: {why}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    ["measur -- x", "status --jsn", "history", "checklist chek F", "-C stack verify --junt x"],
)
def test_a_line_that_is_no_command_is_not_understood(line: str) -> None:
    with pytest.raises(AssertionError):
        understood(shlex.split(line))


NOT_RUN = {
    "next": "builds and mounts; tests/campaign, tests/cli",
    "confirm": "wants open items; tests/campaign/test_machine.py",
    "retry": "wants a refusal; tests/campaign/test_machine.py",
    "waive": "wants a refusal; tests/campaign/test_machine.py",
    "rollback": "wants a component that is on; tests/campaign/test_machine.py",
    "tour": "a whole campaign; tests/test_packaging.py",
    "selftest": "half a minute; tests/campaign/test_selftest.py",
    "calibrate": "compiles and measures; tests/cli/test_calibrate.py",
    "verify": "builds and mounts; tests/cli/test_verify.py",
    "bisect": "builds and mounts; tests/cli/test_bisect.py",
    "doctor": "tries every instrument; tests/cli/test_forms.py",
    "measure": "mounts; tests/cli/test_measure.py",
    "trace": "mounts; tests/cli/test_trace.py",
    "watch": "wants a process; tests/cli/test_watch.py",
    "target check": "builds and mounts; tests/cli/test_target.py",
    "ledger merge": "wants another campaign; tests/campaign/test_merging.py",
    "ledger pack": "wants whole evidence; tests/campaign/test_packing.py",
    "ledger unpack": "wants a pack; tests/campaign/test_packing.py",
    "ledger anchor": "wants a repository; tests/cli/test_ledger_verify.py",
    "import-trace": "tests/docs/test_blocks.py reads the lines that the page shows",
}
"""Verbs that are only read here, and where they are run."""
SAID = {
    "report --open": "wants a browser; tests/report/html/test_browser.py",
    "ledger verify --anchor": "wants a digest of that ledger; tests/cli/test_ledger_verify.py",
    "@": "wants a source under git; tests/report/test_comparison.py",
}
"""What a line contains that is only read here, and where it is run."""
ONLY_LISTS = {"overflow"}
"""Verbs of which only `--list` is run here: the rest mounts (tests/cli/test_overflow.py)."""


def laid_out(root: Path) -> Path:
    """A workspace with the checklist, the programs and the checkout that pages name."""
    create(root, "model")
    (root / "own.md").write_text(CHECKLIST.replace("LIMIT", PASSES))
    shutil.copy("/bin/true", root / "BINARY")
    shutil.copy("/bin/true", root / "EARLIER")
    subprocess.run(["git", "init", "--quiet", str(root / "checkout")], check=True)
    return root


@pytest.fixture(scope="module")
def begun_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose campaign has begun."""
    root = laid_out(tmp_path_factory.mktemp("begun"))
    begun(Workspace(root), steps=1)
    return root


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with measurements of three phases on record, and others like it within."""
    root = laid_out(tmp_path_factory.mktemp("measured"))
    build(root, phases=PHASES)
    with Ledger.open(root / "ledger.db", writer=False) as ledger:
        write_log(ledger, Workspace(root).decisions)
    for name in ("before", "after", "other", "ws"):
        build(root / name, phases=PHASES)
        for folder in ("configs", "checklists"):
            (root / name / folder).symlink_to(root / folder)
    return root


def verb_of(line: str) -> str:
    """The path of the verb in a line that is known to be understood."""
    return " ".join(understood(shlex.split(line)))


RUN = sorted(
    {
        spellings(command.text)[0]
        for command in ALL
        if "[OPTIONS]" not in command.text and not is_name(command)
    }
)
"""Each line once; of a synopsis, the spelling with everything in it."""
ASK_THE_LEDGER = {"analyze", "history", "export", "compare", "log"}
PLACES = {
    "/usr/bin/bindfs": "/bin/true",  # present wherever tests are
    "libvexmodel.so": "BINARY",
    "FILE": "own.md",
    "DIR": "NEW",
    "PATH": "checkout",
    "campaign": "NEW",
    ":minimal": ":baseline",
    ":ORIGIN.PHASE": ":search_engine",
    ":PHASE": ":vector_storage",
    "ws:cache_manager": "ws:vector_storage",
    "ws:attempt-8": "ws:attempt-2",
    "ws:attempt-10": "ws:attempt-5",
    "NAME": "model",
    "imported.latency.max": "stack.peak",
}
"""What a page calls something, and what it is called here."""


def runnable(line: str) -> bool:
    """Whether a line is run here."""
    try:
        verb = verb_of(line)
    except AssertionError:
        return False  # told by the test above
    if any(part in line for part in SAID):
        return False
    return verb not in NOT_RUN and (verb not in ONLY_LISTS or "--list" in line)


@pytest.mark.parametrize("line", [line for line in RUN if runnable(line)], ids=lambda line: line)
def test_commands_that_need_no_mount_run(
    line: str, begun_one: Path, measured: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(measured if verb_of(line) in ASK_THE_LEDGER else begun_one)
    words = [PLACES.get(word, word).replace("NEW", str(tmp_path / "new")) for word in
             shlex.split(line)]  # fmt: skip
    result = in_process(words, capsys)
    assert result.code == ExitCode.DONE, result.out + result.err


def test_what_is_not_run_has_a_verb() -> None:
    for verb in (*NOT_RUN, *ONLY_LISTS):
        group: Any = GROUP
        for word in verb.split():
            group = group.commands[word]


def test_pages_show_commands() -> None:
    assert len(ALL) > 100
    assert len([line for line in RUN if runnable(line)]) > 30


# The workflow of docs/verify.md


def workflow_runs() -> list[str]:
    """The command lines of its steps; a folded one is one line."""
    (workflow,) = (block for block in blocks("docs/verify.md") if block.info == "yaml")
    folded = re.sub(r"run: >\n((?: {10}.*\n)+)", lambda m: f"run: {' '.join(m[1].split())}\n",
                    workflow.text)  # fmt: skip
    return re.findall(r"^ +(?:- )?run: (.+)$", folded, re.MULTILINE)


def test_the_steps_of_the_workflow_are_understood_and_fit_together() -> None:
    (workflow,) = (block for block in blocks("docs/verify.md") if block.info == "yaml")
    called, made = [], set()
    for line in workflow_runs():
        before, program, arguments = line.partition("bin/reactivate ")
        if program:
            assert before == "sudo ../venv/"
            words = shlex.split(arguments)
            called.append(" ".join(understood(words)))
            assert words[:2] == ["-C", "stack"]
            made |= {words[at + 1] for at, word in enumerate(words) if word in OUTPUTS}
    assert called == ["calibrate", "verify"]
    # What a later step reads is what `verify` was told to write, or what a workspace holds.
    stack = Workspace(Path("stack"))
    kept = re.search(r'path: "(.*)"', workflow.text)
    assert kept is not None
    read = {*kept[1].split("\\n"), *re.findall(r"run: cat (\S+)", workflow.text)}
    assert read == {*made, str(stack.results), str(stack.ledger)}
    assert made == {"verify.xml", "comment.md"}


OUTPUTS = ("--junit", "--summary")


# Installing


def installs() -> list[tuple[str, str]]:
    """Every call of pip that a page or a hint of the program shows."""
    sources = [str(path.relative_to(ROOT)) for path in (ROOT / "reactivate").rglob("*.py")]
    return [
        (name, found)
        for name in (*pages(), *sources)
        for found in re.findall(r"pip install ([^\n\"`]*)", text_of(name))
    ]


def test_what_is_installed_is_a_checkout() -> None:
    """No package index has `reactivate`, and what one may have some day is not this."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {f".[{extra}]" for extra in project["optional-dependencies"]}
    assert len(installs()) > 6
    for name, arguments in installs():
        words = shlex.split(arguments.split("   ")[0].replace("|", " "), comments=True)
        assert next(w for w in words if not w.startswith("-")) in {".", *extras}, (name, arguments)
