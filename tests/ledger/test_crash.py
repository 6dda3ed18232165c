"""A writer that is killed or runs out of disk: its result is whole or not there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.errors import LedgerError
from reactivate.ledger import AttemptStatus, Counts, Ledger

from . import writer_process

DEADLINE_SECONDS = 60
BEGUN = Counts(events=1, attempts=1, measurements=0, decisions=0)
WHOLE = Counts(events=3, attempts=1, measurements=writer_process.MEASUREMENTS, decisions=1)


def start(path: Path, manner: str, number: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, writer_process.__file__, str(path), manner, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(path: Path, manner: str, number: int = 0) -> tuple[int, str]:
    with start(path, manner, number) as process:
        out, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert "Traceback" not in error, error
    return process.returncode, out


@pytest.fixture
def begun(path: Path) -> Path:
    """A ledger in which one attempt runs."""
    with Ledger.open(path, writer=True) as ledger:
        ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
    return path


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How long the whole result takes, in ticks of SQLite's virtual machine."""
    path = tmp_path_factory.mktemp("ticks") / "ledger.db"
    with Ledger.open(path, writer=True) as ledger:
        ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
    count = int(run(path, "count")[1].splitlines()[-1])
    assert count > 50
    return count


def assert_whole_or_nothing(path: Path) -> bool:
    """Return whether the result is there; a next writer must be able to go on in both cases."""
    with Ledger.open(path, writer=False) as reader:
        counts = reader.counts()
        (attempt,) = reader.attempts()
        verdicts = len(reader.judgements(attempt.id))
        files = len(reader.artifacts(attempt.id))
        environment = reader.environment(attempt.environment_sha256)
    if attempt.status is AttemptStatus.FINISHED:
        assert (counts, verdicts, files) == (WHOLE, 10, 1)
        assert environment == {"artifact": "9f31"}
    else:
        assert attempt.status is AttemptStatus.RUNNING
        assert (counts, verdicts, files) == (BEGUN, 0, 0)
        assert environment == {"kernel": "6.1"}
    with Ledger.open(path, writer=True) as ledger:  # nor does a dead writer hold the lock
        interrupted = ledger.interrupt_open_attempts("its process is gone")
        assert [a.id for a in interrupted] == (
            [] if attempt.status is AttemptStatus.FINISHED else [attempt.id]
        )
        ledger.finish(ledger.begin_attempt("a", "baseline", {}), "passed")
    return attempt.status is AttemptStatus.FINISHED


def test_the_writer_that_is_not_killed_finishes(begun: Path) -> None:
    assert run(begun, "count")[0] == 0
    assert assert_whole_or_nothing(begun)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_killed_inside_sqlite(begun: Path, ticks: int, share: float) -> None:
    code, _ = run(begun, "tick", max(1, int(ticks * share)))
    assert code == -signal.SIGKILL
    assert not assert_whole_or_nothing(begun)


def test_killed_from_outside_at_any_statement(begun: Path, tmp_path: Path) -> None:
    with start(begun, "marks") as process:
        assert process.stdout is not None
        statements = sum(line == "mark\n" for line in process.stdout)
    assert process.wait() == 0
    assert statements > 20
    generator = random.Random(7)
    for turn in range(4):
        path = tmp_path / f"{turn}.db"
        with Ledger.open(path, writer=True) as ledger:
            ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
        last = generator.randrange(1, statements)
        with start(path, "marks") as process:
            assert process.stdout is not None
            seen = 0
            while seen < last:
                seen += process.stdout.readline() == "mark\n"
            process.kill()
            process.stdout.read()
        # It runs on until the signal arrives, and may even have come to its end.
        assert assert_whole_or_nothing(path) or process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("pages", [2, 30, 70])
def test_killed_in_the_middle_of_the_commit(begun: Path, pages: int) -> None:
    """The file is half written then, and the journal is what saves it."""
    before = begun.stat().st_size
    code, _ = run(begun, "write", before + pages * 4096)
    assert code == -signal.SIGXFSZ
    assert begun.stat().st_size == before + pages * 4096
    journal = begun.with_name(begun.name + "-journal")
    assert journal.stat().st_size > 0
    assert not assert_whole_or_nothing(begun)
    assert not journal.exists()


def test_killed_in_its_very_first_commit(path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from reactivate.ledger import Ledger\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))\n"
        "Ledger.open(Path(sys.argv[1]), writer=True)\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, timeout=DEADLINE_SECONDS
    )
    assert died.returncode == -signal.SIGXFSZ
    assert path.stat().st_size == 8192
    with Ledger.open(path, writer=True) as ledger:
        assert ledger.append("e", "", {}).seq == 1


def test_a_file_that_cannot_grow(begun: Path) -> None:
    limit = begun.stat().st_size + 30 * 4096
    code, out = run(begun, "full", limit)
    assert code == 0
    _, refused, state = out.splitlines()
    what, why, hint = refused.split("|")
    assert "cannot record the result of baseline in a" in what
    assert "nothing of it was recorded" in why
    assert "df " in hint
    assert state == "0 running"
    assert assert_whole_or_nothing(begun)  # once there was room the same result went in


@pytest.fixture
def small_disk(tmp_path: Path, needs_root: None) -> Iterator[Path]:
    """A file system with 400 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "ledger.db"
    ballast = small_disk / "ballast"
    with Ledger.open(path, writer=True) as ledger:
        attempt = ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
        with pytest.raises(LedgerError) as caught:
            writer_process.finish(ledger)
        assert "full" in caught.value.why
        assert str(small_disk) in caught.value.hint
        assert ledger.counts() == BEGUN
        ledger.finish(attempt, "passed")
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(small_disk / "new.db", writer=True)
    assert caught.value.hint
    with Ledger.open(path, writer=False) as reader:
        assert reader.attempt(attempt.id).status is AttemptStatus.FINISHED
    ballast.unlink()
    Ledger.open(small_disk / "new.db", writer=True).close()
