"""The gate on real builds whose answer is known: identical, 5 % slower, a page of stack deeper.

The slower one waits in each answer to `getattr` until so much time has passed; how much that must
be is measured first. The deeper one writes a page more of its stack there.
tests/gate/test_known_answers.py does the same with simulated durations.
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
from reactivate.instrument.watermark import Watermark
from reactivate.target.build import build
from reactivate.target.config import load_target
from reactivate.target.model import Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workload.suites import operations
from reactivate.workspace import Workspace, create

_TRIALS = 20
_PROBED_NS = 20_000
PAGE_BYTES = 4096
_SETTINGS = {"repeats": 60, "max_repeats": 1_920, "warmup": 10}
_SOURCE = Path(__file__).resolve().parent.parent / "probes" / "groundtruth" / "fiveways"
_BEGINS = (
    "static int do_getattr(const char *path, struct stat *out, struct fuse_file_info *file)\n{\n"
)
_PLANTED = """\
	const char *planted = getenv("PLANTED_NS");
	const char *deeper = getenv("PLANTED_BYTES");
	long wait = planted == NULL ? 0 : atol(planted);
	long more = deeper == NULL ? 0 : atol(deeper);
	volatile char *written = __builtin_alloca((size_t)more);
	struct timespec then, now;

	clock_gettime(CLOCK_MONOTONIC, &then);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - then.tv_sec) * 1000000000 + now.tv_nsec - then.tv_nsec < wait);
	for (long at = 0; at < more; at++)
		written[at] = 1;
"""
_TARGET = """\
title = "five ways, one of them slower"
artifact = "{{build}}/fiveways"
[build]
commands = [["make", "-C", "{source}", "OUT={{build}}"]]
[run]
command = ["{{build}}/fiveways", "-f", "-s", "{{mountpoint}}"]
"""


def _criterion(source: str = "latency.p50 <= previous") -> Criterion:
    return Criterion(
        id="known.baseline.it", text="", source=source,
        comparison=parse_criterion(source), check=Check.BASELINE, line=1, column=1,
    )  # fmt: skip


class Site:
    """One build, mounted with and without what is planted."""

    def __init__(self, workspace: Workspace, spec: TargetSpec, made: Build) -> None:
        self._workspace, self._spec, self._made = workspace, spec, made
        self._operations = [o for o in operations(["posix"]) if o.name == "getattr"]
        self._folder = workspace.results / "known"
        self._folder.mkdir(parents=True, exist_ok=True)

    def _launcher(self, wait_ns: int, more_bytes: int = 0) -> TargetLauncher:
        variables = {
            **self._spec.environment,
            "PLANTED_NS": str(wait_ns),
            "PLANTED_BYTES": str(more_bytes),
        }
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

    def depths(self, more_bytes: int) -> tuple[Measurement, ...]:
        """How deep `getattr` goes in a mount of its own."""
        bench = Bench(
            subject=self._launcher(0, more_bytes),
            references={},
            operations=self._operations,
            folder=self._folder,
            settings={"repeats": 5},
            reporter=SilentReporter(),
        )
        return trio.run(Watermark().measure, bench)

    def depth_verdicts(self, more_bytes: int, trials: int = _TRIALS) -> Counter[Verdict]:
        """Of so many gates: what alignment can add is allowed, and no more."""
        criterion = _criterion("stack.operation <= previous + 64 B")
        return Counter(
            judge(criterion, self.depths(more_bytes), {Role.PREVIOUS: self.depths(0)}).verdict
            for _ in range(trials)
        )

    def verdicts(self, wait_ns: int) -> Counter[Verdict]:
        """Of so many gates."""
        return Counter(
            judge(_criterion(), self.measure(wait_ns), {}).verdict for _ in range(_TRIALS)
        )


def _medians(found: Sequence[Measurement]) -> dict[Role, float]:
    return {m.role: statistics.median(m.samples) for m in found if m.metric == "latency.p50"}


def site_in(folder: Path) -> Site:
    """Build the daemon with what can be planted in it."""
    source = folder / "source"
    shutil.copytree(_SOURCE, source)
    main = source / "fiveways.c"
    text = main.read_text(encoding="utf-8")
    if _BEGINS not in text:
        raise RuntimeError(f"{main} has no function that anything could be planted in")
    main.write_text(text.replace(_BEGINS, _BEGINS + _PLANTED), encoding="utf-8")
    workspace = create(folder / "workspace", "model")
    path = workspace.configs / "targets" / "known.toml"
    path.write_text(_TARGET.format(source=source), encoding="utf-8")
    spec = load_target(path)
    return Site(workspace, spec, trio.run(build, spec, workspace, ()))


def goals() -> list[Goal]:
    """How often identical builds are refused, and how often one that is 5 % slower."""
    with tempfile.TemporaryDirectory() as folder:
        site = site_in(Path(folder))
        probed = _medians(site.measure(_PROBED_NS))
        per_ns = (probed[Role.SUBJECT] - probed[Role.PREVIOUS]) / _PROBED_NS
        wait_ns = round(0.05 * probed[Role.PREVIOUS] / per_ns)
        identical, slower = site.verdicts(0), site.verdicts(wait_ns)
        same, deeper = site.depth_verdicts(0), site.depth_verdicts(PAGE_BYTES)
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
        Goal(
            name="identical builds refused for their depth",
            measured=100 * same[Verdict.FAIL] / _TRIALS,
            limit=1.0,
            unit="%",
            detail=f"{_TRIALS} gates of one operation, limit 64 bytes beyond the other build",
        ),
        Goal(
            name="builds a page deeper refused",
            measured=100 * deeper[Verdict.FAIL] / _TRIALS,
            limit=100.0,
            unit="%",
            at_least=True,
            detail=f"{_TRIALS} gates of one operation",
        ),
    ]
