"""Which commit broke a gate: the history between a good and a bad commit is halved until it is one.

All that is learned of a commit is written down before the next is begun, whole or not at all, so
that a search that was killed goes on where it was. The user's checkout is only read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from reactivate import interruption
from reactivate.documents import parse_json
from reactivate.errors import (
    BuildError,
    ComponentNotEnabledError,
    DaemonDiedError,
    DaemonHungError,
    MeasurementError,
    MountError,
    UsageError,
    WorkspaceError,
)
from reactivate.evidence import Bound, Measurement, NotMeasured, Role, Verdict
from reactivate.files import read_plain, replace_file
from reactivate.gate.comparison import compare
from reactivate.gate.difference import Difference, Terms
from reactivate.gate.judgement import Judgement
from reactivate.instrument.contract import Reporter
from reactivate.run.bisect_measure import Gate, Measured, measure_gate
from reactivate.run.bisect_source import Commit, History
from reactivate.run.environment import machine
from reactivate.target.model import TargetSpec
from reactivate.target.reap import reap
from reactivate.workspace import Workspace

_FORMAT = 1
_STATE = "state.json"
_OF_THE_COMMIT = (
    BuildError,
    MountError,
    DaemonDiedError,
    DaemonHungError,
    MeasurementError,
    ComponentNotEnabledError,
)
"""Errors that say something of the commit, and nothing of this machine."""


class Answer(StrEnum):
    """What is known of a commit."""

    GOOD = "good"
    """Every criterion of the gate passes."""
    BAD = "bad"
    """One of them fails."""
    SKIPPED = "skipped"
    """It cannot be told: it does not build, mount or end its workload, or nothing is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What became of one commit.

    Attributes:
        commit: in full.
        answer: see `Answer`.
        reason: one sentence: the decisive judgement, or why there is none.
        criterion: the decisive criterion's id, "" if nothing was judged.
        operation: the operation that decided, "" if none.
        artifact_sha256: of what was measured, "" if nothing was built.
        measurements: all that was measured.
    """

    commit: str
    answer: Answer
    reason: str
    criterion: str = ""
    operation: str = ""
    artifact_sha256: str = ""
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """What a search ended with.

    Attributes:
        first_bad: the commit that broke the gate; the last of the suspects if there are several.
        last_good: the nearest commit before it that was measured as good.
        suspects: commits that may be the first bad one, because those between could not be told;
            one alone if it is certain.
        differences: what changed from the last good to the first bad one, number by number.
        probes: everything that was found out, by commit.
        commits: titles of all commits named here.
        folder: where evidence and state are kept.
    """

    first_bad: Probe
    last_good: Probe
    suspects: tuple[str, ...]
    differences: tuple[Difference, ...]
    probes: Mapping[str, Probe]
    commits: Mapping[str, Commit]
    folder: Path

    @property
    def certain(self) -> bool:
        """Whether it is one commit."""
        return len(self.suspects) == 1


@dataclass(frozen=True, slots=True)
class _Room(Workspace):
    """A workspace whose builds and evidence are kept apart from the campaign's."""

    kept: Path

    @property
    def results(self) -> Path:
        """Evidence and builds of this search."""
        return self.kept

    @property
    def run(self) -> Path:
        """Where all commands of the workspace look for what a killed one left."""
        return self.root / "results" / ".run"


Tell = Callable[[Probe, int], None]
"""Told each commit as soon as it is known, and how many may still be the first bad one."""


def bisect(
    workspace: Workspace,
    spec: TargetSpec,
    gate: Gate,
    *,
    source: Path | None,
    good: str,
    bad: str,
    reporter: Reporter,
    tell: Tell,
) -> Culprit:
    """Find the commit that broke a gate.

    Args:
        workspace: whose target, settings and probes are used.
        spec: the target.
        gate: what is asked of each commit.
        source: the checkout; None for the target's own.
        good: a revision at which the gate passes, in the history of `bad`.
        bad: one at which it fails.
        reporter: progress of instruments.
        tell: see `Tell`; also called for what an earlier run had found out.

    Raises:
        UsageError: no checkout, an unknown revision, or `good` is not in the history of `bad`.
        MeasurementError: the good revision is not good, or the bad one not bad.
        ReactivateError: this machine cannot build or measure.
    """
    checkout = source or spec.source
    if checkout is None:
        raise UsageError(
            f"the target {spec.name} is not built from a source of its own",
            why=f"{spec.path} has no `source`, so it has no history",
            hint="reactivate bisect --source PATH …, with a target that builds {source}",
        )
    history = History(checkout, Path())
    ends = history.resolve(good), history.resolve(bad)
    if ends[0] == ends[1] or not history.is_ancestor(*ends):
        raise UsageError(
            f"`{good}` is not before `{bad}`",
            why=f"{ends[0][:12]} is not in the history of {ends[1][:12]}",
            hint="swap them, or name a good revision that the bad one was built upon",
        )
    folder = workspace.root / "results" / "bisect" / _key(workspace, spec, gate, history.top, ends)
    history = History(checkout, folder / "clone")
    with _alone(folder):
        reap(workspace)
        history.prepare()
        search = _Search(workspace, spec, gate, history, folder, reporter, tell)
        return search.run(*ends)


def _key(
    workspace: Workspace, spec: TargetSpec, gate: Gate, top: Path, ends: tuple[str, str]
) -> str:
    """A search goes on only where all that its answers hang on is the same."""
    digest = hashlib.sha256()
    for path in sorted(path for path in workspace.configs.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(workspace.configs)} {content}\n".encode())
    asked = [
        _FORMAT, str(top), *ends, spec.name, str(spec.path), dict(machine()), gate.check.value,
        [[c.id, c.source] for c in gate.criteria], gate.components, gate.added, gate.suites,
        gate.scenarios, gate.times, gate.reduced,
    ]  # fmt: skip
    digest.update(json.dumps(asked, sort_keys=True).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time searches here."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise WorkspaceError(
            "another command does this search now",
            why=f"{folder / 'lock'} is held",
            hint="wait for it, then type the command again.",
        ) from error


class _Search:
    """One search; what is known of commits is in its folder."""

    def __init__(
        self,
        workspace: Workspace,
        spec: TargetSpec,
        gate: Gate,
        history: History,
        folder: Path,
        reporter: Reporter,
        tell: Tell,
    ) -> None:
        self._room = _Room(workspace.root, folder)
        self._spec = replace(spec, source=history.folder)
        self._gate, self._history, self._folder = gate, history, folder
        self._reporter, self._tell = reporter, tell
        self._probes = _read(folder / _STATE)

    def run(self, good: str, bad: str) -> Culprit:
        """Measure both ends, then halve."""
        left = len(self._history.between(bad, [good]))
        self._must_be(self._probe(bad, left), Answer.BAD)
        self._must_be(self._probe(good, left), Answer.GOOD)
        goods = {good}
        while True:
            listed = self._history.between(bad, goods)
            open_ones = [c for c in listed if c != bad]
            skipped = [c for c in open_ones if self._answer(c) is Answer.SKIPPED]
            wanted = [c for c in open_ones if c not in skipped]
            if not wanted:
                return self._culprit(bad, skipped, goods)
            probe = self._probe(wanted[0], len(listed))
            if probe.answer is Answer.BAD:
                bad = probe.commit
            elif probe.answer is Answer.GOOD:
                goods.add(probe.commit)

    def _answer(self, commit: str) -> Answer | None:
        known = self._probes.get(commit)
        return None if known is None else known.answer

    def _must_be(self, probe: Probe, answer: Answer) -> None:
        if probe.answer is answer:
            return
        raise MeasurementError(
            f"the {answer.value} revision {probe.commit[:12]} is {probe.answer.value}",
            why=probe.reason,
            hint=f"name a revision at which the gate {self._gate.name} "
            f"{'passes' if answer is Answer.GOOD else 'fails'}",
        )

    def _probe(self, commit: str, left: int) -> Probe:
        """What is known of a commit; measured if nothing is."""
        probe = self._probes.get(commit)
        if probe is None:
            probe = self._measure(commit)
            self._probes[commit] = probe
            _write(self._folder / _STATE, self._probes)
        self._tell(probe, left)
        return probe

    def _measure(self, commit: str) -> Probe:
        self._history.check_out(commit)
        evidence = self._folder / "commits" / commit
        evidence.mkdir(parents=True, exist_ok=True)
        try:
            found = interruption.run(
                measure_gate, self._gate, self._spec, self._room, evidence, self._reporter
            )
        except _OF_THE_COMMIT as error:
            if isinstance(error.__cause__, OSError):
                raise  # a full disk says nothing of a commit
            why = f": {error.why.strip().splitlines()[0]}" if error.why.strip() else ""
            return Probe(commit=commit, answer=Answer.SKIPPED, reason=f"{error.what}{why}")
        return _judged(commit, found)

    def _culprit(self, bad: str, skipped: list[str], goods: set[str]) -> Culprit:
        nearest = self._history.nearest(bad, {*goods})
        assert nearest is not None, "the good end is in the history of every suspect"
        first_bad, last_good = self._probes[bad], self._probes[nearest]
        return Culprit(
            first_bad=first_bad,
            last_good=last_good,
            suspects=(*skipped, bad),
            differences=compare(
                last_good.measurements, first_bad.measurements, Terms(same_machine=True)
            ),
            probes=dict(self._probes),
            commits=self._history.describe(tuple(self._probes)),
            folder=self._folder,
        )


def _judged(commit: str, found: Measured) -> Probe:
    decisive = found.decisive
    return Probe(
        commit=commit,
        answer=_answer(found.judgements),
        reason=decisive.reason,
        criterion=decisive.criterion,
        operation=decisive.operation,
        artifact_sha256=found.build.artifact_sha256,
        measurements=found.measurements,
    )


def _answer(judgements: Iterable[Judgement]) -> Answer:
    verdicts = {j.verdict for j in judgements}
    if Verdict.FAIL in verdicts:
        return Answer.BAD
    return Answer.GOOD if verdicts == {Verdict.PASS} else Answer.SKIPPED


# -- the state on disk -------------------------------------------------------------------------


def _write(path: Path, probes: Mapping[str, Probe]) -> None:
    content = {"schema": _FORMAT, "probes": [asdict(probe) for probe in probes.values()]}
    try:
        replace_file(path, json.dumps(content).encode())
    except OSError as error:
        raise WorkspaceError(
            "what was found out cannot be written down",
            why=f"{error.strerror}: {path}",
            hint="check the permissions and the free space of the workspace",
        ) from error


def _read(path: Path) -> dict[str, Probe]:
    """What earlier runs found out; nothing from a file that cannot be understood."""
    try:
        content = parse_json(read_plain(path))
        probes = [_probe(each) for each in content["probes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {probe.commit: probe for probe in probes}


def _probe(data: Mapping[str, Any]) -> Probe:
    measurements = tuple(_measurement(each) for each in data["measurements"])
    return Probe(**{**data, "answer": Answer(data["answer"]), "measurements": measurements})


def _measurement(data: Mapping[str, Any]) -> Measurement:
    value = data["value"]
    return Measurement(
        **{
            **data,
            "value": NotMeasured(**value) if isinstance(value, dict) else value,
            "bound": Bound(data["bound"]),
            "role": Role(data["role"]),
            "samples": tuple(data["samples"]),
        }
    )
