"""The files of an attempt, as the ledger knows them: by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from reactivate.errors import WorkspaceError
from reactivate.ledger.records import ArtifactRecord


def record_artifacts(
    folder: Path, notes: Mapping[str, str] | None = None, *, only: Sequence[str] = ()
) -> tuple[ArtifactRecord, ...]:
    """Hash every regular file below a folder, sorted by path. Symbolic links are left out.

    Args:
        folder: the attempt's folder.
        notes: what a file is, by its path relative to the folder.
        only: files and folders in it, where others have theirs there, too; () for all.

    Raises:
        WorkspaceError: a file cannot be read.
    """
    notes = {} if notes is None else notes
    found = []
    try:
        roots = [folder / name for name in only] or [folder]
        for file in sorted(file for root in roots for file in (root, *root.rglob("*"))):
            if file.is_symlink() or not file.is_file():
                continue
            name = os.fsencode(file.relative_to(folder))
            # A name that is no UTF-8 must not keep a result from being recorded.
            path = name.decode("utf-8", "backslashreplace")
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
                size_bytes = content.tell()
            found.append(
                ArtifactRecord(
                    path=path, sha256=sha256, size_bytes=size_bytes, note=notes.get(path, "")
                )
            )
    except OSError as error:
        raise WorkspaceError(
            f"the evidence in {folder} cannot be read",
            why=f"{error.filename}: {error.strerror}",
            hint=f"ls -lR {folder}",
        ) from error
    return tuple(found)
