"""A workspace: the folder that holds a campaign's checklists, configuration, ledger and results."""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import UsageError, WorkspaceError
from reactivate.tomlfile import TomlFile, nearest

_MARKER = Path("configs") / "campaign.toml"
"""The file that makes a folder a workspace; `create` writes it last."""

_LAID_OUT = ("checklists", "configs", "probes")
never_copied = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "*.so", "*.o", "*.d", "build", ".*", "*.egg-info"
)
"""Takes a folder and names in it; gives those that belong to no copy of a workspace."""
_CALIBRATION = ("advised", "required")
_SCENARIOS = ("full", "reduced")
_GITIGNORE = "ledger.db*\nresults/\n__pycache__/\n"

_COMMON: Mapping[str, type[int] | type[float]] = {"repeats": int, "deadline_seconds": float}

INSTRUMENT_KEYS: Mapping[str, Mapping[str, type[int] | type[float] | tuple[str, ...]]] = {
    "watermark": {**_COMMON, "idle_seconds": float},
    "memory": {**_COMMON},
    "latency": {**_COMMON, "max_repeats": int, "warmup": int},
    "growth": {**_COMMON, "tracer": ("auto", "bpftrace", "perf")},
    "lifecycle": {**_COMMON, "settle_seconds": float, "large_bytes": int},
    "deepest": {"top": int, "deadline_seconds": float, "idle_seconds": float},
    "smallest_stack": {**_COMMON, "quarter_runs": int, "most_runs": int},
}
"""The tables of configs/instruments.toml: what each may hold, and of which kind it is."""

_MOST = {("lifecycle", "large_bytes"): 1 << 20}
"""Where a larger value would count less, and could turn a refusal into a pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """configs/campaign.toml.

    Attributes:
        target: name of a file in configs/targets, without `.toml`.
        checklist: the campaign's checklist.
        who: name that goes on record with decisions.
        integration_times: how many times as often as usual operations are repeated when all
            components are on.
        calibration_required: whether a check refuses to run with instruments that were not
            calibrated on this machine; else it says so and runs.
    """

    target: str
    checklist: Path
    who: str
    integration_times: int
    calibration_required: bool
    reduced_scenarios: bool


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of a workspace; nothing is read or made by naming them."""

    root: Path

    @property
    def checklists(self) -> Path:
        """Checklists, Markdown."""
        return self.root / "checklists"

    @property
    def configs(self) -> Path:
        """campaign.toml, instruments.toml and targets/."""
        return self.root / "configs"

    @property
    def probes(self) -> Path:
        """The embedded target and trace programs."""
        return self.root / "probes"

    @property
    def results(self) -> Path:
        """Evidence and builds."""
        return self.root / "results"

    @property
    def ledger(self) -> Path:
        """The SQLite ledger."""
        return self.root / "ledger.db"

    @property
    def decisions(self) -> Path:
        """The decision log."""
        return self.root / "docs" / "decisions"

    @property
    def builds(self) -> Path:
        """Build folders, one for each set of components."""
        return self.results / "build"

    @property
    def run(self) -> Path:
        """Mount points, data folders and records of daemons that run now."""
        return self.results / ".run"

    def settings(self) -> CampaignSettings:
        """Read configs/campaign.toml.

        Raises:
            ConfigurationError: with every fault and its line.
            WorkspaceError: the file cannot be read.
        """
        file = TomlFile(self.root / _MARKER)
        file.known({"target", "checklist", "who", "integration_times", "calibration", "scenarios"})
        target = file.value(str, None, "target") or ""
        checklist = self.root / (file.value(str, None, "checklist") or "")
        who = file.value(str, "", "who") or _login()
        times = file.value(int, 3, "integration_times") or 0
        if times < 1:
            file.fault("`integration_times` must be 1 or more", "integration_times")
        calibration = file.value(str, _CALIBRATION[0], "calibration")
        if calibration not in _CALIBRATION:
            file.fault(f"`calibration` must be one of {', '.join(_CALIBRATION)}", "calibration")
        scenarios = file.value(str, _SCENARIOS[0], "scenarios")
        if scenarios not in _SCENARIOS:
            file.fault(f"`scenarios` must be one of {', '.join(_SCENARIOS)}", "scenarios")
        known = _names(self.configs / "targets")
        if target and target not in known:
            file.fault(f"there is no target `{target}`{nearest(target, known)}", "target")
        if "checklist" in file.data and not _is_file(checklist):
            file.fault(f"there is no checklist {checklist}", "checklist")
        file.finish()
        return CampaignSettings(
            target=target,
            checklist=checklist,
            who=who,
            integration_times=times,
            calibration_required=calibration == "required",
            reduced_scenarios=scenarios == "reduced",
        )

    def instrument_settings(self, name: str) -> Mapping[str, float | int | str]:
        """One instrument's table of configs/instruments.toml; the whole file is checked.

        Raises:
            ConfigurationError: with every fault and its line.
            WorkspaceError: the file cannot be read.
        """
        file = TomlFile(self.configs / "instruments.toml")
        keys = _instrument_keys(file.data)
        file.known(keys)
        for table in sorted(keys.keys() & file.data.keys()):
            _check_instrument(file, table, keys[table])
        file.finish()
        settings = file.table(name) if name in file.data else {}
        return {
            key: value for key, value in settings.items() if isinstance(value, (int, float, str))
        }


Keys = Mapping[str, type[int] | type[float] | tuple[str, ...]]


def _instrument_keys(asked: Iterable[str]) -> Mapping[str, Keys]:
    """What configs/instruments.toml may hold; others' instruments only if a table asks for one."""
    if INSTRUMENT_KEYS.keys() >= set(asked):
        return INSTRUMENT_KEYS
    from reactivate.extensions import extensions

    found, _ = extensions()
    return {**{each.name: each.settings for each in found}, **INSTRUMENT_KEYS}


def _check_instrument(file: TomlFile, table: str, kinds: Keys) -> None:
    file.known(kinds, table)
    for key in sorted(kinds.keys() & file.table(table).keys()):
        kind = kinds[key]
        if isinstance(kind, tuple):
            choice = file.value(str, kind[0], table, key)
            if choice not in kind:
                file.fault(f"`{table}.{key}` must be one of {', '.join(kind)}", table, key)
        else:
            number = file.value(kind, kind(1), table, key)
            if number is None or not 0 <= number < math.inf:
                file.fault(f"`{table}.{key}` must be 0 or more", table, key)
            most = _MOST.get((table, key))
            if most is not None and number is not None and number > most:
                file.fault(f"`{table}.{key}` must be at most {most:,}", table, key)


def find(start: Path) -> Workspace:
    """The workspace that a folder is in.

    Raises:
        WorkspaceError: neither the folder nor one above it is a workspace.
    """
    absolute = Path(os.path.abspath(start))  # noqa: PTH100 - keep the user's own spelling
    for folder in (absolute, *absolute.parents):
        if _is_marked(folder):
            return Workspace(folder)
    raise WorkspaceError(
        f"{absolute} is not in a workspace",
        why=f"there is no {_MARKER} here or above",
        hint="reactivate init DIR",
    )


def _is_marked(folder: Path) -> bool:
    try:
        return (folder / _MARKER).is_file()
    except PermissionError as error:
        raise WorkspaceError(
            f"{folder} cannot be looked into",
            why=f"{error.strerror}: {error.filename}",
            hint="run as the workspace's owner, or choose another with -C DIR",
        ) from error


def create(
    root: Path, target: str, *, reduced: bool = False, source: Path | None = None
) -> Workspace:
    """Lay out a new workspace from the template.

    Args:
        root: a new or empty folder.
        target: name of a file in configs/targets.
        reduced: whether overflow scenarios are to have fewer steps there.
        source: checkout that the target is built from; goes into the workspace's target file.

    Raises:
        UsageError: the folder is not empty, there is no such target or source, or the target is
            not built from a source.
        WorkspaceError: it cannot be written; what was begun is removed again.
    """
    template = template_folder()
    known = _names(template / "configs" / "targets")
    if target not in known:
        raise UsageError(f"there is no target `{target}`{nearest(target, known)}")
    pointed = None if source is None else _pointed(template, target, source)
    root = Path(os.path.abspath(root))  # noqa: PTH100
    if root.exists() and (not root.is_dir() or any(_listed(root))):
        raise UsageError(
            f"{root} is not an empty folder",
            why="a workspace is laid out only where nothing can be overwritten",
            hint="name a new folder",
        )
    with _nothing_half_made(root):
        for name in _LAID_OUT:
            _copy(template / name, root / name)
        if pointed is not None:
            file = root / "configs" / "targets" / f"{target}.toml"
            file.write_text(pointed, encoding="utf-8")
        (root / "results").mkdir()
        (root / "docs" / "decisions").mkdir(parents=True)
        (root / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
        text = (template / _MARKER).read_text(encoding="utf-8")
        named = re.sub(r'(?m)^(target\s*=\s*)"[^"]*"', rf'\g<1>"{target}"', text, count=1)
        if reduced:
            named = re.sub(r"(?m)^# (scenarios\s*=)", r"\1", named, count=1)
        (root / _MARKER).write_text(named, encoding="utf-8")
    return Workspace(root)


def _pointed(template: Path, target: str, source: Path) -> str:
    """The text of a target's file, with another source; all else stays."""
    absolute = Path(os.path.abspath(source.expanduser()))  # noqa: PTH100 - the user's spelling
    if not absolute.is_dir():
        raise UsageError(
            f"there is no folder {absolute}", why="`--source` names a checkout of the target",
            hint="git clone it there, or name the right folder",
        )  # fmt: skip
    path = template / "configs" / "targets" / f"{target}.toml"
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    if "source" not in document:
        raise UsageError(
            f"the target {target} is not built from a source of its own",
            why=f"{path} has no `source`",
            hint="leave out --source, or write a target file: docs/targets.md",
        )
    document["source"] = str(absolute)
    return tomlkit.dumps(document)


def template_folder() -> Path:
    """Where checklists, configs and probes are copied from: the wheel's copy or the checkout.

    Raises:
        WorkspaceError: the installation holds neither.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_template", package.parent):
        if all((folder / name).is_dir() for name in _LAID_OUT) and (folder / _MARKER).is_file():
            return folder
    raise WorkspaceError(
        "this installation has no workspace template",
        why=f"neither in {package / '_template'} nor in {package.parent}",
        hint="install reactivate again",
    )


def _copy(source: Path, destination: Path) -> None:
    """Copy a tree without build products, writable for its owner, without the marker file."""
    destination.mkdir(parents=True, exist_ok=True)
    names = [entry.name for entry in source.iterdir()]
    skipped = never_copied(str(source), names)
    for name in sorted(set(names) - set(skipped)):
        entry, copied = source / name, destination / name
        if entry.is_dir():
            _copy(entry, copied)
        elif entry.is_file() and entry.parts[-2:] != _MARKER.parts:
            shutil.copyfile(entry, copied)
            # An installation may be read-only; a workspace is there to be edited.
            copied.chmod(entry.stat().st_mode & 0o777 | 0o600)


@contextlib.contextmanager
def _nothing_half_made(root: Path) -> Iterator[None]:
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        if root.is_dir():
            for entry in _listed(root):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        raise WorkspaceError(
            f"no workspace can be made in {root}",
            why=f"{error.strerror}: {error.filename}" if error.filename else str(error),
            hint="check permissions and free space, or name another folder",
        ) from error


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise WorkspaceError(f"{folder} cannot be read", why=error.strerror or "") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no filesystem takes
        return False


def _names(folder: Path) -> list[str]:
    """The names of the targets in a folder; the commented template is none."""
    return sorted(path.stem for path in folder.glob("*.toml") if path.stem != "template")


def _login() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return f"uid {os.getuid()}"
