"""Places in source code: whatever somebody's build folder was called, a reader sees the same."""

from __future__ import annotations

import pytest

from reactivate.campaign.regression import culprit
from reactivate.campaign.wording import chain_lines
from reactivate.places import format_place
from reactivate.run.explain import ChainRow, Explanation


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/tmp/tmp1a2b3c4d/build-xyz/src/walk.c:42", "…/src/walk.c:42"),
        ("/home/a/ws/results/build/vexfs/search/tree/src/walk.c:42", "…/src/walk.c:42"),
        ("/home/a/vexfs/src/hnsw/walk.c:42", "…/src/hnsw/walk.c:42"),
        ("/tmp/python-build.20260509.2/Python-3/Python/ceval.c:4", "…/Python-3/Python/ceval.c:4"),
        ("/tmp/pip-install-x/fuse_d028c17593d64978/src/__init__.c:7", "…/src/__init__.c:7"),
        ("/root/src/crates-6f17d22bba15001f/fuser-0.14/src/lib.rs:9", "…/fuser-0.14/src/lib.rs:9"),
        ("/tmp/build-1/walk.c:42", "…/walk.c:42"),
        ("/tmp/a folder/build-1/src/walk.c:42", "…/src/walk.c:42"),
        ("walk at /tmp/build-1/src/walk.c:42", "walk at …/src/walk.c:42"),
        ("read (/tmp/b/c/d/e/f.c:1) at /tmp/build-1/g.c:2", "read (…/d/e/f.c:1) at …/g.c:2"),
        ("probes/model/src/hnsw_walk.c:57", "probes/model/src/hnsw_walk.c:57"),
        ("/usr/include/stdio.h:12", "/usr/include/stdio.h:12"),
        ("operator/ at walk.cc:3", "operator/ at walk.cc:3"),
        ("libffi.so.8+0x5dfc", "libffi.so.8+0x5dfc"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_place_is_shown_without_the_folder_of_one_build(place: str, shown: str) -> None:
    assert format_place(place) == shown
    assert format_place(shown) == shown, "twice is once"


def test_two_builds_of_one_source_read_the_same() -> None:
    first, second = (
        format_place(f"/var/lib/ci/{folder}/src/walk.c:42")
        for folder in ("build-8f1c", "worktrees.aaaa")
    )
    assert first == second


def test_decisions_and_verifications_name_places_alike() -> None:
    row = ChainRow(
        depth_bytes=900, size_bytes=800, location="walk × 4", place="/tmp/build-1/src/walk.c:42"
    )
    found = Explanation(
        operation="search", thread="main", depth_bytes=900, attributed=1.0, rows=(row,),
        evidence="deepest/deepest-search.json", remarks=("in walk at /tmp/build-1/src/walk.c:42:",),
    )  # fmt: skip
    said = "\n".join([*chain_lines(found), culprit(found)])
    assert said.count("…/src/walk.c:42") == 3
    assert "build-1" not in said
