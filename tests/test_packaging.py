"""What a user installs: the wheel alone, in an empty environment, must be able to tell the tour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reactivate.target.reap import reap
from reactivate.workspace import Workspace


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source checkout with the tools that are installed here."""
    root = Path(__file__).resolve().parent.parent
    out = tmp_path_factory.mktemp("dist")
    # No isolation: the build backend is a development dependency, pinned like the others.
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), "."],
        cwd=root,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (found,) = out.glob("*.whl")
    return found


def test_wheel_holds_what_init_lays_out(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    template = "reactivate/_template/"
    for needed in (
        "checklists/vexfs.md",
        "configs/campaign.toml",
        "configs/instruments.toml",
        "configs/model.toml",
        "configs/targets/model.toml",
        "probes/model/Makefile",
        "probes/model/shell.py",
        "probes/trace/stack_growth.bt",
    ):
        assert template + needed in names
    assert any(name.endswith("LICENSE") for name in names)
    assert any(name.endswith(".data/data/share/man/man1/reactivate.1") for name in names)
    built = [n for n in names if n.endswith((".pyc", ".so", ".o", ".db")) or "__pycache__" in n]
    assert built == []
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_tour_from_the_wheel_in_an_empty_environment(
    wheel: Path, tmp_path: Path, needs_fuse: None, needs_root: None, project_root: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "VIRTUAL_ENV", "CI")
    }
    installed = subprocess.run(
        [
            str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check",
            "--constraint", str(project_root / "constraints.txt"), f"{wheel}[model]",
        ],
        env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    command = str(environment / "bin" / "reactivate")
    workspace = tmp_path / "tour"
    with subprocess.Popen(
        [command, "tour", str(workspace)],
        env=clean, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            told, _ = process.communicate(timeout=360)
        finally:
            # A test that is stopped leaves no mount behind.
            process.terminate()
            process.communicate()
            reap(Workspace(workspace))
    assert process.returncode == 0, told
    assert "Refused" in told
    assert "8 of 8 phases · complete" in told
    log = (workspace / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert "search_engine | refused" in log
    assert "complete" in log
    # Comments and layout of the target's configuration survive the edit.
    edited = (workspace / "configs" / "model.toml").read_text(encoding="utf-8")
    original = (project_root / "configs" / "model.toml").read_text(encoding="utf-8")
    assert edited == original.replace(
        'implementation = "recursive" ', 'implementation = "iterative" '
    )
    shutil.rmtree(workspace)
