"""How deep did each thread of a process go between two moments of rest? Any process, not only FUSE.

    with StackWatch(pid) as watch:
        watch.paint()
        ...                      # make the process do something
        for depth in watch.scan():
            print(depth.tid, depth.depth_bytes)

It costs the process nothing while it works: painting is over before, scanning begins after.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from types import TracebackType

from reactivate.errors import MeasurementError, PrivilegeError, ThreadBusyError
from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.hold import can_hold, held
from reactivate.instrument.paint import (
    PATTERNS,
    Brush,
    Deepest,
    Paint,
    StackMemory,
    ThreadStack,
    planned,
    scan,
    scan_fresh,
)
from reactivate.instrument.sleep import Look, Sleepers, ThreadWatch
from reactivate.procfs import (
    MemoryMapping,
    StackMapping,
    main_stack_room_bytes,
    mapping_containing,
    parse_maps,
)

MOST_DISTURBANCES = 20
"""How often in a row painting may be disturbed by a waking thread before we give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadDepth:
    """What one thread did to its stack between `paint` and `scan`.

    Attributes:
        tid: the thread.
        start_ticks: its start time.
        main: whether it is the process's first thread.
        limit_bytes: how deep its stack can become.
        top: one past the highest address of its stack's mapping; depths count from here.
        idle_bytes: its depth while it slept, before.
        depth_bytes: its greatest depth, from the top of the mapping.
        below_idle_bytes: its greatest depth, from the sleeping stack pointer; 0 if nothing
            below the red zone changed.
        at_most_bytes: the depth is not more than this; equal to `depth_bytes` where exact.
        deepest: address of the deepest byte written, None if nothing changed.
        ran: whether the thread ran at all.
        stale: the stack was used by an earlier thread, whose bytes cannot be told from this
            one's: only `at_most_bytes` is true.
        note: what a reader must know of an inexact number, or "".
    """

    tid: Tid
    start_ticks: int
    main: bool
    limit_bytes: int
    top: Address
    idle_bytes: int
    depth_bytes: int
    below_idle_bytes: int
    at_most_bytes: int
    deepest: Address | None
    ran: bool
    stale: bool = False
    note: str = ""

    @property
    def exact(self) -> bool:
        """Whether `depth_bytes` is the truth, and not only the least or most it can be."""
        return self.depth_bytes == self.at_most_bytes and not self.stale


class StackWatch:
    """Paints and scans all stacks of one process; a context manager.

    Args:
        pid: the process. Needs ptrace access to it.
        connection: number of the FUSE connection it serves, None for any other process.
        deadline_seconds: how long to wait for all threads to sleep.

    Attributes:
        disturbed: how often a thread woke while its stack was painted, so that the paint was
            thrown away.
        ended: how many painted threads ended before they could be scanned.
        holds: whether threads that wake while they are painted are kept waiting until it is
            done. Without the privilege for that, such a thread may lose its frames and die.
    """

    def __init__(
        self, pid: Pid, *, connection: int | None = None, deadline_seconds: float = 5.0
    ) -> None:
        self.pid = pid
        self.disturbed = 0
        self.ended = 0
        self.holds = can_hold()
        self._memory = StackMemory(pid)
        self._sleepers = Sleepers(pid, connection=connection, deadline_seconds=deadline_seconds)
        self._resources = ExitStack()
        self._paints: dict[Tid, Paint] = {}
        self._looks: dict[Tid, Look] = {}
        self._maps = b""
        self._maps_path = f"/proc/{pid}/maps"
        self._turn = 0
        self._main_limit_bytes = 0

    def __enter__(self) -> StackWatch:
        try:
            self._resources.enter_context(self._memory)
            self._resources.enter_context(self._sleepers)
            self._main_limit_bytes = main_stack_room_bytes(self.pid)
        except PermissionError as error:
            self._resources.close()
            raise PrivilegeError(
                f"the stacks of process {self.pid} cannot be reached",
                why=f"{error.filename or 'the kernel'}: {error.strerror}; "
                "painting needs ptrace access to the process",
                hint="run as the same user or as root; see /proc/sys/kernel/yama/ptrace_scope",
            ) from error
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    @property
    def counts_requests(self) -> bool:
        """Whether unanswered FUSE requests are seen, not only running threads."""
        return self._sleepers.counts_requests

    def stacks(self) -> tuple[ThreadStack, ...]:
        """The stacks of all threads, once all sleep."""
        looks = self._sleepers.wait_idle(self._note_maps)
        return tuple(self._stack(tid, look) for tid, look in looks.items())

    def paint(self) -> None:
        """Wait until the process is idle and paint the stack of every thread.

        Raises:
            ThreadBusyError: a thread does not fall asleep, or wakes up again and again.
            ProcessLookupError: the process ended.
        """
        for _ in range(MOST_DISTURBANCES):
            looks = self._sleepers.wait_idle(self._note_maps)
            paints = self._planned(looks)
            if self._put_on(paints, looks) and self._sleepers.look() == looks:
                self._paints, self._looks = paints, looks
                return
            self._paints.clear()  # a thread that woke has left its marks in the paint
            self.disturbed += 1
        raise ThreadBusyError(
            f"process {self.pid} woke {MOST_DISTURBANCES} times while its stacks were painted",
            why="a thread with a short timer, or somebody else uses the process meanwhile",
            hint="stop what wakes it; nothing can be measured exactly meanwhile",
        )

    def scan(self) -> tuple[ThreadDepth, ...]:
        """Wait until the process is idle again and find how deep every thread went.

        Raises:
            ThreadBusyError: a thread does not fall asleep.
            ProcessLookupError: the process ended.
        """
        looks = self._sleepers.wait_idle()
        if len(looks) == len(self._looks) and not self._main_ran(looks):
            maps = self._maps  # a thread's stack does not move, and no new one is to be found
        else:
            maps = self._read_maps()
        self.ended += len(set(self._looks) - set(looks))
        return tuple(self._depth(tid, look, maps) for tid, look in looks.items())

    # -- painting --------------------------------------------------------------------------

    def _planned(self, looks: dict[Tid, Look]) -> dict[Tid, Paint]:
        self._turn = (self._turn + 1) % len(PATTERNS)
        paints = {}
        for tid, look in looks.items():
            previous = self._paints.get(tid)
            # A thread that has not run since it was painted still wears its paint.
            if previous is not None and look == self._looks.get(tid):
                paints[tid] = previous
                continue
            if previous is not None and not self._same_thread(previous, tid):
                previous = None
            stack = self._stack(tid, look)
            paints[tid] = planned(self._memory, stack, pattern=self._turn, previous=previous)
        return paints

    def _put_on(self, paints: dict[Tid, Paint], looks: dict[Tid, Look]) -> bool:
        """Write what is new; False, and nothing written, if a thread woke before."""
        brush = Brush(
            self.pid, [new for tid, new in paints.items() if new is not self._paints.get(tid)]
        )
        with held(looks) if self.holds else nullcontext():
            # Other threads of ours have their turn now, and not before all is done.
            time.sleep(0)
            if not self._sleepers.unchanged(looks):
                return False
            brush.apply()
        return True

    def _same_thread(self, previous: Paint, tid: Tid) -> bool:
        return previous.stack.start_ticks == self._sleepers.threads[tid].start_ticks

    # -- scanning --------------------------------------------------------------------------

    def _main_ran(self, looks: dict[Tid, Look]) -> bool:
        main = Tid(int(self.pid))
        return looks.get(main) != self._looks.get(main)

    def _depth(self, tid: Tid, look: Look, maps: bytes) -> ThreadDepth:
        painted = self._paints.get(tid)
        if painted is None or not self._same_thread(painted, tid):
            return self._depth_of_new(tid, look, maps)
        stack = painted.stack
        if look == self._looks[tid]:
            return _thread_depth(stack, Deepest(address=None, floor=None), ran=False)
        mapping = _main_mapping(maps) if stack.main else stack.mapping
        found = scan(self._memory, painted, mapping)
        note = "" if found.exact else "found in fresh pages, where written zeros cannot be seen"
        return replace(_thread_depth(stack, found, ran=True), note=note)

    def _depth_of_new(self, tid: Tid, look: Look, maps: bytes) -> ThreadDepth:
        """A thread that was not there when everything was painted."""
        self._maps, before = maps, self._maps
        stack = self._stack(tid, look)
        stale = mapping_containing(_anonymous(before), stack.sp) is not None
        found = scan_fresh(self._memory, stack)
        note = (
            "a new thread on a used stack: its bytes cannot be told from the earlier thread's"
            if stale
            else "a new thread, its stack was not painted: written zeros cannot be seen"
        )
        return replace(_thread_depth(stack, found, ran=True), stale=stale, note=note)

    # -- maps ------------------------------------------------------------------------------

    def _note_maps(self) -> None:
        self._maps = self._read_maps()

    def _read_maps(self) -> bytes:
        descriptor = os.open(self._maps_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(descriptor, 1 << 16):
                parts.append(part)
        finally:
            os.close(descriptor)
        if not parts:
            raise ProcessLookupError(f"process {self.pid} has ended")
        return b"".join(parts)

    def _stack(self, tid: Tid, look: Look) -> ThreadStack:
        watch: ThreadWatch = self._sleepers.threads[tid]
        sp = look.call().sp
        if watch.main:
            mapping = _main_mapping(self._maps)
            if mapping.contains(sp):
                return ThreadStack(
                    tid=tid,
                    start_ticks=watch.start_ticks,
                    main=True,
                    mapping=mapping,
                    limit_bytes=self._main_limit_bytes,
                    sp=sp,
                )
        painted = self._paints.get(tid)
        if painted is not None and self._same_thread(painted, tid):
            mapping = painted.stack.mapping
            if mapping.contains(sp):
                return replace(painted.stack, sp=sp)
        found = mapping_containing(_anonymous(self._maps), sp)
        if found is None:
            raise MeasurementError(
                f"thread {tid} of process {self.pid} sleeps on something that is no stack",
                why=f"its stack pointer {sp:#x} lies in no private writable memory",
                hint="runtimes that switch stacks by themselves cannot be measured this way",
            )
        return ThreadStack(
            tid=tid,
            start_ticks=watch.start_ticks,
            main=False,
            mapping=StackMapping(start=found.start, end=found.end),
            limit_bytes=found.size_bytes,
            sp=sp,
        )


def _main_mapping(maps: bytes) -> StackMapping:
    """The [stack] line of a maps text, without parsing all the others."""
    at = maps.rfind(b"[stack]")
    if at < 0:
        raise ProcessLookupError("the process has no [stack] mapping: it has ended")
    start, _, end = maps[maps.rfind(b"\n", 0, at) + 1 : at].split(b" ", 1)[0].partition(b"-")
    return StackMapping(start=Address(int(start, 16)), end=Address(int(end, 16)))


def _anonymous(maps: bytes) -> tuple[MemoryMapping, ...]:
    """Private writable mappings that can be a thread's stack."""
    return tuple(
        m
        for m in parse_maps(maps.decode("utf-8", "surrogateescape"))
        if m.permissions.startswith("rw") and m.inode == 0
    )


def _thread_depth(stack: ThreadStack, found: Deepest, *, ran: bool) -> ThreadDepth:
    deepest = stack.sp if found.address is None else min(found.address, stack.sp)
    floor = deepest if found.floor is None else min(found.floor, deepest)
    return ThreadDepth(
        tid=stack.tid,
        start_ticks=stack.start_ticks,
        main=stack.main,
        limit_bytes=stack.limit_bytes,
        top=stack.mapping.end,
        idle_bytes=stack.idle_bytes,
        depth_bytes=stack.mapping.end - deepest,
        below_idle_bytes=stack.sp - deepest,
        at_most_bytes=stack.mapping.end - floor,
        deepest=found.address,
        ran=ran,
    )
