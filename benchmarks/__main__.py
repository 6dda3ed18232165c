"""Runs every benchmark and holds it against its goal; exit 1 if one is missed."""

from __future__ import annotations

import sys

from benchmarks import (
    bench_compare,
    bench_costs,
    bench_face,
    bench_frames,
    bench_instruments,
    bench_known_answers,
    bench_ledger,
    bench_overflow,
    bench_replay,
    bench_report,
    bench_tour,
    bench_verify,
    bench_watermark,
)
from benchmarks.goal import Goal

BENCHES = (
    bench_face, bench_ledger, bench_watermark, bench_instruments, bench_frames, bench_overflow,
    bench_report, bench_replay, bench_compare, bench_known_answers, bench_verify, bench_costs,
    bench_tour,
)  # fmt: skip


def main() -> int:
    """Print one line per goal as soon as it is known."""
    missed = 0
    print(f"{'what':<44}{'measured':>12}{'goal':>14}")
    for bench in BENCHES:
        for goal in bench.goals():
            missed += not goal.met
            print(
                f"{goal.name:<44}{goal.measured:>10.2f} {goal.unit:<3}{_wanted(goal):>11}   "
                f"{_verdict(goal):<8} {goal.detail}",
                flush=True,
            )
    return 1 if missed else 0


def _wanted(goal: Goal) -> str:
    if goal.limit is None:
        return ""
    return f"{'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}"


def _verdict(goal: Goal) -> str:
    if not goal.met:
        return "MISSED"
    return "met" if goal.limit is not None else ""


if __name__ == "__main__":
    sys.exit(main())
