"""Call chains at the deepest points of two attempts, function by function."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.evidence import NotMeasured
from reactivate.gate.comparison import ALIGNMENT_BYTES
from reactivate.gate.difference import Change
from reactivate.ledger.records import AttemptRecord
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.frames import ChainFacts, Share, read_chains

_NOTHING = Share(bytes=0, frames=0, place="")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDifference:
    """What one function has of the chain, before and after.

    Attributes:
        function: its name, or module and offset.
        place: where in the source, "" if unknown.
        before_bytes: of all its frames; 0 if it was not in the chain.
        after_bytes: likewise.
        before_frames: how many.
        after_frames: how many.
        change: see `Change`.
    """

    function: str
    place: str
    before_bytes: int
    after_bytes: int
    before_frames: int
    after_frames: int
    change: Change

    @property
    def by_bytes(self) -> int:
        """By how much it grew."""
        return self.after_bytes - self.before_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDifference:
    """The call chains of one operation.

    Attributes:
        operation: its name.
        before_bytes: from the thread's start to the deepest point, or why it is not known.
        after_bytes: likewise.
        before_evidence: the file, relative to the folder of all results; "" if none.
        after_evidence: likewise.
        frames: every function in either chain, the largest difference first; empty if one of the
            chains is not known.
    """

    operation: str
    before_bytes: int | NotMeasured
    after_bytes: int | NotMeasured
    before_evidence: str
    after_evidence: str
    frames: tuple[FrameDifference, ...]


def compare_chains(
    evidence: tuple[Evidence, Evidence], attempts: tuple[AttemptRecord, AttemptRecord]
) -> tuple[ChainDifference, ...] | NotMeasured:
    """The chains of both attempts by operation, or why there are none at all.

    Files are compared with the ledger's digests before they are believed.
    """
    then, now = (read_chains(e, a) for e, a in zip(evidence, attempts, strict=True))
    if not then and not now:
        return NotMeasured(
            reason=f"neither attempt {attempts[0].id} nor attempt {attempts[1].id} has a call "
            "chain on record"
        )
    return tuple(
        _chain(operation, then.get(operation), now.get(operation), attempts)
        for operation in sorted(then.keys() | now.keys())
    )


def _chain(
    operation: str,
    then: ChainFacts | NotMeasured | None,
    now: ChainFacts | NotMeasured | None,
    attempts: tuple[AttemptRecord, AttemptRecord],
) -> ChainDifference:
    frames: tuple[FrameDifference, ...] = ()
    if isinstance(then, ChainFacts) and isinstance(now, ChainFacts):
        frames = _frames(then, now)
    return ChainDifference(
        operation=operation,
        before_bytes=_total(then, attempts[0]),
        after_bytes=_total(now, attempts[1]),
        before_evidence=_file(then, attempts[0]),
        after_evidence=_file(now, attempts[1]),
        frames=frames,
    )


def _total(chain: ChainFacts | NotMeasured | None, attempt: AttemptRecord) -> int | NotMeasured:
    if chain is None:
        return NotMeasured(reason=f"attempt {attempt.id} has no call chain of this operation")
    return chain.total_bytes if isinstance(chain, ChainFacts) else chain


def _file(chain: ChainFacts | NotMeasured | None, attempt: AttemptRecord) -> str:
    return f"{attempt.folder}/{chain.path}" if isinstance(chain, ChainFacts) else ""


def _frames(then: ChainFacts, now: ChainFacts) -> tuple[FrameDifference, ...]:
    found = []
    for name in then.shares.keys() | now.shares.keys():
        before, after = then.shares.get(name, _NOTHING), now.shares.get(name, _NOTHING)
        found.append(
            FrameDifference(
                function=name,
                place=after.place or before.place,
                before_bytes=before.bytes,
                after_bytes=after.bytes,
                before_frames=before.frames,
                after_frames=after.frames,
                change=_change(before, after),
            )
        )
    return tuple(sorted(found, key=lambda f: (-abs(f.by_bytes), f.function)))


def _change(before: Share, after: Share) -> Change:
    if not before.frames:
        return Change.APPEARED
    if not after.frames:
        return Change.GONE
    by = after.bytes - before.bytes
    if not by and before.frames == after.frames:
        return Change.SAME
    if before.frames == after.frames and abs(by) < ALIGNMENT_BYTES:
        return Change.NOISE
    return Change.MORE if by > 0 else Change.LESS
