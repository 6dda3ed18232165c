"""Wait at the deepest address of a thread's stack, keep its registers and stack there, let go.

The process is traced for as long as one operation takes (see `target.watch`); the chain is unwound
afterwards, from the snapshot.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import trio

from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Pid
from reactivate.instrument.autopsy import unwind
from reactivate.instrument.chain import Chain
from reactivate.instrument.contract import Availability
from reactivate.target import debug_registers, snapshot
from reactivate.target.watch import Tracer
from reactivate.target.watcher import Watch, watch_on

_READY_SECONDS = 60.0
"""A process may have to start. A thread that does not stop is told by it, after STOP_SECONDS."""


class Catch:
    """Watchpoints on a process; from `catching`."""

    def __init__(self, watch: Watch, addresses: tuple[Address, ...]) -> None:
        self._watch = watch
        self.addresses = addresses

    async def armed(self) -> None:
        """Wait until the watchpoints are set.

        Raises:
            MeasurementError: they cannot be set.
        """
        armed = await trio.to_thread.run_sync(self._watch.await_armed, _READY_SECONDS)
        if self._watch.failure:
            raise MeasurementError(
                "the watchpoints cannot be set",
                why=self._watch.failure,
                hint="reactivate doctor; for a thread that is busy: ps -L -o tid,stat,wchan PID",
            )
        if not armed:
            raise MeasurementError(
                "the watchpoints were not set in time",
                why=f"whoever watches was not ready within {_READY_SECONDS:g} s",
                hint="type the command again when the machine is less busy",
            )

    async def result(self) -> Chain | None:
        """End the watch and return the chain at the deepest address that was hit.

        Call it when the operation is over: a watchpoint that was not hit will not be.

        Raises:
            MeasurementError: tracing failed; the process may be damaged and should be given up.
        """
        await trio.to_thread.run_sync(self._watch.finish)
        if self._watch.failure:
            raise MeasurementError("watching failed", why=self._watch.failure)
        caught = self._watch.caught
        if caught is None:
            return None
        address, record = caught
        chain = await trio.to_thread.run_sync(unwind, record)
        return replace(chain, deepest=address)


@asynccontextmanager
async def catching(
    pid: Pid, addresses: Sequence[Address], folder: Path, stem: str, *, first: bool = False
) -> AsyncIterator[Catch]:
    """Watchpoints on a process that runs; gone on leaving.

    Args:
        pid: the process; it runs on as soon as they are set.
        addresses: the one that is wanted first; more than four are not watched.
        folder: for the snapshot.
        stem: beginning of its name; the snapshot is removed on leaving.
        first: whether the first hit is as good as any: the addresses are of several stacks.
    """
    wanted = tuple(addresses[: debug_registers.MOST_WATCHPOINTS])
    watch = watch_on(pid, wanted, folder, stem, first=first)
    try:
        watch.start()
        yield Catch(watch, wanted)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(watch.finish)
        snapshot.forget(folder, stem)
        (folder / snapshot.LATEST).unlink(missing_ok=True)


_CHILD = """
import array, os
here = array.array("Q", [0])
print(here.buffer_info()[0], flush=True)
os.read(0, 1)
here[0] = 1
print("written", flush=True)
os.read(0, 1)
"""
"""Tells an address, and writes to it after a byte has come. Not on its stack: nothing is kept."""


def watchpoint_availability() -> Availability:
    """Whether threads may be traced here, and a debug register is to be had."""
    if not debug_registers.supported():
        return Availability(
            ready=False, detail="the debug registers of this processor are not known (x86-64 only)"
        )
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() == "3":
        return Availability(ready=False, detail="ptrace is forbidden on this machine until reboot")
    refusal = _trial()
    if refusal:
        return Availability(
            ready=False,
            detail=f"a watchpoint cannot be set: {refusal}",
            hint="run as root, or allow ptrace in the container (--cap-add SYS_PTRACE)",
        )
    if scope.exists() and scope.read_text().strip() in "12" and os.geteuid() != 0:
        return Availability(
            ready=False,
            detail="other processes may not be traced (kernel.yama.ptrace_scope)",
            hint="sudo sysctl kernel.yama.ptrace_scope=0",
        )
    return Availability(ready=True, detail="ready")


@cache
def _trial() -> str:
    """Whether a process of our own stops at a watchpoint; why not, or "". Once per process."""
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            address = Address(int(child.stdout.readline()))
            tracer = Tracer(Pid(child.pid), (address,), Path(), "")
            tracer.start()
            tracer.armed.wait(_READY_SECONDS)
            if not tracer.failure:
                child.stdin.write(b"x")
                child.stdout.readline()
            tracer.finish()
        except (OSError, ValueError) as error:
            return f"the trial did not run: {error}"
        finally:
            child.kill()
    if tracer.failure:
        return tracer.failure
    return "" if tracer.hits else "it is granted, but nothing stops at it"
