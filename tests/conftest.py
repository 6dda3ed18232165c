"""What every test may need: skips that name what is missing, and a check that nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from reactivate.procfs import fuse_mounts
from tests.alone import runs_daemons

# Whoever starts the tests in the background, or with nohup, ignores signals for all that is
# started below; the programs under test are to get theirs.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(
            _number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL
        )

ROOT = Path(__file__).resolve().parent.parent

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


def _roomy(folder: Path) -> bool:
    """Whether programs can be run from a filesystem in memory, and there is plenty of both."""
    try:
        found = os.statvfs(folder)
        available = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]
    except (OSError, IndexError):
        return False
    least = min(found.f_bavail * found.f_frsize, int(available) * 1024)
    return least >= _ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


# Every ledger waits for its disk, and most tests have one. `on_disk` is for those that kill.
if _roomy(_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def _missing(what: str) -> None:
    """Skip, or fail where a skip would be a silent pass."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI this test must run, but {what}")
    pytest.skip(what)


def _fuse_mounts(below: Path) -> set[Path]:
    return {m.mountpoint for m in fuse_mounts() if m.mountpoint.is_relative_to(below)}


@pytest.fixture
def needs_fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Skips without /dev/fuse or fusermount3; fails if the test leaves a mount of its own."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        _missing("/dev/fuse cannot be opened")
    if shutil.which("fusermount3") is None:
        _missing("fusermount3 is not installed (Debian package fuse3)")
    own = tmp_path_factory.getbasetemp().resolve()
    before = _fuse_mounts(own)
    yield
    left = _fuse_mounts(own) - before
    assert not left, f"mounts left behind: {left}"


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder as `tmp_path`, where programs usually have theirs: on a disk on most machines."""
    with tempfile.TemporaryDirectory(prefix="reactivate-test-") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def needs_root() -> None:
    """Skips without root."""
    if os.geteuid() != 0:
        _missing("it is not run as root")


@pytest.fixture
def needs_chromium() -> None:
    """Skips without the browser."""
    if shutil.which("chromium") is None:
        _missing("chromium is not installed (Debian package chromium)")


@pytest.fixture
def needs_groff() -> None:
    """Skips without the program that sets man pages."""
    if shutil.which("groff") is None:
        _missing("groff is not installed (Debian package groff-base)")


@pytest.fixture
def project_root() -> Path:
    """The source checkout."""
    return ROOT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test of a mount or of root's rights that skips, wherever it says so, has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and runs_daemons(item):
        report.outcome = "failed"
        report.longrepr = f"in CI this test must run: {report.longrepr}"
    return report


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("slow")
    return float(mark.args[0]) if mark else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: with two workers, none is left alone with it at the end."""
    items.sort(key=_seconds, reverse=True)
