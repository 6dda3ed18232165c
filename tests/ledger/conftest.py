"""Fresh ledgers, and records to put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reactivate.ledger import Ledger

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that goes on by one second each time it is asked."""
    moments = (START + timedelta(seconds=n) for n in range(1_000_000))
    return lambda: next(moments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger will be."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, clock: Callable[[], datetime]) -> Iterator[Ledger]:
    """A fresh ledger, open for writing."""
    with Ledger.open(path, writer=True, clock=clock) as opened:
        yield opened
