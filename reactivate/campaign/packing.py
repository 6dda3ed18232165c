"""A campaign in one file: the ledger, the evidence on record, and what its commands read.

The archive is plain tar, without times, owners and order of the folder it comes from: the same
campaign gives the same bytes. Its last member lists all others with their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reactivate.errors import UsageError, WorkspaceError
from reactivate.ledger.origin import campaign_origin
from reactivate.ledger.store import Ledger
from reactivate.report.analysis.evidence import FileCheck, FileState, artifact_file, check_file
from reactivate.report.analysis.reader import LedgerReader
from reactivate.workspace import Workspace, never_copied

MANIFEST: Final = "manifest.json"
SCHEMA: Final = "reactivate.pack/1"
LEDGER: Final = "ledger.db"
_TREES: Final = ("checklists", "configs", "probes", "docs/decisions", "results/analysis",
                 "results/calibration")  # fmt: skip
_ATTEMPT: Final = re.compile(
    r"results/((merged/[^/]+/)?[A-Za-z0-9_][^/]*/attempt-[0-9]{3,}|overflow/[0-9TZ-]+)/.+"
)
_NOT_EVIDENCE: Final = ("results/build/", "results/source/")
"""A stranger's builds are not to be taken for what was built here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was packed.

    Attributes:
        file: the archive.
        sha256: its digest: who gets it can compare.
        size_bytes: its length.
        files: how many files are in it.
        events: how many events its ledger has.
        origin: the name of the campaign.
        missing: evidence on record that is not there.
        changed: evidence that is not what is on record; it is packed as it is.
        left_out: symbolic links and whatever else is no plain file.
    """

    file: Path
    sha256: str
    size_bytes: int
    files: int
    events: int
    origin: str
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(slots=True)
class _Found:
    members: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def pack(workspace: Workspace, file: Path) -> Packed:
    """Write the campaign of a workspace into a new file.

    Raises:
        UsageError: the file exists, or no campaign was begun.
        LedgerError: the ledger cannot be read.
        WorkspaceError: a file cannot be read, or the archive not be written; nothing is left.
    """
    if file.exists() or file.is_symlink():
        raise UsageError(f"{file} exists", hint="name a new file")
    part = file.with_name(f".{file.name}.part")
    copy = file.with_name(f".{file.name}.ledger")
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(part.unlink, missing_ok=True)
            stack.callback(copy.unlink, missing_ok=True)
            events, origin = _one_moment(workspace, copy)
            found = _collect(workspace, copy)
            files = _write(part, found.members, events=events, origin=origin)
            with part.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
                size_bytes = content.tell()
            part.rename(file)
    except OSError as error:
        raise WorkspaceError(
            f"{file} cannot be written",
            why=f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}",
            hint="name a file in a folder with room that may be written",
        ) from error
    return Packed(
        file=file,
        sha256=sha256,
        size_bytes=size_bytes,
        files=files,
        events=events,
        origin=origin,
        missing=tuple(found.missing),
        changed=tuple(found.changed),
        left_out=tuple(found.left_out),
    )


def _one_moment(workspace: Workspace, copy: Path) -> tuple[int, str]:
    """A copy of the ledger's bytes between two commits; how many events it has, and its name."""
    with Ledger.open(workspace.ledger, writer=False) as ledger, ledger.snapshot():
        # With the first read the file is held as it is; what a kill left in the middle is mended.
        events = ledger.events()
        if not events:
            raise UsageError(
                "there is no campaign to pack",
                why=f"{workspace.ledger} holds no event",
                hint="reactivate next",
            )
        shutil.copyfile(workspace.ledger, copy)
    return len(events), campaign_origin(events[0])


def has_place(name: str) -> bool:
    """Whether a file is where a pack may hold one: nothing else is packed or unpacked."""
    if any(not each.isprintable() and not _is_byte(each) for each in name):
        return False
    if name in (LEDGER, MANIFEST, ".gitignore"):
        return True
    for tree in _TREES:
        if name.startswith(f"{tree}/"):
            parts = name.removeprefix(f"{tree}/").split("/")
            return not never_copied(tree, parts)
    return bool(_ATTEMPT.fullmatch(name)) and not name.startswith(_NOT_EVIDENCE)


def _is_byte(character: str) -> bool:
    """Of a name that is no UTF-8, as Python has it."""
    return "\udc80" <= character <= "\udcff"


def evidence_names(results: Path, ledger: Path) -> Iterator[tuple[str, FileCheck]]:
    """Where each evidence file on record belongs in a pack, and how the file there stands."""
    with LedgerReader.opened(ledger) as reader:
        for attempt in reader.attempts():
            for artifact in reader.artifacts(attempt.id):
                check = check_file(results, attempt.folder, artifact)
                file = artifact_file(results / attempt.folder, artifact.path)
                yield f"results/{os.path.relpath(file, results)}", check


def _collect(workspace: Workspace, ledger: Path) -> _Found:
    found = _Found(members={LEDGER: ledger})
    root = workspace.root
    ignore = root / ".gitignore"
    if ignore.is_file() and not ignore.is_symlink():
        found.members[".gitignore"] = ignore
    for tree in _TREES:
        if not (root / tree).is_symlink():
            _walk(root / tree, tree, found)
    for member, check in evidence_names(workspace.results, ledger):
        if check.state not in (FileState.INTACT, FileState.CHANGED):
            found.missing.append(f"results/{check.path}")
        elif not has_place(member):
            found.left_out.append(member)
        else:
            found.members[member] = root / member
            if check.state is FileState.CHANGED:
                found.changed.append(f"results/{check.path}")
    return found


def _walk(folder: Path, name: str, found: _Found) -> None:
    if not folder.is_dir():
        return
    names = sorted(entry.name for entry in folder.iterdir())
    for each in sorted(set(names) - set(never_copied(str(folder), names))):
        path, member = folder / each, f"{name}/{each}"
        if path.is_symlink() or not has_place(f"{member}{'/x' * path.is_dir()}"):
            found.left_out.append(member)
        elif path.is_dir():
            _walk(path, member, found)
        elif path.is_file():
            found.members[member] = path
        else:
            found.left_out.append(member)


def _write(part: Path, members: dict[str, Path], *, events: int, origin: str) -> int:
    listed: list[dict[str, Any]] = []
    with tarfile.open(part, "x:", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(members.items()):
            size_bytes, sha256 = _add(archive, name, path)
            listed.append({"path": name, "sha256": sha256, "size_bytes": size_bytes})
        manifest = {"schema": SCHEMA, "origin": origin, "events": events, "files": listed}
        text = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        archive.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
    return len(listed)


def _member(name: str, size_bytes: int, *, executable: bool = False) -> tarfile.TarInfo:
    """A member that says nothing of the machine that it comes from."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = 0o755 if executable else 0o644
    return member


def _add(archive: tarfile.TarFile, name: str, path: Path) -> tuple[int, str]:
    with path.open("rb") as content, _hashing(content) as (reading, hashed):
        size_bytes = path.stat().st_size
        executable = bool(path.stat().st_mode & 0o100)
        archive.addfile(_member(name, size_bytes, executable=executable), reading)
        return size_bytes, hashed.hexdigest()


class _Reading:
    """A file that is hashed while it is read."""

    def __init__(self, content: Any, hashed: Any) -> None:
        self._content, self._hashed = content, hashed

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        portion: bytes = self._content.read(size)
        self._hashed.update(portion)
        return portion


@contextlib.contextmanager
def _hashing(content: Any) -> Iterator[tuple[Any, Any]]:
    hashed = hashlib.sha256()
    yield _Reading(content, hashed), hashed
