"""Text results of the kernel-tracing manager of VexFS: read with distrust, placed in time.

    [HH:MM:SS] VexFS: function() called by PID=N (comm)
    [HH:MM:SS] VexFS COMPLETE: function() latency=N μs, results=N

Its lines have a time of day, to the second, and no date. A second that is half a day before the
one of the line above it belongs to the next day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

from reactivate.errors import UsageError

LONGEST_LINE_BYTES = 4_096
MOST_FUNCTIONS = 1_000
_MOST_SHOWN = 5
_SHOWN_CHARACTERS = 120
_HALF_A_DAY = 12 * 3600
_UNITS = {"ns": 1, "us": 1_000, "μs": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_AT = r"\[(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d):(?P<s>[0-5]\d)(?:\.\d+)?\]\s+"
_NAME = r"(?P<function>[A-Za-z_][\w.$]*)\(\)"
_CALLED = re.compile(
    rf"{_AT}VexFS:\s+{_NAME}\s+called by PID=(?P<pid>\d{{1,10}})\s+\((?P<comm>.*)\)\s*"
)
_COMPLETE = re.compile(
    rf"{_AT}VexFS:?\s+COMPLETE:\s+{_NAME}\s+latency=(?P<latency>\d{{1,18}})\s*"
    r"(?P<unit>ns|us|μs|µs|ms|s)(?:,\s*results=(?P<results>-?\d{1,18}))?\s*"
)


@dataclass(slots=True, kw_only=True)
class Function:
    """What a trace says of one function.

    Attributes:
        calls: lines that say that it was called.
        latencies_ns: one for each line that says that it completed.
        results: the sum of what those lines give as results.
        pids: the processes that called it.
    """

    calls: int = 0
    latencies_ns: list[int] = field(default_factory=list)
    results: int = 0
    pids: set[int] = field(default_factory=set)

    def latency_ns(self, share: float) -> int | None:
        """The latency that so large a share of the calls did not exceed; None without any."""
        if not self.latencies_ns:
            return None
        ordered = sorted(self.latencies_ns)
        return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


@dataclass(slots=True, kw_only=True)
class KernelTrace:
    """A whole file.

    Attributes:
        functions: by name, in the order of their first line.
        lines: all of them, empty ones excepted.
        unknown: lines that are of neither form.
        examples: the first of those, cut.
        left_out: lines about functions beyond the first `MOST_FUNCTIONS`.
        seconds: how many lines of which function are of which second since the first midnight.
    """

    functions: dict[str, Function] = field(default_factory=dict)
    lines: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    left_out: int = 0
    seconds: Counter[tuple[int, str]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An attempt in time."""

    attempt: int
    name: str
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What a trace says of the time of an attempt.

    Attributes:
        span: the attempt.
        lines: by function.
    """

    span: Span
    lines: Counter[str]


def read_trace(path: Path) -> KernelTrace:
    """Read a file of the tracing manager. Any file can be read; what is no such line is counted.

    Raises:
        UsageError: it cannot be read at all, or holds no line of the two forms.
    """
    found = KernelTrace()
    clock = _Clock()
    try:
        if not path.is_file():
            raise UsageError(f"{path} is not a file", hint="name the text file of the manager")
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE_BYTES):
                whole = line.endswith(b"\n") or len(line) < LONGEST_LINE_BYTES
                _take(found, clock, line.decode("utf-8", "backslashreplace"))
                while not whole and (rest := file.readline(LONGEST_LINE_BYTES)):
                    whole = rest.endswith(b"\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from error
    if not found.functions:
        raise UsageError(
            f"{path} holds no line of the kernel-tracing manager",
            why=f"{found.lines:,} lines are of another form"
            + "".join(f"\n  {example}" for example in found.examples),
            hint="docs/import-trace.md shows the two forms",
        )
    return found


class _Clock:
    """Seconds since the first line's midnight."""

    def __init__(self) -> None:
        self._days = 0
        self._last = 0

    def second(self, hours: int, minutes: int, seconds: int) -> int:
        now = (hours * 60 + minutes) * 60 + seconds
        if now < self._last - _HALF_A_DAY:
            self._days += 1
        self._last = now
        return self._days * 86_400 + now


def _take(found: KernelTrace, clock: _Clock, line: str) -> None:
    if not line.strip():
        return
    found.lines += 1
    match = _CALLED.fullmatch(line) or _COMPLETE.fullmatch(line)
    if match is None:
        found.unknown += 1
        if len(found.examples) < _MOST_SHOWN:
            found.examples.append(repr(line.rstrip("\n")[:_SHOWN_CHARACTERS]))
        return
    name = match["function"]
    if name not in found.functions and len(found.functions) >= MOST_FUNCTIONS:
        found.left_out += 1
        return
    function = found.functions.setdefault(name, Function())
    found.seconds[clock.second(int(match["h"]), int(match["m"]), int(match["s"])), name] += 1
    if match.re is _CALLED:
        function.calls += 1
        function.pids.add(int(match["pid"]))
    else:
        function.latencies_ns.append(int(match["latency"]) * _UNITS[match["unit"]])
        function.results += int(match["results"] or 0)


def overlaps(
    found: KernelTrace, day: date, zone: tzinfo | None, spans: Sequence[Span]
) -> tuple[Overlap, ...]:
    """Which lines fall into which attempts, to the second; attempts without any are left out.

    Args:
        found: the trace.
        day: the day of its first line.
        zone: of its times; None for this machine's.
        spans: attempts, with times in UTC.
    """
    seconds: list[tuple[datetime, str, int]] = []
    midnight = datetime(day.year, day.month, day.day)
    for (second, name), count in found.seconds.items():
        # Times that jump back and forth by half a day can lead beyond the calendar.
        with suppress(OverflowError):
            local = midnight + timedelta(seconds=second)
            at = local.replace(tzinfo=zone) if zone is not None else local.astimezone()
            seconds.append((at.astimezone(UTC), name, count))
    matched = (Overlap(span=span, lines=_within(span, seconds)) for span in spans)
    return tuple(overlap for overlap in matched if overlap.lines)


def _within(span: Span, seconds: Iterable[tuple[datetime, str, int]]) -> Counter[str]:
    begin = span.begin.replace(microsecond=0)
    lines: Counter[str] = Counter()
    for at, name, count in seconds:
        if begin <= at <= span.end:
            lines[name] += count
    return lines
