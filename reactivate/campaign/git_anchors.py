"""Heads of the ledger's chain kept in the workspace's git repository: as tags and as notes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from reactivate.errors import BuildError, MachineError, WorkspaceError
from reactivate.report.logged import Anchor
from reactivate.target.git import git, said
from reactivate.workspace import Workspace

NOTES = "reactivate"
"""`git notes --ref=reactivate`."""
TAGS = "reactivate/ledger"
_LINE = re.compile(rb'^reactivate (".*") event (\d{1,18}) ([0-9a-f]{64})$', re.MULTILINE)


def put_tag(workspace: Workspace, seq: int, sha256: str) -> str:
    """Tag the commit that is checked out; returns the tag. It is signed if git is set to sign.

    Raises:
        MachineError: no git, no repository, no commit, or git refuses.
    """
    top, line = _top(workspace), _line(workspace, seq, sha256)
    name = f"{TAGS}/{seq}-{sha256[:12]}"
    if not said(top, "tag", "--list", name):
        _asked(top, "tag", "--annotate", "--message", line, name)
    return name


def put_note(workspace: Workspace, seq: int, sha256: str) -> str:
    """Add a note to the commit that is checked out; returns the commit.

    Raises:
        MachineError: as `put_tag`.
    """
    top, line = _top(workspace), _line(workspace, seq, sha256)
    _asked(top, "notes", f"--ref={NOTES}", "append", "--message", line, "HEAD")
    return said(top, "rev-parse", "--short", "HEAD")


def anchors(workspace: Workspace) -> tuple[Anchor, ...]:
    """Every head of this workspace's ledger that the repository knows.

    Raises:
        MachineError: git is missing or refuses, or there is no repository.
    """
    top = _top(workspace)
    own = json.dumps(_name(workspace, top)).encode()
    tags = git(
        top, "for-each-ref", "--format=%(refname:short)%00%(contents)%00", f"refs/tags/{TAGS}"
    )
    fields = tags.split(b"\0")
    texts = [
        (f"git tag {name.decode(errors='replace').strip()}", text)
        for name, text in zip(fields[::2], fields[1::2], strict=False)
    ]
    listed = said(top, "for-each-ref", f"refs/notes/{NOTES}")
    notes = said(top, "notes", f"--ref={NOTES}", "list").split("\n") if listed else []
    for blob, commit in (line.split() for line in notes if line):
        texts.append((f"git note on {commit[:12]}", git(top, "cat-file", "blob", blob)))
    return tuple(
        Anchor(source=source, seq=int(seq), sha256=sha256.decode())
        for source, text in texts
        for name, seq, sha256 in _LINE.findall(text)
        if name == own
    )


def _top(workspace: Workspace) -> Path:
    try:
        return Path(said(workspace.root, "rev-parse", "--show-toplevel")).resolve()
    except BuildError as error:
        raise WorkspaceError(
            f"{workspace.root} is in no git repository that can be used",
            why=error.why,
            hint=f"git -C {workspace.root} init, and commit; "
            "or keep what `reactivate ledger anchor` prints elsewhere",
        ) from error


def _name(workspace: Workspace, top: Path) -> str:
    """The ledger, relative to the repository: it may hold several workspaces."""
    return os.path.relpath(workspace.root.resolve() / workspace.ledger.name, top)


def _line(workspace: Workspace, seq: int, sha256: str) -> str:
    name = json.dumps(_name(workspace, _top(workspace)))
    return f"reactivate {name} event {seq} {sha256}"


def _asked(top: Path, *arguments: str) -> None:
    try:
        git(top, *arguments)
    except BuildError as error:
        raise MachineError(
            f"the head was not put into {top}",
            why=error.why,
            hint="a tag and a note need a commit, and a name: git config user.name and user.email",
        ) from error
