"""Painting and scanning against programs that are no filesystems: depths, threads, holes."""

from __future__ import annotations

from collections.abc import Iterator

from reactivate.evidence import Dimension
from reactivate.instrument.stackwatch import StackWatch, ThreadDepth
from reactivate.procfs import PAGE_BYTES
from reactivate.run.calibrate.programs import OPTIMISED, Programs, asked
from reactivate.run.calibrate.record import Case, Series

_KIB = 1024
_MIB = 1024 * _KIB
_MARGIN_BYTES = 64 * _KIB
_DEPTHS = (64, 256, _KIB, 4 * _KIB, 64 * _KIB, _MIB, 4 * _MIB)
_DEEPEST = 8 * _MIB
_HOLES = (4 * _KIB, 256 * _KIB, 2 * _MIB)

# Each thread lives for one round and ends in the next. What it writes is deeper or shallower than
# what the thread before it wrote to the same stack.
_ROUNDS = (16 * _KIB, 64 * _KIB, _MIB, 4 * _KIB, 64)


def watermark_series(programs: Programs) -> tuple[Series, ...]:
    """Every depth, on every kind of thread; blocks."""
    exact: list[Case] = []
    holes: list[Case] = []
    page: list[Case] = []
    used: list[Case] = []
    for optimised in OPTIMISED:
        for thread in ("main", "pthread"):
            exact += _known(programs, optimised, thread)
            holes += _with_holes(programs, optimised, thread)
        for case, deeper in _short_lived(programs, optimised):
            (page if deeper else used).append(case)
    return (
        Series(
            name="main thread and pthread, O0 and O2, 64 B to 8 MiB",
            dimension=Dimension.BYTES,
            cases=tuple(exact),
        ),
        Series(
            name="blocks with unwritten holes",
            dimension=Dimension.BYTES,
            cases=tuple(holes),
        ),
        Series(
            name="short-lived threads, deeper than the one before",
            dimension=Dimension.BYTES,
            cases=tuple(page),
            most=PAGE_BYTES - 1,
            constant="an upper bound: whole pages",
        ),
        Series(
            name="short-lived threads on a stack used more deeply before",
            dimension=Dimension.BYTES,
            cases=tuple(used),
            most=max(_ROUNDS) + PAGE_BYTES,
            constant="an upper bound: what the thread before has left",
        ),
    )


def _known(programs: Programs, optimised: str, thread: str) -> Iterator[Case]:
    program = programs.path("depth", optimised)
    with asked(program, thread) as process, StackWatch(process.pid) as watch:
        room = next(s.limit_bytes for s in watch.stacks() if s.main is (thread == "main"))
        for size in (*_DEPTHS, min(_DEEPEST, room) - _MARGIN_BYTES):
            if size > room - _MARGIN_BYTES:
                continue
            for _ in range(2):  # into fresh pages, then onto paint
                watch.paint()
                _, lowest = process.ask(str(size))
                found = _of(watch.scan(), main=thread == "main")
                yield _case(f"{size:,} bytes, {thread}, {optimised}", found, int(lowest, 16))


def _with_holes(programs: Programs, optimised: str, thread: str) -> Iterator[Case]:
    program = programs.path("depth", optimised)
    with asked(program, thread) as process, StackWatch(process.pid) as watch:
        for size in _HOLES:
            watch.paint()
            _, lowest = process.ask(f"{size} h")
            found = _of(watch.scan(), main=thread == "main")
            yield _case(f"{size:,} bytes with a hole, {thread}, {optimised}", found,
                        int(lowest, 16))  # fmt: skip


def _short_lived(programs: Programs, optimised: str) -> Iterator[tuple[Case, bool]]:
    """Cases, and whether the thread went deeper than those before it on the same stack."""
    program = programs.path("shortlived", optimised)
    with asked(program) as process, StackWatch(process.pid) as watch:
        deepest = 0
        for size in _ROUNDS:
            process.ask("0")  # the thread before ends; glibc keeps its stack
            watch.paint()
            tid, lowest = process.ask(str(size))
            found = next(d for d in watch.scan() if d.tid == int(tid))
            name = f"{size:,} bytes, a thread of its own, {optimised}"
            case = _case(name, found, int(lowest, 16), at_most=True)
            yield case, size > deepest
            deepest = max(deepest, size)


def _of(depths: tuple[ThreadDepth, ...], *, main: bool) -> ThreadDepth:
    return next(depth for depth in depths if depth.main is main)


def _case(name: str, found: ThreadDepth, lowest: int, *, at_most: bool = False) -> Case:
    top = found.depth_bytes + (found.deepest or 0)
    said = found.at_most_bytes if at_most else found.depth_bytes
    # Where nothing was found to have changed there is no top either: the whole depth is missing.
    return Case(name=name, truth=top - lowest if found.deepest else lowest, found=said)
