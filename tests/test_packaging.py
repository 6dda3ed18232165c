"""What a user installs: the wheel alone, in an empty environment, must be able to tell the tour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
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


QUICK = """\
[watermark]
repeats = 2
[memory]
repeats = 2
[latency]
repeats = 4
max_repeats = 4
warmup = 0
[growth]
repeats = 1
[lifecycle]
repeats = 1
[deepest]
top = 1
"""


def ran(arguments: Sequence[str | Path], environment: dict[str, str], folder: Path) -> str:
    """What a program says that must succeed; a test that is stopped leaves none behind."""
    with subprocess.Popen(
        arguments, env=environment, cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            told, _ = process.communicate(timeout=900)
        finally:
            process.terminate()
    assert process.returncode == 0, told
    return told


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.slow(120)
@pytest.mark.timeout(1200)
def test_tour_from_the_wheel_in_an_empty_environment(
    wheel: Path, on_disk: Path, needs_fuse: None, needs_root: None, project_root: Path
) -> None:
    """Everything of the tour but its statistics: durations are of a machine that is busy."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "VIRTUAL_ENV", "CI")
    }
    environment = on_disk / "venv"
    python = [sys.executable, "-m"]
    ran([*python, "venv", "--without-pip", environment], clean, on_disk)
    ran(
        [
            *python, "pip", "--python", environment / "bin" / "python", "install", "--quiet",
            "--disable-pip-version-check",
            "--constraint", project_root / "constraints.txt", f"{wheel}[model]",
        ],
        clean, on_disk,
    )  # fmt: skip
    command = environment / "bin" / "reactivate"
    workspace = on_disk / "tour"
    ran([command, "init", workspace, "--target", "model", "--reduced"], clean, on_disk)
    (workspace / "configs" / "instruments.toml").write_text(QUICK, encoding="utf-8")
    checklist = workspace / "checklists" / "vexfs.md"
    text, limits = re.subn(
        r"`(latency\.p\d+[^`]*) <= [^`]*`", r"`\1 <= 60 s`", checklist.read_text(encoding="utf-8")
    )
    assert limits
    checklist.write_text(text, encoding="utf-8")
    try:
        told = ran([command, "tour", workspace], clean, on_disk)
    finally:
        reap(Workspace(workspace))
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
