"""Painting and scanning at the level of bytes, on a sleeping program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from known_depth import Program, running

from reactivate import procfs
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.paint import (
    PATTERNS,
    RED_ZONE_BYTES,
    ZONE_BYTES,
    StackMemory,
    ThreadStack,
    paint,
    scan,
    scan_fresh,
)
from tests.waiting import until


def reading(pid: Pid, tid: Tid) -> procfs.BlockedCall:
    """The read(2) that a thread sleeps in, once it does."""
    calls: list[procfs.BlockedCall] = []

    def blocked() -> bool:
        call = procfs.task_syscall(pid, tid)
        calls[:] = [] if call is None or call.number != 0 else [call]
        return bool(calls)

    until(blocked, "the thread sleeps in read()")
    return calls[0]


def asleep(program: Program) -> ThreadStack:
    """The program's main stack; returns once it sleeps in its read()."""
    tid = Tid(program.pid)
    call = reading(program.pid, tid)
    return ThreadStack(
        tid=tid,
        start_ticks=procfs.thread_start_ticks(program.pid, tid),
        main=True,
        mapping=procfs.main_stack(program.pid),
        limit_bytes=procfs.stack_limit_bytes(program.pid),
        sp=call.sp,
    )


def asleep_worker(program: Program) -> ThreadStack:
    """The same of the program's only worker."""
    tid = procfs.thread_ids(program.pid)[1]
    call = reading(program.pid, tid)
    found = procfs.mapping_containing(procfs.memory_mappings(program.pid), call.sp)
    assert found is not None
    return ThreadStack(
        tid=tid,
        start_ticks=procfs.thread_start_ticks(program.pid, tid),
        main=False,
        mapping=procfs.StackMapping(start=found.start, end=found.end),
        limit_bytes=found.size_bytes,
        sp=call.sp,
    )


def write(program: Program, address: int, value: int) -> None:
    """Change one byte of the program's memory."""
    with Path(f"/proc/{program.pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(address)
        memory.write(bytes([value]))


@pytest.fixture
def sleeper() -> Iterator[tuple[Program, StackMemory]]:
    with running("depth", "main") as program:
        asleep(program)
        with StackMemory(program.pid) as memory:
            yield program, memory


def test_no_pattern_is_zero_and_they_differ() -> None:
    assert 0 not in PATTERNS
    assert len(set(PATTERNS)) == len(PATTERNS) == 2


def test_untouched_paint_is_found_whole(sleeper: tuple[Program, StackMemory]) -> None:
    program, memory = sleeper
    stack = asleep(program)
    painted = paint(memory, stack, pattern=0)
    found = scan(memory, painted, procfs.main_stack(program.pid))
    assert found.address is None
    assert found.floor is None
    assert painted.high == stack.sp - RED_ZONE_BYTES


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 65535, -1])
def test_a_single_changed_byte_is_found_wherever_it_is(
    sleeper: tuple[Program, StackMemory], offset: int
) -> None:
    program, memory = sleeper
    painted = paint(memory, asleep(program), pattern=0)
    at = (painted.low if offset >= 0 else painted.high) + offset
    write(program, at, PATTERNS[1])
    found = scan(memory, painted, procfs.main_stack(program.pid))
    assert (found.address, found.floor) == (at, at)


def test_a_program_that_writes_the_pattern_is_caught_by_the_other_one(
    sleeper: tuple[Program, StackMemory],
) -> None:
    program, memory = sleeper
    stack = asleep(program)
    painted = paint(memory, stack, pattern=0)
    at = painted.high - 1000
    write(program, at, PATTERNS[0])
    assert scan(memory, painted, stack.mapping).address is None
    painted = paint(memory, stack, pattern=1, previous=painted)
    write(program, at, PATTERNS[0])
    assert scan(memory, painted, stack.mapping).address == at


def test_the_stack_never_grows_by_painting(sleeper: tuple[Program, StackMemory]) -> None:
    program, memory = sleeper
    before = procfs.main_stack(program.pid)
    painted = None
    for turn in range(8):
        painted = paint(memory, asleep(program), pattern=turn % 2, previous=painted)
    assert procfs.main_stack(program.pid) == before
    assert painted is not None
    assert painted.low >= before.start


def test_the_zone_covers_all_that_was_touched_and_does_not_creep() -> None:
    with running("depth", "pthread") as program, StackMemory(program.pid) as memory:
        _, lowest = program.ask(str(3 << 20))
        stack = asleep_worker(program)
        painted = first = paint(memory, stack, pattern=0)
        for turn in (1, 0, 1):
            painted = paint(memory, stack, pattern=turn, previous=painted)
        assert painted.low == first.low
        touched = int(lowest, 16) - int(lowest, 16) % procfs.PAGE_BYTES
        assert first.low == touched - ZONE_BYTES
        assert first.low > stack.mapping.start


def test_growth_below_the_paint_is_bounded_to_one_page(
    sleeper: tuple[Program, StackMemory],
) -> None:
    program, memory = sleeper
    painted = paint(memory, asleep(program), pattern=0)
    _, lowest = program.ask(str(1 << 20))
    asleep(program)
    found = scan(memory, painted, procfs.main_stack(program.pid))
    truth = int(lowest, 16)
    assert found.address == truth
    assert found.floor == truth - truth % procfs.PAGE_BYTES
    assert not found.exact


def test_zeros_in_fresh_pages_are_within_the_interval(
    sleeper: tuple[Program, StackMemory],
) -> None:
    program, memory = sleeper
    painted = paint(memory, asleep(program), pattern=0)
    _, lowest = program.ask(f"{1 << 20} z")
    asleep(program)
    found = scan(memory, painted, procfs.main_stack(program.pid))
    truth = int(lowest, 16)
    assert found.floor == truth - truth % procfs.PAGE_BYTES
    assert found.address is not None
    assert found.address > truth  # that much is invisible: hence the interval
    # Painted, the same zeros are seen to the byte.
    painted = paint(memory, asleep(program), pattern=0, previous=painted)
    base, lowest = program.ask(f"{1 << 20} z")
    assert int(base, 16) - int(lowest, 16) == 1 << 20
    asleep(program)
    found = scan(memory, painted, procfs.main_stack(program.pid))
    assert (found.address, found.exact) == (int(lowest, 16), True)


def test_a_stack_that_was_never_painted_gives_an_interval() -> None:
    with running("depth", "main") as program, StackMemory(program.pid) as memory:
        _, lowest = program.ask(str(300_000))
        found = scan_fresh(memory, asleep(program))
        truth = int(lowest, 16)
        assert found.address == truth
        assert found.floor == truth - truth % procfs.PAGE_BYTES


def test_memory_of_a_dead_process_is_an_error() -> None:
    with running("depth", "main") as program, StackMemory(program.pid) as memory:
        stack = asleep(program)
        program.process.kill()
        program.process.wait()
        with pytest.raises(ProcessLookupError):
            paint(memory, stack, pattern=0)
        with pytest.raises(ProcessLookupError):
            memory.first_nonzero(Address(stack.sp - 4096), Address(stack.sp))
