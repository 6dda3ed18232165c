"""A page of stack planted in a real daemon is refused every time, and nothing planted never is.

More trials, and the same with durations, are in benchmarks/bench_known_answers.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_known_answers import PAGE_BYTES, site_in
from reactivate.evidence import Verdict
from tests.target.fiveways import needs_libfuse

TRIALS = 3


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_a_planted_page_is_refused_every_time(tmp_path: Path) -> None:
    needs_libfuse()
    site = site_in(tmp_path)
    assert site.depth_verdicts(PAGE_BYTES, TRIALS) == {Verdict.FAIL: TRIALS}
    assert site.depth_verdicts(0, TRIALS) == {Verdict.PASS: TRIALS}
