"""Workspaces and commands for the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.target.reap import reap
from tests.cli.workspaces import Here, Make, small


@pytest.fixture
def make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Make]:
    """Makes small workspaces; whatever a test leaves running or mounted there is removed."""
    made: list[Here] = []

    def make_one(**options: str) -> Here:
        here = Here(small(tmp_path / f"workspace{len(made)}", **options), capsys)
        made.append(here)
        return here

    yield make_one
    for here in made:
        reap(here.workspace)


@pytest.fixture
def here(make: Make) -> Here:
    """A small workspace with the embedded filesystem as target."""
    return make()
