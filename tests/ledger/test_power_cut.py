"""Power fails, or the disk is full, at any write: the ledger is the one before or the one after."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reactivate.errors import LedgerError
from reactivate.ledger import AttemptStatus, DecisionDraft, Ledger
from reactivate.ledger.audit import audit

from .disk import Act, after_power_cut, shim
from .test_store import JUDGEMENTS, MEASUREMENTS

SEED = random.SystemRandom().randrange(1 << 32)
STATES = 150


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder whose syncs cost nothing: what they do is what the shim notes."""
    with TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def record(ledger: Ledger) -> Iterator[None]:
    """A few results; stops after each that was told to be recorded."""
    yield
    ledger.append("campaign_started", "", {})
    yield
    attempt = ledger.begin_attempt("a", "baseline", {"kernel": "6.1"})
    yield
    ledger.finish(
        attempt, "refused", measurements=MEASUREMENTS * 60, judgements=JUDGEMENTS,
        decisions=[DecisionDraft(kind="refused", phase="a", reason="r", who="gate")],
    )  # fmt: skip
    yield
    ledger.decide(DecisionDraft(kind="retried", phase="a", reason="mended", who="ann"))
    yield


def state(path: Path) -> int:
    """How many events a ledger has that must be whole."""
    with Ledger.open(path, writer=False) as reader:  # rolls back what is half written
        running = len(reader.attempts(status=AttemptStatus.RUNNING))
        counts = reader.counts()
    if counts.events:
        connection = sqlite3.connect(path)
        assert not audit(connection, path).findings
        connection.close()
    assert running == (counts.events == 2)
    assert counts.measurements == (len(MEASUREMENTS) * 60 if counts.events > 2 else 0)
    return counts.events


@pytest.fixture(scope="module")
def recorded(memory: Path) -> tuple[list[Act], list[tuple[int, int]]]:
    """Everything that was asked of the disk; and how many events were told to be recorded when."""
    path = memory / "recorded.db"
    told = []
    with shim() as disk, Ledger.open(path, writer=True) as ledger:
        for _ in record(ledger):
            told.append((len(disk.acts), ledger.counts().events))
    assert [events for _, events in told] == [0, 1, 2, 3, 4]
    assert {act.kind for act in disk.acts} >= {"write", "sync", "delete+"}
    return disk.acts, told


def test_a_power_cut_leaves_the_ledger_before_or_after(
    memory: Path, recorded: tuple[list[Act], list[tuple[int, int]]]
) -> None:
    acts, told = recorded
    turn = random.Random(SEED)
    undone = 0
    places = [turn.randrange(1, len(acts) + 1) for _ in range(STATES)]
    for number, place in enumerate(places):
        folder = memory / f"{number}"
        folder.mkdir()
        for name, content in after_power_cut(acts[:place], turn).items():
            (folder / Path(name).name).write_bytes(content)
        where = f"during act {place} of {len(acts)}, seed {SEED}"
        safe = max((events for end, events in told if end < place), default=0)
        after = min((events for end, events in told if end >= place), default=told[-1][1])
        found = state(folder / "recorded.db")
        assert found in (safe, after), where
        undone += found < after
        with Ledger.open(folder / "recorded.db", writer=True) as ledger:  # and one can go on
            ledger.append("note", "", {})
    assert 0 < undone < STATES


def test_a_removal_that_was_not_synced_would_undo_what_was_told(
    memory: Path, recorded: tuple[list[Act], list[tuple[int, int]]]
) -> None:
    """Why `synchronous` is EXTRA: with FULL the folder is not synced after the commit."""
    acts, told = recorded
    end, events = told[-1]
    last = acts[:end]
    assert last[-1].kind == "delete+" or "delete+" in [act.kind for act in last[-3:]]
    index = max(n for n, act in enumerate(last) if act.kind == "delete+")
    last[index] = Act(kind="delete", path=last[index].path)
    found = set()
    for seed in range(40):
        folder = memory / f"unsynced-{seed}"
        folder.mkdir()
        for name, content in after_power_cut(last, random.Random(seed)).items():
            (folder / Path(name).name).write_bytes(content)
        found.add(state(folder / "recorded.db"))
    assert found == {events - 1, events}


def test_a_disk_that_is_full_at_any_write(memory: Path) -> None:
    """Each write that makes a file longer is refused once, with all that come after it."""
    refused, growths = 0, 0
    while True:
        path = memory / f"full-{growths}.db"
        try:
            with shim() as disk:
                disk.growths_left = growths
                with Ledger.open(path, writer=True) as ledger:
                    for _ in record(ledger):
                        pass
        except LedgerError as error:
            refused += 1
            assert "full" in error.why
            assert "df " in error.hint
        else:
            break
        before = state(path)
        with Ledger.open(path, writer=True) as ledger:  # there is room again
            ledger.interrupt_open_attempts("the disk was full")
            ledger.append("note", "", {})
            assert ledger.counts().events == before + (2 if before == 2 else 1)
        growths += 1
    assert refused == growths > 50
    assert state(path) == 4
