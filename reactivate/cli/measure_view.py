"""What `measure` found, as text and for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from reactivate.cli.console import Part, Styled, say
from reactivate.cli.table import print_table
from reactivate.errors import ExitCode
from reactivate.evidence import Bound
from reactivate.run.life import ThreadLife
from reactivate.run.measuring import Depths, OperationRow
from reactivate.run.program import ProgramLife
from reactivate.run.watching import CRITICAL_SHARE, WARNING_SHARE
from reactivate.target.model import Build
from reactivate.units import format_bytes, format_percent

_SIGNS = {Bound.EXACT: "", Bound.LOWER: "≥ ", Bound.UPPER: "≤ "}
_MOST_THREADS = 24


def share_style(share: float) -> str:
    """Green below 75 % of a limit, yellow from there, red from 90 %."""
    if share >= CRITICAL_SHARE:
        return "red"
    return "yellow" if share >= WARNING_SHARE else "green"


# -- a mounted daemon ----------------------------------------------------------------------


def show_depths(found: Depths, again: str, *, attached: bool, code: ExitCode) -> None:
    """The table of operations, deepest first.

    Args:
        again: the workload and the daemon as the end of a command line.
        attached: whether it still runs.
    """
    name = PurePath(found.command[0]).name
    say(
        " · ".join([name, f"pid {found.pid}", _count(found.threads, "thread"), *_at_rest(found)]),
        style="bold",
    )
    say()
    if found.rows:
        _show_rows(found.rows)
        say()
    for each in found.unmeasured:
        say(Styled(f"  {each.operation}: not measured: {each.reason}", "yellow"))
    for note, names in _notes(found.rows).items():
        say(f"  {', '.join(names)}: {note}", style="yellow")
    say(_bound_line(found.rows), style="dim")
    if attached:
        say(
            "the daemon runs on as before; the unused part of its stacks, 64 KiB below what was "
            "ever used, is painted and resident now",
            style="dim",
        )
    if code:
        say(f"[exit {int(code)}]", style="dim")
    deepest = f" --operation {found.rows[0].operation}" if found.rows else ""
    say(f"next: reactivate trace{deepest}{again}")


def _at_rest(found: Depths) -> list[str]:
    words = []
    for thread, limit in found.limit_bytes.items():
        who = f"{thread} " if len(found.limit_bytes) > 1 else ""
        words.append(f"{who}limit {format_bytes(limit)}")
        words.append(f"{who}idle depth {exact_bytes(found.idle_bytes[thread])}")
    return words


def _show_rows(rows: Sequence[OperationRow]) -> None:
    kinds = {row.thread for row in rows}
    with_thread = kinds != {"main"}
    print_table(
        [
            "operation",
            *(["thread"] if with_thread else []),
            "n",
            "deepest",
            "below idle",
            "of limit",
        ],
        [
            [
                row.operation,
                *([row.thread] if with_thread else []),
                str(row.samples),
                _SIGNS[row.bound] + exact_bytes(row.deepest_bytes),
                exact_bytes(row.below_idle_bytes),
                Styled(format_percent(row.share), share_style(row.share)),
            ]
            for row in rows
        ],
        right=[2, 3, 4, 5] if with_thread else [1, 2, 3, 4],
    )


def _bound_line(rows: Sequence[OperationRow]) -> str:
    bounds = {row.bound for row in rows}
    if bounds <= {Bound.EXACT}:
        bound = "exact for bytes written"
    else:
        bound = "exact for bytes written, except where a sign says on which side the truth may lie"
    return f"measured by paint and scan, nothing ran while the operation ran; bound: {bound}"


def _notes(rows: Sequence[OperationRow]) -> dict[str, list[str]]:
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.operation)
    return notes


def depths_json(found: Depths, build: Build, code: ExitCode) -> dict[str, Any]:
    """The same for `--json`, in base units."""
    return {
        "command": list(found.command),
        "program": str(build.artifact),
        "program_sha256": build.artifact_sha256,
        "pid": found.pid,
        "threads": found.threads,
        "limit_bytes": found.limit_bytes,
        "idle_bytes": found.idle_bytes,
        "depths_count_from": "the top of the thread's stack mapping",
        "operations": [asdict(row) | {"share_of_limit": row.share} for row in found.rows],
        "not_measured": [asdict(each) for each in found.unmeasured],
        "exit_code": int(code),
    }


# -- a program -----------------------------------------------------------------------------


def show_life(life: ProgramLife, *, code: ExitCode) -> None:
    """The table of threads, deepest for their limit first."""
    name = PurePath(life.command[0]).name
    ended = "ended by us: its time was over" if life.timed_out else _ending(life)
    overflow = life.cause.thread != ""
    say(f"{name} · pid {life.pid} · {_count(len(life.threads), 'thread')} · ", ended, style="bold")
    if overflow:
        say(life.cause.text, style="red")
    say()
    shown = life.threads[:_MOST_THREADS]
    print_table(
        ["thread", "tid", "deepest", "of limit", "limit", ""],
        [_thread_row(thread) for thread in shown],
        right=[1, 2, 3, 4],
    )
    if len(life.threads) > len(shown):
        say(f"  and {len(life.threads) - len(shown):,} more, less deep; --json has them all")
    say()
    for text in _remarks(life):
        say(text, style="yellow")
    say(
        "painted at each thread's birth, read at its death; it ran at full speed between; "
        "bound: exact for bytes written, where two numbers stand it lies between them",
        style="dim",
    )
    if code:
        say(f"[exit {int(code)}]", style="dim")
    say(f"next: reactivate watch {_WATCH_HINT}" if code else "next: reactivate measure --help")


_WATCH_HINT = "PID   to look at one that runs"


def _ending(life: ProgramLife) -> str:
    if life.returncode >= 0:
        return f"exit status {life.returncode}"
    return life.cause.signal or f"signal {-life.returncode}"


def _thread_row(thread: ThreadLife) -> list[Part]:
    kind = "main" if thread.main else thread.name or "worker"
    if not thread.measured:
        return [kind, str(thread.tid), Styled("not measured", "yellow"), "", "", thread.note]
    share = thread.at_most_bytes / thread.limit_bytes
    depth = exact_bytes(thread.depth_bytes)
    if not thread.exact:
        depth = f"{thread.depth_bytes:,} to {exact_bytes(thread.at_most_bytes)}"
    labels = ["on a reused stack, painted anew"] if thread.reused else []
    return [
        kind,
        str(thread.tid),
        depth,
        Styled(format_percent(share), share_style(share)),
        format_bytes(thread.limit_bytes),
        Styled("; ".join([*labels, *filter(None, [thread.note])]), "dim"),
    ]


def _remarks(life: ProgramLife) -> list[str]:
    remarks = []
    if life.execs:
        times = "once" if life.execs == 1 else f"{life.execs} times"
        remarks.append(f"it became another program {times}; only the last is measured")
    if life.children:
        processes = _count(life.children, "process", "processes")
        remarks.append(f"it started {processes}, which are not measured")
    return remarks


def life_json(life: ProgramLife, code: ExitCode) -> dict[str, Any]:
    """The same for `--json`, in base units; a missing value is an object with its reason."""
    return {
        "command": list(life.command),
        "pid": life.pid,
        "status": life.returncode,
        "ended": life.cause.text,
        "overflow": life.cause.thread or None,
        "timed_out": life.timed_out,
        "execs": life.execs,
        "children": life.children,
        "depths_count_from": "`top`: the end of the main stack's mapping, or a thread's first "
        "stack pointer",
        "threads": [_thread_json(thread) for thread in life.threads],
        "exit_code": int(code),
    }


def _thread_json(thread: ThreadLife) -> dict[str, Any]:
    missing = None if thread.measured else {"not_measured": thread.note}
    return {
        "tid": thread.tid,
        "name": thread.name,
        "thread": "main" if thread.main else "worker",
        "top": f"{thread.top:#x}",
        "limit_bytes": thread.limit_bytes,
        "depth_bytes": missing or thread.depth_bytes,
        "at_most_bytes": missing or thread.at_most_bytes,
        "exact": thread.exact,
        "reused_stack": thread.reused,
        "note": thread.note,
    }


# -- both ----------------------------------------------------------------------------------


def exact_bytes(size_bytes: int) -> str:
    """Every digit: this is measured to the byte."""
    return f"{size_bytes:,} B"


def _count(number: int, one: str, many: str = "") -> str:
    return f"1 {one}" if number == 1 else f"{number:,} {many or one + 's'}"
