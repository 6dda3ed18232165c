"""bpftrace beside a workload: gone with the tool, and at its end when it is told to."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from reactivate.errors import MissingToolError
from reactivate.evidence import Pid
from reactivate.instrument.bpftrace import bpftrace_availability, tracing
from reactivate.instrument.probe_files import trace_probe
from tests.waiting import PATIENCE_SECONDS

TOOL = """
import os, sys, trio
from pathlib import Path
from reactivate.instrument.bpftrace import tracing
from reactivate.instrument.probe_files import trace_probe

async def main():
    script = trace_probe("memory_calls.bt")
    async with tracing(script, (os.getpid(), 0, 1), Path(sys.argv[1])) as tracer:
        await tracer.wait_for(lambda: tracer.has_said("begin"))
        print(tracer.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture
def bpftrace(needs_root: None) -> None:
    there = bpftrace_availability(("exceptions", "page_fault_user"))
    if not there.ready:
        pytest.skip(there.detail)


@contextmanager
def tool(output: Path) -> Iterator[tuple[subprocess.Popen[str], Pid]]:
    """A process that uses a tracer, and the tracer's number."""
    with subprocess.Popen(
        [sys.executable, "-c", TOOL, str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, Pid(int(process.stdout.readline()))
        finally:
            process.kill()


def has_ended(pidfd: int, seconds: float) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_tool(bpftrace: None, tmp_path: Path, number: signal.Signals) -> None:
    with tool(tmp_path / "output") as (process, pid):
        pidfd = os.pidfd_open(pid)
        try:
            assert not has_ended(pidfd, 0)
            process.send_signal(number)
            process.wait(timeout=PATIENCE_SECONDS)
            assert has_ended(pidfd, PATIENCE_SECONDS), "bpftrace runs on without its tool"
        finally:
            os.close(pidfd)


# Printing the map takes a good while: the last event of BEGIN, and most of END.
BUSY = """
BEGIN
{
	$i = 0;
	while ($i < 10000) { @[$i] = $i; $i++; }
	printf("begin\\n");
	print(@);
}

END
{
	print(@); print(@); print(@); print(@); print(@); print(@); print(@); print(@);
	clear(@);
	printf("end\\n");
}
"""


@pytest.mark.root
@pytest.mark.parametrize("told", ["while it is at work", "while it sleeps"])
def test_it_comes_to_its_end_and_says_its_last_word(
    bpftrace: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """A signal at its last event is not seen; a second one at its end costs it its last words."""
    monkeypatch.setattr("reactivate.instrument.bpftrace._LOOK_SECONDS", 0.15)
    script = tmp_path / "busy.bt"
    script.write_text(BUSY)

    async def main() -> None:
        async with tracing(script, (), tmp_path / "output") as tracer:
            await tracer.wait_for(lambda: tracer.has_said("begin"))
            if told == "while it sleeps":
                await tracer.wait_for(tracer._sleeps)
            await tracer.stop()
            assert tracer.has_said("end")

    trio.run(main)


@pytest.mark.root
def test_leaving_early_ends_it(bpftrace: None, tmp_path: Path) -> None:
    pids: list[Pid] = []

    async def main() -> None:
        script = trace_probe("memory_calls.bt")
        with trio.move_on_after(PATIENCE_SECONDS) as scope:
            async with tracing(script, (1, 0, 1), tmp_path / "output") as tracer:
                pids.append(tracer.pid)
                await tracer.wait_for(lambda: tracer.has_said("begin"))
                scope.cancel()
                await trio.sleep_forever()

    trio.run(main)
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.root
def test_one_that_ends_at_once_is_an_error_with_its_words(bpftrace: None, tmp_path: Path) -> None:
    script = tmp_path / "wrong.bt"
    script.write_text("nonsense {")

    async def main() -> None:
        async with tracing(script, (), tmp_path / "output") as tracer:
            await tracer.wait_for(lambda: False)

    with pytest.raises(MissingToolError, match="ended at once") as raised:
        trio.run(main)
    assert "nonsense" in raised.value.why


@pytest.mark.root
def test_a_program_that_cannot_be_started_is_named(
    bpftrace: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "bpftrace"
    broken.parent.mkdir()
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    assert shutil.which("bpftrace") == str(broken)

    async def main() -> None:
        async with tracing(trace_probe("memory_calls.bt"), (), tmp_path / "output"):
            pytest.fail("it was started")

    with pytest.raises(MissingToolError, match="cannot be started"):
        trio.run(main)


@pytest.mark.root
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_bpftrace_says_of_itself_is_not_the_scripts_word(
    bpftrace: None, tmp_path: Path, form: str
) -> None:
    """It announces its probes before it attaches them."""

    async def main() -> None:
        script = trace_probe("memory_calls.bt")
        async with tracing(script, (1, 0, 1), tmp_path / "output", form=form) as tracer:
            await tracer.wait_for(lambda: tracer.has_said("begin"))
            assert any("ttach" in line for line in tracer.lines())
            assert not tracer.has_said("attached")

    trio.run(main)


@pytest.mark.root
@pytest.mark.parametrize(("version", "old"), [("v0.9.4", True), ("v0.16.0", True), ("v1.0", False)])
def test_one_that_is_too_old_is_not_ready(
    bpftrace: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, old: bool
) -> None:
    other = tmp_path / "bpftrace"
    other.write_text(f"#!/bin/sh\necho bpftrace {version}\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    there = bpftrace_availability()
    assert there.ready is not old
    assert ("too old" in there.detail) is old
