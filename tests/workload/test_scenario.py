from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path

import pytest

from reactivate.errors import ConfigurationError, UsageError, WorkspaceError
from reactivate.target.config import load_target
from reactivate.workload.scenario import (
    BackingFault,
    Category,
    Expectation,
    Restart,
    Scenario,
    find_scenario,
    load_scenario,
    load_scenarios,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MODEL = load_target(CONFIGS / "targets" / "model.toml")
COMPONENTS = [component.id for component in MODEL.components]
SHIPPED = load_scenarios(CONFIGS, components=COMPONENTS)

GOOD = """\
title = "Searches"
category = "deep_graph_traversal"
components = ["vector_storage", "search_engine"]
expect = "survives"

[[exercise]]
name = "search"
vectors = 1300
ef = "{value}"

[sweep]
parameter = "ef"
values = [50, 200, 800]
reduced = [50, 800]

[limits]
stack = ["8 MiB", "25%"]
memory = "1 GiB"
processes = 64
file_size = "256 MiB"
seconds = 60

[configuration]
"search_engine.m" = 16
"search_engine.ef" = "{value}"
"""


def written(tmp_path: Path, text: str, name: str = "tried") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path: Path, text: str) -> Scenario:
    return load_scenario(written(tmp_path, text), components=COMPONENTS)


def refused(tmp_path: Path, text: str) -> list[str]:
    """The lines of a refusal, without the path."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(path, components=COMPONENTS)
    assert caught.value.hint
    return [line.removeprefix(f"{path}:") for line in caught.value.why.splitlines()]


# -- what is shipped -----------------------------------------------------------------------


def test_every_category_has_several_and_the_two_promised_names_are_there() -> None:
    counts = Counter(scenario.category for scenario in SHIPPED)
    assert set(counts) == set(Category)
    assert min(counts.values()) >= 3
    names = [scenario.name for scenario in SHIPPED]
    assert names == sorted(names)
    assert {"deep_recursion", "large_allocations"} <= set(names)


def test_a_red_one_is_among_them() -> None:
    # Without it, a runner that never sees a death would be all green.
    assert any(scenario.expect is Expectation.OVERFLOWS for scenario in SHIPPED)


def test_one_of_them_runs_on_the_minimal_build_and_all_on_the_full_one() -> None:
    assert any(scenario.runs_with(set()) for scenario in SHIPPED)
    assert all(scenario.runs_with(set(COMPONENTS)) for scenario in SHIPPED)


@pytest.mark.parametrize("scenario", SHIPPED, ids=lambda scenario: scenario.name)
def test_shipped(scenario: Scenario) -> None:
    full = scenario.steps(inherited_stack_bytes=8 << 20)
    reduced = scenario.steps(reduced=True, inherited_stack_bytes=8 << 20)
    assert 1 <= len(reduced) <= len(full)
    assert {step.label for step in reduced} <= {step.label for step in full}
    assert len({step.label for step in full}) == len(full)
    assert [step.number for step in full] == list(range(1, len(full) + 1))
    for step in full:
        assert "{value}" not in repr(step)
        assert step.calls
    configuration = (CONFIGS / "model.toml").read_text()
    for setting in full[0].configuration:
        section, _, key = setting.partition(".")
        assert f"\n{key} = " in configuration.partition(f"[{section}]")[2].partition("\n[")[0]
    # Nothing here may take all of the machine.
    assert scenario.limits.memory_bytes
    assert scenario.limits.processes
    assert scenario.limits.file_size_bytes


# -- reading -------------------------------------------------------------------------------


def test_everything_is_where_it_was_written(tmp_path: Path) -> None:
    scenario = read(tmp_path, GOOD)
    assert scenario.name == "tried"
    assert scenario.components == ("vector_storage", "search_engine")
    assert scenario.limits.memory_bytes == 1 << 30
    assert scenario.limits.file_size_bytes == 256 << 20
    assert scenario.limits.seconds == 60
    assert (scenario.cycles, scenario.restart, scenario.faults) == (1, Restart.NONE, None)
    steps = scenario.steps(inherited_stack_bytes=4 << 20)
    assert [(s.stack_limit_bytes >> 20, s.value) for s in steps] == [
        (8, 50), (8, 200), (8, 800), (1, 50), (1, 200), (1, 800),
    ]  # fmt: skip
    for step in steps:
        (call,) = step.calls
        assert call.values["ef"] == step.value == step.configuration["search_engine.ef"]
        assert call.values["vectors"] == 1300
        assert call.values["k"] == call.exercise.parameters["k"].default
        assert call.described() == f"search(vectors=1300, ef={step.value})".replace(", ef=50)", ")")
    assert steps[4].label == "ef 200, stack 1.00 MiB"
    assert [s.value for s in scenario.steps(True)] == [50, 800, 50, 800]


def test_the_digest_follows_the_text(tmp_path: Path) -> None:
    first = read(tmp_path, GOOD).sha256
    assert read(tmp_path, GOOD).sha256 == first
    assert read(tmp_path, GOOD + "# more\n").sha256 != first


def test_a_share_is_one_of_this_process_s_own_limit(tmp_path: Path) -> None:
    own, _ = resource.getrlimit(resource.RLIMIT_STACK)
    scenario = read(tmp_path, GOOD)
    if own == resource.RLIM_INFINITY:
        with pytest.raises(UsageError, match="means nothing here"):
            scenario.steps()
    else:
        assert scenario.steps()[-1].stack_limit_bytes == own // 4
    with pytest.raises(UsageError, match="means nothing here"):
        scenario.limits.stack[1].resolve(None)


def test_mounts_orders_and_faults(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        'title = "t"\ncategory = "stress"\ncomponents = ["vector_storage", "cache_manager"]\n'
        '[[exercise]]\nname = "durable_writes"\n'
        '[sweep]\nparameter = "mounts"\nvalues = [1, 20]\nreduced = [1]\n'
        '[limits]\nstack = ["1 MiB"]\n'
        '[mounts]\ncycles = "{value}"\nrestart = "kill"\n'
        'orders = [["vector_storage", "cache_manager"], ["cache_manager", "vector_storage"]]\n'
        '[faults]\nbacking = "full"\nafter_bytes = "64 KiB"\n',
    )
    steps = scenario.steps()
    assert [(step.cycles, step.order[0]) for step in steps] == [
        (1, "vector_storage"), (20, "vector_storage"), (1, "cache_manager"), (20, "cache_manager"),
    ]  # fmt: skip
    assert {step.restart for step in steps} == {Restart.KILL}
    faults = steps[0].faults
    assert faults is not None
    assert (faults.backing, faults.after_bytes, faults.recovers) == (
        BackingFault.FULL, 64 << 10, False,
    )  # fmt: skip
    assert scenario.limits.memory_bytes is None


def test_no_sweep_is_one_step_for_each_limit(tmp_path: Path) -> None:
    text = 'title = "t"\ncategory = "stress"\ncomponents = []\n[[exercise]]\nname = "initialise"\n'
    scenario = read(tmp_path, text + '[limits]\nstack = ["128 KiB", "256 KiB"]\n')
    assert [step.label for step in scenario.steps()] == ["stack 128 KiB", "stack 256 KiB"]
    assert scenario.steps()[0].value is None


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('title = "Searches"', "", 1, "`title` is missing"),
        ("deep_graph_traversal", "deep_graph_travel", 2, "did you mean `deep_graph_traversal`?"),
        ('expect = "survives"', 'expect = "survive"', 4, "did you mean `survives`?"),
        ('"search_engine"]', '"search_engin"]', 3, "did you mean `search_engine`?"),
        ('"search_engine"]', '"vector_storage"]', 3, "comes twice"),
        (', "search_engine"]', "]", 7, "exercise `search` needs `search_engine`"),
        ('name = "search"', 'name = "serach"', 7, "did you mean `search`?"),
        ('name = "search"', "", 6, "`exercise.1.name` is missing"),
        ("vectors = 1300", "vector = 1300", 8, "did you mean `vectors`?"),
        ("vectors = 1300", 'vectors = "many"', 8, "`vectors` must be a whole number"),
        ("vectors = 1300", "vectors = true", 8, "`vectors` must be a whole number"),
        ("vectors = 1300", "vectors = 0", 8, "`vectors` must be at least 1, not 0"),
        ("vectors = 1300", 'shape = "lines"', 8, "did you mean `line`?"),
        ("800]\nreduced", "80000]\nreduced", 9, "at most 10000, not 80000 (from `sweep.values`)"),
        ("800]\nreduced", "'x']\nreduced", 13, "numbers only, or text only"),
        ("800]\nreduced", "50]\nreduced", 13, "holds a value twice"),
        ("values = [50, 200, 800]", "values = []", 13, "`sweep.values` is empty"),
        ("reduced = [50, 800]", "reduced = [51]", 14, "51 of `sweep.reduced` is not in"),
        ("reduced = [50, 800]", "reduce = [50]", 14, "did you mean `reduced`?"),
        ('parameter = "ef"', "", 11, "`sweep.parameter` is missing"),
        ('"8 MiB"', '"8 MB"', 17, "did you mean `8 MiB`?"),
        ('"8 MiB"', '"8 s"', 17, "`8 s` is not a size"),
        ('"8 MiB"', '"100 B"', 17, "less than one page"),
        ('"25%"', '"0%"', 17, "not more than 0 %"),
        ('"25%"', '"101%"', 17, "at most 100 %"),
        ('"25%"', '"8192 KiB"', 17, "comes twice"),
        ('stack = ["8 MiB", "25%"]', "stack = []", 17, "at least one limit"),
        ('stack = ["8 MiB", "25%"]', "", 16, "`limits.stack` is missing"),
        ('memory = "1 GiB"', "memory = 5", 18, "`limits.memory` must be text"),
        ('memory = "1 GiB"', 'memory = "lots"', 18, "`lots` is not a size"),
        ("processes = 64", "processes = 0", 19, "at least 1"),
        ("seconds = 60", "seconds = 0", 21, "more than 0"),
        ("seconds = 60", "seconds = nan", 21, "more than 0"),
        ('"search_engine.m" = 16', '"search_engine.m" = [1]', 24, "must be text, a number"),
    ],
)
def test_one_fault(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    lines = refused(tmp_path, GOOD.replace(old, new, 1))
    assert any(one.startswith(f"{line}: ") and words in one for one in lines), lines


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mounts]\ncycles = 0\n", "`mounts.cycles` must be at least 1"),
        ("[mounts]\ncycle = 2\n", "did you mean `cycles`?"),
        ('[mounts]\nrestart = "killed"\n', "did you mean `kill`?"),
        ('[mounts]\nrestart = "kill"\n', "no exercise writes anything durable"),
        ('[mounts]\norders = [["vector_storage"]]\n', "must hold each of `components` once"),
        ('[mounts]\norders = ["vector_storage"]\n', "holds lists of components"),
        ('[faults]\nbacking = "fill"\n', "did you mean `full`?"),
        ("[faults]\n", "says nothing that is wrong"),
        ('[faults]\nbacking = "full"\nafter_bytes = -1\n', "must be at least 0"),
        ('[faults]\nbacking = "full"\nafter_bytes = "1 MB"\n', "`1 MB` is not a size"),
        ('[faults]\nbacking = "read_only"\nafter_bytes = 5\n', "read-only from the start"),
        ('[faults]\nconfiguration = { "a.b" = 1 }\n', "`recovers = true` is missing"),
        ("[faulty]\n", "did you mean `faults`?"),
    ],
)
def test_one_fault_at_the_end(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in line for line in refused(tmp_path, f"{GOOD}\n{text}"))


def test_a_swept_value_without_a_sweep_and_a_sweep_without_one(tmp_path: Path) -> None:
    start, end = GOOD.index("[sweep]"), GOOD.index("[limits]")
    lines = refused(tmp_path, GOOD[:start] + GOOD[end:])
    assert [line.split(": ")[0] for line in lines] == ["9", "20"]
    assert all("there is no [sweep]" in line for line in lines)
    lines = refused(tmp_path, GOOD.replace('"{value}"', "50"))
    assert lines == ['11: the sweep changes nothing: no value is "{value}"']


ODD = [
    "0", "-1", "1e400", "nan", "true", "{}", '""', '"{value}"', '"x"', "[]", "[[]]",
    '["{value}"]', "{ a = [] }", "1979-05-27", "99999999999999999999",
]  # fmt: skip
WHOLE = GOOD + (
    '\n[mounts]\ncycles = 2\nrestart = "none"\n'
    'orders = [["search_engine", "vector_storage"]]\n'
    '[faults]\nbacking = "full"\nafter_bytes = 5\nrecovers = true\nconfiguration = { a = 1 }\n'
)


@pytest.mark.parametrize("number", range(len(WHOLE.splitlines())))
def test_no_value_of_any_key_gets_through_unread(tmp_path: Path, number: int) -> None:
    """Taken, and then it has steps; or refused with a line. Nothing else."""
    lines = WHOLE.splitlines()
    key, equals, _ = lines[number].partition(" = ")
    assert read(tmp_path, WHOLE).steps()
    for odd in ODD if equals else ():
        lines[number] = f"{key} = {odd}"
        try:
            scenario = read(tmp_path, "\n".join(lines))
        except ConfigurationError as error:
            assert error.why
        else:
            assert scenario.steps(inherited_stack_bytes=8 << 20)


def test_all_faults_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("1300", "-1").replace("8 MiB", "8 MB").replace("= 16", "= []")
    lines = [int(line.split(":")[0]) for line in refused(tmp_path, text)]
    assert lines == [8, 17, 24]


def test_all_files_are_told_of_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    written(folder, GOOD.replace("1300", "0"), "first")
    written(folder, GOOD.replace("16", "[]"), "second")
    written(folder, GOOD, "third")
    with pytest.raises(ConfigurationError) as caught:
        load_scenarios(tmp_path)
    assert "first.toml:8: " in caught.value.why
    assert "second.toml:24: " in caught.value.why
    assert "third" not in caught.value.why


def test_a_name_is_one_that_can_be_typed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one fault") as caught:
        load_scenario(written(tmp_path, GOOD, "My Scenario"))
    assert "lower case" in caught.value.why


def test_finding_one() -> None:
    assert find_scenario(SHIPPED, "deep_recursion").name == "deep_recursion"
    with pytest.raises(UsageError, match="did you mean `deep_recursion`"):
        find_scenario(SHIPPED, "deep_recursoin")
    with pytest.raises(UsageError, match="there is no scenario"):
        find_scenario((), "deep_recursion")


def test_none_and_unreadable(tmp_path: Path) -> None:
    assert load_scenarios(tmp_path) == ()
    with pytest.raises(WorkspaceError):
        load_scenario(tmp_path / "absent.toml")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load_scenario(written(tmp_path, "title = "))


def test_a_suite_without_its_name_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'title = "x"\ncategory = "baseline"\ncomponents = ["vector_storage"]\n'
        'expect = "survives"\n\n[[exercise]]\nname = "suite"\n'
    )
    with pytest.raises(ConfigurationError, match="fault"):
        load_scenario(path, components={"vector_storage"})
