"""A watch in a process of its own, which outlives the tool. Run as a program, it is that process.

The kernel detaches the threads of a tracer that ends, but leaves their debug registers as they
are, and a thread that meets a watchpoint untraced dies of SIGTRAP. A daemon that the tool started
ends with the tool anyway; one that ran before must not. Its tracer is therefore not the tool but
this program, in a session of its own: when standard input ends, the watch is over, or the tool is
gone, and every thread is let go in good order. Only a kill of this program itself leaves
watchpoints behind; the tool takes them away if it still lives.

Arguments: PID, its start in ticks (so that no other process is touched), the folder and the stem
for the snapshot, 1 or 0 for `first`, the addresses. Writes one JSON object when the watchpoints
are set, and one when nothing is traced any more.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from reactivate.evidence import Address, Pid
from reactivate.procfs import process_start_ticks, process_stat
from reactivate.target.watch import STOP_SECONDS, Tracer

_FINISH_SECONDS = 4 * STOP_SECONDS
_CLEAN_SECONDS = 10.0
_AGAIN_SECONDS = 0.002
_KILLED = "the process that watches was killed"


class Watch(Protocol):
    """What is asked of a `Tracer`, and of one in another process."""

    failure: str
    caught: tuple[Address, Path] | None

    def start(self) -> None:
        """Begin to set the watchpoints."""

    def await_armed(self, seconds: float) -> bool:
        """Whether they are set, or that has failed, within that time. Blocks."""

    def finish(self) -> None:
        """End the watch; returns when nothing is traced any more. Blocks."""


def watch_on(
    pid: Pid, addresses: tuple[Address, ...], folder: Path, stem: str, *, first: bool
) -> Watch:
    """A watch on a process that this tool started, or one that outlives the tool.

    Args: see `Tracer`.
    """
    try:
        status = process_stat(pid)
    except (OSError, LookupError):
        return Tracer(pid, addresses, folder, stem, first=first)
    if status.parent == os.getpid():
        # It ends with the tool; and a parent may trace where others may not.
        return Tracer(pid, addresses, folder, stem, first=first)
    return Watcher(pid, status.start_ticks, addresses, folder, stem, first=first)


class Watcher:
    """A `Tracer` in another process. Satisfies `Watch`."""

    def __init__(
        self,
        pid: Pid,
        ticks: int,
        addresses: tuple[Address, ...],
        folder: Path,
        stem: str,
        *,
        first: bool,
    ) -> None:
        """Nothing is traced before `start`."""
        self.failure = ""
        self.caught: tuple[Address, Path] | None = None
        self._pid, self._ticks = pid, ticks
        # -P: nothing is imported from the folder in which the tool was called.
        self._command = [
            sys.executable, "-P", "-m", __name__, str(pid), str(ticks), str(folder.absolute()),
            stem, str(int(first)), *map(str, addresses),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    def start(self) -> None:
        """Start the process."""
        # Nowhere near the mount whose daemon is about to stand still.
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0, cwd="/", start_new_session=True,
        )  # fmt: skip

    def await_armed(self, seconds: float) -> bool:
        """See `Watch`."""
        assert self._process is not None
        said = self._hear(self._process, seconds)
        if said is None:
            return False
        self.failure = said.get("failure", _KILLED)
        return True

    def finish(self) -> None:
        """See `Watch`."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        deadline = time.monotonic() + _FINISH_SECONDS
        said: dict[str, Any] | None = {"armed": True}
        while said and "hits" not in said:
            said = self._hear(process, max(0.0, deadline - time.monotonic()))
        process.stdout.close()
        if said is None:
            # It goes on trying, without us.
            self.failure = self.failure or "the threads of the process cannot be let go"
            return
        process.wait()
        if said:
            self.failure = self.failure or said["failure"]
            if said["caught"]:
                address, record = said["caught"]
                self.caught = (Address(address), Path(record))
        elif clean(self._pid, self._ticks):
            self.failure = self.failure or _KILLED
        else:
            self.failure = f"{_KILLED}, and its watchpoints are still set"

    def _hear(self, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | None:
        """The next object that it writes; {} if it has ended, None if the time is over."""
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._said:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([process.stdout], [], [], left)[0]:
                return None
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                return {}
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        document: dict[str, Any] = json.loads(line)
        return document


def clean(pid: Pid, ticks: int) -> bool:
    """Clear the debug registers of all threads; whether that was done, or the process is gone."""
    deadline = time.monotonic() + _CLEAN_SECONDS
    while time.monotonic() < deadline:
        if not _is(pid, ticks):
            return True
        tracer = Tracer(pid, (), Path(), "")
        tracer.start()
        tracer.armed.wait()
        tracer.finish()
        if not tracer.failure:
            return True
        # The tracer's end is noticed before the kernel has detached its threads.
        time.sleep(_AGAIN_SECONDS)
    return False


def _is(pid: Pid, ticks: int) -> bool:
    try:
        return process_start_ticks(pid) == ticks
    except (OSError, LookupError):
        return False


def _main(arguments: list[str]) -> None:
    pid, ticks, folder, stem, first, *addresses = arguments
    if not _is(Pid(int(pid)), int(ticks)):
        _say(failure="the process ended", hits=0, caught=None)
        return
    tracer = Tracer(
        Pid(int(pid)), tuple(Address(int(a)) for a in addresses), Path(folder), stem,
        first=first == "1",
    )  # fmt: skip
    tracer.start()
    tracer.armed.wait()
    _say(failure=tracer.failure)
    os.read(0, 1)
    tracer.finish()
    caught = None if tracer.caught is None else (tracer.caught[0], str(tracer.caught[1]))
    _say(failure=tracer.failure, hits=tracer.hits, caught=caught)


def _say(**words: object) -> None:
    # The tool may be gone: the watch is ended nevertheless.
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
