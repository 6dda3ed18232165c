"""What needs no root works without it, and what needs it says so."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reactivate.errors import ExitCode
from tests.cli.workspaces import BINDFS, small
from tests.reliability.ordinary import NOBODY, python, run_as_nobody
from tests.reliability.small_campaign import lay_out
from tests.target.fiveways import needs_libfuse

pytestmark = [
    pytest.mark.fuse, pytest.mark.root, pytest.mark.usefixtures("needs_fuse", "needs_root"),
]  # fmt: skip

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A user's folder. Not pytest's own: those are closed again by every session that starts."""
    with TemporaryDirectory(prefix="home-") as name:
        folder = Path(name).resolve()
        os.chown(folder, NOBODY, NOBODY)
        yield folder


@pytest.fixture
def nobody(home: Path) -> Run:
    interpreter = python()
    if interpreter is None:
        pytest.skip("no Python of this version that everybody may execute")
    return lambda arguments: run_as_nobody(interpreter, home, arguments)


def users(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


BY_VALGRIND = """
- [ ] Touches no memory but its own: `memory.errors == 0`
- [ ] massif saw a stack: `stack.massif >= 1 KiB`
"""


@pytest.mark.slow(20)
def test_a_whole_campaign_without_root(home: Path, nobody: Run) -> None:
    """Build, mount through fusermount3, watermark, perf, valgrind, chain, overflow's bisect."""
    needs_libfuse()
    workspace = lay_out(home)
    checklist = workspace.checklists / "small.md"
    recursion = "- [ ] No deep recursion: `stack.recursion <= 100`\n"
    text = checklist.read_text().replace(recursion, recursion + BY_VALGRIND.lstrip())
    checklist.write_text(text)
    users(home)
    on = ["-C", str(workspace.root), "next", "--yes", "--until", "blocked"]
    # A disk of 1 MiB for the daemon's data is a mount, and that needs root: not a pass.
    done = nobody(on)
    assert done.returncode == ExitCode.INCONCLUSIVE, done
    assert "mount(2): Operation not permitted" in done.stdout
    for instrument in ("watermark", "growth", "deepest", "massif", "memcheck", "smallest_stack"):
        assert f"  {instrument} " in done.stdout
    for criterion in ("memory.errors == 0", "stack.massif >= 1 KiB"):
        (judged,) = re.findall(rf"^  {criterion} .*$", done.stdout, re.MULTILINE)
        assert judged.endswith("PASS"), judged
    scenario = workspace.configs / "scenarios" / "small_disk.toml"
    scenario.write_text(scenario.read_text().partition("[faults]")[0])
    done = nobody(on)
    assert done.returncode == ExitCode.DONE, done
    assert "every phase is active" in done.stdout
    assert not list(workspace.run.iterdir())


@pytest.mark.slow(10)
def test_instruments_without_root(home: Path, nobody: Run) -> None:
    """perf counts what this user does, in user space; bpftrace is named as what needs root."""
    for name in ("src", "mnt"):
        (home / name).mkdir()
    users(home)
    mirror = ["--", "bindfs", "-f", "--no-allow-other", "src", "mnt"]
    measured = nobody(["measure", *mirror])
    assert measured.returncode == ExitCode.DONE, measured
    assert "bound: exact for bytes written" in measured.stdout
    traced = nobody(["trace", "--operation", "mkdir", *mirror])
    assert traced.returncode == ExitCode.DONE, traced
    assert "bpftrace needs root" in traced.stdout + traced.stderr
    assert "growth, by perf: user touches only" in traced.stdout
    assert re.search(r"^  main .* not seen +≥ ", traced.stdout, re.MULTILINE), traced
    assert "pages and depths are lower bounds" in traced.stdout
    assert nobody(["frames", "/usr/bin/bindfs"]).returncode == ExitCode.DONE


def test_what_needs_root_says_so(home: Path, nobody: Run) -> None:
    """Another user's process cannot be watched: 6, and why."""
    users(home)
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            done = nobody(["watch", "--once", str(process.pid)])
        finally:
            process.kill()
    assert done.returncode == ExitCode.ENVIRONMENT, done
    assert "Traceback" not in done.stderr
    assert "root" in done.stderr


def test_another_users_workspace_is_not_executed(home: Path, nobody: Run) -> None:
    workspace = small(home / "w", target=BINDFS)
    users(home)
    for path in (workspace.root, *workspace.root.rglob("*")):
        os.chown(path, 1234, 1234)
        path.chmod(0o777 if path.is_dir() else 0o666)
    done = nobody(["-C", str(workspace.root), "target", "check", "own"])
    assert done.returncode == ExitCode.ENVIRONMENT, done
    assert "belongs to uid 1234" in done.stdout + done.stderr
