"""`make soak`: the tool is killed 200 times and more; the figures of docs/reliability.md."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.reliability.killing import Tally, kill_campaigns
from tests.reliability.leftovers import sole_ancestor

_SAID = {"wrong": 0}


def main() -> int:
    """Kill, and say what came of it; 1 if anything was lost or left."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    begun = time.monotonic()
    with TemporaryDirectory(prefix="soak-") as folder, sole_ancestor():
        tally = kill_campaigns(Path(folder) / "k", seed=asked.seed, kills=asked.kills, say=_far)
    _show(tally, time.monotonic() - begun)
    return 1 if tally.wrong else 0


def _far(tally: Tally) -> None:
    for each in tally.wrong[_SAID["wrong"] :]:
        print(f"WRONG {each}", flush=True)
    _SAID["wrong"] = len(tally.wrong)
    print(
        f"{tally.total} kills in {tally.campaigns} campaigns, {len(tally.wrong)} wrong",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _show(tally: Tally, seconds: float) -> None:
    print(f"{tally.total} kills in {tally.campaigns} campaigns, {seconds:.0f} s")
    print(f"  {tally.running} fell into an attempt; each is on record as interrupted")
    for what, count in tally.left.items():
        print(f"  {count} × {what} left by a kill, and removed by the next call")
    for place, count in tally.kills.most_common():
        print(f"  {count:4} × killed at: {place}")
    print(f"{len(tally.disturbed)} whole calls ended with 5 or 6, and the next one went on")
    for each in tally.disturbed:
        print("  " + each.strip().splitlines()[-2])
    print(f"{len(tally.wrong)} wrong")


if __name__ == "__main__":
    sys.exit(main())
