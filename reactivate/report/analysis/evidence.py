"""The evidence files of attempts: compared with the ledger before anything in them is believed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from reactivate.documents import read_json
from reactivate.errors import MeasurementError
from reactivate.evidence import NotMeasured
from reactivate.ledger.records import ArtifactRecord, AttemptRecord
from reactivate.report.analysis.markup import code, link
from reactivate.report.analysis.reader import LedgerReader

_ESCAPED_BYTE = re.compile(r"\\x([0-9a-f]{2})")


class FileState(StrEnum):
    """How a file stands to what the ledger says of it."""

    INTACT = "intact"
    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    OUTSIDE = "outside of its attempt's folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """One artifact held against its file.

    Attributes:
        path: relative to the folder of all results.
        recorded_sha256: what the ledger says.
        found_sha256: what the file has now, "" if it could not be read.
        state: what that means.
    """

    path: str
    recorded_sha256: str
    found_sha256: str
    state: FileState


@dataclass(slots=True, kw_only=True)
class Evidence:
    """The evidence of a campaign. Every attempt that is asked about is compared once.

    Attributes:
        reader: the ledger.
        results: the folder of all results.
        up: from the document that is written to the folder of all results, for links.
        anchored: whether the document has a place `#attempt-N` for each attempt; links to files
            are then named by it and the file alone.
        chains: call chains that were read already, by attempt; see `read_chains`.
    """

    reader: LedgerReader
    results: Path
    up: str = "../"
    anchored: bool = False
    chains: dict[int, Any] = field(default_factory=dict)
    _checks: dict[int, dict[str, FileCheck]] = field(default_factory=dict)
    _attempts: dict[int, AttemptRecord] = field(default_factory=dict)

    def checks(self, attempt: AttemptRecord) -> Mapping[str, FileCheck]:
        """Every artifact of an attempt by its path, compared with its file."""
        found = self._checks.get(attempt.id)
        if found is None:
            found = {
                artifact.path: check_file(self.results, attempt.folder, artifact)
                for artifact in self.reader.artifacts(attempt.id)
            }
            self._checks[attempt.id] = found
            self._attempts[attempt.id] = attempt
        return found

    def document(self, attempt: AttemptRecord, path: str) -> Mapping[str, Any] | NotMeasured:
        """A JSON document of an attempt, or why it cannot be believed."""
        content = self.json(attempt, path)
        if isinstance(content, (Mapping, NotMeasured)):
            return content
        return NotMeasured(reason=f"{path} of attempt {attempt.id} is no table")

    def json(self, attempt: AttemptRecord, path: str) -> Any:
        """The content of a JSON file of an attempt, or a NotMeasured."""
        found = self.checks(attempt).get(path)
        if found is None:
            return NotMeasured(reason=f"attempt {attempt.id} has no evidence file {path}")
        if found.state is not FileState.INTACT:
            return NotMeasured(reason=f"{found.path} is {found.state.value}")
        try:
            return read_json(self.results / attempt.folder / path)
        except MeasurementError as error:
            return NotMeasured(reason=f"{found.path} cannot be read: {error.why}")

    def paths(self, attempt: AttemptRecord, folder: str, prefix: str = "") -> tuple[str, ...]:
        """JSON documents right below a folder of an attempt, sorted."""
        pattern = re.compile(rf"{re.escape(folder)}/{re.escape(prefix)}[^/]+\.json")
        return tuple(
            path
            for path in sorted(self.checks(attempt))
            if pattern.fullmatch(path) and not path.endswith(".raw.json")
        )

    def cite(self, attempt: AttemptRecord, path: str) -> str:
        """A link to an evidence file; the attempt itself where there is no file."""
        if not path:
            return self.attempt(attempt)
        note = ""
        found = self.checks(attempt).get(path)
        if found is None:
            note = " (not among the attempt's files)"
        elif found.state is not FileState.INTACT:
            note = f" ({found.state.value})"
        name = f"{attempt.folder}/{path}"
        if self.anchored:
            name = f"{attempt.id}: {PurePath(path).name}"
        return link(name, f"{self.up}{attempt.folder}/{path}") + note

    def attempt(self, attempt: AttemptRecord) -> str:
        """A link to an attempt: its place in the document, or its folder if it has files."""
        if self.anchored:
            return f"[attempt {attempt.id}](#attempt-{attempt.id})"
        name = f"ledger, attempt {attempt.id}"
        return link(name, f"{self.up}{attempt.folder}/") if self.checks(attempt) else name

    def section(self) -> list[str]:
        """What the comparison of everything that was asked about found."""
        checked = [each for checks in self._checks.values() for each in checks.values()]
        odd = [each for each in checked if each.state is not FileState.INTACT]
        attempts = [str(number) for number in sorted(self._attempts)]
        lines = ["## Evidence", ""]
        if not checked:
            return [*lines, "The ledger knows no evidence file for what is said above.", ""]
        said = (
            f"{len(checked) - len(odd):,} of {len(checked):,} files of the attempts "
            f"{', '.join(attempts)} are what the ledger recorded (SHA-256)."
        )
        if odd:
            said += " Numbers that the ledger holds stand; nothing was read from these files:"
        lines += [said, ""]
        lines += [
            f"- {code(each.path)}: **{each.state.value}**; recorded {code(each.recorded_sha256)}"
            + (f", now {code(each.found_sha256)}" if each.found_sha256 else "")
            for each in sorted(odd, key=lambda each: each.path)
        ]
        return [*lines, ""] if odd else lines


def check_file(results: Path, folder: str, artifact: ArtifactRecord) -> FileCheck:
    """Compare a recorded artifact with its file."""
    path = f"{folder}/{artifact.path}"
    found, state = "", FileState.MISSING
    if ".." in Path(path).parts or "/" in (path[:1], artifact.path[:1]) or "\0" in path:
        state = FileState.OUTSIDE
    else:
        file = artifact_file(results / folder, artifact.path)
        try:
            if file.is_symlink() or not file.is_file():
                state = FileState.MISSING
            else:
                with file.open("rb") as content:
                    found = hashlib.file_digest(content, "sha256").hexdigest()
                same = found == artifact.sha256
                state = FileState.INTACT if same else FileState.CHANGED
        except OSError:
            state = FileState.UNREADABLE
    return FileCheck(path=path, recorded_sha256=artifact.sha256, found_sha256=found, state=state)


def artifact_file(folder: Path, path: str) -> Path:
    """The file of an artifact; names that are no UTF-8 are recorded with their bytes written."""
    plain = folder / path
    if plain.exists() or "\\x" not in path:
        return plain
    parts = _ESCAPED_BYTE.split(path)
    raw = b"".join(
        bytes([int(part, 16)]) if index % 2 else part.encode() for index, part in enumerate(parts)
    )
    return folder / os.fsdecode(raw)
