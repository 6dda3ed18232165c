"""The gate on real builds whose answer is known: identical ones, and one that is 5 % slower.

The slower one waits in each answer to `getattr` until so much time has passed; how much that must
be is measured first. tests/gate/test_known_answers.py does the same with simulated durations.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import trio

from benchmarks.goal import Goal
from reactivate.checklist.language import parse_criterion
from reactivate.checklist.model import Criterion
from reactivate.cli.progress import SilentReporter
from reactivate.evidence import Check, Measurement, Role, Verdict
from reactivate.gate.judge import judge, needs_more_samples
from reactivate.instrument.contract import Bench
from reactivate.instrument.latency import Latency
from reactivate.target.build import build
from reactivate.target.config import load_target
from reactivate.target.model import Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.suites import operations
from reactivate.workspace import Workspace, create

_TRIALS = 20
_PROBED_NS = 20_000
_SETTINGS = {"repeats": 60, "max_repeats": 1_920, "warmup": 10}
_SOURCE = Path(__file__).resolve().parent.parent / "probes" / "groundtruth" / "fiveways"
_BEGINS = (
    "static int do_getattr(const char *path, struct stat *out, struct fuse_file_info *file)\n{\n"
)
_WAITS = """\
	const char *planted = getenv("PLANTED_NS");
	long wait = planted == NULL ? 0 : atol(planted);
	struct timespec then, now;

	clock_gettime(CLOCK_MONOTONIC, &then);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - then.tv_sec) * 1000000000 + now.tv_nsec - then.tv_nsec < wait);
"""
_TARGET = """\
title = "five ways, one of them slower"
artifact = "{{build}}/fiveways"
[build]
commands = [["make", "-C", "{source}", "OUT={{build}}"]]
[run]
command = ["{{build}}/fiveways", "-f", "-s", "{{mountpoint}}"]
"""


def _criterion() -> Criterion:
    source = "latency.p50 <= previous"
    return Criterion(
        id="known.baseline.latency.p50", text="", source=source,
        comparison=parse_criterion(source), check=Check.BASELINE, line=1, column=1,
    )  # fmt: skip


class _Site:
    """One build, mounted with and without a wait."""

    def __init__(self, workspace: Workspace, spec: TargetSpec, made: Build) -> None:
        self._workspace, self._spec, self._made = workspace, spec, made
        self._operations = [o for o in operations(["posix"]) if o.name == "getattr"]
        self._folder = workspace.results / "known"
        self._folder.mkdir(parents=True, exist_ok=True)

    def _launcher(self, wait_ns: int) -> TargetLauncher:
        variables = {**self._spec.environment, "PLANTED_NS": str(wait_ns)}
        return TargetLauncher(
            replace(self._spec, environment=variables), self._made, self._workspace
        )

    def measure(self, wait_ns: int) -> tuple[Measurement, ...]:
        """Durations of `getattr` with a wait, in turn with those without."""
        criterion = _criterion()

        def undecided(found: Sequence[Measurement]) -> Collection[str]:
            return {n.operation for n in needs_more_samples([judge(criterion, found, {})])}

        bench = Bench(
            subject=self._launcher(wait_ns),
            references={Role.PREVIOUS: self._launcher(0)},
            operations=self._operations,
            folder=self._folder,
            settings=_SETTINGS,
            reporter=SilentReporter(),
        )
        return trio.run(Latency(undecided=undecided).measure, bench)

    def verdicts(self, wait_ns: int) -> Counter[Verdict]:
        """Of so many gates."""
        return Counter(
            judge(_criterion(), self.measure(wait_ns), {}).verdict for _ in range(_TRIALS)
        )


def _medians(found: Sequence[Measurement]) -> dict[Role, float]:
    return {m.role: statistics.median(m.samples) for m in found if m.metric == "latency.p50"}


def _site(folder: Path) -> _Site:
    source = folder / "source"
    shutil.copytree(_SOURCE, source)
    main = source / "fiveways.c"
    text = main.read_text(encoding="utf-8")
    if _BEGINS not in text:
        raise RuntimeError(f"{main} has no function that a wait could be planted in")
    main.write_text(text.replace(_BEGINS, _BEGINS + _WAITS), encoding="utf-8")
    workspace = create(folder / "workspace", "model")
    path = workspace.configs / "targets" / "known.toml"
    path.write_text(_TARGET.format(source=source), encoding="utf-8")
    spec = load_target(path)
    return _Site(workspace, spec, trio.run(build, spec, workspace, ()))


def goals() -> list[Goal]:
    """How often identical builds are refused, and how often one that is 5 % slower."""
    with tempfile.TemporaryDirectory() as folder:
        site = _site(Path(folder))
        probed = _medians(site.measure(_PROBED_NS))
        per_ns = (probed[Role.SUBJECT] - probed[Role.PREVIOUS]) / _PROBED_NS
        wait_ns = round(0.05 * probed[Role.PREVIOUS] / per_ns)
        identical, slower = site.verdicts(0), site.verdicts(wait_ns)
    told = ", ".join(f"{n} {v.value}" for v, n in slower.most_common())
    return [
        Goal(
            name="identical builds refused",
            measured=100 * identical[Verdict.FAIL] / _TRIALS,
            limit=1.0,
            unit="%",
            detail=f"{_TRIALS} gates of one operation, limit exactly the other build",
        ),
        Goal(
            name="builds slower by 5 % refused",
            measured=100 * slower[Verdict.FAIL] / _TRIALS,
            limit=95.0,
            unit="%",
            at_least=True,
            detail=f"{told}; {wait_ns:,} ns planted in each answer",
        ),
    ]
