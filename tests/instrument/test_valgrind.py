"""Valgrind's tools on real mounts, and its options held against the installed valgrind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from bindfs import bench
from memory_programs import built, faulty, needs

from reactivate.errors import ConfigurationError, DaemonHungError, MeasurementError
from reactivate.evidence import Bound, Measurement, NotMeasured
from reactivate.instrument.contract import Bench, Configurable, Instrument
from reactivate.instrument.massif import Snapshot
from reactivate.instrument.valgrind import Massif, Memcheck, stacks
from reactivate.instrument.valgrind_options import ToolSettings, known_options, load
from reactivate.instrument.watermark import Watermark
from reactivate.target.build import build
from reactivate.target.config import load_target
from reactivate.target.mount import TargetLauncher
from reactivate.workload import vectors
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES
from reactivate.workspace import create

PAGE = 4096
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MKDIR = tuple(operation for operation in SUITES["posix"] if operation.name == "mkdir")


def values(found: tuple[Measurement, ...]) -> dict[str, int]:
    result = {}
    for measurement in found:
        assert isinstance(measurement.value, int), measurement
        result[measurement.metric] = measurement.value
    return result


def written(folder: Path, text: str) -> Path:
    (folder / "configs").mkdir()
    (folder / "configs" / "valgrind.toml").write_text(text)
    return folder / "configs"


def refused(folder: Path, tool: str, text: str) -> list[str]:
    """The faults, each after `FILE:`."""
    configs = written(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        load(configs, tool, ToolSettings())
    start = f"{configs / 'valgrind.toml'}:"
    return [line.removeprefix(start) for line in caught.value.why.splitlines()]


def test_the_configuration_that_is_laid_out_is_accepted() -> None:
    needs("valgrind", "valgrind")
    for made in (Massif(), Memcheck()):
        contract: Instrument = made
        assert isinstance(contract, Configurable)
        made.configure(CONFIGS)
        assert made.availability().ready, made.availability()


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    defaults = ToolSettings(repeats=7)
    assert load(tmp_path, "massif", defaults) == defaults


def test_a_key_that_is_left_out_has_the_default(tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    defaults = ToolSettings(repeats=7, options={"max-snapshots": "500", "heap": "no"})
    configs = written(tmp_path, "[massif.options]\nheap = true\n")
    assert load(configs, "massif", defaults) == ToolSettings(
        repeats=7, options={"max-snapshots": "500", "heap": "yes"}
    )


def test_options_of_the_installed_valgrind() -> None:
    needs("valgrind", "valgrind")
    assert known_options("massif")["time-unit"] == "i|ms|B"
    assert "leak-check" in known_options("memcheck")
    assert "leak-check" not in known_options("massif")
    assert "stack-usage-threshold" not in known_options("memcheck")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("stack-usage-threshold = 75", "3: valgrind's memcheck has no option `--stack-usage-"),
        ("heap-admin = 8", "3: valgrind's memcheck has no option `--heap-admin`"),
        ("num-caller = 9", "did you mean `num-callers`?"),
        ("alignment = 8", "3: valgrind refuses `--alignment=8`: Alignment must be a power of 2"),
        ("num-callers = 501", "must be between 1 and 500"),
        ('leak-resolution = "fine"', "`--leak-resolution=fine`: it may be low|med|high"),
        ('track-origins = "perhaps"', "Invalid boolean value 'perhaps'"),
        ("xml = true", "3: `--xml` is set by the instrument"),
        ("undef-value-errors = false", "is set by the instrument"),
        ("num-callers = [1]", "must be text, a number, true or false"),
    ],
)
def test_an_option_that_valgrind_does_not_take(tmp_path: Path, option: str, said: str) -> None:
    needs("valgrind", "valgrind")
    (fault,) = refused(tmp_path, "memcheck", f"[memcheck]\n[memcheck.options]\n{option}\n")
    assert said in fault


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    text = (
        "[memcheck]\nrepeats = 0\nfast = true\n[memcheck.options]\nalignment = 8\n"
        "num-callers = 900\n[massif]\n[massif.options]\ntrack-heap = true\n[cachegrind]\n"
    )
    faults = refused(tmp_path, "memcheck", text)
    assert [fault.partition(":")[0] for fault in faults] == ["2", "3", "5", "6", "9", "10"]
    assert "track-heap" in faults[4]


def test_a_timeout_must_be_a_time(tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    (fault,) = refused(tmp_path, "massif", "[massif]\ndeadline_seconds = inf\n")
    assert fault.startswith("2: `massif.deadline_seconds` must be more than 0")


def test_without_a_snapshot_nothing_was_measured() -> None:
    idle = Snapshot(number=0, time=5, heap_bytes=0, stacks_bytes=100)
    for measurement in stacks(idle, (), evidence="e"):
        assert isinstance(measurement.value, NotMeasured)
        assert not measurement.samples
    deepest = replace(idle, number=1, time=6, stacks_bytes=350)
    found = stacks(idle, (idle, deepest), evidence="e")
    assert values(found) == {"stack.massif": 350, "stack.massif_operation": 250}
    assert all(m.bound is Bound.LOWER for m in found)


@pytest.mark.fuse
@pytest.mark.root
def test_massif_and_the_watermark_agree_on_bindfs(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    needs("valgrind", "valgrind")
    made = Massif()
    made.configure(CONFIGS)
    by_massif = values(trio.run(made.measure, bench(tmp_path / "massif", SUITES["posix"])))
    painted = trio.run(Watermark().measure, bench(tmp_path / "paint", SUITES["posix"], repeats=3))
    deepest = max(m.value for m in painted if m.metric == "stack.operation")  # type: ignore[type-var]
    # Below idle in both: the thread's block, arguments and environment are in neither.
    assert abs(by_massif["stack.massif_operation"] - int(deepest)) <= PAGE  # type: ignore[call-overload]
    evidence = tmp_path / "massif" / "evidence"
    document = json.loads((evidence / "massif.json").read_text())
    assert document["peak"]["stacks_bytes"] == by_massif["stack.massif"]
    assert document["snapshots_of_the_workload"] > 20
    assert sorted(p.name for p in evidence.iterdir()) == ["massif.json", "massif.out"]


@pytest.mark.fuse
def test_known_faults_in_a_daemon(needs_fuse: None, tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    found = trio.run(Memcheck().measure, faulty(replace(bench(tmp_path, MKDIR), times=5)))
    # Five repetitions, and the folder that the operation works in.
    assert values(found) == {"memory.leaked": 600, "memory.errors": 1}
    document = json.loads((tmp_path / "evidence" / "memcheck.json").read_text())
    assert document["leaked_bytes"]["Leak_DefinitelyLost"] == 600
    assert {f["kind"]: f["count"] for f in document["findings"]} == {
        "InvalidRead": 6,
        "Leak_DefinitelyLost": 6,
    }
    assert [p.name for p in (tmp_path / "evidence").iterdir()] == ["memcheck.json"]


@pytest.mark.fuse
def test_bindfs_itself_is_clean(needs_fuse: None, tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    found = trio.run(Memcheck().measure, bench(tmp_path, MKDIR))
    assert values(found) == {"memory.leaked": 0, "memory.errors": 0}


@pytest.mark.fuse
def test_an_artifact_that_is_not_loaded_is_no_clean_bill(needs_fuse: None, tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    other = faulty(bench(tmp_path, MKDIR), artifact=built() / "leaks")
    with pytest.raises(MeasurementError, match="has not loaded leaks"):
        trio.run(Memcheck().measure, other)


@pytest.mark.fuse
def test_the_workload_has_a_deadline_of_its_own(needs_fuse: None, tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    (tmp_path / "w").mkdir()
    made = Massif()
    made.configure(written(tmp_path / "w", "[massif]\ndeadline_seconds = 0.001\nrepeats = 500\n"))
    with pytest.raises(DaemonHungError):
        trio.run(made.measure, bench(tmp_path, SUITES["posix"]))


@pytest.mark.fuse
def test_a_report_that_is_not_finished_in_time_is_an_error(
    needs_fuse: None, tmp_path: Path
) -> None:
    needs("valgrind", "valgrind")
    (tmp_path / "w").mkdir()
    made = Memcheck()
    made.configure(written(tmp_path / "w", "[memcheck]\nstop_timeout_seconds = 0.000000001\n"))
    with pytest.raises(MeasurementError, match="did not finish its report"):
        trio.run(made.measure, bench(tmp_path, MKDIR))


SMALL_CORPUS = 150


def small_search() -> Operation:
    """A search of few vectors: it visits them all, each in a frame of its own."""

    def store(folder: Path) -> None:
        (folder / "few.vec").write_bytes(vectors.corpus(SMALL_CORPUS))

    (search,) = (o for o in SUITES["search"] if o.name == "search")
    return replace(search, setup=store)


@pytest.mark.slow(30)
@pytest.mark.fuse
def test_the_embedded_filesystem(needs_fuse: None, tmp_path: Path) -> None:
    needs("valgrind", "valgrind")
    workspace = create(tmp_path / "workspace", "model")
    spec = load_target(workspace.configs / "targets" / "model.toml")
    built_model = trio.run(build, spec, workspace, ("vector_storage", "search_engine"))
    made = Massif()
    search = (small_search(),)

    def subject(name: str, operations: tuple[Operation, ...]) -> Bench:
        (tmp_path / name).mkdir()
        return replace(
            bench(tmp_path / name, operations), subject=TargetLauncher(spec, built_model, workspace)
        )

    painted = trio.run(Watermark().measure, subject("paint", search))
    depth = next(m.value for m in painted if m.metric == "stack.operation")
    assert isinstance(depth, int) and depth > SMALL_CORPUS * 2000
    made.configure(CONFIGS)
    deep = values(trio.run(made.measure, subject("massif", search)))
    assert abs(deep["stack.massif_operation"] - depth) <= PAGE
    memory = values(trio.run(Memcheck().measure, subject("memcheck", SUITES["vector"][:1])))
    assert memory == {"memory.leaked": 0, "memory.errors": 0}
