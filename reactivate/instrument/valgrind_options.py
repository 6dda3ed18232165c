"""configs/valgrind.toml, held against the valgrind that is installed.

Which options exist and what they may be differs between versions and is known only to valgrind
itself: names come from its `--help`, values are tried on a program that does nothing. So a run
of many minutes does not begin with an option that valgrind refuses.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from reactivate.errors import MissingToolError
from reactivate.tomlfile import TomlFile, nearest

FILE = "valgrind.toml"
TOOLS = ("massif", "memcheck")
INSTALL_HINT = "sudo apt-get install valgrind"

_TRIAL_SECONDS = 60.0
_NAME = re.compile(r"(?<![\w-])--([a-z0-9][a-z0-9-]*)(=\S*)?")
_REFUSAL = re.compile(r"(?:Bad|Unknown) option: --([a-z0-9-]+)")
_SECONDS = ("mount_timeout_seconds", "deadline_seconds", "stop_timeout_seconds")

_FIXED = frozenset(
    {
        "tool", "help", "version", "quiet", "verbose", "command-line-only", "log-fd", "log-file",
        "log-socket", "xml", "xml-fd", "xml-file", "xml-socket", "vgdb", "vgdb-prefix",
        "vgdb-error", "vgdb-stop-at", "trace-children", "child-silent-after-fork",
        "error-exitcode", "exit-on-first-error", "error-limit", "gen-suppressions",
        "massif-out-file", "stacks", "pages-as-heap", "leak-check", "show-leak-kinds",
        "errors-for-leak-kinds", "show-reachable", "show-possibly-lost", "xtree-leak",
        "xtree-memory", "undef-value-errors", "show-mismatched-frees", "ignore-ranges",
        "ignore-range-below-sp", "workaround-gcc296-bugs",
    }
)  # fmt: skip
"""What the numbers, or the way they reach us, depend on; no setting may blind a gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """One tool's table.

    Attributes:
        repeats: of each operation.
        mount_timeout_seconds: until the daemon must answer.
        deadline_seconds: for the whole workload.
        stop_timeout_seconds: for the daemon's end, reports included.
        options: valgrind's options without the dashes, as text.
    """

    repeats: int = 1
    mount_timeout_seconds: float = 180.0
    deadline_seconds: float = 900.0
    stop_timeout_seconds: float = 240.0
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options as they stand on the command line."""
        return tuple(f"--{name}={value}" for name, value in self.options.items())


def load(configs: Path, tool: str, defaults: ToolSettings) -> ToolSettings:
    """A tool's table of configs/valgrind.toml; the defaults if there is no such file.

    Raises:
        ConfigurationError: with every fault and its line; nothing but trials was started.
        MissingToolError: valgrind is not installed or does not run.
    """
    path = configs / FILE
    if not path.exists():
        return defaults
    file = TomlFile(path)
    file.known(TOOLS)
    options = {}
    for table in TOOLS:  # a fault in the other's table is a fault of the file
        file.known(("repeats", *_SECONDS, "options"), table)
        options[table] = _options(file, table)
    repeats = file.value(int, defaults.repeats, tool, "repeats") or 0
    if repeats < 1:
        file.fault(f"`{tool}.repeats` must be 1 or more", tool, "repeats")
    seconds = {key: file.value(float, getattr(defaults, key), tool, key) or 0.0 for key in _SECONDS}
    for key, value in seconds.items():
        if not 0 < value < 1e6:
            file.fault(f"`{tool}.{key}` must be more than 0", tool, key)
    merged = {**defaults.options, **options[tool]}
    _try(file, tool, merged, configs.parent)
    file.finish(f"valgrind --tool={tool} --help")
    return ToolSettings(
        repeats=repeats,
        mount_timeout_seconds=seconds["mount_timeout_seconds"],
        deadline_seconds=seconds["deadline_seconds"],
        stop_timeout_seconds=seconds["stop_timeout_seconds"],
        options=merged,
    )


def valgrind() -> str:
    """Path of valgrind.

    Raises:
        MissingToolError: it is not installed.
    """
    program = shutil.which("valgrind")
    if program is None:
        raise MissingToolError("valgrind is not installed", hint=INSTALL_HINT)
    return program


@cache
def known_options(tool: str) -> Mapping[str, str]:
    """The installed valgrind's options: name without dashes → the form of its value.

    Raises:
        MissingToolError: valgrind is not installed or does not know the tool.
    """
    said = _run([f"--tool={tool}", "--help"], None)
    found: dict[str, str] = {}
    for name, value in _NAME.findall(said.stdout):
        found.setdefault(name, value.lstrip("="))
    if said.returncode != 0 or "tool" not in found:
        raise MissingToolError(
            f"valgrind's tool {tool} does not run", why=_words(said), hint=INSTALL_HINT
        )
    return found


def trial(tool: str, arguments: Sequence[str], folder: Path | None = None) -> str:
    """Run a program that does nothing under valgrind; "" if that works, else what it says."""
    out = ["--massif-out-file=/dev/null"] if tool == "massif" else []
    base = ["-q", "--command-line-only=yes", f"--tool={tool}", *out]
    said = _run([*base, *arguments, shutil.which("true") or "true"], folder)
    return _words(said) or f"exit status {said.returncode}" if said.returncode else ""


def version() -> str:
    """The installed valgrind's own words, e.g. "valgrind-3.19.0".

    Raises:
        MissingToolError: it is not installed or does not run.
    """
    return _run(["--version"], None).stdout.strip()


def _options(file: TomlFile, tool: str) -> dict[str, str]:
    """The options of a table that exist and are the user's to set."""
    known = known_options(tool)
    free = sorted(known.keys() - _FIXED)
    options: dict[str, str] = {}
    for name, value in file.table(tool, "options").items():
        place = (tool, "options", name)
        if name in _FIXED:
            file.fault(f"`--{name}` is set by the instrument, its numbers depend on it", *place)
        elif name not in known:
            near = nearest(name, free).partition("; known are")[0]
            file.fault(f"valgrind's {tool} has no option `--{name}`{near}", *place)
        elif isinstance(value, bool):
            options[name] = "yes" if value else "no"
        elif isinstance(value, (str, int, float)):
            options[name] = str(value)
        else:
            file.fault(f"`--{name}` must be text, a number, true or false", *place)
    return options


def _try(file: TomlFile, tool: str, options: Mapping[str, str], folder: Path) -> None:
    """Note each option whose value valgrind refuses, in its own words."""
    left = dict(options)
    while left:
        said = trial(tool, ToolSettings(options=left).arguments, folder)
        if not said:
            return
        culprit = _REFUSAL.search(said)
        if culprit is None or culprit[1] not in left:
            file.fault(f"valgrind refuses these options: {said}", tool, "options")
            return
        name = culprit[1]
        reason = next(iter(said[culprit.end() :].partition("\n")[2].splitlines()), "")
        reason = reason.partition(": ")[2]
        if not reason or reason.startswith("Use --help"):
            reason = f"it may be {known_options(tool)[name]}"
        file.fault(f"valgrind refuses `--{name}={left.pop(name)}`: {reason}", tool, "options", name)


def _run(arguments: Sequence[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [valgrind(), *arguments],
            capture_output=True, text=True, errors="replace", timeout=_TRIAL_SECONDS,
            check=False, stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(
            "valgrind does not run", why=str(error), hint="reactivate doctor"
        ) from error


def _words(said: subprocess.CompletedProcess[str]) -> str:
    return (said.stderr or said.stdout).strip()[-600:]
