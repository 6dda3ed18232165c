"""Two campaigns, phases or attempts held against each other, from their ledgers and evidence.

Read only. Each side is named as `WORKSPACE`, `WORKSPACE:PHASE`, `WORKSPACE:attempt-N` (the id in
the ledger) or `WORKSPACE:PHASE/attempt-N` (the folder of its evidence); a ledger's file may stand
for a workspace, and nothing for the one at hand. `@COMMIT` after any but an attempt: what was
measured of that commit of the target's source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from reactivate.checklist.model import PhaseKind
from reactivate.errors import MeasurementError, UsageError
from reactivate.evidence import Check, Measurement, NotMeasured, Role
from reactivate.gate.comparison import compare, durations
from reactivate.gate.difference import Difference, Terms
from reactivate.ledger.origin import origin_of
from reactivate.ledger.records import JSON, AttemptRecord, AttemptStatus
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import Shape, read_shape
from reactivate.report.comparison_frames import ChainDifference, compare_chains
from reactivate.tomlfile import nearest

MACHINE = ("kernel", "architecture", "cpu", "libc")
"""Keys of an environment whose difference makes times and memory another machine's."""

_BUILDS = (
    "target", "commit", "components", "artifact_sha256", "configuration_sha256", "inputs_sha256",
)  # fmt: skip
_CHECKS = tuple(check.value for check in Check)
_VERIFICATION = "verify-"
"""Before the name of a check that was measured beside the campaign."""
_COMMIT = re.compile(r"[0-9a-f]{4,64}\+?")
_ATTEMPT = re.compile(r"(?:(?P<phase>.+)/)?attempt-0*(?P<number>[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two things that are compared.

    Attributes:
        text: as the user named it.
        ledger: the ledger's file.
        results: the folder of its evidence files.
        phase: only this phase, "" for all.
        attempt: only this attempt's id, None for the newest of each check.
        commit: only what was measured of this commit, "" for any; `+` for one with changes.
    """

    text: str
    ledger: Path
    results: Path
    phase: str = ""
    attempt: int | None = None
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentDifference:
    """Something that two attempts depended on and that was not the same.

    Attributes:
        key: `kernel`, `tools.perf`, `artifact_sha256`, …
        before: the earlier value as text, "" if it is not on record.
        after: the later one.
        machine: whether it makes the numbers another machine's or other tools'; else it says
            that another build or checklist was measured.
    """

    key: str
    before: str
    after: str
    machine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One check of both sides.

    Attributes:
        step: the check.
        before: the attempt of the first side.
        after: the attempt of the second.
        environment: what differs between what they depended on.
        differences: every number that either has.
        chains: call chains at the deepest points; or why none can be compared.
    """

    step: str
    before: AttemptRecord
    after: AttemptRecord
    environment: tuple[EnvironmentDifference, ...]
    differences: tuple[Difference, ...]
    chains: tuple[ChainDifference, ...] | NotMeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides, check by check.

    Attributes:
        pairs: checks that both have, in the order of the first side.
        alone: checks that only one side has: whether it is the first, and the attempt.
    """

    before: Side
    after: Side
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[bool, AttemptRecord], ...]


def parse_side(text: str, here: Path | None) -> Side:
    """What the user named.

    Args:
        text: see the module.
        here: the folder of the workspace at hand, for a text that names none.

    Raises:
        UsageError: there is no such workspace or ledger.
    """
    # A path may hold a colon itself, and a phase's name is never a path that exists.
    whole, commit = text, ""
    if text and Path(text).exists():
        path, selector = text, ""
    else:
        named, at, revision = text.rpartition("@")
        # A folder's name may hold the sign, too; a commit is the last thing that is said.
        if at and not {":", "/"} & set(revision):
            text, commit = named or ":", _commit(revision)
        path, _, selector = text.rpartition(":")
        if not path and ":" not in text:
            path, selector = text, ""
    if not path:
        if here is None:
            raise UsageError(
                f"`{whole}` names no workspace, and this folder is in none",
                hint="reactivate compare WORKSPACE:PHASE WORKSPACE:PHASE",
            )
        folder = here
    else:
        folder = Path(path).expanduser().absolute()
    ledger = folder if folder.is_file() else folder / "ledger.db"
    if not ledger.is_file():
        raise UsageError(
            f"there is no ledger {ledger}",
            why=f"`{whole}` is to be a workspace, or a ledger's file",
            hint="reactivate compare WORKSPACE WORKSPACE",
        )
    side = _selected(Side(text=whole, ledger=ledger, results=ledger.parent / "results"), selector)
    if commit and side.attempt is not None:
        raise UsageError(f"`{whole}` names an attempt; it was of one commit, whichever that is")
    return _measured_at(side, commit) if commit else side


def _commit(text: str) -> str:
    if not _COMMIT.fullmatch(text):
        raise UsageError(
            f"`{text}` is no commit: at least four hex digits are asked for",
            why="the ledger knows commits by their ids, not branches or tags",
            hint=f"git rev-parse {text}",
        )
    return text


def _measured_at(side: Side, commit: str) -> Side:
    """The side with the whole id of a commit.

    Raises:
        UsageError: nothing was measured of it, or of several that begin so.
    """
    with LedgerReader.opened(side.ledger) as reader:
        known = list(
            dict.fromkeys(
                str(reader.environment(attempt.environment_sha256).get("commit") or "")
                for attempt in reader.attempts(status=AttemptStatus.FINISHED)
            )
        )
    begun, changes = commit.removesuffix("+"), commit.endswith("+")
    found = [c for c in known if c.startswith(begun) and c.endswith("+") == changes]
    if len(found) == 1:
        return replace(side, commit=found[0])
    shown = ", ".join(c[:12] + "+" * c.endswith("+") for c in found or known if c)
    raise UsageError(
        f"{side.ledger} has {'several commits' if found else 'no measurement of a commit'} "
        f"`{commit}`",
        why=f"its commits: {shown or 'none; only a target with a `source` has commits'}",
        hint=f"reactivate -C {side.ledger.parent} history stack.peak",
    )


def _selected(side: Side, selector: str) -> Side:
    if not selector:
        return side
    with LedgerReader.opened(side.ledger) as reader:
        attempts = reader.attempts()
    phases = list(dict.fromkeys(attempt.phase for attempt in attempts))
    named = _ATTEMPT.fullmatch(selector)
    if named is None:
        if selector not in phases:
            raise UsageError(
                f"{side.ledger} has no attempt of a phase `{selector}`{nearest(selector, phases)}",
                why=f"its phases: {', '.join(phases) or 'none'}",
                hint=f"reactivate -C {side.ledger.parent} status",
            )
        return replace(side, phase=selector)
    phase, number = named["phase"], int(named["number"])
    for attempt in attempts:
        if (attempt.phase, attempt.number) == (phase, number) if phase else attempt.id == number:
            return replace(side, phase=attempt.phase, attempt=attempt.id)
    raise UsageError(
        f"{side.ledger} has no attempt {selector}",
        why="attempt-N is an id of the ledger, PHASE/attempt-N the folder of its evidence",
        hint=f"reactivate -C {side.ledger.parent} history stack.peak",
    )


def compare_sides(before: Side, after: Side) -> Comparison:
    """Hold both against each other, check by check.

    Raises:
        MeasurementError: there is no check that both have.
        LedgerError: a ledger cannot be read.
    """
    with _readers(before, after) as (then, now):
        first, second = _attempts(then, before, after), _attempts(now, after, before)
        alike = bool(before.phase and after.phase)
        theirs = {_key(attempt, alike=alike): attempt for attempt in second}
        ours = {_key(attempt, alike=alike): attempt for attempt in first}
        couples = [(a, theirs[key]) for key, a in ours.items() if key in theirs]
        alone = [(True, a) for key, a in ours.items() if key not in theirs]
        alone += [(False, a) for key, a in theirs.items() if key not in ours]
        if not couples:
            raise MeasurementError(
                "nothing was measured on both sides",
                why=f"{_told(before, first)}; {_told(after, second)}",
                hint="name two phases or attempts with the same check: "
                "reactivate compare WORKSPACE:PHASE WORKSPACE:PHASE",
            )
        shapes = read_shape(then), read_shape(now)
        read = [
            (a, b, _measured(then, a, shapes[0]), _measured(now, b, shapes[1])) for a, b in couples
        ]
        shared = sum(durations(one, other) for _, _, one, other in read)
        evidence = (
            Evidence(reader=then, results=before.results),
            Evidence(reader=now, results=after.results),
        )
        own = shapes[0] if before.ledger.resolve() == after.ledger.resolve() else None
        pairs = [
            _pair(a, b, one, other, (then, now), evidence, shared, own) for a, b, one, other in read
        ]
    return Comparison(before=before, after=after, pairs=tuple(pairs), alone=tuple(alone))


@contextmanager
def _readers(before: Side, after: Side) -> Iterator[tuple[LedgerReader, LedgerReader]]:
    """Each side sees one moment of its ledger."""
    with ExitStack() as stack:
        found = []
        for side in (before, after):
            reader = stack.enter_context(LedgerReader.opened(side.ledger))
            stack.enter_context(reader.snapshot())
            found.append(reader)
        yield found[0], found[1]


def _attempts(reader: LedgerReader, side: Side, other: Side) -> list[AttemptRecord]:
    """The attempts that speak: the newest finished one of each phase and check."""
    if side.attempt is not None:
        return [reader.attempt(side.attempt)]
    # A whole campaign against one phase: only that phase can be meant.
    phase = side.phase or other.phase or None
    newest: dict[tuple[str, str], AttemptRecord] = {}
    beside: dict[tuple[str, str], AttemptRecord] = {}
    for attempt in reader.attempts(phase, status=AttemptStatus.FINISHED):
        if side.commit not in ("", reader.environment(attempt.environment_sha256).get("commit")):
            continue
        # What was merged is another campaign: compared where it is named.
        if origin_of(attempt.phase) and not phase:
            continue
        # Of a commit, a verification tells as much; elsewhere, only where the campaign is silent.
        kept = newest if side.commit or attempt.step in _CHECKS else beside
        if check_name(attempt) in _CHECKS:
            kept[attempt.phase, check_name(attempt)] = attempt
    return list({**beside, **newest}.values())


def check_name(attempt: AttemptRecord) -> str:
    """The check of an attempt, whether the campaign's or a verification's."""
    return attempt.step.removeprefix(_VERIFICATION)


def _key(attempt: AttemptRecord, *, alike: bool) -> tuple[str, str]:
    """What makes two attempts comparable; between two named phases only the check."""
    return ("" if alike else attempt.phase, check_name(attempt))


def _told(side: Side, attempts: Sequence[AttemptRecord]) -> str:
    found = ", ".join(f"{a.phase} {check_name(a)}" for a in attempts) or "no finished check"
    return f"{side.text or side.ledger.parent} has {found}"


def _measured(
    reader: LedgerReader, attempt: AttemptRecord, shape: Shape
) -> tuple[Measurement, ...]:
    """What an attempt measured; the build before the first component is the baseline, too."""
    found = tuple(worst.measurement for worst in reader.worst(attempt.id))
    phase = next((phase for phase in shape.phases if phase.id == attempt.phase), None)
    previous = None if phase is None else shape.previous(phase)
    if previous is None or previous.kind is not PhaseKind.BASELINE:
        return found
    named = {(m.metric, m.operation) for m in found if m.role is Role.BASELINE}
    return found + tuple(
        replace(m, role=Role.BASELINE)
        for m in found
        if m.role is Role.PREVIOUS and (m.metric, m.operation) not in named
    )


def _pair(
    a: AttemptRecord,
    b: AttemptRecord,
    one: Sequence[Measurement],
    other: Sequence[Measurement],
    readers: tuple[LedgerReader, LedgerReader],
    evidence: tuple[Evidence, Evidence],
    shared: int,
    own: Shape | None,
) -> Pair:
    then = readers[0].environment(a.environment_sha256)
    now = readers[1].environment(b.environment_sha256)
    environment = environment_differences(then, now)
    terms = Terms(
        same_machine=not any(e.key in MACHINE for e in environment),
        # The build before one phase is not the build before another.
        shared=(Role.BASELINE, Role.PREVIOUS) if a.phase == b.phase else (Role.BASELINE,),
        in_turn=() if own is None else _in_turn(own, a, b, then, now),
        durations=shared,
    )
    return Pair(
        step=check_name(a),
        before=a,
        after=b,
        environment=environment,
        differences=compare(one, other, terms),
        chains=compare_chains(evidence, (a, b)),
    )


def _in_turn(
    shape: Shape,
    a: AttemptRecord,
    b: AttemptRecord,
    then: Mapping[str, JSON],
    now: Mapping[str, JSON],
) -> tuple[Role, ...]:
    """Which roles in the later attempt are the build of the earlier one."""
    # Without the same source, what is called the baseline there is another build.
    if a.id >= b.id or then.get("commit") != now.get("commit"):
        return ()
    known = {phase.id: phase for phase in shape.phases}
    if a.phase == b.phase or a.phase not in known or b.phase not in known:
        return ()
    roles = []
    if known[a.phase].kind is PhaseKind.BASELINE:
        roles.append(Role.BASELINE)
    previous = shape.previous(known[b.phase])
    if previous is not None and previous.id == a.phase:
        roles.append(Role.PREVIOUS)
    return tuple(roles)


def environment_differences(
    then: Mapping[str, JSON], now: Mapping[str, JSON]
) -> tuple[EnvironmentDifference, ...]:
    """What two attempts depended on and what is not the same, machine and tools first."""
    found = [_environment(key, then.get(key), now.get(key), machine=True) for key in MACHINE]
    tools = [
        value if isinstance(value, Mapping) else {}
        for value in (e.get("tools") for e in (then, now))
    ]
    for name in sorted(tools[0].keys() | tools[1].keys()):
        found.append(
            _environment(f"tools.{name}", tools[0].get(name), tools[1].get(name), machine=True)
        )
    keys = (*_BUILDS, "checklist_sha256")
    found += [_environment(key, then.get(key), now.get(key), machine=False) for key in keys]
    return tuple(each for each in found if each.before != each.after)


def _environment(key: str, before: JSON, after: JSON, *, machine: bool) -> EnvironmentDifference:
    return EnvironmentDifference(key=key, before=_text(before), after=_text(after), machine=machine)


def _text(value: JSON) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(str(each) for each in value) or "none"
    return "" if value is None else str(value)
