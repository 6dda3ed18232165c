"""A real daemon that hangs, floods, forks, hides or fills: an error in time, and nothing left."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.target.log_limit import KEPT_BYTES, MOST_BYTES
from tests.cli.workspaces import Here, Make, small
from tests.reliability.leftovers import descendants, living_children, mounts, sole_ancestor
from tests.waiting import until

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.usefixtures("needs_fuse")]

_SOURCES = Path(__file__).resolve().parents[2] / "probes" / "groundtruth" / "fuse"
QUICK = """\
[watermark]
repeats = 1
deadline_seconds = 60
[memory]
repeats = 1
deadline_seconds = 60
[latency]
repeats = 2
max_repeats = 2
warmup = 0
deadline_seconds = 60
"""
IMPATIENT = QUICK.replace("= 60", "= 0.5")
"""For what does hang: it must not be what only takes its time on a busy machine."""

FUNCTIONS = (
    "mkdir", "rmdir", "unlink", "rename", "truncate", "lstat", "statvfs", "opendir", "open",
    "pread", "pwrite",
)  # fmt: skip
"""What bindfs calls for the operations of the suite `posix`."""


@functools.cache
def library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    for program in ("cc", "make", "bindfs"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    subprocess.run(["make", "-s", "-C", _SOURCES, f"OUT={folder}"], check=True, timeout=60)
    return folder / "hostile.so"


@pytest.fixture(scope="module", autouse=True)
def _library_removed() -> Iterator[None]:
    yield
    if library.cache_info().currsize:
        shutil.rmtree(library().parent)
    library.cache_clear()


def target(orders: str) -> str:
    return (
        'title = "hostile mirror"\nartifact = "bindfs"\n'
        '[run]\ncommand = ["bindfs", "-f", "{backing}", "{mountpoint}"]\n'
        "mount_timeout_seconds = 60\nstop_timeout_seconds = 0.5\n"
        f'[environment]\nLD_PRELOAD = "{library()}"\nHOSTILE = "{orders}"\n'
        'HOSTILE_FOLDER = "{backing}"\n'
        '[[component]]\nid = "vector_storage"\n'
    )


def hostile(make: Make, orders: str) -> Here:
    here = make(target=target(orders))
    here.write("configs/instruments.toml", QUICK)
    return here


def assert_nothing_left(here: Here) -> None:
    # What was killed a moment ago may need one to end.
    until(lambda: not living_children(), f"what runs still ends: {living_children()}")
    assert mounts(here.root) == {}
    assert not here.workspace.run.is_dir() or not list(here.workspace.run.iterdir())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_daemon_that_hangs_in(needs_root: None, make: Make, function: str) -> None:
    with sole_ancestor():
        here = hostile(make, f"hang={function}")
        here.write("configs/instruments.toml", IMPATIENT)
        told = here("next", "--yes", "--until", "blocked")
        assert told.code in (ExitCode.ENVIRONMENT, ExitCode.INCONCLUSIVE), told
        assert "the daemon was killed" in told.err, told
        assert_nothing_left(here)


@pytest.mark.parametrize("orders", ["deaf", "fork", "rename,fork"])
def test_a_daemon_that_is_hard_to_end(needs_root: None, make: Make, orders: str) -> None:
    with sole_ancestor():
        here = hostile(make, orders)
        # As far as the component, which this target cannot switch.
        assert here("next", "--yes", "--until", "blocked").code == ExitCode.INCONCLUSIVE
        assert_nothing_left(here)


def test_a_daemon_under_another_name_is_found_after_a_kill(needs_root: None, make: Make) -> None:
    with sole_ancestor():
        here = hostile(make, "rename,deaf,fork")
        here.write("configs/instruments.toml", "[watermark]\nrepeats = 1000000\n")
        process = here.process("next", "--yes", "--until", "blocked")
        until(lambda: mounts(here.root), "it is mounted")
        until(lambda: "kworker/0:1" in descendants(process.pid).values(), "it has another name")
        process.kill()
        process.communicate()
        here.write("configs/instruments.toml", QUICK)
        here("next", "--yes")
        assert_nothing_left(here)


def test_a_daemon_that_floods_its_log(needs_root: None, make: Make) -> None:
    here = hostile(make, "flood")
    here.write("configs/instruments.toml", "[watermark]\nrepeats = 1000000\n")
    process = here.process("next", "--yes", "--until", "blocked")
    largest = 0

    def cut() -> bool:
        nonlocal largest
        for log in here.workspace.run.glob("*/daemon.log"):
            largest = max(largest, log.stat().st_size)
            if b"this log was cut here" in log.read_bytes()[KEPT_BYTES : KEPT_BYTES + 100]:
                return True
        return False

    try:
        until(cut, "the log is cut")
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert largest > MOST_BYTES // 8


def test_a_daemon_that_fills_the_disk_of_the_workspace(
    needs_root: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "t", folder], check=True)
    try:
        here = Here(small(folder / "w", target=target("fill")), capsys)
        here.write("configs/instruments.toml", QUICK)
        told = here("next", "--yes", "--until", "blocked")
        assert told.code in (ExitCode.ENVIRONMENT, ExitCode.LEDGER, ExitCode.INCONCLUSIVE), told
        assert "Traceback" not in told.err
        assert not list(here.workspace.run.iterdir())
        here.write("configs/targets/own.toml", target("deaf"))
        # The component cannot be switched; everything before it is recorded now.
        assert here("next", "--yes", "--until", "blocked").code == ExitCode.INCONCLUSIVE
        assert here("status", "--json").json()["state"] == "activating"
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
