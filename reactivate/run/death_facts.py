"""A death as the gate judges it: what killed the daemon, in the terms of `gate.advice`."""

from __future__ import annotations

from collections.abc import Sequence

from reactivate.gate.advice import ChainFacts, Group
from reactivate.instrument.chain import Chain, Frame, Row, fold
from reactivate.instrument.death import Cause, DeathKind


def chain_facts(cause: Cause) -> ChainFacts | None:
    """The folded chain of a death; None if it has none."""
    if cause.chain is None:
        return None
    return facts_of(cause.chain, overflow=cause.kind is DeathKind.OVERFLOW, kernel=cause.kernel)


def facts_of(chain: Chain, *, overflow: bool | None = None, kernel: bool = False) -> ChainFacts:
    """A folded chain.

    Args:
        chain: all of it.
        overflow: as in `ChainFacts`; None for the deepest point of a run that was survived.
        kernel: as in `ChainFacts`.
    """
    groups, at = [], 0
    for row in fold(chain):
        length = row.count * len(row.functions)
        # All repetitions are alike in code; the first round and a bit shows each function.
        groups.append(_group(row, chain.frames[at : at + min(length, 64)]))
        at += length
    return ChainFacts(
        groups=tuple(groups),
        total_bytes=chain.total_bytes,
        attributed_bytes=chain.attributed_bytes,
        overflow=overflow,
        kernel=kernel,
        complete=not chain.stopped,
    )


def _group(row: Row, frames: Sequence[Frame]) -> Group:
    largest = max(frames, key=lambda frame: frame.size_bytes)
    return Group(
        functions=row.functions,
        count=row.count,
        size_bytes=row.size_bytes,
        each_bytes=row.largest_bytes,
        function=largest.name,
        frame_bytes=largest.size_bytes,
        file=largest.file,
        line=largest.line,
    )
