"""A writer in a process of its own, for the tests that kill it or take its disk away.

Usage: writer_process.py LEDGER MANNER [NUMBER]

It opens the ledger, prints `ready PID`, and finishes the running attempt of phase `a`.

- `hold`       does nothing but keep the ledger open until its standard input ends
- `count`      prints how many ticks of SQLite's virtual machine the whole result takes
- `tick N`     dies by SIGKILL at the N-th tick
- `marks`      prints a line for each SQL statement, for somebody else to kill it
- `write N`    dies in the very write that would make a file longer than N bytes
- `full N`     cannot make any file longer than N bytes, says what error that gave, then can
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from reactivate.errors import LedgerError
from reactivate.evidence import Check, Dimension, Measurement, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import ArtifactRecord, AttemptStatus, DecisionDraft, Ledger

MEASUREMENTS = 2500


def finish(ledger: Ledger) -> None:
    (attempt,) = ledger.attempts("a", status=AttemptStatus.RUNNING)
    ledger.finish(
        attempt,
        "passed",
        events=[("checked", {"check": "baseline"})],
        measurements=[
            Measurement(
                metric="stack.peak",
                value=n,
                instrument="watermark",
                samples=(n,) * 8,
                note="x" * 40,
            )
            for n in range(MEASUREMENTS)
        ],
        judgements=[
            Judgement(
                criterion=f"c{n}",
                source="stack.peak <= 1",
                check=Check.BASELINE,
                verdict=Verdict.FAIL,
                observed=n,
                limit=1,
                dimension=Dimension.BYTES,
                samples=1,
            )
            for n in range(10)
        ],
        artifacts=[ArtifactRecord(path="x", sha256="0" * 64, size_bytes=1)],
        decisions=[DecisionDraft(kind="refused", phase="a", reason="r", who="gate")],
        environment={"artifact": "9f31"},
    )


def on_each_tick(ledger: Ledger, fatal: int) -> list[int]:
    ticks = [0]

    def tick() -> int:
        ticks[0] += 1
        if ticks[0] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    ledger._connection.set_progress_handler(tick, 500)
    return ticks


def limit_files(length: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))


def main(path: Path, manner: str, number: int) -> None:
    with Ledger.open(path, writer=True) as ledger:
        print("ready", os.getpid(), flush=True)
        if manner == "hold":
            sys.stdin.read()
            return
        if manner in ("count", "tick"):
            ticks = on_each_tick(ledger, number)
            finish(ledger)
            print(ticks[0])
        elif manner == "marks":
            ledger._connection.set_trace_callback(lambda _: os.write(1, b"mark\n") and None)
            finish(ledger)
        elif manner == "write":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            limit_files(number)
            finish(ledger)
        elif manner == "full":
            limit_files(number)
            try:
                finish(ledger)
            except LedgerError as error:
                print(f"{error.what}|{error.why}|{error.hint}")
            print(ledger.counts().measurements, ledger.attempts()[0].status, flush=True)
            limit_files(resource.RLIM_INFINITY)
            finish(ledger)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
