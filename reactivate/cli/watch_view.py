"""What `watch` shows: bars on a terminal, lines in a pipe, JSON for programs; and the alerts."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from reactivate.cli.console import Part, Styled, say, talk, watched
from reactivate.cli.status_view import bar
from reactivate.evidence import Pid, Tid
from reactivate.run.watching import Level, Picture, StackLevel
from reactivate.units import format_bytes, format_percent

_MOST_BARS = 24
_STYLES = {Level.CALM: "green", Level.WARNING: "yellow", Level.CRITICAL: "red"}
_RANKS = {level: rank for rank, level in enumerate(Level)}

Line = Sequence[Part]


class View(Protocol):
    """Shows one look after the other."""

    def show(self, picture: Picture, alerts: Sequence[StackLevel]) -> None:
        """Show a look, and the threads that have reached a higher level since the last."""


def view(pid: Pid, *, as_json: bool) -> View:
    """The view that fits standard output."""
    if as_json:
        return JsonView(pid)
    return LiveView(pid) if watched(sys.stdout) else LineView()


class Alarm:
    """Raises each alert once: when a thread's stack first reaches a level."""

    def __init__(self) -> None:
        self._raised: dict[Tid, Level] = {}

    def raised(self, picture: Picture) -> list[StackLevel]:
        """Threads that have reached a higher level since the last look."""
        there = {level.tid for level in picture.levels}
        self._raised = {tid: level for tid, level in self._raised.items() if tid in there}
        new = []
        for level in picture.levels:
            before = self._raised.get(level.tid, Level.CALM)
            if _RANKS[level.level] > _RANKS[before]:
                self._raised[level.tid] = level.level
                new.append(level)
        return new


def alert_text(level: StackLevel) -> str:
    """`critical: thread 4812 (main) has used 7.31 MiB, 91.4 % of its limit of 8.00 MiB`."""
    return (
        f"{level.level}: thread {level.tid} ({_name(level)}) has used "
        f"{format_bytes(level.used_bytes)}, {format_percent(level.share)} of its limit of "
        f"{format_bytes(level.limit_bytes)}"
    )


def _name(level: StackLevel) -> str:
    return "main" if level.main else level.name


# -- how it is shown -----------------------------------------------------------------------


class LineView:
    """Plain lines for pipes and logs: one for each thread and look."""

    def show(self, picture: Picture, alerts: Sequence[StackLevel]) -> None:
        """The time before each line."""
        at = time.strftime("%H:%M:%S")
        for line in _bars(picture):
            say(f"{at} ", *line)
        for level in alerts:
            talk(alert_text(level), style=_STYLES[level.level])
        sys.stdout.flush()


class LiveView:
    """The same lines on one place of a terminal; alerts scroll by above them."""

    def __init__(self, pid: Pid) -> None:
        self._pid = pid
        self._lines = 0

    def show(self, picture: Picture, alerts: Sequence[StackLevel]) -> None:
        """Over the last look."""
        if self._lines:
            sys.stdout.write(f"\x1b[{self._lines}F\x1b[J")  # up to the first line, and clear
            sys.stdout.flush()
        for level in alerts:
            talk(alert_text(level), style=_STYLES[level.level])
        lines = [(Styled(f"process {self._pid}", "bold"),), *_bars(picture)]
        columns = shutil.get_terminal_size().columns
        self._lines = 0
        for line in lines:
            say(*line)
            # A narrow terminal breaks a line into several.
            self._lines += -(-sum(len(_text(part)) for part in line) // columns)
        sys.stdout.flush()


class JsonView:
    """One JSON object for each look, each on a line of its own."""

    def __init__(self, pid: Pid) -> None:
        self._pid = pid

    def show(self, picture: Picture, alerts: Sequence[StackLevel]) -> None:
        """Base units; `now_bytes` is null for a thread that runs at that moment."""
        document = {
            "schema": "reactivate.watch/1",
            "time": time.time(),
            "pid": self._pid,
            "threads": [
                {
                    "tid": level.tid,
                    "name": level.name,
                    "thread": "main" if level.main else "worker",
                    "limit_bytes": level.limit_bytes,
                    "used_bytes": level.used_bytes,
                    "resident_bytes": level.resident_bytes,
                    "now_bytes": level.now_bytes,
                    "share_of_limit": level.share,
                    "level": level.level.value,
                }
                for level in picture.levels
            ],
            "unknown": [{"tid": tid, "name": name} for tid, name in picture.unknown],
            "alerts": [
                {"tid": level.tid, "level": level.level.value, "text": alert_text(level)}
                for level in alerts
            ],
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()


def _bars(picture: Picture) -> list[Line]:
    """One line for each thread, fullest first where there are too many."""
    levels = list(picture.levels)
    hidden = len(levels) - _MOST_BARS
    if hidden > 0:
        levels = sorted(levels, key=lambda level: level.share, reverse=True)[:_MOST_BARS]
    lines: list[Line] = [_bar(level) for level in levels]
    lines += [
        (
            Styled(
                f"{name:<15.15} {tid:>8}   never seen asleep yet, its stack is not known", "yellow"
            ),
        )
        for tid, name in picture.unknown[:_MOST_BARS]
    ]
    if hidden > 0:
        lines.append((Styled(f"and {hidden:,} more threads, less full", "dim"),))
    return lines


def _bar(level: StackLevel) -> Line:
    now = "running" if level.now_bytes is None else f"now {format_bytes(level.now_bytes)}"
    return (
        f"{_name(level):<15.15} {level.tid:>8}   {format_bytes(level.used_bytes):>10}   ",
        Styled(bar(level.share), _STYLES[level.level]),
        f" {format_percent(level.share):>7}",
        Styled(f"   of {format_bytes(level.limit_bytes)}, {now}", "dim"),
    )


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text
