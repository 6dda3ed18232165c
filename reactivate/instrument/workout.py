"""One round of operations for instruments that need no pause between them.

Runs in a worker thread under `reactivate.workload.drive.drive`; whoever waits can see at any
time, also after the daemon has died, which operation is in flight.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from reactivate.workload.operation import Operation

_REMEMBERED = 10_000


class Progress:
    """How far a round is. Written by the driving thread, read by anyone."""

    __slots__ = ("_begun", "done", "operation", "repetition", "step")

    def __init__(self) -> None:
        self.operation = ""
        self.step = ""
        self.repetition = 0
        self.done = 0
        self._begun: deque[tuple[int, str, str, int]] = deque(maxlen=_REMEMBERED)

    def enter(self, operation: str, step: str, repetition: int = 0) -> None:
        """Something begins now."""
        self.operation, self.step, self.repetition = operation, step, repetition
        self._begun.append((time.monotonic_ns(), operation, step, repetition))

    def where(self) -> str:
        """`search, repetition 3`, or "" before the first operation."""
        return _in_words(self.operation, self.step, self.repetition)

    def where_at(self, moment_ns: int) -> str:
        """What was under way at a moment of the monotonic clock; "" if that is not known."""
        for begun_ns, operation, step, repetition in reversed(self._begun.copy()):
            if begun_ns <= moment_ns:
                return _in_words(operation, step, repetition)
        return ""


def _in_words(operation: str, step: str, repetition: int) -> str:
    if not operation:
        return ""
    return f"{operation}, setup" if step == "setup" else f"{operation}, repetition {repetition}"


def ready_folder(mountpoint: Path, operation: Operation) -> Path:
    """The operation's own empty folder in the mount, with its setup done."""
    folder = mountpoint / f"on-{operation.name}"
    folder.mkdir()
    if operation.setup is not None:
        operation.setup(folder)
    return folder


def repeat(operation: Operation, folder: Path, repetition: int) -> None:
    """One whole repetition."""
    operation.prepare(folder, repetition)
    operation.run(folder, repetition)
    operation.tidy(folder, repetition)


def perform(
    mountpoint: Path,
    operations: Sequence[Operation],
    repeats: int,
    progress: Progress,
    advance: Callable[[int], None] = lambda done: None,
) -> None:
    """Do every operation `repeats` times, one operation after the other."""
    for operation in operations:
        progress.enter(operation.name, "setup")
        folder = ready_folder(mountpoint, operation)
        for repetition in range(repeats):
            progress.enter(operation.name, "run", repetition)
            repeat(operation, folder, repetition)
        progress.done += 1
        advance(progress.done)
