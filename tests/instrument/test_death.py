"""Each way to die is called what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import trio
from trace_programs import programs

from reactivate.evidence import Address, Tid
from reactivate.instrument.autopsy import explain_death_now
from reactivate.instrument.death import Cause, DeathKind, classify
from reactivate.procfs import STACK_GUARD_GAP_BYTES
from reactivate.target.death import log_tail
from reactivate.target.model import Fault
from reactivate.target.process import spawn
from tests.waiting import PATIENCE_SECONDS

LIMIT = 512 * 1024


def die(
    mode: str, folder: Path, limit: int = LIMIT, environment: dict[str, str] | None = None
) -> Cause:
    async def main() -> Cause:
        log = folder / "log"
        process = spawn(
            [str(programs() / "deaths"), mode],
            environment=environment or {},
            folder=folder,
            log=log,
            stack_limit_bytes=limit,
            traced=True,
        )
        try:
            await process.begin()
            assert await process.wait(PATIENCE_SECONDS)
            return classify(process.returncode(), process.faults(), log_tail(log))
        finally:
            process.release()

    return trio.run(main)


@pytest.mark.parametrize("mode", ["overflow", "leap"])
def test_main_thread_overflow(mode: str, tmp_path: Path) -> None:
    cause = die(mode, tmp_path)
    assert cause.kind is DeathKind.OVERFLOW
    assert (cause.signal, cause.thread) == ("SIGSEGV", "main")
    assert cause.stack is not None and cause.address is not None
    assert cause.distance_bytes == cause.stack.start - cause.address
    assert 0 < cause.distance_bytes <= STACK_GUARD_GAP_BYTES
    assert cause.stack.size_bytes <= LIMIT


def test_thread_overflow(tmp_path: Path) -> None:
    cause = die("thread", tmp_path)
    assert cause.kind is DeathKind.OVERFLOW
    assert cause.thread == "worker"
    assert 0 < cause.distance_bytes <= 4096


def test_a_stack_too_small_to_start_on_is_an_overflow_wherever_the_random_start_leaves_it(
    tmp_path: Path,
) -> None:
    """The kernel puts the first frame up to 8 KiB lower from run to run: all of this stack."""
    seen: dict[str, Cause] = {}
    for _ in range(60):
        cause = die("exit", tmp_path, 8192, {"FILL": "x" * 4500})
        assert cause.kind is DeathKind.OVERFLOW, cause.text
        assert (cause.signal, cause.thread, cause.kernel) == ("SIGSEGV", "main", False)
        seen["below" if cause.distance_bytes else "start"] = cause
        if len(seen) == 2:
            break
    assert "below its stack of 8,192 bytes" in seen["below"].text
    assert "no room for the program's first frame on its stack of 8,192 bytes" in seen["start"].text
    assert seen["start"].address is None


@pytest.mark.parametrize(
    ("mode", "kind", "signal", "words"),
    [
        ("null", "segfault", "SIGSEGV", "at address 0x0, which is not below its stack"),
        ("below", "segfault", "SIGSEGV", "which is not below its stack"),
        ("sent", "killed", "SIGSEGV", "another process or it itself had sent"),
        ("abort", "abort", "SIGABRT", "was killed by SIGABRT"),
        ("kill", "killed", "SIGKILL", "was killed by SIGKILL"),
        ("exit", "exit", "", 'exited with status 3; its last words: "deaths: asked to fail"'),
    ],
)
def test_everything_else_is_no_overflow(
    mode: str, kind: str, signal: str, words: str, tmp_path: Path
) -> None:
    cause = die(mode, tmp_path)
    assert cause.kind is DeathKind(kind)
    assert cause.signal == signal
    assert words in cause.text
    assert cause.distance_bytes == 0


MAPS = """\
55d000000000-55d000001000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7f0000001000-7f0000801000 rw-p 00000000 00:00 0
7ffe00000000-7ffe00100000 rw-p 00000000 00:00 0 [stack]
"""
LOW = 0x7FFE_0000_0000


def fault(**changes: object) -> Fault:
    values = Fault(
        signal=11,
        code=1,
        address=Address(LOW - 8),
        tid=Tid(1),
        stack_pointer=Address(LOW),
        instruction_pointer=Address(0x1000),
        maps=MAPS,
    )
    return dataclasses.replace(values, **changes)  # type: ignore[arg-type]


def kind(*faults: Fault, returncode: int | None = -11) -> DeathKind:
    return classify(returncode, faults).kind


def test_a_call_at_the_lowest_address_overflows() -> None:
    assert kind(fault()) is DeathKind.OVERFLOW


def test_a_wild_write_below_the_stack_from_a_shallow_frame_does_not() -> None:
    assert kind(fault(stack_pointer=Address(LOW + 0x80000))) is DeathKind.SEGFAULT


def test_a_frame_far_below_the_fault_does_and_one_above_it_does_not() -> None:
    deep = Address(LOW - 600_000)
    assert kind(fault(address=Address(LOW - 500_000), stack_pointer=deep)) is DeathKind.OVERFLOW
    assert kind(fault(address=Address(LOW - 700_000), stack_pointer=deep)) is DeathKind.SEGFAULT


def test_the_guard_of_a_thread() -> None:
    guard = Address(0x7F00_0000_0FF8)
    assert kind(fault(address=guard, stack_pointer=guard, code=2)) is DeathKind.OVERFLOW
    # The same address with the registers of a thread that is on another stack.
    assert kind(fault(address=guard, stack_pointer=Address(LOW + 64))) is DeathKind.SEGFAULT


def test_without_registers_the_gap_decides() -> None:
    near, far = Address(LOW - 8), Address(LOW - STACK_GUARD_GAP_BYTES - 8)
    assert kind(fault(address=near, stack_pointer=None)) is DeathKind.OVERFLOW
    assert kind(fault(address=far, stack_pointer=None)) is DeathKind.SEGFAULT


def test_a_signal_that_was_sent_or_forced_proves_nothing() -> None:
    assert kind(fault(code=0)) is DeathKind.KILLED
    assert kind(fault(code=0x80)) is DeathKind.SEGFAULT
    assert kind(fault(address=None)) is DeathKind.SEGFAULT


def test_a_runtime_that_reports_the_overflow_and_aborts() -> None:
    abort = fault(signal=6, code=-6, address=None)
    assert kind(fault(), abort, returncode=-6) is DeathKind.OVERFLOW
    assert kind(abort, returncode=-6) is DeathKind.ABORT
    # Of another thread, or of something else: then it does not explain the abort.
    other = fault(tid=Tid(2))
    assert kind(other, abort, returncode=-6) is DeathKind.ABORT
    wild = fault(address=Address(0x10))
    assert kind(wild, abort, returncode=-6) is DeathKind.ABORT


def test_a_survived_fault_does_not_explain_a_later_kill() -> None:
    assert kind(fault(), returncode=-9) is DeathKind.KILLED
    assert kind(fault(), returncode=1) is DeathKind.EXIT
    assert kind(fault(), returncode=None) is DeathKind.UNKNOWN


def test_a_write_into_read_only_memory_is_no_overflow() -> None:
    maps = MAPS.replace("7f0000000000-7f0000001000 ---p", "7f0000000000-7f0000001000 r--p")
    at = Address(0x7F00_0000_0FF8)
    assert kind(fault(address=at, stack_pointer=at, maps=maps)) is DeathKind.SEGFAULT


def test_an_untraced_fault_may_have_been_anything() -> None:
    assert kind(returncode=-11) is DeathKind.UNKNOWN
    assert kind(returncode=-6) is DeathKind.ABORT


def test_a_kill_for_want_of_memory_needs_the_kernels_count() -> None:
    assert classify(-9, (), oom_kills=1).kind is DeathKind.OOM_KILL
    assert classify(-9, (), oom_kills=0).kind is DeathKind.KILLED
    # Another process of the group was killed: that is not what this one died of.
    assert classify(-15, (), oom_kills=1).kind is DeathKind.KILLED
    assert classify(1, (), oom_kills=1).kind is DeathKind.EXIT


def test_a_message_of_the_runtime_is_quoted_before_the_last_line() -> None:
    said = "x.c:3: f: Assertion `a == b' failed.\nunmounting\n"
    assert 'its last words: "x.c:3: f: Assertion `a == b\' failed."' in classify(-6, (), said).text


def forced(**changes: object) -> Fault:
    """The kernel's answer to a signal that it could not deliver."""
    values = {"code": 0x80, "address": Address(0), "delivering": 14, "stack_limit_bytes": 0x100000}
    return fault(**{"stack_pointer": Address(LOW + 600), **values, **changes})


def test_a_signal_without_room_is_an_overflow_only_at_the_end_of_the_stack() -> None:
    assert kind(forced()) is DeathKind.OVERFLOW
    # It was not delivering, it was an address that no process can have.
    assert kind(forced(delivering=0)) is DeathKind.SEGFAULT
    # The stack could still have grown.
    assert kind(forced(stack_limit_bytes=0x800000)) is DeathKind.SEGFAULT
    # There was room.
    assert kind(forced(stack_pointer=Address(LOW + 0x80000))) is DeathKind.SEGFAULT
    # A thread's stack ends where its guard begins.
    assert kind(forced(stack_pointer=Address(0x7F00_0000_1200))) is DeathKind.OVERFLOW


def test_a_start_without_room_is_told_from_other_forced_signals() -> None:
    maps = MAPS.replace("rw-p 00000000 00:00 0 [heap]", "r-xp 00000000 00:00 0 [vdso]")
    old_program = Address(0x7EFF_0000_1234)

    def at_start(**changes: object) -> Fault:
        values = {"delivering": 0, "instruction_pointer": old_program, "maps": maps}
        return forced(**{**values, **changes})

    def started(**changes: object) -> DeathKind:
        return kind(at_start(**changes))

    assert started() is DeathKind.OVERFLOW
    assert "had not begun" in explain_death_now(-11, [at_start()]).chain_missing
    # It was in code of its own: a forbidden instruction, an address that no process can have.
    assert started(instruction_pointer=Address(0x55D0_0000_0100)) is DeathKind.SEGFAULT
    assert started(instruction_pointer=Address(0x8000_0000_0000_1234)) is DeathKind.SEGFAULT
    # The stack could still have grown, so something else was missing.
    assert started(stack_limit_bytes=0x800000) is DeathKind.SEGFAULT
    assert started(stack_limit_bytes=None) is DeathKind.SEGFAULT
    # The kernel had not yet come to the stack.
    assert started(maps=MAPS) is DeathKind.SEGFAULT
    # A processor whose registers are not read; a signal that a process sent.
    assert started(instruction_pointer=None) is DeathKind.SEGFAULT
    assert started(code=0) is DeathKind.KILLED
