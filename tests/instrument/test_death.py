"""Each way to die is called what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import trio
from trace_programs import programs

from reactivate.evidence import Address, Tid
from reactivate.instrument.death import Cause, DeathKind, classify
from reactivate.procfs import STACK_GUARD_GAP_BYTES
from reactivate.target.death import log_tail
from reactivate.target.model import Fault
from reactivate.target.process import spawn

LIMIT = 512 * 1024


def die(mode: str, folder: Path) -> Cause:
    async def main() -> Cause:
        log = folder / "log"
        process = spawn(
            [str(programs() / "deaths"), mode],
            environment={},
            folder=folder,
            log=log,
            stack_limit_bytes=LIMIT,
            traced=True,
        )
        try:
            await process.begin()
            assert await process.wait(20)
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


@pytest.mark.parametrize(
    ("mode", "signal", "words"),
    [
        ("null", "SIGSEGV", "at address 0x0, which is not below its stack"),
        ("below", "SIGSEGV", "which is not below its stack"),
        ("sent", "SIGSEGV", "another process or it itself had sent"),
        ("abort", "SIGABRT", "was killed by SIGABRT"),
        ("kill", "SIGKILL", "was killed by SIGKILL"),
        ("exit", "", 'exited with status 3; its last words: "deaths: asked to fail"'),
    ],
)
def test_everything_else_is_no_overflow(mode: str, signal: str, words: str, tmp_path: Path) -> None:
    cause = die(mode, tmp_path)
    assert cause.kind is DeathKind.OTHER
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
    assert kind(fault(stack_pointer=Address(LOW + 0x80000))) is DeathKind.OTHER


def test_a_frame_far_below_the_fault_does_and_one_above_it_does_not() -> None:
    deep = Address(LOW - 600_000)
    assert kind(fault(address=Address(LOW - 500_000), stack_pointer=deep)) is DeathKind.OVERFLOW
    assert kind(fault(address=Address(LOW - 700_000), stack_pointer=deep)) is DeathKind.OTHER


def test_the_guard_of_a_thread() -> None:
    guard = Address(0x7F00_0000_0FF8)
    assert kind(fault(address=guard, stack_pointer=guard, code=2)) is DeathKind.OVERFLOW
    # The same address with the registers of a thread that is on another stack.
    assert kind(fault(address=guard, stack_pointer=Address(LOW + 64))) is DeathKind.OTHER


def test_without_registers_the_gap_decides() -> None:
    near, far = Address(LOW - 8), Address(LOW - STACK_GUARD_GAP_BYTES - 8)
    assert kind(fault(address=near, stack_pointer=None)) is DeathKind.OVERFLOW
    assert kind(fault(address=far, stack_pointer=None)) is DeathKind.OTHER


def test_a_signal_that_was_sent_or_forced_proves_nothing() -> None:
    assert kind(fault(code=0)) is DeathKind.OTHER
    assert kind(fault(code=0x80)) is DeathKind.OTHER
    assert kind(fault(address=None)) is DeathKind.OTHER


def test_a_runtime_that_reports_the_overflow_and_aborts() -> None:
    abort = fault(signal=6, code=-6, address=None)
    assert kind(fault(), abort, returncode=-6) is DeathKind.OVERFLOW
    assert kind(abort, returncode=-6) is DeathKind.OTHER


def test_a_survived_fault_does_not_explain_a_later_kill() -> None:
    assert kind(fault(), returncode=-9) is DeathKind.OTHER
    assert kind(fault(), returncode=1) is DeathKind.OTHER
    assert kind(fault(), returncode=None) is DeathKind.OTHER


def test_a_write_into_read_only_memory_is_no_overflow() -> None:
    maps = MAPS.replace("7f0000000000-7f0000001000 ---p", "7f0000000000-7f0000001000 r--p")
    at = Address(0x7F00_0000_0FF8)
    assert kind(fault(address=at, stack_pointer=at, maps=maps)) is DeathKind.OTHER
