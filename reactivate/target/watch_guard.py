"""Take the watchpoints away from a process whose tracer was killed. Run as a program.

The kernel detaches the threads of a tracer that ends, but leaves their debug registers as they
are, and a thread that meets a watchpoint untraced dies of SIGTRAP. A daemon that the tool started
ends with the tool anyway; one that ran before must not. So this program waits beside the tool, in
a session of its own: when standard input ends, the tool is gone, and it cleans up.

Arguments: PID, and its start in ticks (so that no other process is touched).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reactivate.evidence import Pid
from reactivate.procfs import process_start_ticks, process_stat
from reactivate.target.watch import Tracer

_CLEAN_SECONDS = 10.0
_AGAIN_SECONDS = 0.002


@contextmanager
def guarding(pid: Pid) -> Iterator[None]:
    """While inside, a kill of this tool leaves no watchpoint behind in the process.

    Processes that this one has started are not guarded: they end with it.
    """
    try:
        status = process_stat(pid)
        foreign, ticks = status.parent != os.getpid(), status.start_ticks
    except (OSError, LookupError):
        foreign, ticks = False, 0
    if not foreign:
        yield
        return
    # Nowhere near the mount whose daemon is about to stand still.
    command = [sys.executable, "-P", "-m", __name__, str(pid), str(ticks)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", start_new_session=True,
    ) as guard:  # fmt: skip
        try:
            yield
        finally:
            guard.kill()


def clean(pid: Pid, ticks: int) -> bool:
    """Clear the debug registers of all threads; whether that was done, or the process is gone."""
    deadline = time.monotonic() + _CLEAN_SECONDS
    while time.monotonic() < deadline:
        try:
            if process_start_ticks(pid) != ticks:
                return True
        except (OSError, LookupError):
            return True
        tracer = Tracer(pid, (), Path(), "")
        tracer.start()
        tracer.armed.wait()
        tracer.finish()
        if not tracer.failure:
            return True
        # The tool's end is noticed before the kernel has detached its threads.
        time.sleep(_AGAIN_SECONDS)
    return False


if __name__ == "__main__":
    os.read(0, 1)
    sys.exit(not clean(Pid(int(sys.argv[1])), int(sys.argv[2])))
