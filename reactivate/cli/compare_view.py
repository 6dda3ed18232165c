"""How a comparison is shown: environments first, then each check, then call chains."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from reactivate.cli.console import Part, Styled, say
from reactivate.cli.table import print_table
from reactivate.evidence import NotMeasured
from reactivate.gate.difference import CHANGED, Change, Difference
from reactivate.gate.statistics import ASSUMES
from reactivate.report.analysis.values import change as change_of
from reactivate.report.analysis.values import quantity
from reactivate.report.comparison import (
    Comparison,
    EnvironmentDifference,
    Pair,
    Side,
    check_name,
)
from reactivate.report.comparison_frames import ChainDifference, FrameDifference
from reactivate.texts import visible
from reactivate.units import format_bytes, format_count, format_ratio

_STYLES = {Change.MORE: "red", Change.LESS: "green", Change.UNDECIDED: "yellow"}
_QUIET = frozenset({Change.SAME, Change.NOISE})
_LOUD = CHANGED | {Change.UNDECIDED}
_MOST_FRAMES = 8
_MOST_UNDECIDED = 6


def show_comparison(found: Comparison, *, everything: bool) -> None:
    """Print it; numbers that did not change only with `everything`."""
    _sides(found)
    _environments(found)
    for pair in found.pairs:
        _pair(pair, everything=everything)
    for first, attempt in found.alone:
        side = found.before if first else found.after
        say(
            Styled(f"only in {_named(side)}: {visible(attempt.phase)} {check_name(attempt)}", "dim")
        )
    _summary(found)


def _named(side: Side) -> str:
    return visible(side.text or str(side.ledger.parent))


def _sides(found: Comparison) -> None:
    for letter, side in (("A", found.before), ("B", found.after)):
        say(Styled(f"{letter}  ", "dim"), Styled(_named(side), "bold"))
    say()


# -- environments ------------------------------------------------------------------------------


def _environments(found: Comparison) -> None:
    """Different machines and tools before any number; then which builds were measured."""
    where: dict[EnvironmentDifference, list[str]] = {}
    for pair in found.pairs:
        for each in pair.environment:
            where.setdefault(each, []).append(_title(pair))
    machine = [each for each in where if each.machine]
    if machine:
        say(Styled("Measured in different environments:", "yellow"))
    for each in machine:
        say(Styled(f"  {each.key} was {_short(each.before)}, is {_short(each.after)}", "yellow"))
    if machine:
        say()
    builds = [[each.key, _short(each.before), _short(each.after), places] for each, places in (
        (each, ", ".join(titles) if len(titles) < len(found.pairs) else "")
        for each, titles in where.items() if not each.machine
    )]  # fmt: skip
    if builds:
        print_table(["what was measured", "A", "B", ""], builds)
        say()


def _short(text: str) -> str:
    shown = visible(text) or "not on record"
    digest = len(shown.rstrip("+")) in (40, 64) and set(shown.rstrip("+")) <= set(
        "0123456789abcdef"
    )
    return shown[:12] + "+" * shown.endswith("+") if digest else shown


# -- numbers -----------------------------------------------------------------------------------


def _title(pair: Pair) -> str:
    phases = dict.fromkeys((visible(pair.before.phase), visible(pair.after.phase)))
    return f"{' → '.join(phases)} {pair.step}"


def _pair(pair: Pair, *, everything: bool) -> None:
    say(
        Styled(_title(pair), "bold"),
        Styled(f"   attempt {pair.before.id} → attempt {pair.after.id}", "dim"),
    )
    shown = [d for d in pair.differences if everything or d.change in _LOUD]
    undecided: list[Difference] = []
    if not everything:
        shown = [d for d in shown if not _missing(d)]
        undecided = [d for d in shown if d.change is Change.UNDECIDED][_MOST_UNDECIDED:]
        shown = [d for d in shown if d not in undecided]
    if shown:
        print_table(
            ["metric", "operation", "thread", "A", "B", "change", "", ""],
            [_row(d) for d in sorted(shown, key=_urgency)],
            right=(3, 4, 5),
        )
    if not everything:
        _besides(pair, len(undecided))
    if any(d.interval is not None for d in pair.differences):
        say(Styled(f"  intervals: {ASSUMES}", "dim"))
    _chains(pair, everything=everything)
    say()


def _missing(each: Difference) -> bool:
    """Whether neither side has the number."""
    return isinstance(each.before, NotMeasured) and isinstance(each.after, NotMeasured)


def _besides(pair: Pair, undecided: int) -> None:
    """What is not shown, in a line each."""
    for change, letter in ((Change.APPEARED, "B"), (Change.GONE, "A")):
        names = {visible(d.operation or d.metric) for d in pair.differences if d.change is change}
        if names:
            say(Styled(f"  only in {letter}: {', '.join(sorted(names))}", "dim"))
    counts = Counter(d.change for d in pair.differences)
    words = {Change.SAME: "the same", Change.NOISE: "noise"}
    quiet = [f"{counts[c]:,} {word}" for c, word in words.items() if counts[c]]
    if undecided:
        quiet.append(f"{undecided:,} more that cannot be told")
    if quiet:
        say(Styled(f"  besides: {', '.join(quiet)} (--all shows them)", "dim"))


def _urgency(each: Difference) -> tuple[int, str, str, str]:
    order = (Change.MORE, Change.LESS, Change.UNDECIDED, Change.APPEARED, Change.GONE)
    rank = order.index(each.change) if each.change in order else len(order)
    return rank, each.metric, each.operation, each.thread


def _row(each: Difference) -> Sequence[Part]:
    return (
        visible(each.metric),
        visible(each.operation),
        visible(each.thread),
        _value(each.metric, each.before),
        _value(each.metric, each.after),
        _by(each),
        Styled(each.change.value, _STYLES.get(each.change, "dim")),
        Styled(visible(each.reason) if each.change is Change.UNDECIDED else "", "dim"),
    )


def _value(metric: str, value: float | int | NotMeasured) -> str:
    return "–" if isinstance(value, NotMeasured) else quantity(metric, value)


def _by(each: Difference) -> str:
    if each.ratio is not None and each.interval is not None:
        low, high = each.interval
        end = "∞" if math.isinf(high) else f"{high:.2f}"
        return f"{format_ratio(each.ratio)} [{low:.2f}, {end}]"
    if each.by is None or isinstance(each.before, NotMeasured):
        return ""
    return change_of(each.metric, each.before + each.by, each.before)


# -- call chains -------------------------------------------------------------------------------


def _chains(pair: Pair, *, everything: bool) -> None:
    if isinstance(pair.chains, NotMeasured):
        if pair.step == "trace":
            say(Styled(f"  frames: {visible(pair.chains.reason)}", "yellow"))
        return
    for chain in pair.chains:
        _chain(chain, everything=everything)


def _chain(chain: ChainDifference, *, everything: bool) -> None:
    missing = [b for b in (chain.before_bytes, chain.after_bytes) if isinstance(b, NotMeasured)]
    if missing:
        reason = "; ".join(dict.fromkeys(visible(each.reason) for each in missing))
        say(Styled(f"  frames of `{visible(chain.operation)}`: not comparable: {reason}", "dim"))
        return
    frames = [f for f in chain.frames if everything or f.change not in _QUIET]
    if not frames:
        say(Styled(f"  frames of `{visible(chain.operation)}`: no function changed", "dim"))
        return
    say(f"  frames of `{visible(chain.operation)}` at its deepest point")
    some = frames if everything else frames[:_MOST_FRAMES]
    print_table(["function", "A", "B", "by", "frames", "", "place"], [_frame(f) for f in some],
                right=(1, 2, 3, 4), indent=4)  # fmt: skip
    if len(frames) > len(some):
        say(Styled(f"    and {len(frames) - len(some):,} smaller ones (--all)", "dim"))


def _frame(each: FrameDifference) -> Sequence[Part]:
    frames = format_count(each.after_frames)
    if each.after_frames != each.before_frames:
        frames = f"{format_count(each.before_frames)} → {frames}"
    sign = "+" if each.by_bytes > 0 else "−" if each.by_bytes < 0 else "±"
    return (
        visible(each.function),
        format_bytes(each.before_bytes) if each.before_frames else "–",
        format_bytes(each.after_bytes) if each.after_frames else "–",
        f"{sign}{format_bytes(abs(each.by_bytes))}",
        frames,
        Styled(each.change.value, _STYLES.get(each.change, "dim")),
        Styled(visible(each.place), "dim"),
    )


# -- the end -----------------------------------------------------------------------------------


def _summary(found: Comparison) -> None:
    counts = Counter(d.change for pair in found.pairs for d in pair.differences)
    words = {
        Change.MORE: "more",
        Change.LESS: "less",
        Change.UNDECIDED: "cannot be told",
        Change.NOISE: "noise",
        Change.SAME: "the same",
        Change.APPEARED: "only in B",
        Change.GONE: "only in A",
    }
    say(", ".join(f"{counts[c]:,} {word}" for c, word in words.items() if counts[c]) or "no number")
    sides = " ".join(shlex.quote(_named(side)) for side in (found.before, found.after))
    deeper = any(d.change in CHANGED for pair in found.pairs for d in pair.differences)
    say(f"next: reactivate compare {sides} {'--json' if deeper else '--all'}")


def comparison_json(found: Comparison) -> dict[str, Any]:
    """A comparison for `--json`; infinite ends of intervals are null."""
    return {
        "a": _side_json(found.before),
        "b": _side_json(found.after),
        "same_environment": not any(e.machine for pair in found.pairs for e in pair.environment),
        "checks": [_pair_json(pair) for pair in found.pairs],
        "alone": [
            {"side": "a" if first else "b", "phase": attempt.phase, "check": check_name(attempt)}
            for first, attempt in found.alone
        ],
        "changed": sum(d.decided for pair in found.pairs for d in pair.differences),
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "name": side.text,
        "ledger": str(side.ledger),
        "phase": side.phase or None,
        "attempt": side.attempt,
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    missing = pair.chains.reason if isinstance(pair.chains, NotMeasured) else None
    chains = () if isinstance(pair.chains, NotMeasured) else pair.chains
    return {
        "check": pair.step,
        "a": {"phase": pair.before.phase, "attempt": pair.before.id},
        "b": {"phase": pair.after.phase, "attempt": pair.after.id},
        "environment": [
            {"key": e.key, "a": e.before, "b": e.after, "machine": e.machine}
            for e in pair.environment
        ],
        "differences": [_difference_json(d) for d in pair.differences],
        "chains": [_chain_json(chain) for chain in chains],
        "chains_missing": missing,
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    interval = None
    if each.interval is not None:
        interval = [end if math.isfinite(end) else None for end in each.interval]
    return {
        "metric": each.metric,
        "operation": each.operation,
        "thread": each.thread,
        "instrument": each.instrument,
        "a": _number_json(each.before),
        "b": _number_json(each.after),
        "change": each.change.value,
        "reason": each.reason,
        "by": each.by,
        "tolerance": each.tolerance,
        "ratio": each.ratio,
        "interval": interval,
        "assumes": None if interval is None else ASSUMES,
        "samples": list(each.samples),
    }


def _number_json(value: float | int | NotMeasured) -> dict[str, Any]:
    if isinstance(value, NotMeasured):
        return {"value": None, "not_measured": value.reason}
    return {"value": value, "not_measured": None}


def _chain_json(chain: ChainDifference) -> dict[str, Any]:
    return {
        "operation": chain.operation,
        "a": {"evidence": chain.before_evidence, **_number_json(chain.before_bytes)},
        "b": {"evidence": chain.after_evidence, **_number_json(chain.after_bytes)},
        "functions": [
            {
                "function": f.function,
                "place": f.place,
                "a_bytes": f.before_bytes,
                "b_bytes": f.after_bytes,
                "a_frames": f.before_frames,
                "b_frames": f.after_frames,
                "change": f.change.value,
            }
            for f in chain.frames
        ],
    }
