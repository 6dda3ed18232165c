"""Damaged checklists, TOML and kernel traces: a value, or one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivate.checklist.language import CriterionError, parse_criterion
from reactivate.checklist.parse import load
from reactivate.instrument import alerts, perf_settings, valgrind_options
from reactivate.instrument.perf_settings import PerfSettings
from reactivate.instrument.valgrind_options import ToolSettings
from reactivate.run.kernel_trace import read_trace
from reactivate.target.config import load_target
from reactivate.tomlfile import TomlFile
from reactivate.workload.scenario import load_scenario
from reactivate.workspace import Workspace
from tests.cli.workspaces import CHECKLIST, in_process, small
from tests.fuzz.damage import HOSTILE, answered, encoded, examples, nothing_written_beside, texts

_ROOT = Path(__file__).resolve().parents[2]
_TARGETS = [path.read_text() for path in sorted((_ROOT / "configs/targets").glob("*.toml"))]
_SCENARIOS = [path.read_text() for path in sorted((_ROOT / "configs/scenarios").glob("*.toml"))]
_ALL_TOML = [
    *_TARGETS,
    *_SCENARIOS[:4],
    *(p.read_text() for p in (_ROOT / "configs").glob("*.toml")),
]
_SMALL = CHECKLIST.replace("LIMIT", "stack.peak <= 25% of stack.limit")
CRITERIA = [
    "stack.peak <= 25% of stack.limit", "latency.p50(read, getattr) <= previous + 20%",
    "rss.peak <= 2 * (rss.idle + 1 MiB) - 1 B / 2", "overflow.crashes == 0",
]  # fmt: skip
TRACE = "".join(
    f"[10:00:{n:02}] VexFS: vexfs_search() called by PID={n} (c)\n"
    f"[23:59:{n:02}] VexFS COMPLETE: vexfs_search() latency={n} μs, results=1\n"
    for n in range(6)
)


@examples()
@given(text=texts([_SMALL]))
def test_checklist(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.md"
    path.write_bytes(encoded(text))
    with nothing_written_beside(path):
        answered(lambda: load(path))


@examples(0.2)
@given(text=texts([(_ROOT / "checklists/vexfs.md").read_text()]))
def test_long_checklist(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.md"
    path.write_bytes(encoded(text))
    answered(lambda: load(path))


@examples(4)
@given(text=texts(CRITERIA))
def test_criterion(text: str) -> None:
    try:
        parse_criterion(text)
    except CriterionError as error:
        assert str(error)


@examples(3)
@given(text=texts(_ALL_TOML))
def test_any_toml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(encoded(text))
    answered(lambda: TomlFile(path))


@examples(2)
@given(text=texts(_TARGETS))
def test_target(text: str, tmp_path: Path) -> None:
    path = tmp_path / "w/configs/targets/model.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(text))
    with nothing_written_beside(tmp_path / "w"):
        answered(lambda: load_target(path))


@examples(2)
@given(text=texts(_SCENARIOS))
def test_scenario(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_bytes(encoded(text))
    answered(lambda: load_scenario(path, components={"vector_storage", "search_engine"}))


def _valgrind(folder: Path) -> object:
    return valgrind_options.load(folder, "massif", ToolSettings())


_SETTINGS: dict[str, Callable[[Path], object]] = {
    "perf.toml": lambda folder: perf_settings.load(folder, PerfSettings()),
    "ebpf.toml": alerts.load,
    "valgrind.toml": _valgrind,
}


@pytest.mark.parametrize("name", _SETTINGS)
@examples(0.4)
@given(data=st.data())
def test_settings(name: str, data: st.DataObject, tmp_path: Path) -> None:
    text = data.draw(texts([(_ROOT / "configs" / name).read_text()]))
    (tmp_path / name).write_bytes(encoded(text))
    answered(lambda: _SETTINGS[name](tmp_path))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return small(tmp_path_factory.mktemp("typed") / "w")


@pytest.mark.parametrize("name", ["configs/campaign.toml", "checklists/small.md"])
@examples(0.2)
@given(data=st.data())
def test_as_it_is_typed(
    name: str, data: st.DataObject, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workspace.root / name
    kept = path.read_bytes()
    text = data.draw(texts([kept.decode()]))
    try:
        path.write_bytes(encoded(text))
        with nothing_written_beside(workspace.root):
            for verb in (["status"], ["checklist", "check"]):
                told = in_process(["-C", str(workspace.root), *verb], capsys)
                assert told.code != 1 and "Traceback" not in told.err, told
                assert "\x1b" not in told.out + told.err
    finally:
        path.write_bytes(kept)


@examples(3)
@given(text=texts([TRACE]))
def test_kernel_trace(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(encoded(text))
    answered(lambda: read_trace(path))


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_word_for_every_value(word: str, tmp_path: Path) -> None:
    folder = tmp_path / "w/configs/targets"
    folder.mkdir(parents=True)
    path = folder / "model.toml"
    path.write_bytes(encoded("".join(f"{key} = {word}\n" for key in ("title", "artifact"))))
    answered(lambda: load_target(path))
    perf = folder / "perf.toml"
    perf.write_bytes(encoded(f"[perf]\ndeadline_seconds = {word}\n"))
    answered(lambda: perf_settings.load(folder, PerfSettings()))
    checklist = folder / "c.md"
    checklist.write_bytes(encoded(f"## Phase\n\n```toml component\nid = {word}\n```\n"))
    answered(lambda: load(checklist))
