"""The history that is searched: a clone of the tool's own, beside a checkout that is only read."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import BuildError, UsageError
from reactivate.target.git import check_out, clone, commit_of, objects_of, said, top_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit, for people.

    Attributes:
        sha: in full.
        title: first line of its message.
        author: name of the author.
        date: when it was written, ISO 8601.
    """

    sha: str
    title: str
    author: str
    date: str


class History:
    """A user's checkout and a clone of it.

    The checkout is asked for two things only, and neither writes: what a revision is called, and
    its objects, which the clone borrows.
    """

    def __init__(self, source: Path, clone: Path) -> None:
        """Nothing is cloned yet.

        Args:
            source: the user's checkout, or a folder in one.
            clone: where the tool's clone is, or is to be made.

        Raises:
            MissingToolError: git is not installed.
            UsageError: there is no checkout.
        """
        try:
            self.top = top_of(source)
        except BuildError as error:
            raise UsageError(
                error.what,
                why=error.why,
                hint="name the checkout: reactivate bisect --source PATH …",
            ) from None
        self.clone = clone
        self.folder = clone / source.resolve().relative_to(self.top)
        """What the user named, in the clone."""

    def resolve(self, revision: str) -> str:
        """The commit that a revision of the user's checkout means.

        Raises:
            UsageError: none.
        """
        return commit_of(self.top, revision)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether one commit is in the history of another."""
        try:
            said(self.top, "merge-base", "--is-ancestor", older, newer)
        except BuildError:
            return False
        return True

    def prepare(self) -> None:
        """Make the clone, unless it is there; a clone that was torn by a kill is made anew.

        Raises:
            BuildError: git failed.
        """
        alternates = self.clone / ".git" / "objects" / "info" / "alternates"
        borrowed = alternates.read_text().strip() if alternates.is_file() else ""
        if borrowed != objects_of(self.top):
            part = self.clone.with_name(f"{self.clone.name}.part")
            for left in (self.clone, part):
                shutil.rmtree(left, ignore_errors=True)
            part.parent.mkdir(parents=True, exist_ok=True)
            clone(self.top, part)
            part.rename(self.clone)

    def check_out(self, commit: str) -> None:
        """This commit and nothing else, in the clone.

        Raises:
            BuildError: git failed.
        """
        check_out(self.clone, commit)

    def between(self, bad: str, good: Collection[str]) -> tuple[str, ...]:
        """The commits that may be the first bad one, those that halve the rest first.

        The bad one itself is among them; alone if it is the first.
        """
        listed = said(self.clone, "rev-list", "--bisect-all", bad, "--not", *sorted(good))
        return tuple(line.split()[0] for line in listed.splitlines() if line)

    def nearest(self, commit: str, among: Collection[str]) -> str | None:
        """The nearest commit in the history of one that is among some; None if none is."""
        listed = said(self.clone, "rev-list", "--topo-order", commit)
        return next((sha for sha in listed.splitlines() if sha in among), None)

    def describe(self, commits: Sequence[str]) -> dict[str, Commit]:
        """Title, author and date of commits."""
        if not commits:
            return {}
        text = said(self.clone, "show", "--no-patch", "--format=%H%x00%s%x00%an%x00%aI", *commits)
        found = {}
        # Only line feeds: a title may hold whatever else Python takes for the end of a line.
        for line in text.split("\n"):
            sha, title, author, date = line.split("\0")
            found[sha] = Commit(sha=sha, title=title, author=author, date=date)
        return found
