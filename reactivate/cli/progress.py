"""Progress of long steps on standard error; silent where nobody watches a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reactivate.cli.console import console, talk, watched
from reactivate.instrument.contract import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_ALERT = "yellow"  # a person must look


class SilentReporter:
    """Says nothing."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """Ignore."""

    def alert(self, text: str) -> None:
        """Ignore: what asks for silence reads the evidence."""


class PlainReporter:
    """No bar: nobody watches it. Alerts are lines on standard error."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """Ignore."""

    def alert(self, text: str) -> None:
        """A line at once."""
        talk(f"  {text}", style=_ALERT)


class BarReporter:
    """One bar whose text names the present work."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, done: int, total: int, doing: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, description=doing)

    def alert(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(f"  {text}", style=_ALERT, markup=False, highlight=False)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Reporter]:
    """A reporter for one step: a bar on a terminal, else nothing but alerts.

    Args:
        quiet: not even those.
    """
    if quiet or not watched(sys.stderr):
        yield SilentReporter() if quiet else PlainReporter()
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
