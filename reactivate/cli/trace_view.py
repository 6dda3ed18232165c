"""What `trace` found, as text and for `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from reactivate.cli.console import Part, Styled, say
from reactivate.cli.measure_view import exact_bytes, share_style
from reactivate.cli.table import print_table
from reactivate.errors import ExitCode
from reactivate.instrument.opcodes import WITHOUT_ANSWER
from reactivate.places import format_place
from reactivate.run.tracing import Document, Trace
from reactivate.units import format_bytes, format_duration_ns, format_percent

_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_TOUCHES = 12
_MOST_CALLERS = 3
_RECURSION = 3
"""From so many frames of one function on, it is worth a line of its own."""


def show_trace(
    found: Trace,
    subject: str,
    program: Path,
    *,
    all_chains: bool,
    code: ExitCode,
    out: Path | None,
) -> None:
    """Chains, growth and requests, and what could not be had.

    Args:
        subject: the daemon in words.
        program: its file.
        all_chains: print each chain whole, not only the deepest.
        out: where everything was kept.
    """
    say(subject, style="bold")
    whole = found.chains if all_chains else found.chains[:1]
    for chain in whole:
        say()
        _show_chain(chain)
    _show_other_chains(found.chains[len(whole) :])
    if found.growth is not None:
        say()
        _show_growth(found.growth)
    if found.lifecycle is not None:
        say()
        _show_requests(found.lifecycle)
    if found.missing or found.remarks:
        say()
    for remark in found.remarks:
        say(remark, style="yellow")
    for missing in found.missing:
        say(f"{missing.part}: not measured: {missing.reason}", style="yellow")
    if out is not None:
        say(f"kept: {out}", style="dim")
    if code:
        say(f"[exit {int(code)}]", style="dim")
    hint = next((m.hint for m in found.missing if m.hint), "")
    say(f"next: {hint or f'reactivate frames {program}'}")


# -- chains --------------------------------------------------------------------------------


def _place(row: Document) -> str:
    return "" if row["place"] == row["location"] else format_place(row["place"])


def _show_chain(chain: Document) -> None:
    name = chain["operation"]
    if "not_measured" in chain:
        say(f"`{name}`: no chain: {chain['not_measured']}", style="yellow")
        return
    share = chain["attributed_bytes"] / chain["total_bytes"] if chain["total_bytes"] else 0.0
    say(
        f"deepest point of `{name}`, thread {chain['thread']}, "
        f"{chain['caught_at_depth']:,} bytes below the top ({format_percent(share)} attributed)"
    )
    say()
    print_table(
        ["depth", "size", "location", ""],
        [
            [
                f"{row['depth_bytes']:,}",
                f"{row['size_bytes']:,}",
                row["location"],
                Styled(_place(row), "dim"),
            ]
            for row in chain["folded"]
        ],
        right=[0, 1],
    )
    top = chain["folded"][-1]["depth_bytes"] - chain["folded"][-1]["size_bytes"]
    what = "arguments and environment" if chain["thread"] == "main" else "thread control block"
    say(f"  above the first frame: {top:,} bytes of {what}", style="dim")
    for line in _doubts(chain):
        say(f"  {line}", style="yellow")
    for line in _recursion(chain):
        say(line)


def _doubts(chain: Document) -> list[str]:
    doubts = []
    if chain["missed_bytes"]:
        doubts.append(f"caught {chain['missed_bytes']:,} bytes above the deepest byte")
    if chain["stopped"]:
        doubts.append(f"unwinding ended early: {chain['stopped']}")
    return doubts


def _recursion(chain: Document) -> list[str]:
    lines = []
    for row in chain["folded"]:
        if row["count"] >= _RECURSION:
            name = row["location"].partition(" × ")[0]
            verb = "call each other" if " → " in name else "calls itself"
            share = row["size_bytes"] / chain["caught_at_depth"]
            lines.append(
                f"recursion: {name} {verb}, {row['count']:,} times at the deepest point: "
                f"{row['size_bytes']:,} bytes, {format_percent(share)} of the depth"
            )
    return lines


def _show_other_chains(chains: Sequence[Document]) -> None:
    if not chains:
        return
    say()
    rows: list[list[Part]] = []
    for chain in chains:
        if "not_measured" in chain:
            rows.append([chain["operation"], "", "", Styled(chain["not_measured"], "yellow")])
            continue
        largest = max(chain["folded"], key=lambda row: row["size_bytes"])
        rows.append(
            [
                chain["operation"],
                f"{chain['caught_at_depth']:,}",
                f"{largest['size_bytes']:,}",
                largest["location"],
            ]
        )
    print_table(["then", "depth", "largest", "location"], rows, right=[1, 2])


# -- growth --------------------------------------------------------------------------------


def _show_growth(growth: Document) -> None:
    who = "user and kernel touches" if growth["sees_kernel_touches"] else "user touches only"
    page = exact_bytes(growth["page_bytes"])
    say(f"growth, by {growth['tracer']}: {who}, first touch of each page of {page}")
    if growth["lost_events"]:
        say(f"  {growth['lost_events']:,} events were lost: these are lower bounds", style="yellow")
    say()
    print_table(
        ["thread", "tid", "new pages", "user", "kernel", "deepest", "of limit", "alerts"],
        [_growth_row(stack, growth["sees_kernel_touches"]) for stack in growth["stacks"]],
        right=[1, 2, 3, 4, 5, 6, 7],
    )
    for stack in growth["stacks"]:
        _show_touches(stack)
    if not any(stack["touches"] for stack in growth["stacks"]):
        say(
            "  no new page: what was resident before the workload was enough for all of it"
            if growth["sees_kernel_touches"]
            else "  no new page was touched by the program itself",
            style="dim",
        )
    if not growth["sees_kernel_touches"]:
        say(
            "  what the kernel touches for a thread is not seen: pages and depths are lower bounds",
            style="yellow",
        )


def _growth_row(stack: Document, sees_kernel: bool) -> list[Part]:
    touches = stack["touches"]
    kernel = sum(touch["by"] == "kernel" for touch in touches)
    share = stack["deepest_bytes"] / stack["limit_bytes"]
    alerts = stack["alerts"]
    tid = "ended" if stack["tid"] is None else str(stack["tid"])
    return [
        stack["thread"] + (", new" if stack["fresh"] else ""),
        tid,
        f"{len(touches):,}",
        f"{len(touches) - kernel:,}",
        f"{kernel:,}" if sees_kernel else "not seen",
        "≥ " + exact_bytes(stack["deepest_bytes"]),
        Styled(format_percent(share), share_style(share)),
        Styled(f"{alerts:,}", "red" if alerts else "dim"),
    ]


def _show_touches(stack: Document) -> None:
    """First touches in their order, neighbours by the same code in one row."""
    if not stack["touches"]:
        return
    rows: list[list[Part]] = []
    for (by, who), group in groupby(stack["touches"], lambda t: (t["by"], _callers(t))):
        touches = list(group)
        first, last = touches[0]["depth_bytes"], touches[-1]["depth_bytes"]
        depth = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        after = format_duration_ns(touches[0]["time_ns"])
        rows.append([after, depth, f"{len(touches):,}", by, Styled(who, "dim")])
    say()
    thread = stack["thread"] if stack["tid"] is None else f"{stack['thread']} {stack['tid']}"
    say(f"  first touches of {thread}, in order", style="dim")
    print_table(
        ["after", "depth", "pages", "by", "in, called by"],
        rows[:_MOST_TOUCHES],
        right=[0, 1, 2],
        indent=4,
    )
    if len(rows) > _MOST_TOUCHES:
        say(f"    and {len(rows) - _MOST_TOUCHES:,} more; --out FILE keeps them all", style="dim")


def _callers(touch: Document) -> str:
    """`walk ← search_engine_query`: the innermost functions, recursion once."""
    names = [name for name, _ in groupby(c.partition(" (")[0] for c in touch.get("chain", ()))]
    return " ← ".join(names[:_MOST_CALLERS]) or touch["place"]


# -- requests ------------------------------------------------------------------------------


def _show_requests(lifecycle: Document) -> None:
    waiting = lifecycle["waiting_after_workload"]
    if not lifecycle["traced"]:
        known = "not known" if waiting is None else f"{waiting:,}"
        say(f"requests: not traced; unanswered after the workload: {known}")
        _show_memory(lifecycle["memory"])
        return
    rows = lifecycle["opcodes"]
    total = sum(row["sent"] for row in rows)
    unanswered = sum(row["waiting"] for row in rows if row["opcode"] not in WITHOUT_ANSWER)
    say(f"requests: {total:,} sent, {unanswered:,} unanswered after the workload")
    say()
    print_table(
        ["opcode", "n", "errors", "unanswered", "longest", "latency"],
        [_request_row(row) for row in rows],
        right=[1, 3, 4],
    )
    _show_memory(lifecycle["memory"])


def _show_memory(memory: Document) -> None:
    """What the daemon asked for in one round of the workload on a fresh mount."""
    say()
    kernel, library = memory["kernel"], memory["library"]
    if "not_measured" in kernel:
        say(f"mappings: not measured: {kernel['not_measured']}", style="yellow")
    else:
        calls = ", ".join(
            f"{call} {format_bytes(kernel['bytes'].get(call, 0))} in {count:,}"
            for call, count in sorted(kernel["calls"].items())
        )
        say(f"memory asked for in one round: {calls or 'no mapping'}")
    large = format_bytes(memory["large_bytes"])
    if "not_measured" in library:
        say(f"large allocations: not measured: {library['not_measured']}", style="yellow")
        return
    count = sum(library["calls"].values())
    say(f"allocations of {large} or more: {count:,}")
    for entry in library["where"][:_MOST_CALLERS]:
        callers = " ← ".join(entry["callers"][:_MOST_CALLERS])
        say(f"  {entry['count']:,} × {callers}", style="dim")


def _request_row(row: Document) -> list[Part]:
    errors = ", ".join(f"{name} × {count:,}" for name, count in row["errors"].items())
    return [
        row["opcode"],
        f"{row['sent']:,}",
        Styled(errors, "red" if row["failed"] else "dim"),
        Styled(f"{row['waiting']:,}", "red" if row["waiting"] else "dim"),
        format_duration_ns(row["longest_ns"]) if row["answered"] else "",
        histogram(row["latency_ns"]),
    ]


def histogram(buckets: Sequence[Sequence[int]]) -> str:
    """`8.19 µs ▁█▂ 131 µs`: a block for each power of two from the first to the last in use."""
    if not buckets:
        return ""
    counts = {low: count for low, _, count in buckets}
    most = max(counts.values())
    first, last = buckets[0][0], buckets[-1][1]
    blocks = ""
    low = first
    while low <= last:
        count = counts.get(low, 0)
        level = -(-count * len(_BLOCKS) // most)  # rounded up: what is there can be seen
        blocks += _BLOCKS[level - 1] if count else " "
        low = max(1, low * 2)
    return f"{format_duration_ns(first)} {blocks} {format_duration_ns(last + 1)}"


# -- JSON ----------------------------------------------------------------------------------


def trace_json(subject: str, found: Trace, code: ExitCode) -> dict[str, Any]:
    """Everything, as the instruments wrote it; docs/instruments says what is in it."""
    return {
        "subject": subject,
        "chains": [dict(chain) for chain in found.chains],
        "growth": _document(found.growth),
        "lifecycle": _document(found.lifecycle),
        "not_measured": [
            {"part": m.part.value, "reason": m.reason, "hint": m.hint} for m in found.missing
        ],
        "remarks": list(found.remarks),
        "exit_code": int(code),
    }


def _document(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if document is None else dict(document)
