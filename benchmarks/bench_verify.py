"""What `verify` itself takes beside the runs it makes: all components of the embedded filesystem.

A run is what an instrument or an overflow scenario took, from mount to unmount, and each build
with its proof. The rest is the tool's: reading, judging, explaining, recording.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from reactivate.campaign import measuring
from reactivate.campaign.verification import verify
from reactivate.cli.progress import SilentReporter
from reactivate.workspace import create


def goals() -> list[Goal]:
    """Every gate of every phase once; wall time against the sum of its runs."""
    runs: list[float] = []
    check, enable = measuring.check, measuring.enable

    def checked(*arguments: Any, **options: Any) -> Any:
        done = check(*arguments, **options)
        runs.extend(instrument.seconds for instrument in done.run.instruments)
        return done

    def enabled(*arguments: Any, **options: Any) -> Any:
        started = time.monotonic()
        done = enable(*arguments, **options)
        runs.append(time.monotonic() - started)
        return done

    with tempfile.TemporaryDirectory() as folder:
        workspace = create(Path(folder) / "campaign", "model", reduced=True)
        # The verification calls both by their module.
        measuring.check, measuring.enable = checked, enabled
        try:
            started = time.monotonic()
            found = verify(
                workspace, everything=True, reporter=SilentReporter(), say=lambda _: None
            )
            seconds = time.monotonic() - started
        finally:
            measuring.check, measuring.enable = check, enable
    return [
        Goal(
            name="verify, against the sum of its runs",
            measured=seconds / sum(runs),
            limit=1.3,
            unit="×",
            detail=f"{seconds:.0f} s, {len(found.gates)} gates, {len(runs)} runs",
        )
    ]
