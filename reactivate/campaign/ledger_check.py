"""The ledger and all that it answers for: evidence files, checklist, decision log, anchors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reactivate.campaign.calibrated import EVIDENCE
from reactivate.campaign.edition import EDITIONS, read_edition
from reactivate.campaign.events import EventKind
from reactivate.campaign.git_anchors import anchors as git_anchors
from reactivate.checklist.parse import load
from reactivate.errors import (
    ExitCode,
    LedgerCorruptError,
    LedgerError,
    MachineError,
    ReactivateError,
    UsageError,
)
from reactivate.files import open_plain
from reactivate.ledger.artifacts import record_artifacts
from reactivate.ledger.audit import Audit, Finding, audit
from reactivate.ledger.connection import connect_reader, is_begun, translated
from reactivate.ledger.origin import MERGE, is_folder, left_behind
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import JSON, ArtifactRecord, AttemptRecord, Decision, Event
from reactivate.report.decision_log import render_log
from reactivate.report.logged import Anchor, Logged, misfit, read_log
from reactivate.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of a verification.

    Attributes:
        audit: of the ledger itself.
        files: evidence files that were read.
        size_bytes: their length together.
        editions: editions of the checklist that are on record.
        logged: the decision log.
        anchors: every head that is known outside of the ledger.
        findings: all that is wrong, the first event first.
        notes: what a reader should know, and is nobody's fault.
    """

    audit: Audit
    files: int
    size_bytes: int
    editions: int
    logged: Logged
    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """7 if anything is wrong, 0 if nothing is."""
        return ExitCode.TAMPERED if self.findings else ExitCode.DONE

    @property
    def first(self) -> Finding | None:
        """The finding at the earliest event; one without an event comes last."""
        return self.findings[0] if self.findings else None

    @property
    def reach(self) -> int:
        """The newest event that an anchor outside of the ledger vouches for; 0 if none does."""
        return max((anchor.seq for anchor in self.anchors), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """What the ledger answers for."""

    audit: Audit
    files: Sequence[tuple[AttemptRecord, tuple[ArtifactRecord, ...]]] = ()
    editions: Sequence[Event] = ()
    calibrations: Sequence[Event] = ()
    merges: Sequence[Mapping[str, JSON]] = ()
    ends: dict[int, int] = field(default_factory=dict)
    decisions: Sequence[Decision] = ()
    rendered: dict[str, str] | None = None


def parse_anchor(text: str) -> Anchor:
    """A head as `ledger anchor` prints it.

    Raises:
        UsageError: it is none.
    """
    seq, _, sha256 = text.strip().partition(":")
    if (
        not re.fullmatch("[0-9]{1,18}", seq)
        or len(sha256) != 64
        or set(sha256) - set("0123456789abcdef")
    ):
        raise UsageError(
            f"`{text}` is no head of a ledger",
            why="it is the number of an event, a colon, and a digest of 64 digits",
            hint="reactivate ledger anchor     prints one",
        )
    return Anchor(source="the anchor given", seq=int(seq), sha256=sha256)


def check_ledger(
    workspace: Workspace, *, given: Sequence[Anchor] = (), ask_git: bool = True
) -> Checked:
    """Recompute the chain, and compare with everything that should agree with it.

    Args:
        workspace: nothing in it is changed.
        given: heads that somebody kept elsewhere.
        ask_git: whether the repository is asked for anchors.

    Raises:
        LedgerError: it could not be checked: unreadable, damaged, locked, of another version.
    """
    recorded = _read(workspace.ledger)
    links = recorded.audit.links
    logged = read_log(
        workspace.decisions,
        recorded.decisions,
        recorded.rendered,
        links,
        unproven=recorded.audit.unproven,
    )
    elsewhere, notes = [*given], [*logged.notes]
    if ask_git:
        try:
            elsewhere += git_anchors(workspace)
        except MachineError as error:
            notes.append(f"git was not asked: {error.why.splitlines()[0] or error.what}")
    else:
        notes.append("git was not asked for anchors")
    if recorded.audit.findings:
        notes.append("evidence, checklist and decision files were not compared with such a ledger")
    edited, told = _checklist(workspace, recorded.editions)
    evidence, absent = _evidence(workspace, recorded)
    notes += absent
    findings = [
        *recorded.audit.findings,
        *evidence,
        *_calibrations(workspace, recorded.calibrations),
        *edited,
        *logged.findings,
        *(found for anchor in elsewhere if (found := misfit(anchor, links)) is not None),
    ]
    findings.sort(key=lambda each: (each.seq is None, each.seq or 0))
    kinds = {each.seq: each.kind for each in recorded.audit.findings}
    kept = [record for _, records in recorded.files for record in records]
    return Checked(
        audit=recorded.audit,
        files=len(kept),
        size_bytes=sum(record.size_bytes for record in kept),
        editions=len(recorded.editions),
        logged=logged,
        anchors=(*logged.anchors, *elsewhere),
        findings=tuple(replace(f, kind=f.kind or kinds.get(f.seq, "")) for f in findings),
        notes=(*notes, *told),
    )


def _read(path: Path) -> _Recorded:
    """Everything at one moment; commits wait meanwhile."""
    path = path.resolve()
    connection = connect_reader(path, trusting=False)
    try:
        if not is_begun(connection):
            return _Recorded(audit=Audit(rows={}, links={}, unproven=0, findings=()))
        with translated(path, "verify it"):
            connection.execute("BEGIN")
            found = audit(connection, path)
            queries = LedgerQueries(path, connection)
            if found.findings:  # what it says beyond its chain is not worth comparing with
                return _Recorded(audit=found)
            attempts = queries.attempts()
            return _Recorded(
                audit=found,
                files=[(each, queries.artifacts(each.id)) for each in attempts],
                editions=[e for e in queries.events() if e.kind in EDITIONS],
                calibrations=queries.events(kind=EventKind.CALIBRATED),
                merges=[e.data for e in queries.events() if e.data.get("about") == MERGE],
                ends={e.attempt: e.seq for e in queries.events(kind="attempt_finished")
                      if e.attempt is not None},
                decisions=queries.decisions(),
                rendered=render_log(queries),
            )  # fmt: skip
    finally:
        connection.close()


def _evidence(workspace: Workspace, recorded: _Recorded) -> tuple[list[Finding], list[str]]:
    """What differs, and what a merge said at once that it could not bring along."""
    findings, absent = [], []
    behind = {name for note in recorded.merges for name in left_behind(note)}
    read: dict[str, dict[str, ArtifactRecord]] = {}
    for attempt, records in recorded.files:
        if not records:
            continue
        if not is_folder(attempt.folder):
            what = f"attempt {attempt.id} lies outside of results, in {attempt.folder!a}"
            findings.append(Finding(where="attempts", what=what, seq=recorded.ends.get(attempt.id)))
            continue
        # Scenarios that were run together by hand share a folder: it is read once.
        if attempt.folder not in read:
            folder = workspace.results / attempt.folder
            try:
                found_there = record_artifacts(folder)
            except ReactivateError as error:
                raise LedgerError(error.what, why=error.why, hint=error.hint) from error
            read[attempt.folder] = {record.path: record for record in found_there}
        there = read[attempt.folder]
        for record in records:
            found = there.get(record.path)
            if found is not None and found.sha256 == record.sha256:
                continue
            if found is None and (attempt.phase, attempt.number, record.path) in behind:
                absent.append(record.path)
                continue
            name = f"results/{attempt.folder}/{record.path}"
            what = f"{name} is gone" if found is None else f"{name} has another content"
            findings.append(
                Finding(
                    where="artifacts",
                    what=what,
                    seq=recorded.ends.get(attempt.id),
                    kind="attempt_finished",
                )
            )
    told = f"{len(absent)} evidence files of merged attempts did not come with them, as recorded"
    return findings, [told] if absent else []


def _calibrations(workspace: Workspace, events: Sequence[Event]) -> Iterator[Finding]:
    """The document of each calibration that is on record with its digest."""
    for event in events:
        name, sha256 = f"{event.data.get('evidence')}/{EVIDENCE}", event.data.get("evidence_sha256")
        path = workspace.root / name
        if not isinstance(sha256, str):
            continue
        if path.parent.parent != workspace.results / "calibration" or ".." in path.parts:
            what = f"{name!a} is no place of a calibration's evidence"
        elif path.is_symlink() or not path.is_file():
            what = f"{name} is gone"
        elif _digest(path) != sha256:
            what = f"{name} has another content"
        else:
            continue
        yield Finding(where="calibrations", what=what, seq=event.seq, kind=event.kind)


def _digest(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be read", why=error.strerror or str(error), hint=f"ls -l {path}"
        ) from error


def _checklist(workspace: Workspace, editions: Sequence[Event]) -> tuple[list[Finding], list[str]]:
    """Each edition on record by its own digest; a file edited since is only not followed yet."""
    findings, notes, sha256 = [], [], ""
    for event in editions:
        try:
            sha256 = read_edition(event).sha256
        except LedgerCorruptError as error:
            if "digest" in error.why:
                findings.append(
                    Finding(where="checklist", what=error.why, seq=event.seq, kind=event.kind)
                )
            else:
                notes.append(f"event {event.seq}: {error.why}")
    if editions:
        try:
            path = workspace.settings().checklist
            if load(path).sha256 != sha256:
                notes.append(
                    f"{path.name} was edited since event {editions[-1].seq}: "
                    "`reactivate next` puts it on record"
                )
        except ReactivateError as error:
            notes.append(f"the checklist was not compared: {error.what}")
    return findings, notes
