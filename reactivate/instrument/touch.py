"""First touches as a tracer writes them down: text in, values out; also while it still writes."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.stack_areas import StackArea

_FOLLOW_SECONDS = 0.02

_LINE = re.compile(r"^([uk]) (\d{1,20}) ([0-9a-f]{1,16}) ([0-9a-f]{1,16}) (\d{1,20})$")
_CALLER = re.compile(r"^\t([0-9a-f]{1,16}) (.*) \(.*\)$")
_UNNAMED = re.compile(r"^0x[0-9a-f]+$")
_LOST = re.compile(r"^Lost (\d{1,20}) events")
_PERF_LOST = re.compile(r"PERF_RECORD_LOST.* lost (\d{1,20})\b")
_PERF_LINE = re.compile(
    r"^\s*(\d{1,20})\s+(\d{1,20})\.(\d+):\s+([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One place in a call chain.

    Attributes:
        address: of the instruction, or where the call returns to.
        symbol: `function+offset` where the tracer knows it, else "".
    """

    address: Address
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One page fault.

    Attributes:
        tid: the thread for which it happened.
        kernel: whether the kernel touched the page for the thread, in a system call.
        address: the very address that was touched.
        instruction: where; an address of the kernel if `kernel`.
        time_ns: a monotonic clock.
        chain: on the user's stack, innermost first, as far as frame pointers lead; the first
            is the instruction itself, for the kernel's touches that of the system call.
    """

    tid: Tid
    kernel: bool
    address: Address
    instruction: Address
    time_ns: int
    chain: tuple[Caller, ...] = ()


class TouchReader:
    """Puts the lines of `stack_growth.bt` together, as they come.

    Attributes:
        lost: events that the tracer said it lost.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._head: re.Match[str] | None = None
        self._chain: list[Caller] = []

    def read(self, line: str) -> Touch | None:
        """The touch that ended with this line, if one did: its chain ends with an empty line."""
        if self._head is not None and (found := _CALLER.match(line)):
            symbol = "" if _UNNAMED.match(found[2]) else found[2]
            self._chain.append(Caller(address=Address(int(found[1], 16)), symbol=symbol))
            return None
        whole = None if self._head is None else _touch(self._head, tuple(self._chain))
        self._chain = []
        self._head = _LINE.match(line)
        if found := _LOST.match(line):
            self.lost += int(found[1])
        return whole


def parse_bpftrace(lines: Iterable[str]) -> tuple[list[Touch], int]:
    """Touches and the number of lost events from the output of `stack_growth.bt`."""
    reader = TouchReader()
    touches = [touch for line in [*lines, ""] if (touch := reader.read(line)) is not None]
    # Each processor has its own buffer: lines come in order only within one of them.
    touches.sort(key=lambda touch: touch.time_ns)
    return touches, reader.lost


def _touch(found: re.Match[str], chain: tuple[Caller, ...]) -> Touch:
    return Touch(
        tid=Tid(int(found[2])),
        kernel=found[1] == "k",
        address=Address(int(found[3], 16)),
        instruction=Address(int(found[4], 16)),
        time_ns=int(found[5]),
        chain=chain,
    )


@contextmanager
def following(output: Path, live: Callable[[Touch], None] | None) -> Iterator[None]:
    """While the body runs, pass on each touch that the script writes.

    Args:
        output: the script's output.
        live: called in a thread of its own.
    """
    if live is None:
        yield
        return
    over = threading.Event()

    def follow() -> None:
        with output.open(encoding="utf-8", errors="replace") as file:
            reader, rest = TouchReader(), ""
            while True:
                last = over.is_set()  # what was written before is still read
                *lines, rest = (rest + file.read()).split("\n")
                for touch in filter(None, map(reader.read, lines)):
                    live(touch)
                if last:
                    return
                over.wait(_FOLLOW_SECONDS)

    thread = threading.Thread(target=follow, name="first touches", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def parse_perf(
    lines: Iterable[str], areas: tuple[StackArea, ...], pid: Pid
) -> tuple[list[Touch], int]:
    """Touches and lost events from `perf script`, narrowed as by the bpftrace script."""
    main = [area for area in areas if area.main]
    touches, lost = [], 0
    for line in lines:
        if found := _PERF_LOST.search(line):
            lost += int(found[1])
        if not (found := _PERF_LINE.match(line)):
            continue
        tid, address = int(found[1]), int(found[4], 16)
        if tid == pid and not any(area.contains(address) for area in main):
            continue
        touches.append(
            Touch(
                tid=Tid(tid),
                kernel=False,
                address=Address(address),
                instruction=Address(int(found[5], 16)),
                time_ns=int(found[2]) * 1_000_000_000 + int(found[3].ljust(9, "0")[:9]),
            )
        )
    return touches, lost
