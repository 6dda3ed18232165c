"""What `make test` does about failed tests: scripts/unit, on small projects of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A test that fails in the first run only: its file tells that it ran before.
_ONCE = """
import pathlib
import pytest

{marks}
def test_{name}():
    ran = pathlib.Path(__file__).with_suffix(".ran")
    before = ran.exists()
    ran.touch()
    assert before or {always}
"""


@pytest.fixture
def project(tmp_path: Path, project_root: Path) -> Path:
    """A project with the real script and the real rule."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n fuse: a mount\naddopts = --import-mode=importlib\n", "utf-8"
    )
    (tmp_path / "tests/alone.py").symlink_to(project_root / "tests/alone.py")
    (tmp_path / "scripts/unit").symlink_to(project_root / "scripts/unit")
    return tmp_path


def _write(project: Path, name: str, *, fuse: bool, always: str = "False") -> None:
    marks = "@pytest.mark.fuse" if fuse else ""
    text = _ONCE.format(name=name, marks=marks, always=always)
    (project / f"tests/test_{name}.py").write_text(text, encoding="utf-8")


def _unit(project: Path) -> subprocess.CompletedProcess[str]:
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "scripts/unit", "-n", "0"],
        cwd=project,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mount_that_failed_beside_others_is_measured_again(project: Path) -> None:
    _write(project, "mount", fuse=True)
    done = _unit(project)
    assert done.returncode == 0
    last = done.stdout.splitlines()[-2:]
    assert last[0] == "Passed alone, having failed beside other tests:"
    assert last[1].split() == ["tests/test_mount.py::test_mount"]


def test_what_no_neighbour_can_disturb_is_not(project: Path) -> None:
    _write(project, "mount", fuse=True)
    _write(project, "sum", fuse=False)
    done = _unit(project)
    assert done.returncode == 1
    assert "tests/test_sum.py::test_sum runs no daemon: its failure stands" in done.stdout


def test_a_second_failure_stands(project: Path) -> None:
    _write(project, "mount", fuse=True, always="(ran.unlink() or False)")
    done = _unit(project)
    assert done.returncode == 1
    assert "Passed alone" not in done.stdout


def test_many_failures_are_no_accident(project: Path) -> None:
    for name in ("a", "b", "c", "d"):
        _write(project, name, fuse=True)
    done = _unit(project)
    assert done.returncode == 1
    assert "4 tests failed, more than the 3" in done.stdout


def test_a_file_that_cannot_be_read_is_no_accident(project: Path) -> None:
    (project / "tests/test_broken.py").write_text("import missing_module\n", encoding="utf-8")
    assert _unit(project).returncode != 0
