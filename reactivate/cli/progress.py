"""Progress of long steps on standard error; silent where nobody watches a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reactivate.cli.console import console, watched
from reactivate.instrument.contract import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class SilentReporter:
    """Says nothing."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """Ignore."""


class BarReporter:
    """One bar whose text names the present work."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, done: int, total: int, doing: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, description=doing)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Reporter]:
    """A reporter for one step: a bar on a terminal, else silence."""
    if quiet or not watched(sys.stderr):
        yield SilentReporter()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("  {task.description:<40}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console(on_stderr=True),
        transient=True,
    ) as bar:
        yield BarReporter(bar, bar.add_task("", total=None))
