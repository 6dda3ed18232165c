"""A reduced set of what `make soak` does: the tool killed at random, nothing lost, nothing left."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.reliability.killing import kill_campaigns
from tests.reliability.leftovers import sole_ancestor
from tests.target.fiveways import needs_libfuse

_KILLS = 5


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.slow(20)
@pytest.mark.timeout(600)
def test_killed_anywhere_nothing_is_lost_and_nothing_is_left(
    needs_fuse: None, needs_root: None, tmp_path: Path
) -> None:
    needs_libfuse()
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian package strace)")
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    with sole_ancestor():
        tally = kill_campaigns(tmp_path / "k", seed=seed, kills=_KILLS, whole=False)
    assert tally.wrong == [], f"seed {seed}, kills {dict(tally.kills)}"
    assert tally.total == _KILLS
