"""docs/scenarios.md names every exercise, parameter, default, key and shipped scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reactivate.workload.exercises.contract import Exercise, Value
from reactivate.workload.exercises.registry import EXERCISES
from reactivate.workload.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
STORING = ("vectors", "dimensions", "batch")


def row_of(name: str) -> str:
    (row,) = re.findall(rf"^\| `{name}` \|.*$", TEXT, re.MULTILINE)
    return str(row)


def shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{member}"' for member in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_exercise(exercise: Exercise) -> None:
    row = row_of(exercise.name)
    for name, parameter in exercise.parameters.items():
        if name in STORING and exercise.name != "vectors_store":
            continue  # said once, in the first row of the family
        default = "" if parameter.default is None else f" = {shown(parameter.default)}"
        assert f"`{name}`{default}" in row


def test_the_example_is_a_scenario(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "example.toml"
    path.write_text(example, encoding="utf-8")
    scenario = load_scenario(path)
    assert (len(scenario.steps()), len(scenario.steps(reduced=True))) == (8, 6)


def test_every_shipped_scenario_is_listed() -> None:
    table = TEXT.partition("## What is shipped")[2].partition("On the model")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    shipped = {path.stem for path in (ROOT / "configs" / "scenarios").glob("*.toml")}
    assert shipped <= named
