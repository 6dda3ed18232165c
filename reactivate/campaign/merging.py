"""Another ledger's attempts in this one, under the name of where they come from.

They are there to be read: `history`, `compare` and `export` show them. Nothing of them moves the
campaign, becomes a reference, or counts as evidence of one of its phases.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from reactivate.campaign.consistency import contradictions
from reactivate.campaign.unpacking import is_pack, unpack_into
from reactivate.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerTamperedError,
    UsageError,
    WorkspaceError,
)
from reactivate.ledger import codec
from reactivate.ledger.adopt import AdoptingLedger, Adoption, Results
from reactivate.ledger.audit import audit
from reactivate.ledger.connection import connect_reader, translated
from reactivate.ledger.origin import (
    MERGE,
    attempt_digest,
    campaign_origin,
    decision_data,
    event_digest,
    is_folder,
    is_phase,
    origin_of,
)
from reactivate.ledger.provoked import provoked_notes
from reactivate.ledger.records import (
    JSON,
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    Event,
)
from reactivate.ledger.store import Ledger
from reactivate.report.analysis.evidence import FileState, artifact_file, check_file
from reactivate.report.analysis.reader import LedgerReader
from reactivate.workspace import Workspace

FOLDER = "merged"
"""Where evidence of merged attempts lies, below the folder of all results."""

_INCOMING = ".incoming"
_PORTION_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came of a merge.

    Attributes:
        origin: the name of the other campaign, before the phases of its attempts.
        file_sha256: digest of the other ledger's file.
        events: how many events it has.
        attempts: how many of its attempts are new here.
        known: how many were here already.
        measurements: how many values came with the new ones.
        decisions: how many of its decisions are new here.
        copied: evidence files that lie below `results/merged` now.
        missing: evidence files that were not beside it.
        changed: evidence files that are not those on record.
        left_out: attempts that are not taken, each with the reason.
    """

    origin: str
    file_sha256: str
    events: int
    attempts: int
    known: int
    measurements: int
    decisions: int
    copied: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def is_new(self) -> bool:
        """Whether anything was recorded."""
        return bool(self.attempts or self.decisions)


@dataclass(slots=True)
class _Evidence:
    copied: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """The other ledger, open for reading, and what was found in it."""

    reader: LedgerReader
    results: Path
    sha256: str
    events: tuple[Event, ...]
    attempts: tuple[AttemptRecord, ...]

    def brought(self, attempt: AttemptRecord) -> Results:
        """What an attempt measured, was judged, and left as files."""
        return Results(
            measurements=self.reader.measurements(attempt.id),
            judgements=self.reader.judgements(attempt.id),
            artifacts=self.reader.artifacts(attempt.id),
            notes=tuple(e.data for e in provoked_notes(self.reader, attempt.id)),
        )


def merge(workspace: Workspace, file: Path) -> Merged:
    """Take what another ledger has and this one has not.

    Args:
        workspace: gets the record and the evidence files.
        file: a ledger, a workspace, or a pack.

    Raises:
        UsageError: there is no such file, it is this workspace's own campaign, or it is empty.
        LedgerTamperedError: the other ledger contradicts itself.
        LedgerCorruptError, LedgerVersionError: it is damaged, no ledger, or too new.
        LedgerError: one of them is locked or cannot be read or written; nothing was recorded.
        WorkspaceError: evidence cannot be copied; nothing was recorded.
    """
    named = file / "ledger.db" if file.is_dir() else file
    if not named.is_file():
        raise UsageError(
            f"there is no ledger {named}",
            why="a ledger.db, a workspace or a pack can be merged",
            hint="reactivate ledger merge FILE",
        )
    if workspace.ledger.exists() and named.samefile(workspace.ledger):
        raise _own(file)
    with (
        AdoptingLedger.open(workspace.ledger, writer=True) as ledger,
        _ledger_of(workspace, named) as (path, results),
        _opened(file, path, results) as found,
    ):
        return _merge(workspace, ledger, found, file)


def _own(file: Path) -> UsageError:
    return UsageError(
        f"{file} is this workspace's own campaign",
        why="it is here, or it is another continuation of it; only other campaigns are merged",
        hint="reactivate ledger unpack FILE DIR     to look at it",
    )


@contextmanager
def _ledger_of(workspace: Workspace, file: Path) -> Iterator[tuple[Path, Path]]:
    """The file of the other ledger, and its folder of results."""
    if not is_pack(file):
        yield file, file.parent / "results"
        return
    # Under the lock of our ledger: nobody else is here, and what lies there is left over.
    folder = workspace.results / FOLDER / _INCOMING
    shutil.rmtree(folder, ignore_errors=True)
    try:
        unpack_into(file, folder)
        yield folder / "ledger.db", folder / "results"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


@contextmanager
def _opened(file: Path, path: Path, results: Path) -> Iterator[_Theirs]:
    """One moment of the other ledger, found to be whole."""
    try:
        with LedgerReader.opened(path) as reader, reader.snapshot():
            damage = reader.damage()
            if damage:
                raise LedgerCorruptError(f"{file} is damaged", why=damage)
            events, attempts = reader.events(), reader.attempts()
            if not events:
                raise UsageError(f"{file} is empty", why="no event is on record in it")
            _require_whole(path, reader, events, attempts)
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            found = _Theirs(
                reader=reader, results=results, sha256=sha256, events=events, attempts=attempts
            )
            yield found
    except LedgerError as error:
        raise type(error)(
            f"{file} was not merged",
            why=f"{error.what}: {error.why}" if error.why else error.what,
            hint=error.hint or f"look at it where it was made: reactivate -C {path.parent} status",
        ) from error
    except OSError as error:
        raise LedgerError(f"{file} cannot be read", why=error.strerror or str(error)) from error


def _require_whole(
    path: Path, reader: LedgerReader, events: Sequence[Event], attempts: Sequence[AttemptRecord]
) -> None:
    connection = connect_reader(path, trusting=False)
    try:
        with translated(path, "verify it"):
            broken = audit(connection, path).findings
    finally:
        connection.close()
    if broken:
        raise LedgerTamperedError(
            "it is not as it was recorded",
            why="\n".join(found.what for found in broken[:5]),
            hint="reactivate ledger verify, there",
        )
    wrong = list(contradictions(reader, events, attempts))
    wrong_environments = {
        a.environment_sha256
        for a in attempts
        if hashlib.sha256(
            codec.dump(reader.environment(a.environment_sha256), "an environment").encode()
        ).hexdigest()
        != a.environment_sha256
    }
    # Its evidence would be copied to, and what is there be removed from, wherever they lead.
    told = [
        f"attempt {a.id}: {a.phase!a} in {a.folder!a} lies elsewhere"
        for a in attempts
        if not (is_phase(a.phase) and is_folder(a.folder))
    ]
    told += [f"{found.place}: {found.why}" for found in wrong]
    told += [f"environment {sha256[:12]}: its content is another" for sha256 in wrong_environments]
    if told:
        raise LedgerTamperedError(
            "it contradicts itself", why="\n".join(told[:5]), hint="reactivate ledger replay, there"
        )


def _merge(workspace: Workspace, ledger: AdoptingLedger, theirs: _Theirs, file: Path) -> Merged:
    origin = campaign_origin(theirs.events[0])
    ours = ledger.events()
    if ours and campaign_origin(ours[0]) == origin:
        raise _own(file)
    notes = [
        e.data for e in ours if e.data.get("about") == MERGE and e.data.get("origin") == origin
    ]
    adoptions, known, left_out = _plan(ledger, theirs, origin, notes)
    decisions = _new(notes, "decisions", [decision_data(d) for d in theirs.reader.decisions()])
    verified = _new(
        notes,
        "verifications",
        [{**e.data, "at": e.at} for e in theirs.events if "verification" in e.data],
    )
    results = workspace.results
    evidence = _Evidence()
    counted = theirs.reader.counted("measurements")
    with _undone(results, adoptions):
        for adoption in adoptions:
            _copy(theirs, results, adoption, evidence)
        found = Merged(
            origin=origin,
            file_sha256=theirs.sha256,
            events=len(theirs.events),
            attempts=len(adoptions),
            known=known,
            measurements=sum(counted.get(a.attempt.id, 0) for a in adoptions),
            decisions=len(decisions),
            copied=evidence.copied,
            missing=tuple(evidence.missing),
            changed=tuple(evidence.changed),
            left_out=tuple(left_out),
        )
        if adoptions or decisions or verified:
            note = _note(found, theirs, file, adoptions, decisions, verified)
            ledger.adopt(adoptions, theirs.brought, note)
    return found


def _plan(
    ledger: Ledger, theirs: _Theirs, origin: str, notes: Sequence[Mapping[str, JSON]]
) -> tuple[list[Adoption], int, list[str]]:
    """What is to be taken, how much of it is here, and what is left where it is."""
    here = {str(each.get("sha256")) for each in _listed(notes, "attempts")}
    taken: dict[str, set[int]] = {}
    for attempt in ledger.attempts():
        if origin_of(attempt.phase) == origin:
            taken.setdefault(attempt.phase, set()).add(attempt.number)
    adoptions: list[Adoption] = []
    left_out: list[str] = []
    known = 0
    for attempt in theirs.attempts:
        name = f"{attempt.phase} {attempt.step} {attempt.number}"
        if origin_of(attempt.phase):
            left_out.append(f"{name}: it was merged there; merge the ledger it comes from")
            continue
        if attempt.status is AttemptStatus.RUNNING:
            left_out.append(f"{name}: it runs, or was killed and is not found yet")
            continue
        sha256 = attempt_digest(attempt, theirs.brought(attempt).rows())
        if sha256 in here:
            known += 1
            continue
        phase = f"{origin}.{attempt.phase}"
        numbers = taken.setdefault(phase, set())
        # A ledger that was copied and went on in two places has two of the same number.
        number = attempt.number if attempt.number not in numbers else max(numbers) + 1
        numbers.add(number)
        adoptions.append(
            Adoption(
                attempt=attempt,
                environment=theirs.reader.environment(attempt.environment_sha256),
                phase=phase,
                number=number,
                folder=f"{FOLDER}/{origin}/{attempt.phase}/attempt-{number:03}",
                sha256=sha256,
            )
        )
    return adoptions, known, left_out


def _listed(notes: Sequence[Mapping[str, JSON]], key: str) -> list[Mapping[str, JSON]]:
    found: list[Mapping[str, JSON]] = []
    for note in notes:
        listed = note.get(key)
        found += [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    return found


def _new(
    notes: Sequence[Mapping[str, JSON]], key: str, entries: Sequence[Mapping[str, JSON]]
) -> list[Mapping[str, JSON]]:
    """Those of the entries that no note of an earlier merge has."""
    here = {codec.dump(each, key) for each in _listed(notes, key)}
    return [each for each in entries if codec.dump(each, key) not in here]


def _note(
    found: Merged,
    theirs: _Theirs,
    file: Path,
    adoptions: Sequence[Adoption],
    decisions: Sequence[Mapping[str, JSON]],
    verified: Sequence[Mapping[str, JSON]],
) -> dict[str, JSON]:
    return {
        "about": MERGE,
        "origin": found.origin,
        "file": str(file).encode("utf-8", "backslashreplace").decode(),
        "file_sha256": found.file_sha256,
        "events": [theirs.events[0].seq, theirs.events[-1].seq],
        "head_sha256": event_digest(theirs.events[-1]),
        "attempts": [
            {
                "sha256": a.sha256,
                "theirs": a.attempt.id,
                "phase": a.phase,
                "number": a.number,
                "folder": a.attempt.folder,
            }
            for a in adoptions
        ],
        "decisions": list(decisions),
        "verifications": list(verified),
        "copied": found.copied,
        "missing": list(found.missing),
        "changed": list(found.changed),
        "left_out": list(found.left_out),
    }


@contextmanager
def _undone(results: Path, adoptions: Sequence[Adoption]) -> Iterator[None]:
    """Evidence of attempts that are not recorded after all is removed again."""
    try:
        yield
    except BaseException as error:
        for adoption in adoptions:
            shutil.rmtree(results / adoption.folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise WorkspaceError(
            f"evidence cannot be copied into {results / FOLDER}",
            why=f"{error.strerror or error}; nothing was merged",
            hint=f"see whether space is left: df {results}",
        ) from error


def _copy(theirs: _Theirs, results: Path, adoption: Adoption, evidence: _Evidence) -> None:
    """The evidence files of an attempt that are what its ledger says."""
    destination = results / adoption.folder
    # What a killed merge has left there is on no record.
    if destination.is_symlink():
        destination.unlink()
    shutil.rmtree(destination, ignore_errors=True)
    folder = adoption.attempt.folder
    for artifact in theirs.reader.artifacts(adoption.attempt.id):
        check = check_file(theirs.results, folder, artifact)
        source = artifact_file(theirs.results / folder, artifact.path)
        if check.state is FileState.INTACT and _is_below(source, theirs.results):
            target = destination / source.relative_to(theirs.results / folder)
            if _copied(source, target, artifact):
                evidence.copied += 1
                continue
        gone = check.state in (FileState.MISSING, FileState.UNREADABLE)
        (evidence.missing if gone else evidence.changed).append(check.path)


def _is_below(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _copied(source: Path, target: Path, artifact: ArtifactRecord) -> bool:
    """Whether the file that is there now has the content on record."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hashed = hashlib.sha256()
    with source.open("rb") as content, target.open("xb") as copy:
        while portion := content.read(_PORTION_BYTES):
            hashed.update(portion)
            copy.write(portion)
    if hashed.hexdigest() == artifact.sha256:
        return True
    target.unlink()
    return False
