"""One round of operations for instruments that need no pause between them.

Runs in a worker thread under `reactivate.workload.drive.drive`; whoever waits can see at any
time, also after the daemon has died, which operation is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from reactivate.workload.operation import Operation


class Progress:
    """How far a round is. Written by the driving thread, read by anyone."""

    __slots__ = ("done", "operation", "repetition", "step")

    def __init__(self) -> None:
        self.operation = ""
        self.step = ""
        self.repetition = 0
        self.done = 0

    def where(self) -> str:
        """`search, repetition 3`, or "" before the first operation."""
        if not self.operation:
            return ""
        if self.step == "setup":
            return f"{self.operation}, setup"
        return f"{self.operation}, repetition {self.repetition}"


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
        progress.operation, progress.repetition, progress.step = operation.name, 0, "setup"
        folder = ready_folder(mountpoint, operation)
        progress.step = "run"
        for repetition in range(repeats):
            progress.repetition = repetition
            repeat(operation, folder, repetition)
        progress.done += 1
        advance(progress.done)
