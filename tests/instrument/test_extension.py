"""An instrument of another distribution: the very example of docs/instruments.md."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from bindfs import bench

from reactivate.checklist.language import CriterionError, parse_criterion
from reactivate.errors import ConfigurationError
from reactivate.evidence import Check
from reactivate.extensions import GROUP, extensions
from reactivate.instrument.contract import Instrument
from reactivate.instrument.registry import (
    INSTRUMENTS,
    instrument,
    instrument_names,
    instruments_of,
)
from reactivate.metrics import BUILT_IN_METRICS, METRICS
from reactivate.run.doctor import examine, missing
from reactivate.workload.suites import SUITES
from reactivate.workspace import create

CRITERION = "descriptors.open <= 32"


def example(project_root: Path) -> tuple[str, str]:
    """The module and the entry points, as they stand in the document."""
    text = (project_root / "docs" / "instruments.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"^```python instrument\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (points,) = re.findall(
        r"^```toml\n\[project\.entry-points\.\"(\S+)\"\]\n(.*?)^```$",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert points[0] == GROUP
    return module, points[1]


@pytest.fixture
def no_extensions() -> Iterator[None]:
    """Nobody else's are remembered, before or after."""
    extensions.cache_clear()
    yield
    extensions.cache_clear()
    for name in [n for n in sys.modules if n.startswith("your_package")]:
        del sys.modules[name]


@pytest.fixture
def installed(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_extensions: None
) -> Path:
    """The example as an installed distribution: a package and its metadata on sys.path."""
    module, points = example(project_root)
    site = tmp_path / "site"
    (site / "your_package").mkdir(parents=True)
    (site / "your_package" / "__init__.py").write_text("")
    (site / "your_package" / "descriptors.py").write_text(module)
    info = site / "your_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: your-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + points.replace('"', ""))
    monkeypatch.syspath_prepend(str(site))
    return site


def test_it_is_found_by_name_and_armed_by_a_criterion(installed: Path) -> None:
    assert instrument_names() == (*INSTRUMENTS, "descriptors")
    made: Instrument = instrument("descriptors")
    assert made.availability().ready
    usual = [i.name for i in instruments_of(Check.TRACE)]
    assert "descriptors" not in usual
    armed = [i.name for i in instruments_of(Check.TRACE, metrics={"descriptors.open"})]
    assert armed == [*usual, "descriptors"]
    other = instruments_of(Check.BASELINE, metrics={"descriptors.open"})
    assert "descriptors" not in [i.name for i in other]


def test_its_metric_is_a_word_of_the_language(installed: Path) -> None:
    parse_criterion(CRITERION, check=Check.TRACE)
    with pytest.raises(CriterionError) as refused:
        parse_criterion(CRITERION, check=Check.BASELINE)
    assert "trace gate" in refused.value.why
    assert {*BUILT_IN_METRICS} < {*METRICS}
    assert len(METRICS) == len(BUILT_IN_METRICS) + 1


def test_without_it_the_word_is_unknown(no_extensions: None) -> None:
    with pytest.raises(CriterionError) as refused:
        parse_criterion(CRITERION, check=Check.TRACE)
    assert "unknown metric" in refused.value.why


def test_its_settings_are_checked_like_all_others(installed: Path, tmp_path: Path) -> None:
    workspace = create(tmp_path / "workspace", "model")
    path = workspace.configs / "instruments.toml"
    path.write_text("[descriptors]\nrepeats = 7\n")
    assert workspace.instrument_settings("descriptors") == {"repeats": 7}
    path.write_text("[descriptors]\nrepeat = 7\n")
    with pytest.raises(ConfigurationError, match=re.escape("instruments.toml has one fault")):
        workspace.instrument_settings("watermark")


def test_doctor_shows_it(installed: Path) -> None:
    (finding,) = [f for f in examine() if f.subject == "descriptors"]
    assert finding.condition == "ready"


@pytest.mark.fuse
def test_it_measures_a_real_daemon(installed: Path, tmp_path: Path, needs_fuse: None) -> None:
    operations = tuple(o for o in SUITES["posix"] if o.name in ("create", "mkdir"))
    made = instrument("descriptors")
    (found,) = trio.run(made.measure, bench(tmp_path, operations))
    assert isinstance(found.value, int)
    assert found.value >= 4  # three streams and the device
    assert (tmp_path / "evidence" / "descriptors.json").is_file()


# -- what cannot be used -------------------------------------------------------------------


def entry(name: str, load: object) -> SimpleNamespace:
    def loaded() -> object:
        if isinstance(load, Exception):
            raise load
        return load

    dist = SimpleNamespace(name="theirs", version="2")
    return SimpleNamespace(name=name, value=f"x:{name}", dist=dist, load=loaded)


def like(project_root: Path, **changed: object) -> type:
    module: dict[str, object] = {"__name__": "like"}
    exec(compile(example(project_root)[0], "example", "exec"), module)  # noqa: S102
    whole = module["Descriptors"]
    assert isinstance(whole, type)
    return type("Changed", (whole,), changed)


@pytest.mark.parametrize(
    ("name", "changed", "reason"),
    [
        ("descriptors", None, "ImportError: no such thing"),
        ("other", {}, "calls itself `descriptors`"),
        ("watermark", {"name": "watermark"}, "instrument `watermark` already"),
        ("descriptors", {"measures": ("another",)}, "do not name the same"),
        ("descriptors", {"metrics": ()}, "do not name the same"),
        (
            "descriptors",
            {"metrics": (BUILT_IN_METRICS["stack.peak"],)},
            "metric `stack.peak` already",
        ),
    ],
)
def test_misfits_are_left_out_and_told(
    project_root: Path,
    no_extensions: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    changed: dict[str, object] | None,
    reason: str,
) -> None:
    load = ImportError("no such thing") if changed is None else like(project_root, **changed)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [entry(name, load)])
    found, misfits = extensions()
    assert found == ()
    (misfit,) = misfits
    assert reason in misfit.reason
    assert misfit.distribution == "theirs 2"
    assert {*METRICS} == {*BUILT_IN_METRICS}
    findings = examine()
    (told,) = [f for f in findings if f.group == "extension"]
    assert reason in told.detail
    assert told not in missing(findings)


def test_two_of_one_name_are_one(
    project_root: Path, no_extensions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = [entry("descriptors", like(project_root)) for _ in range(2)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: twice)
    found, misfits = extensions()
    assert [each.name for each in found] == ["descriptors"]
    assert "already" in misfits[0].reason
