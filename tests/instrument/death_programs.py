"""The program of probes/groundtruth/deaths: built once, made to die under our own tracer."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from reactivate.instrument.autopsy import explain_death
from reactivate.instrument.death import Cause
from reactivate.target.death import log_tail
from reactivate.target.model import Fault
from reactivate.target.process import spawn

SOURCES = Path(__file__).resolve().parent.parent.parent / "probes" / "groundtruth" / "deaths"


@functools.cache
def deaths() -> Path:
    """The built program; skips without a compiler."""
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler, or no make")
    folder = Path(tempfile.mkdtemp(prefix="deaths-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={folder}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return folder / "deaths"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A death: what the tracer saw, and what was made of it."""

    returncode: int | None
    faults: tuple[Fault, ...]
    cause: Cause


def die(
    folder: Path,
    mode: str,
    *,
    limit_bytes: int = 512 * 1024,
    program: Path | None = None,
    autopsy: Path | None = None,
) -> Death:
    """Let the program die in a mode; its autopsy goes into `folder` unless told otherwise."""

    async def main() -> Death:
        log = folder / "log"
        process = spawn(
            [str(program or deaths()), mode],
            environment={},
            folder=folder,
            log=log,
            stack_limit_bytes=limit_bytes,
            traced=True,
            autopsy=autopsy or folder,
        )
        try:
            await process.begin()
            assert await process.wait(60)
            returncode, faults = process.returncode(), process.faults()
        finally:
            process.release()
        cause = await explain_death(returncode, faults, log_tail(log))
        return Death(returncode=returncode, faults=faults, cause=cause)

    return trio.run(main)
