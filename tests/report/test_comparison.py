"""Two campaigns held against each other, from real ledgers and evidence files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reactivate.errors import MeasurementError, UsageError
from reactivate.evidence import Measurement, NotMeasured, Role
from reactivate.gate.difference import Change
from reactivate.ledger import Ledger, record_artifacts
from reactivate.report.comparison import Comparison, compare_sides, parse_side

MACHINE = {"kernel": "Linux 1", "architecture": "x86_64", "cpu": "one", "libc": "glibc 1"}
HERE = {**MACHINE, "tools": {"perf": "6.1"}, "artifact_sha256": "a" * 64}


def depth(operation: str, size_bytes: int) -> Measurement:
    return Measurement(
        metric="stack.operation",
        value=size_bytes,
        instrument="watermark",
        operation=operation,
        thread="main",
        samples=(size_bytes,),
    )


def recorded(
    root: Path,
    phase: str,
    step: str,
    measurements: Sequence[Measurement],
    *,
    environment: dict[str, Any] | None = None,
    chains: dict[str, dict[str, int]] | None = None,
) -> int:
    """An attempt in the ledger of a workspace, with call chains as evidence; returns its id."""
    root.mkdir(exist_ok=True)
    with Ledger.open(root / "ledger.db", writer=True) as ledger:
        attempt = ledger.begin_attempt(phase, step, environment or HERE)
        folder = root / "results" / attempt.folder
        (folder / "deepest").mkdir(parents=True)
        for operation, functions in (chains or {}).items():
            frames = [
                {"function": name, "size_bytes": size, "file": "core.c", "line": 1}
                for name, size in functions.items()
            ]
            content = {
                "operation": operation, "total_bytes": sum(functions.values()), "frames": frames,
            }  # fmt: skip
            (folder / "deepest" / f"deepest-{operation}.json").write_text(json.dumps(content))
        ledger.finish(
            attempt, "advanced", measurements=measurements, artifacts=record_artifacts(folder)
        )
        return attempt.id


def compared(a: Path | str, b: Path | str, here: Path | None = None) -> Comparison:
    return compare_sides(parse_side(str(a), here), parse_side(str(b), here))


def test_newest_attempts_of_each_check_are_paired(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    recorded(one, "search", "baseline", [depth("read", 99_999)])
    recorded(one, "search", "baseline", [depth("read", 1_000)])
    recorded(one, "search", "trace", [])
    recorded(one, "search", "activate", [])
    recorded(other, "search", "baseline", [depth("read", 5_096)])
    found = compared(one, other)
    (pair,) = found.pairs
    assert (pair.before.id, pair.after.id) == (2, 1)
    (difference,) = pair.differences
    assert (difference.change, difference.by) == (Change.MORE, 4_096)
    assert [(first, a.step) for first, a in found.alone] == [(True, "trace")]


def test_two_phases_of_one_campaign(tmp_path: Path) -> None:
    root = tmp_path / "space with ümlaut: colon"
    recorded(root, "minimal", "baseline", [depth("read", 1_000)])
    recorded(root, "search", "baseline", [depth("read", 1_040)])
    last = recorded(root, "search", "baseline", [depth("read", 9_000)])
    for a, b in ((f"{root}:minimal", f"{root}:search"), (":minimal", ":search")):
        (pair,) = compared(a, b, root).pairs
        assert (pair.before.phase, pair.after.phase, pair.after.id) == ("minimal", "search", last)
        assert pair.differences[0].change is Change.MORE
    (pair,) = compared(f"{root}:attempt-1", f"{root}:search/attempt-001").pairs
    assert (pair.before.id, pair.after.id) == (1, 2)
    assert pair.differences[0].change is Change.NOISE
    # A whole campaign against one phase: that phase.
    (pair,) = compared(root / "ledger.db", f"{root}:minimal").pairs
    assert pair.differences[0].change is Change.SAME


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nowhere", "there is no ledger"),
        ("ROOT:serch", "did you mean `search`"),
        ("ROOT:attempt-7", "has no attempt attempt-7"),
        ("ROOT:other/attempt-1", "has no attempt other/attempt-1"),
        (":search", "names no workspace"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, text: str, what: str) -> None:
    recorded(tmp_path / "ws", "search", "baseline", [])
    with pytest.raises(UsageError, match=what):
        parse_side(text.replace("ROOT", str(tmp_path / "ws")), None)


def test_nothing_in_common_is_no_comparison(tmp_path: Path) -> None:
    recorded(tmp_path / "a", "search", "baseline", [])
    recorded(tmp_path / "b", "search", "trace", [])
    with pytest.raises(MeasurementError, match="nothing was measured on both sides") as caught:
        compared(tmp_path / "a", tmp_path / "b")
    assert "search baseline" in caught.value.why
    assert "search trace" in caught.value.why


def test_another_machine_is_said_and_decides_nothing_of_durations(tmp_path: Path) -> None:
    durations = tuple(range(1_000, 1_200))
    for name, kernel, factor in (("a", "Linux 1", 1), ("b", "Linux 2", 9)):
        samples = tuple(factor * x for x in durations)
        slow = Measurement(
            metric="latency.p50", value=samples[100], instrument="latency", operation="read",
            samples=samples,
        )  # fmt: skip
        environment = {**HERE, "kernel": kernel, "tools": {"perf": kernel[-1]}}
        recorded(tmp_path / name, "search", "baseline", [slow, depth("read", 5_000 * factor)],
                 environment=environment)  # fmt: skip
    (pair,) = compared(tmp_path / "a", tmp_path / "b").pairs
    told = [(e.key, e.before, e.after, e.machine) for e in pair.environment]
    assert told == [("kernel", "Linux 1", "Linux 2", True), ("tools.perf", "1", "2", True)]
    latency, stack = pair.differences
    assert latency.change is Change.UNDECIDED
    assert "different machines" in latency.reason
    assert stack.change is Change.MORE


CHECKLIST = """\
# Passage

## Prerequisites

```toml phase
kind = "setup"
```

- [ ] Read

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

"""


def component(name: str) -> str:
    """A phase of a checklist."""
    gates = (("baseline", "stack.peak <= 1 MiB"), ("trace", "stack.recursion <= 9"),
             ("overflow", "overflow.crashes == 0"))  # fmt: skip
    return (
        f'## Phase {name}\n\n```toml component\nid = "{name}"\nrisk = "low"\n'
        'workload = ["posix"]\n```\n\n'
        + "".join(f"### Gate: {check}\n\n- [ ] Holds: `{asked}`\n\n" for check, asked in gates)
    )


def timed(role: Role, median: float) -> Measurement:
    samples = tuple(median * (1 + (i % 7) / 100) for i in range(200))
    return Measurement(metric="latency.p50", value=median, instrument="latency", role=role,
                       operation="read", samples=samples)  # fmt: skip


def test_durations_are_compared_with_the_right_build_of_another_phase(tmp_path: Path) -> None:
    """In turn where that was done; else against the baseline; never against another previous."""
    root = tmp_path / "ws"
    root.mkdir()
    names = ("first", "second", "third")
    text = CHECKLIST + "".join(map(component, names))
    together = component("x").replace("```toml component\nid = \"x\"\nrisk = \"low\"",
                                      '```toml phase\nkind = "integration"')  # fmt: skip
    text += together.replace("Phase x", "Together")
    with Ledger.open(root / "ledger.db", writer=True) as ledger:
        ledger.append("campaign_started", "", {"checklist_text": text, "checklist": "it.md"})
    subject, baseline, previous = Role.SUBJECT, Role.BASELINE, Role.PREVIOUS
    runs = {
        "baseline": [timed(subject, 1_000)],
        "first": [timed(subject, 1_100), timed(previous, 1_000)],
        "second": [timed(subject, 4_400), timed(previous, 2_200)],
        "third": [timed(subject, 9_000), timed(previous, 9_000), timed(baseline, 2_000)],
    }
    for phase, measured in runs.items():
        recorded(root, phase, "baseline", measured)

    def change(a: str, b: str) -> tuple[Change, str, float | None]:
        (pair,) = compared(f":{a}", f":{b}", root).pairs
        (found,) = pair.differences
        return found.change, found.reason, found.ratio

    for a, b, ratio in (("baseline", "first", 1.1), ("first", "second", 2), ("second", "third", 1)):
        word, reason, found = change(a, b)
        assert word is (Change.NOISE if ratio == 1 else Change.MORE)
        assert "took turns in one run" in reason
        assert found == pytest.approx(ratio)
    # What was the build before the first component is the baseline.
    word, reason, _ = change("first", "third")
    assert word is Change.MORE
    assert "against the baseline build" in reason
    word, reason, _ = change("baseline", "second")
    assert word is Change.UNDECIDED
    assert "nothing took turns" in reason


def test_frames_that_grew_appeared_and_went(tmp_path: Path) -> None:
    then = {"main": 100, "walk": 5_000, "pad": 64, "old": 300}
    now = {"main": 100, "walk": 9_096, "pad": 80, "new": 700}
    recorded(tmp_path / "a", "search", "trace", [], chains={"read": then, "gone": then})
    recorded(tmp_path / "b", "search", "trace", [], chains={"read": now})
    (pair,) = compared(tmp_path / "a", tmp_path / "b").pairs
    assert not isinstance(pair.chains, NotMeasured)
    gone, read = pair.chains
    assert isinstance(gone.after_bytes, NotMeasured)
    assert gone.frames == ()
    assert [(f.function, f.by_bytes, f.change) for f in read.frames] == [
        ("walk", 4_096, Change.MORE),
        ("new", 700, Change.APPEARED),
        ("old", -300, Change.GONE),
        ("pad", 16, Change.NOISE),
        ("main", 0, Change.SAME),
    ]


def test_evidence_that_is_gone_or_changed_is_said_and_not_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        recorded(tmp_path / name, "search", "trace", [], chains={"read": {"main": 1}})
    (file,) = (tmp_path / "a" / "results").rglob("deepest-read.json")
    file.write_text(file.read_text().replace("1", "2"))
    (pair,) = compared(tmp_path / "a", tmp_path / "b").pairs
    assert not isinstance(pair.chains, NotMeasured)
    (chain,) = pair.chains
    assert isinstance(chain.before_bytes, NotMeasured)
    assert "changed" in chain.before_bytes.reason
    assert chain.after_bytes == 1
    recorded(tmp_path / "a", "search", "trace", [])
    recorded(tmp_path / "b", "search", "trace", [])
    (pair,) = compared(tmp_path / "a", tmp_path / "b").pairs
    assert isinstance(pair.chains, NotMeasured)
    assert pair.chains.reason.startswith("neither attempt 2 nor attempt 2 has a call chain")


def test_commits_are_compared_and_verifications_speak_for_them(tmp_path: Path) -> None:
    old, new = "aaaa1" + "0" * 35, "aaaa2" + "0" * 35
    for commit, step, size in (
        (old, "baseline", 1_000),
        (new, "baseline", 3_000),
        (new, "verify-baseline", 5_096),
        (f"{new}+", "baseline", 9_000),
    ):
        recorded(tmp_path, "search", step, [depth("read", size)],
                 environment={**HERE, "commit": commit})  # fmt: skip
    found = compared("@aaaa1", ":search@aaaa2", tmp_path)
    (pair,) = found.pairs
    assert (pair.before.id, pair.after.id, pair.step) == (1, 3, "baseline")
    assert pair.differences[0].by == 4_096
    (pair,) = compared(f"{tmp_path}@{old}", f"{tmp_path}@aaaa2+").pairs
    assert pair.differences[0].by == 8_000
    (pair,) = compared(f"{tmp_path}@aaaa1", tmp_path).pairs
    assert pair.after.id == 4, "without a commit, the campaign's own newest"
    for text, words in (
        ("@aaaa", "several commits"),
        ("@bbbb", "no measurement of a commit"),
        ("@main", "is no commit"),
        (":attempt-1@aaaa1", "names an attempt"),
    ):
        with pytest.raises(UsageError, match=words):
            parse_side(text, tmp_path)


def test_a_ledger_of_verifications_alone_is_compared(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    recorded(one, "search", "verify-baseline", [depth("read", 1_000)])
    recorded(other, "search", "baseline", [depth("read", 5_096)])
    (pair,) = compared(one, other).pairs
    assert pair.differences[0].by == 4_096
