"""git, asked so that a user's checkout is only read."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from reactivate.errors import BuildError, MissingToolError, UsageError
from reactivate.target.scratch import scratch_folder

_GIT_SECONDS = 300.0
_PASSED_ON = re.compile(
    "PATH|HOME|XDG_CONFIG_HOME|TMPDIR|USER|LOGNAME|EMAIL|SSH_AUTH_SOCK|GNUPGHOME|GPG_TTY|SUDO_UID|"
    "GIT_(AUTHOR|COMMITTER)_(NAME|EMAIL|DATE)|"
    "GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|(KEY|VALUE)_[0-9]+)"
)
"""What git is told by, and whose checkouts it trusts. All else is the same in every shell: no other
repository, index, diff program or transport."""
_QUIET = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0",
    "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false", "-c", "log.showSignature=false",
)  # fmt: skip
_VARIABLES = {
    "GIT_OPTIONAL_LOCKS": "0",  # not even the index is refreshed
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",  # what a partial clone lacks would be written into it
    "LC_ALL": "C.UTF-8",
}


def compared(top: Path, *arguments: str) -> bytes:
    """Run a git command that compares files of a user's checkout with its index.

    It works on a copy of the index: `git diff` writes back what it has refreshed, whatever
    GIT_OPTIONAL_LOCKS says. Root compares with the rights of the checkout's owner: the programs
    that its settings name as filters are run for it. Args, returns and errors: see `git`.
    """
    index = Path(top, said(top, "rev-parse", "--git-path", "index"))
    owner = top.stat()
    other = os.geteuid() == 0 and owner.st_uid != 0
    with scratch_folder() as folder:
        place = _place_of(owner, folder) if other else folder
        own = place / "index"
        if index.exists():
            shutil.copyfile(index, own)
        if other:
            for path in (own, place):
                if path.exists():
                    os.chown(path, owner.st_uid, owner.st_gid)
        return git(top, *arguments, index=own, owner=owner if other else None)


def _place_of(owner: os.stat_result, folder: Path) -> Path:
    """A folder for the user in one of root's, which others then may pass through."""
    place = folder / f"of-{owner.st_uid}"
    place.mkdir(mode=0o700)
    folder.chmod(0o711)
    return place


def git(
    folder: Path,
    *arguments: str,
    given: bytes = b"",
    index: Path | None = None,
    owner: os.stat_result | None = None,
) -> bytes:
    """Run git and return what it says.

    Args:
        folder: where it runs.
        arguments: of git.
        given: its standard input.
        index: used instead of the repository's own.
        owner: whose rights git has; ours if None.

    Raises:
        MissingToolError: git is not installed.
        BuildError: it failed or took too long; `why` is what it said.
    """
    if shutil.which("git") is None:
        raise MissingToolError(
            "git is not installed",
            why="sources and their history are read with it",
            hint="sudo apt-get install git",
        )
    passed_on = {k: v for k, v in os.environ.items() if _PASSED_ON.fullmatch(k)}
    variables = passed_on | _VARIABLES
    if owner is not None:
        variables = {"PATH": variables.get("PATH", os.defpath), "HOME": _home(owner)} | _VARIABLES
    if index is not None:
        variables["GIT_INDEX_FILE"] = str(index)
    try:
        done = subprocess.run(
            ["git", *_QUIET, "-C", str(folder), *arguments],
            input=given,
            capture_output=True,
            env=variables,
            timeout=_GIT_SECONDS,
            check=False,
            start_new_session=True,
            user=None if owner is None else owner.st_uid,
            group=None if owner is None else owner.st_gid,
            extra_groups=None if owner is None else (),
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


def _home(owner: os.stat_result) -> str:
    try:
        return pwd.getpwuid(owner.st_uid).pw_dir
    except KeyError:
        return "/nonexistent"


def said(folder: Path, *arguments: str) -> str:
    """What git says, as text without its last line end. Errors: see `git`."""
    return os.fsdecode(git(folder, *arguments)).removesuffix("\n")


def top_of(source: Path) -> Path:
    """The top of the checkout that a folder is in.

    Raises:
        MissingToolError, BuildError: no git, no such folder, no checkout.
    """
    if not source.is_dir():
        raise BuildError(
            f"there is no source folder {source}",
            why="the target's file names it as `source`",
            hint="correct `source`, or clone the source there",
        )
    try:
        return Path(said(source, "rev-parse", "--show-toplevel")).resolve()
    except BuildError as error:
        if "dubious ownership" in error.why:
            raise BuildError(
                f"{source} belongs to another user, and git does not read it",
                why=error.why.splitlines()[0],
                hint=f"git config --global --add safe.directory {shlex.quote(_named(error.why))}",
            ) from None
        at = f"git -C {_quoted(source)}"
        raise BuildError(
            f"{source} is no git checkout",
            why=error.why,
            hint=f"{at} init && {at} add -A && {at} commit -m all",
        ) from None


def _quoted(path: Path) -> str:
    """As a shell takes it: folders have blanks in their names."""
    return shlex.quote(str(path))


def _named(refusal: str) -> str:
    """The folder that git names when it does not trust one."""
    found = re.search(r"'(.+)'", refusal.splitlines()[0])
    return found[1] if found else "*"


def head_of(top: Path) -> str:
    """The commit that is checked out.

    Raises:
        BuildError: there is none yet.
    """
    try:
        return said(top, "rev-parse", "--verify", "HEAD^{commit}")
    except BuildError as error:
        raise BuildError(
            f"{top} has no commit yet",
            why=error.why,
            hint=f"git -C {_quoted(top)} add -A && git -C {_quoted(top)} commit -m all",
        ) from None


def commit_of(top: Path, revision: str) -> str:
    """The commit that a revision means.

    Raises:
        UsageError: none.
    """
    try:
        # The dashes end the options: a revision is never taken for one.
        return said(
            top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
    except BuildError as error:
        raise UsageError(
            f"{top} has no commit `{revision}`",
            why=error.why,
            hint=f"git -C {_quoted(top)} log --oneline; a shallow clone has only its newest",
        ) from None


def objects_of(top: Path) -> str:
    """Where a checkout keeps its objects, which a clone may borrow."""
    return said(top, "rev-parse", "--path-format=absolute", "--git-path", "objects")


def clone(top: Path, folder: Path) -> None:
    """Clone without a working tree of files yet; objects are borrowed and none is written back."""
    git(top, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--template=",
        "--", str(top), str(folder))  # fmt: skip


def check_out(tree: Path, commit: str) -> None:
    """A commit and nothing else, in a tree of the tool's own; also after a killed run."""
    (tree / ".git" / "index.lock").unlink(missing_ok=True)
    git(tree, "checkout", "--quiet", "--force", "--detach", commit)
    git(tree, "reset", "--quiet", "--hard", commit)
    git(tree, "clean", "--quiet", "-ffdx")
