"""The tool's own copy of a user's checkout: cloned, brought up to date, patched.

The user's checkout is only read; the clone borrows the user's objects and writes none back. A kill
at any moment leaves the copy without its stamp, and the next build makes it anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import BuildError
from reactivate.files import replace_file
from reactivate.target.command import HERE
from reactivate.target.git import (
    check_out,
    clone,
    commit_of,
    compared,
    git,
    head_of,
    objects_of,
    top_of,
)

_STAMP = "stamp"
_FAILED = re.compile(r"^error: patch failed: (?P<file>.+):(?P<line>\d+)$", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A copy that is ready to be built.

    Attributes:
        folder: what the user named, in the copy.
        commit: the commit that it was made from.
        uncommitted: files of the user's that are not committed as they are; the copy has them.
        fingerprint: digest of commit, uncommitted changes and patches.
    """

    folder: Path
    commit: str
    uncommitted: tuple[str, ...]
    fingerprint: str


def prepare(source: Path, folder: Path, patches: Sequence[Path]) -> Source:
    """Bring the tool's copy of a checkout to the checkout's state, with patches applied.

    A copy that is so already is not touched: its files keep their times, so that a build has
    nothing to do.

    Args:
        source: the user's checkout, or a folder in it.
        folder: where the tool's copy is, or is to be made.
        patches: applied one after the other, paths in them relative to the checkout's top.

    Raises:
        MissingToolError: git is not installed.
        BuildError: no checkout, or a patch does not apply; says which hunk and to which commit.
    """
    top = top_of(source)
    commit, changes, untracked = _present(top)
    named = compared(top, "diff", "-z", "--name-only", "HEAD").split(b"\0")
    fingerprint = _fingerprint(top, commit, changes, untracked, patches)
    made = Source(
        folder=folder / HERE,
        commit=commit,
        uncommitted=(*(os.fsdecode(name) for name in named if name), *untracked),
        fingerprint=fingerprint,
    )
    stamp = folder / _STAMP
    tree = folder / "tree"
    noted = _text(stamp)
    # The state, too: a build may have written where it should not have.
    if noted and (folder / HERE).is_dir() and noted == f"{fingerprint} {_state(tree)}":
        return made
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    _checked_out(top, tree, commit)
    if changes.strip():
        git(tree, "apply", "--whitespace=nowarn", "--binary", "-", given=changes)
    for name in untracked:
        _copy(top / name, tree / name)
    for patch in patches:
        _apply(tree, patch, commit)
    _link(folder / HERE, tree / source.resolve().relative_to(top))
    replace_file(stamp, f"{fingerprint} {_state(tree)}".encode("ascii"))
    return made


def fingerprint_of(source: Path, patches: Sequence[Path]) -> str:
    """What `prepare` would have as the fingerprint of its copy; nothing is copied.

    Raises:
        MissingToolError, BuildError: see `prepare`.
        OSError: a file that is not committed, or a patch, cannot be read.
    """
    top = top_of(source)
    return _fingerprint(top, *_present(top), patches)


def _present(top: Path) -> tuple[str, bytes, list[str]]:
    """The commit, what is changed since, and files that git does not know."""
    commit = head_of(top)
    changes = compared(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
    listed = git(top, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    untracked = [os.fsdecode(name) for name in listed if name and not name.endswith(b"/")]
    return commit, changes, untracked


def changed_since(source: Path, revision: str) -> tuple[str, ...]:
    """Files of a checkout that are not as they were at a commit, uncommitted ones included.

    Args:
        source: the user's checkout, or a folder in it; only files in it count.
        revision: anything that git takes for a commit.

    Raises:
        UsageError: there is no such commit.
        MissingToolError, BuildError: see `prepare`.
    """
    top = top_of(source)
    commit = commit_of(top, revision)
    here = ("--", str(source.resolve()))
    found = compared(top, "diff", "-z", "--no-ext-diff", "--name-only", commit, *here)
    found += git(top, "ls-files", "-z", "--others", "--exclude-standard", *here)
    return tuple(os.fsdecode(name) for name in found.split(b"\0") if name)


def _fingerprint(
    top: Path, commit: str, changes: bytes, untracked: Sequence[str], patches: Sequence[Path]
) -> str:
    digest = hashlib.sha256(f"{top}\n{commit}\n".encode(errors="surrogateescape") + changes)
    for name in untracked:
        path = top / name
        digest.update(b"\0" + os.fsencode(name) + b"\0" + _content(path))
        digest.update(f"{path.lstat().st_mode & 0o7777:o}".encode())
    for patch in patches:
        digest.update(b"\0\0" + hashlib.sha256(patch.read_bytes()).digest())
    return digest.hexdigest()


def _state(tree: Path) -> str:
    """Digest of what is in the copy besides its commit; what git ignores does not count."""
    try:
        changes = git(tree, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
        others = git(tree, "ls-files", "-z", "--others", "--exclude-standard")
    except BuildError:
        return "unreadable"
    return hashlib.sha256(changes + b"\0" + others).hexdigest()


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _checked_out(top: Path, tree: Path, commit: str) -> None:
    """The commit and nothing else, in a clone whose objects are the user's."""
    alternates = tree / ".git" / "objects" / "info" / "alternates"
    if _text(alternates).strip() != objects_of(top).strip():
        shutil.rmtree(tree, ignore_errors=True)
        clone(top, tree)
    check_out(tree, commit)


def _apply(tree: Path, patch: Path, commit: str) -> None:
    try:
        git(tree, "apply", "--whitespace=nowarn", str(patch.resolve()))
    except BuildError as error:
        failed = _FAILED.search(error.why)
        where = "" if failed is None else f": {_hunk(patch, failed['file'], int(failed['line']))}"
        raise BuildError(
            f"the patch {patch.name} does not apply{where}",
            why=f"against commit {commit[:12]}:\n{error.why}",
            hint=f"make {patch} anew from that commit",
        ) from None


def _hunk(patch: Path, file: str, line: int) -> str:
    """ "hunk 2 of 3 in core.c, line 40"."""
    lines: list[int] = []
    inside = False
    for text in patch.read_text(encoding="utf-8", errors="replace").splitlines():
        if text.startswith("--- "):
            inside = False
        elif text.startswith("+++ "):
            inside = text[4:].split("\t")[0].strip().removeprefix("b/") == file
        elif inside and (hunk := _HUNK.match(text)):
            lines.append(int(hunk[1]))
    if line not in lines:
        return f"{file}, line {line}"
    return f"hunk {lines.index(line) + 1} of {len(lines)} in {file}, line {line}"


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        destination.symlink_to(source.readlink())
    else:
        shutil.copy2(source, destination)


def _link(link: Path, destination: Path) -> None:
    partial = link.with_name(f"{link.name}.part")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(destination, link.parent))
    partial.replace(link)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
