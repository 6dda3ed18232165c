"""Searching a history: its shape, its clone, and what is kept of a search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import Criterion
from reactivate.errors import MeasurementError, UsageError
from reactivate.evidence import Check, Dimension, Measurement, NotMeasured, Role, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.run import bisect as searching
from reactivate.run.bisect import Answer, Probe, bisect
from reactivate.run.bisect_measure import Gate
from reactivate.run.bisect_source import History
from reactivate.target.config import load_target
from tests.target.fiveways import git, workspace
from tests.target.test_worktree import photograph


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A checkout whose history has a side branch, merged; the title of one commit is hostile.

    0 ── 1 ── 2 ──── merge ── 4
           └── side ──┘
    """
    folder = tmp_path / "Über den Wolken"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    for number in range(3):
        commit(folder, f"core-{number}.c", f"Change {number}\x0b\x1b[31m")
    git(folder, "checkout", "--quiet", "-b", "side", "HEAD~1")
    commit(folder, "side.c", "On the side")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merged", "side")
    commit(folder, "core-4.c", "Last")
    return folder


def commit(folder: Path, name: str, title: str) -> None:
    (folder / name).write_text(title)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", title)


def sha(folder: Path, revision: str) -> str:
    return git(folder, "rev-parse", revision).strip()


def test_the_checkout_is_only_read(user: Path, tmp_path: Path) -> None:
    (user / "core-0.c").write_text("not committed\n")
    before = photograph(user)
    history = History(user, tmp_path / "clone")
    history.prepare()
    for revision in ("main~4", "main", "side"):
        history.check_out(history.resolve(revision))
        assert sha(history.clone, "HEAD") == sha(user, revision)
    assert not (history.clone / "core-0.c").read_text().startswith("not")
    assert history.is_ancestor(sha(user, "main~3"), sha(user, "main"))
    assert not history.is_ancestor(sha(user, "side"), sha(user, "main~2"))
    assert photograph(user) == before


def test_what_lies_between_and_what_is_nearest(user: Path, tmp_path: Path) -> None:
    history = History(user, tmp_path / "clone")
    history.prepare()
    first, last, side = sha(user, "main~4"), sha(user, "main"), sha(user, "side")
    listed = history.between(last, [first])
    assert set(listed) == {*git(user, "rev-list", f"{first}..{last}").split()}
    assert listed[-1] == last
    assert history.between(last, [sha(user, "main~1")]) == (last,)
    assert history.nearest(last, {first, side}) == side
    assert history.nearest(side, {last}) is None
    told = history.describe([first, last])
    assert told[first].title.startswith("Change 0")
    assert (told[last].title, told[last].author) == ("Last", "Tester")


def test_a_clone_that_was_torn_by_a_kill_is_made_anew(user: Path, tmp_path: Path) -> None:
    torn = tmp_path / "clone.part" / ".git"
    torn.mkdir(parents=True)
    history = History(user, tmp_path / "clone")
    history.prepare()
    (history.clone / ".git" / "index.lock").touch()
    history.prepare()
    history.check_out(sha(user, "main"))
    elsewhere = History(History(user, tmp_path / "clone").clone, tmp_path / "other")
    elsewhere.prepare()
    elsewhere.check_out(sha(user, "side"))


@pytest.mark.parametrize("revision", ["nowhere", "--help", "-1", "", "HEAD:core-0.c"])
def test_what_is_no_commit_is_refused(user: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="has no commit"):
        History(user, tmp_path / "clone").resolve(revision)


# -- the search itself; what a commit is, is told by the files in it ----------------------------

TARGET = """\
title = "files"
source = "{source}"
artifact = "{{build}}/out"
[build]
commands = [["sh", "-c", "{script}", "sh", "{{source}}", "{{build}}"]]
[run]
command = ["true", "{{mountpoint}}"]
"""


def criterion() -> Criterion:
    source = "stack.operation <= 4 KiB"
    return Criterion(
        id="minimal.baseline.stack.operation", text="", source=source,
        comparison=parse_criterion(source), check=Check.BASELINE, line=1, column=1,
    )  # fmt: skip


GATE = Gate(
    name="minimal.baseline", check=Check.BASELINE, criteria=(criterion(),),
    components=(), added=(), suites=("posix",),
)  # fmt: skip


def test_every_field_of_a_probe_survives_the_disk(tmp_path: Path) -> None:
    probe = Probe(
        commit="c" * 40,
        answer=Answer.SKIPPED,
        reason="it does not build: \x1b",
        measurements=(
            Measurement(metric="stack.operation", value=5, instrument="watermark",
                        role=Role.PREVIOUS, samples=(4, 5), operation="read"),
            Measurement(metric="rss.peak", value=NotMeasured(reason="gone"), instrument="memory"),
        ),
    )  # fmt: skip
    path = tmp_path / "state.json"
    searching._write(path, {probe.commit: probe})
    assert searching._read(path) == {probe.commit: probe}
    for torn in ("", "{", '{"probes": [{}]}', json.dumps([1])):
        path.write_text(torn)
        assert searching._read(path) == {}


def test_nothing_is_good_that_was_not_decided() -> None:
    def judged(*verdicts: Verdict) -> Answer:
        judgements = tuple(
            Judgement(
                criterion="c", source="c", check=Check.BASELINE, verdict=verdict,
                observed=1, limit=1, dimension=Dimension.BYTES, samples=1,
            )
            for verdict in verdicts
        )  # fmt: skip
        return searching._answer(judgements)

    assert judged(Verdict.PASS, Verdict.PASS) is Answer.GOOD
    assert judged(Verdict.PASS, Verdict.FAIL, Verdict.ERROR) is Answer.BAD
    for verdict in (Verdict.INCONCLUSIVE, Verdict.INVALID, Verdict.ERROR):
        assert judged(Verdict.PASS, verdict) is Answer.SKIPPED
    assert judged() is Answer.SKIPPED


def test_a_commit_that_does_not_build_is_no_end_of_a_search(user: Path, tmp_path: Path) -> None:
    """A real build that fails at every commit: told once, kept, and told again from the record."""
    from reactivate.cli.progress import SilentReporter

    root = tmp_path / "ws"
    (root / "configs" / "targets").mkdir(parents=True)
    path = root / "configs" / "targets" / "own.toml"
    path.write_text(TARGET.format(source=user, script="echo x >> $2/runs; echo error: torn; false"))
    before = photograph(user)
    told: list[tuple[str, str]] = []
    for _ in range(2):
        with pytest.raises(MeasurementError, match=r"the bad revision .* is skipped") as caught:
            bisect(
                workspace(root), load_target(path), GATE, source=None, good="main~4", bad="main",
                reporter=SilentReporter(), tell=lambda p, _: told.append((p.commit, p.reason)),
            )  # fmt: skip
        assert "torn" in caught.value.why
    assert told[0] == told[1]
    (runs,) = (root / "results" / "bisect").rglob("runs")
    assert runs.read_text() == "x\n"
    assert photograph(user) == before
    # Another limit is another question.
    looser = replace(GATE, criteria=(replace(criterion(), source="stack.operation <= 8 KiB"),))
    keys = {
        searching._key(workspace(root), load_target(path), gate, user, ("a", "b"))
        for gate in (GATE, looser)
    }
    assert len(keys) == 2
