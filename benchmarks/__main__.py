"""Runs every benchmark and holds it against its goal; exit 1 if one is missed."""

from __future__ import annotations

import sys

from benchmarks import bench_face, bench_frames, bench_tour, bench_watermark

BENCHES = (bench_face, bench_watermark, bench_frames, bench_tour)


def main() -> int:
    """Print one line per goal as soon as it is known."""
    missed = 0
    print(f"{'what':<44}{'measured':>12}{'goal':>14}")
    for bench in BENCHES:
        for goal in bench.goals():
            sign = "≥" if goal.at_least else "≤"
            mark = "" if goal.met else "   MISSED"
            missed += not goal.met
            print(
                f"{goal.name:<44}{goal.measured:>10.2f} {goal.unit}"
                f"{sign + ' ' + format(goal.limit, 'g'):>11} {goal.unit}   {goal.detail}{mark}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
