"""A named operation on a mounted filesystem: the unit that instruments repeat and measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Step = Callable[[Path, int], None]
"""Called with the folder of the operation inside the mount and the repetition's number."""


def nothing(folder: Path, repetition: int) -> None:
    """A step with nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one repetition does. All steps are plain blocking functions that raise OSError.

    Attributes:
        name: unique, lower case: `create`, `read`, `vector_store`, `search`.
        suite: the suite it belongs to: `posix`, `vector`, `search`, `metadata`, …
        opcodes: FUSE opcodes that `run` causes at least, as the kernel names them (`CREATE`).
        run: the measured step: as few system calls as the operation needs.
        setup: once per mount, before the first repetition; the folder exists and is empty.
        prepare: before each repetition, not measured.
        tidy: after each repetition, not measured.
        paired: whether it exists without any component, so that builds can be compared on it.
    """

    name: str
    suite: str
    opcodes: tuple[str, ...]
    run: Step
    setup: Callable[[Path], None] | None = None
    prepare: Step = nothing
    tidy: Step = nothing
    paired: bool = False
