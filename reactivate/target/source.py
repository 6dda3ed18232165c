"""The tool's own copy of a user's checkout: cloned, brought up to date, patched.

The user's checkout is only read. Git is told to take no optional locks, so that not even its
index is refreshed; the clone borrows the user's objects and writes none back. A kill at any moment
leaves the copy without its stamp, and the next build makes it anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import BuildError, MissingToolError, UsageError
from reactivate.files import replace_file
from reactivate.target.command import HERE

_GIT_SECONDS = 300.0
_LEFT_OUT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
_STAMP = "stamp"
_FAILED = re.compile(r"^error: patch failed: (?P<file>.+):(?P<line>\d+)$", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_QUIET = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0",
    "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false",
)  # fmt: skip


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
    top = _top(source)
    commit = _git(top, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    changes = _git(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
    listed = _git(top, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    untracked = [os.fsdecode(name) for name in listed if name and not name.endswith(b"/")]
    named = _git(top, "diff", "-z", "--name-only", "HEAD").split(b"\0")
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
        _git(tree, "apply", "--whitespace=nowarn", "--binary", "-", given=changes)
    for name in untracked:
        _copy(top / name, tree / name)
    for patch in patches:
        _apply(tree, patch, commit)
    _link(folder / HERE, tree / source.resolve().relative_to(top))
    replace_file(stamp, f"{fingerprint} {_state(tree)}".encode("ascii"))
    return made


def changed_since(source: Path, revision: str) -> tuple[str, ...]:
    """Files of a checkout that are not as they were at a commit, uncommitted ones included.

    Args:
        source: the user's checkout, or a folder in it; only files in it count.
        revision: anything that git takes for a commit.

    Raises:
        UsageError: there is no such commit.
        MissingToolError, BuildError: see `prepare`.
    """
    top = _top(source)
    try:
        wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        commit = _git(top, *wanted).decode().strip()
    except BuildError as error:
        raise UsageError(
            f"{source} has no commit {revision}",
            why=error.why,
            hint=f"git -C {source} log --oneline; a shallow clone has only its newest",
        ) from None
    here = ("--", str(source.resolve()))
    found = _git(top, "diff", "-z", "--no-ext-diff", "--name-only", commit, *here)
    found += _git(top, "ls-files", "-z", "--others", "--exclude-standard", *here)
    return tuple(os.fsdecode(name) for name in found.split(b"\0") if name)


def _top(source: Path) -> Path:
    if shutil.which("git") is None:
        raise MissingToolError(
            "git is not installed", why="a source is copied with it",
            hint="sudo apt-get install git",
        )  # fmt: skip
    if not source.is_dir():
        raise BuildError(
            f"there is no source folder {source}",
            why="the target's file names it as `source`",
            hint="correct `source`, or clone the source there",
        )
    try:
        top = _git(source, "rev-parse", "--show-toplevel")
    except BuildError as error:
        raise BuildError(
            f"{source} is no git checkout",
            why=error.why,
            hint=f"git -C {source} init && git -C {source} add -A && git -C {source} commit -m all",
        ) from None
    return Path(os.fsdecode(top.removesuffix(b"\n"))).resolve()


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
        changes = _git(tree, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
        others = _git(tree, "ls-files", "-z", "--others", "--exclude-standard")
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
    objects = _git(top, "rev-parse", "--path-format=absolute", "--git-path", "objects")
    if _text(alternates).strip() != os.fsdecode(objects).strip():
        shutil.rmtree(tree, ignore_errors=True)
        _git(top, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--template=",
             "--", str(top), str(tree))  # fmt: skip
    # What a killed run left.
    (tree / ".git" / "index.lock").unlink(missing_ok=True)
    _git(tree, "checkout", "--quiet", "--force", "--detach", commit)
    _git(tree, "reset", "--quiet", "--hard", commit)
    _git(tree, "clean", "--quiet", "-ffdx")


def _apply(tree: Path, patch: Path, commit: str) -> None:
    try:
        _git(tree, "apply", "--whitespace=nowarn", str(patch.resolve()))
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


def _git(folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    """Run git and return what it says.

    Raises:
        BuildError: it failed or took too long; `why` is what it said.
    """
    variables = {k: v for k, v in os.environ.items() if k not in _LEFT_OUT}
    variables |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            ["git", *_QUIET, "-C", str(folder), *arguments],
            input=given if given is not None else b"",
            capture_output=True,
            env=variables,
            timeout=_GIT_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"git {arguments[0]} was not finished after {_GIT_SECONDS:g} s", why=str(folder)
        ) from None
    if done.returncode != 0:
        raise BuildError(
            f"git {arguments[0]} failed in {folder}",
            why=done.stderr.decode(errors="replace").strip() or f"status {done.returncode}",
        )
    return done.stdout
