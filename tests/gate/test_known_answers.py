"""The gate on builds whose answer is known: sampled as a campaign does it, judged as it is there.

Simulated with fixed seeds, which are printed. The same with real builds: the planted page of
stack in tests/cli/test_bisect.py.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable

import pytest

from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import Criterion
from reactivate.evidence import Check, Measurement, Role, Verdict
from reactivate.gate.judge import judge, needs_more_samples

OPERATIONS = tuple(f"operation_{index:02}" for index in range(6))
FIRST = 60
MOUNT_SCATTER = 0.006
"""Of the ratio between two mounts of one build: as it was measured on real daemons."""

Source = Callable[[random.Random, int], list[float]]


def asks(source: str) -> Criterion:
    return Criterion(
        id="search.baseline.it",
        text="",
        source=source,
        comparison=parse_criterion(source),
        check=Check.BASELINE,
        line=1,
        column=1,
    )


def quiet(dice: random.Random, count: int) -> list[float]:
    """A scatter of a tenth."""
    return [dice.lognormvariate(13, 0.1) for _ in range(count)]


def loud(dice: random.Random, count: int) -> list[float]:
    """A scatter of a seventh."""
    return [dice.lognormvariate(13, 0.15) for _ in range(count)]


def neighbours_alike(dice: random.Random, count: int) -> list[float]:
    """Each resembles the one before."""
    state = dice.gauss(0, 0.06)
    found = []
    for _ in range(count):
        state = 0.5 * state + dice.gauss(0, 0.05)
        found.append(dice.lognormvariate(13 + state, 0.05))
    return found


def timed(operation: str, role: Role, samples: list[float]) -> Measurement:
    return Measurement(
        metric="latency.p50",
        value=statistics.median(samples),
        instrument="latency",
        role=role,
        operation=operation,
        samples=tuple(samples),
    )


def campaign(
    criterion: Criterion, source: Source, dice: random.Random, *, slower: float, most: int
) -> Verdict:
    """One check: 60 pairs of each operation, doubled for those that stay open, up to `most`.

    The first operation is slower by a factor than the build it takes turns with. Each mount is a
    little faster or slower for all its life.
    """
    samples: dict[tuple[str, Role], list[float]] = {
        (operation, role): [] for operation in OPERATIONS for role in (Role.SUBJECT, Role.BASELINE)
    }
    mounts = {key: dice.lognormvariate(0, MOUNT_SCATTER / 2**0.5) for key in samples}
    wanted, done = set(OPERATIONS), 0
    while True:
        more = min(done or FIRST, most - done)
        for (operation, role), taken in samples.items():
            if operation in wanted:
                planted = operation == OPERATIONS[0] and role is Role.SUBJECT
                factor = mounts[operation, role] * (slower if planted else 1.0)
                taken += [factor * x for x in source(dice, more)]
        done += more
        found = [timed(operation, role, taken) for (operation, role), taken in samples.items()]
        judged = judge(criterion, found, {})
        wanted = {need.operation for need in needs_more_samples([judged])}
        if judged.verdict is not Verdict.INCONCLUSIVE or done >= most or not wanted:
            return judged.verdict


@pytest.mark.parametrize(("source", "seed"), [(quiet, 101), (neighbours_alike, 100)])
def test_identical_builds_are_refused_in_at_most_one_of_a_hundred(
    source: Source, seed: int
) -> None:
    """The hardest limit: the truth lies exactly on it, and every look may refuse by chance."""
    print(f"seed {seed}")
    dice, trials = random.Random(seed), 100
    criterion = asks("latency.p50 <= baseline")
    found = Counter(campaign(criterion, source, dice, slower=1, most=480) for _ in range(trials))
    assert found[Verdict.FAIL] <= 0.01 * trials, found


def test_identical_builds_pass_a_limit_that_leaves_room() -> None:
    print("seed 3")
    dice, trials = random.Random(3), 40
    criterion = asks("latency.p50 <= baseline + 20%")
    found = Counter(campaign(criterion, quiet, dice, slower=1, most=480) for _ in range(trials))
    assert found == {Verdict.PASS: trials}


@pytest.mark.parametrize(("source", "most", "seed"), [(quiet, 480, 4), (loud, 1_920, 5)])
def test_five_percent_slower_is_refused_in_95_of_a_hundred(
    source: Source, most: int, seed: int
) -> None:
    """And never passes: what is not decided when the cap is reached is INCONCLUSIVE."""
    print(f"seed {seed}")
    dice, trials = random.Random(seed), 40
    criterion = asks("latency.p50(operation_00) <= baseline")
    found = Counter(
        campaign(criterion, source, dice, slower=1.05, most=most) for _ in range(trials)
    )
    assert found[Verdict.FAIL] >= 0.95 * trials, found
    assert found[Verdict.PASS] == 0


def test_five_percent_slower_never_passes_where_it_is_too_noisy_to_be_seen() -> None:
    print("seed 6")
    dice, trials = random.Random(6), 30
    found = Counter(
        campaign(asks("latency.p50 <= baseline"), loud, dice, slower=1.05, most=120)
        for _ in range(trials)
    )
    assert found[Verdict.PASS] == 0
    assert found[Verdict.INCONCLUSIVE] >= 1


@pytest.mark.parametrize("seed", range(3))
def test_one_planted_page_of_stack_is_refused_every_time(seed: int) -> None:
    """Also if only one repetition of 25 goes so deep: the deepest counts, nothing is trimmed."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    criterion = asks("stack.operation <= baseline")
    for _ in range(300):
        own = dice.randrange(500, 100_000)
        depths = [own] * 24 + [own + 4_096]
        dice.shuffle(depths)
        verdicts = []
        for taken in ([own] * 25, depths):
            run = [
                Measurement(
                    metric="stack.operation", value=max(samples), instrument="watermark",
                    role=role, operation="read", thread="main", samples=tuple(samples),
                )
                for role, samples in ((Role.SUBJECT, taken), (Role.BASELINE, [own] * 25))
            ]  # fmt: skip
            verdicts.append(judge(criterion, run, {}).verdict)
        assert verdicts == [Verdict.PASS, Verdict.FAIL]
