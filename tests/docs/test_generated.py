"""What programs write into the documents is what they would write now, and it is true."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from reactivate.instrument.registry import instrument_names
from reactivate.metrics import BUILT_IN_METRICS
from tests.cli.workspaces import in_process
from tests.docs.pages import ROOT, text_of, without_remark
from tests.docs.test_commands import understood

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "documents"), run_name="documents")
WRITTEN: dict[str, str] = SCRIPT["generated"]()
CHECKLISTS = text_of("docs/COMPONENT_REACTIVATION_CHECKLIST.md")
TROUBLES = text_of("docs/troubleshooting.md")


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_it_is_what_would_be_written_now(name: str) -> None:
    now = (ROOT / name).read_text(encoding="utf-8")
    assert now == WRITTEN[name], "make docs"


# metrics


def rows() -> dict[str, list[str]]:
    """The table of metrics by name."""
    section = CHECKLISTS.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    cells = [[c.strip() for c in line.strip("| ").split(" | ")] for line in section.splitlines()]
    return {row[0].strip("`"): row for row in cells if row[0].startswith("`")}


def test_every_metric_is_in_the_table() -> None:
    assert set(rows()) == set(BUILT_IN_METRICS)


def test_bounds_are_those_of_the_instruments_pages() -> None:
    """Written by hand, page by page: a second opinion."""
    compared = set()
    for page in sorted((ROOT / "docs" / "instruments").glob("*.md")):
        table = re.findall(
            r"^\| (`[a-z0-9._]+`(?:, `[a-z0-9._]+`)*) \| (exact|lower|upper) \|",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        for names, bound in table:
            for name in re.findall(r"`([^`]+)`", names):
                assert rows()[name][2] == bound, f"{page.name}: {name}"
                compared.add(name)
    assert len(compared) > 25


# errors


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """What each row of the table of errors stands for, under the name of its class."""
    found = []
    kind = ""
    for line in TROUBLES.splitlines():
        if line.startswith("### "):
            kind = line[4:]
        elif match := re.fullmatch(r"\| (?!it says|---)(.*?) \| .* \|", line):
            text = match[1].replace("&lt;", "<").replace("\\|", "|").replace("\\*", "*")
            found.append((kind, re.compile(re.escape(text).replace("…", ".*"), re.DOTALL)))
    return found


def test_every_class_of_errors_has_its_section_and_code() -> None:
    for name, kind in SCRIPT["error_kinds"]().items():
        section = TROUBLES.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert section, name
        assert f"Exit {int(kind.exit_code)}." in section, name


def test_every_row_says_what_to_do() -> None:
    assert len(patterns()) > 150
    assert not re.search(r"\|\s*\|$", TROUBLES.partition("<!-- errors")[2], re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["analyze"],
        ["measure"],
        ["measure", "--pid", "999999999", "--mount", "x"],
        ["frames", "not-there"],
        ["init", "NEW", "--target", "modell"],
        ["compare", ":a", ":b"],
        ["export", "--format", "xml"],
        ["trace", "--", "no-such-daemon"],
    ],
    ids=" ".join,
)
def test_what_the_program_says_is_in_the_table(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = in_process([*arguments[:1], "--json", *arguments[1:]], capsys)
    said = result.json()
    assert said["schema"] == "reactivate.error/1"
    plain = said["what"]
    assert any(
        kind == said["error"] and pattern.fullmatch(plain)
        for kind, pattern in patterns()
        if not re.fullmatch(r"(\\?\.\*|\W)*", pattern.pattern)
    ), said


AS_TYPED = {"bisect": ["--good", "A", "--bad", "B", "--gate", "C.baseline"]}


def hints() -> list[str]:
    """What the errors tell to type, where that is a command of ours, once for each."""
    found = (message.hint for message in SCRIPT["messages"]())
    lines = {
        without_remark(line)
        for hint in found
        for line in re.split(r"(?:,? or |, and |,? with | and )(?=reactivate )|, ", hint)
        if line.startswith("reactivate ")
    }
    return sorted(lines)


@pytest.mark.parametrize("line", hints())
def test_what_an_error_tells_to_type_is_a_command(line: str) -> None:
    command = re.sub(r"\s(for|measures|works|to|if)\s.*|[.;].*$", "", line).strip()
    if command.startswith("reactivate …"):
        return  # any verb
    words = shlex.split(command.removeprefix("reactivate ").replace('"…"', "reason"))
    if words[-1] == "…":  # as the person typed the rest
        typed = AS_TYPED.get(words[0], ["…"])
        # Of two values for one option the program would drop none in silence.
        words[-1:] = typed[:-2] if typed[-2:-1] == ["--gate"] and "--gate" in words else typed
    understood([word.replace("…", "3") for word in words])


def test_a_sentence_that_no_error_says_is_not_in_the_table() -> None:
    assert not any(pattern.fullmatch("the moon is full") for _, pattern in patterns())


# the man page

MAN = ROOT / "man" / "reactivate.1"


def test_its_name_line_can_be_indexed() -> None:
    """`apropos` reads this line, as lexgrog(1) says: names, a dash, one line."""
    assert re.search(r'^\.SH NAME\nreactivate \\- [^\n"]{10,90}\n\.SH ', MAN.read_text(), re.M)
    if shutil.which("lexgrog"):
        done = subprocess.run(["lexgrog", str(MAN)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and '"reactivate - ' in done.stdout, done


def formatted(text: str) -> subprocess.CompletedProcess[str]:
    """A page as groff sets it, with every warning that groff has."""
    return subprocess.run(
        ["groff", "-man", "-Tascii", "-ww"], input=text, capture_output=True, text=True, check=False
    )


def test_it_is_set_without_a_warning(needs_groff: None) -> None:
    done = formatted(MAN.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    plain = re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)
    flat = " ".join(plain.split())
    for expected in ("reactivate checklist check", "EXIT STATUS", "--until <str>", "130"):
        assert expected in flat
    assert formatted(".SH X\n.nosuch\n").stderr  # a warning would be seen


def test_no_line_is_taken_for_a_request() -> None:
    known = {".TH", ".SH", ".SS", ".B", ".BR", ".PP", ".TP", '.\\"'}
    for line in MAN.read_text().splitlines():
        assert not line.startswith("'"), line
        assert not line.startswith(".") or line.split()[0] in known, line


# settings of the profiling tools


def settings(name: str) -> list[str]:
    """Every key of a settings file, tables included as `TABLE.KEY`'s last part."""

    def below(table: dict[str, object]) -> list[str]:
        found = []
        for key, value in table.items():
            found += below(value) if isinstance(value, dict) else [key]
        return found

    return below(tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8")))


def explained(section: str) -> str:
    """A section of the page about settings."""
    return (
        text_of("docs/TOOL_CONFIGURATIONS.md")
        .partition(f"\n## {section}\n")[2]
        .partition("\n## ")[0]
    )


@pytest.mark.parametrize("name", ["perf", "ebpf", "valgrind"])
def test_every_key_of_a_settings_file_is_explained(name: str) -> None:
    section = explained(name)
    assert section
    missing = [
        key
        for key in settings(name)
        if not re.search(rf"^\| [^|]*`{re.escape(key)}`[^|]*\|", section, re.MULTILINE)
    ]
    assert not missing


@pytest.mark.parametrize("name", ["perf", "ebpf", "valgrind"])
def test_values_that_are_explained_are_those_that_are_laid_out(name: str) -> None:
    """Of plain numbers; what is said of a list or a word is for readers."""
    text = (ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8")
    for key, value in re.findall(r"^([\w-]+) = ([\d.]+)\b", text, re.MULTILINE):
        shown = re.findall(rf"^\| [^|]*`{key}`[^|]*\| ([\d.]+) \|", explained(name), re.MULTILINE)
        assert not shown or value in shown, key


PROMISED = (
    "stack frame tracking", "memory allocation patterns", "function call depth",
    "stack overflow prediction", "memory leak detection", "memory hot spots", "cache and bandwidth",
    "function-level attribution", "real-time memory pressure", "FUSE operation lifecycle",
    "stack depth during FUSE calls", "allocations in FUSE context", "performance bottlenecks",
    "real-time stack alerts", "overhead of the tools", "cross-reference between tools",
    "run_valgrind_stack_analysis.sh", "run_perf_memory_profile.sh", "run_ebpf_fuse_tracing.sh",
    "setup_profiling_environment.sh", "analyze_profiling_results.sh", "minimal_fuse_test.sh",
    "incremental_component_test.sh", "stack_overflow_reproduction.sh",
    "run_comprehensive_profiling.sh", "vexfs_trace_manager.sh",
)  # fmt: skip
"""What the environment that came before promised by its description, feature and script."""


@pytest.mark.parametrize("promise", PROMISED)
def test_everything_that_was_promised_before_has_its_place(promise: str) -> None:
    section = explained("What became of the earlier configuration")
    (row,) = re.findall(rf"^\| [^|]*{re.escape(promise)}[^|]*\| (.+) \|$", section, re.MULTILINE)
    assert row.strip()


# the house


def test_every_folder_of_the_package_is_in_the_table_of_the_house() -> None:
    house = text_of("docs/architecture.md").partition("\n## The house\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)/` \|", house, re.MULTILINE))
    package = {
        f"reactivate/{path.name}"
        for path in (ROOT / "reactivate").iterdir()
        if (path / "__init__.py").is_file()
    }
    probes = {f"probes/{path.name}" for path in (ROOT / "probes").iterdir() if path.is_dir()}
    assert named == package | {name for name in probes if not name.endswith("__pycache__")}
    alone = {p.name for p in (ROOT / "reactivate").glob("*.py") if not p.name.startswith("__")}
    assert alone == set(re.findall(r"`(\w+\.py)`", house))


def test_every_instrument_is_in_the_support_matrix() -> None:
    matrix = text_of("docs/support.md").partition("\n## Instruments\n")[2]
    for name in instrument_names():
        assert re.search(rf"^\| [^|]*\b{name.replace('_', ' ')}\b", matrix, re.MULTILINE), name
