"""Who was on the stack at a death: the chain behind it, from what the tracer kept of the thread."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

from reactivate.documents import read_json
from reactivate.errors import MeasurementError, ReactivateError
from reactivate.evidence import Address
from reactivate.instrument.chain import Chain, Frame, Row, fold
from reactivate.instrument.code_names import Named, name_codes
from reactivate.instrument.death import Cause, classify, fault_behind
from reactivate.instrument.frozen_stack import MOST_FRAMES, Code, Record, Walk, read_record, walk
from reactivate.target.model import Fault
from reactivate.target.snapshot import LATEST, write_document

_KEPT = 64
"""Frames, and folded rows, of each end of the chain in the evidence file; all are in the sums."""

_THREAD_STARTS = frozenset({"clone", "__clone", "clone3", "__clone3"})
_RED_ZONE_BYTES = 128


class PackedFrames(Sequence[Frame]):
    """A chain's frames, made when they are looked at: a hundred thousand take two megabytes."""

    def __init__(self, kinds: list[Frame], which: array[int], pointers: array[int], end: int):
        self._kinds, self._which, self._pointers, self._end = kinds, which, pointers, end

    def __len__(self) -> int:
        return len(self._which)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        if isinstance(index, slice):
            return tuple(self._frame(at) for at in range(*index.indices(len(self))))
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError("no such frame")
        return self._frame(at)

    def __iter__(self) -> Iterator[Frame]:
        return map(self._frame, range(len(self)))

    def _frame(self, at: int) -> Frame:
        kind, sp = self._kinds[self._which[at]], self._pointers[at]
        above = self._pointers[at + 1] if at + 1 < len(self) else self._end
        return Frame(
            function=kind.function,
            file=kind.file,
            line=kind.line,
            module=kind.module,
            offset=kind.offset,
            sp=Address(sp),
            # An inlined frame has the stack pointer of the one that it was inlined into.
            size_bytes=above - sp,
            inlined=kind.inlined,
        )


def unwind(record_path: Path, *, most_frames: int = MOST_FRAMES) -> Chain:
    """The whole call chain at a death. Takes about half a second for 100,000 frames; blocks.

    Args:
        record_path: `Fault.autopsy`, or `death.json`.
        most_frames: where the walk gives up; the chain then says so in `stopped`.

    Raises:
        MeasurementError: nothing can be read of it.
    """
    record = read_record(record_path)
    walked = walk(record, most_frames=most_frames)
    if not walked.numbers:
        raise MeasurementError("the stack of a death has no frame", why=walked.stopped)
    return _chain(record, walked, name_codes(record, walked.codes))


def _chain(record: Record, walked: Walk, named: list[tuple[Named, ...]]) -> Chain:
    kinds: list[Frame] = []
    of_code: list[range] = []
    for code, group in zip(walked.codes, named, strict=True):
        of_code.append(range(len(kinds), len(kinds) + len(group)))
        kinds += [_kind(code, one) for one in group]
    which, pointers = array("I"), array("Q")
    for number, sp in zip(walked.numbers, walked.pointers, strict=True):
        own = of_code[number]
        which.extend(own)
        pointers.extend([sp] * len(own))
    deepest = _deepest(record)
    if deepest < pointers[0]:
        for at in of_code[walked.numbers[0]]:
            pointers[at - of_code[walked.numbers[0]].start] = deepest
    outermost = pointers[-1]
    start = record.stack_end
    if record.main and outermost <= record.thread_start <= record.stack_end:
        start = record.thread_start
    elif not walked.stopped or kinds[which[-1]].function in _THREAD_STARTS:
        start = Address(outermost)
    # Nothing is known of what lies above the last frame that was found.
    end = outermost if walked.stopped else max(start, outermost)
    return Chain(
        frames=PackedFrames(kinds, which, pointers, end),
        deepest=deepest,
        start=start,
        top=record.stack_end,
        stopped=walked.stopped,
    )


def _kind(code: Code, named: Named) -> Frame:
    return Frame(
        function=named.function,
        file=named.file,
        line=named.line,
        module=code.path,
        offset=code.offset,
        sp=Address(0),
        size_bytes=0,
        inlined=named.inlined,
    )


def _deepest(record: Record) -> Address:
    """The stack pointer, or the fault just below it: a call pushes before it moves."""
    sp, address = record.stack_pointer, record.address
    if address is not None and sp - _RED_ZONE_BYTES <= address < sp:
        return address
    return sp


async def explain_death(
    returncode: int | None, faults: Sequence[Fault], said: str = "", *, oom_kills: int = 0
) -> Cause:
    """Classify a death and add the call chain, where the tracer kept what it takes.

    The chain is also written into `death.json` in the tracer's folder. Never fails: without a
    chain, `Cause.chain_missing` says why.

    Args:
        returncode: as for `classify`.
        faults: as for `classify`.
        said: as for `classify`.
        oom_kills: as for `classify`.
    """
    import trio

    return await trio.to_thread.run_sync(
        partial(explain_death_now, returncode, faults, said, oom_kills=oom_kills)
    )


def explain_death_now(
    returncode: int | None, faults: Sequence[Fault], said: str = "", *, oom_kills: int = 0
) -> Cause:
    """`explain_death` for callers that may block."""
    cause = classify(returncode, faults, said, oom_kills=oom_kills)
    fault = None if returncode is None else fault_behind(-returncode, faults)
    if fault is None:
        return replace(cause, chain_missing="no thread was stopped before the end")
    if fault.autopsy is None:
        asked = fault.unexplained or "no snapshot of the stack was asked for"
        return replace(cause, chain_missing=cause.chain_missing or asked)
    try:
        chain = unwind(fault.autopsy)
        cause = replace(cause, chain=chain)
        _add_to_record(fault.autopsy, cause, chain)
    except (ReactivateError, OSError, ValueError) as error:
        why = f"{error.what}: {error.why}" if isinstance(error, ReactivateError) else str(error)
        return replace(cause, chain_missing=why)
    return cause


def _add_to_record(path: Path, cause: Cause, chain: Chain) -> None:
    """death.json then tells of the death that counts, with its chain."""
    document = read_json(path)
    document["kind"] = cause.kind
    document["text"] = cause.text
    document["chain"] = chain_document(chain)
    write_document(path.with_name(LATEST), document)


def chain_document(chain: Chain) -> dict[str, Any]:
    """A chain for an evidence file: its sums, its folded rows, and the frames at both ends.

    Of very many rows (a recursion without a regular ring) those in the middle are left out, with
    their number and their bytes.
    """
    rows, frames = fold(chain), chain.frames
    middle = rows[_KEPT:-_KEPT]
    return {
        "frames": len(frames),
        "total_bytes": chain.total_bytes,
        "attributed_bytes": chain.attributed_bytes,
        "stopped": chain.stopped,
        "rows": len(rows),
        "left_out_rows": len(middle),
        "left_out_bytes": sum(row.size_bytes for row in middle),
        "folded": [_row_document(row) for row in _ends(rows)],
        "first_frames": [_frame_document(frame) for frame in frames[:_KEPT]],
        "last_frames": [
            _frame_document(frame) for frame in frames[max(_KEPT, len(frames) - _KEPT) :]
        ],
    }


def _ends(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return rows if len(rows) <= 2 * _KEPT else (*rows[:_KEPT], *rows[-_KEPT:])


def _row_document(row: Row) -> dict[str, Any]:
    return {
        "depth_bytes": row.depth_bytes,
        "size_bytes": row.size_bytes,
        "location": row.location,
        "place": row.place,
        "functions": row.functions,
        "count": row.count,
    }


def _frame_document(frame: Frame) -> dict[str, Any]:
    return {
        "function": frame.name,
        "place": frame.place,
        "sp": frame.sp,
        "size_bytes": frame.size_bytes,
        "inlined": frame.inlined,
    }
