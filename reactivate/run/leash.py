"""Cleans up after a tool that was killed. Run as a file, never imported by the package.

A daemon that went into the background is nobody's child, so the kernel's parent-death signal does
not reach it, and no signal takes a mount away. This small program waits on its standard input: a
byte means that all is well and it has nothing to do; the end of the file means that the tool is
gone, and then it kills the daemon, detaches the mount and removes the tool's own folder.

Arguments: PID START_TICKS CONNECTION MOUNTPOINT FOLDER.
"""

import os
import shutil
import signal
import subprocess
import sys


def main() -> None:
    """Wait; clean up if the tool is gone."""
    pid, start_ticks, connection, mountpoint = int(sys.argv[1]), *sys.argv[2:5]
    folder = sys.argv[5]
    if os.read(0, 1):
        return
    try:
        descriptor = os.pidfd_open(pid)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            if file.read().rpartition(")")[2].split()[19] == start_ticks:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        pass
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        there = any(line.split()[2] == f"0:{connection}" for line in file)
    if there:
        subprocess.run(
            ["fusermount3", "-u", "-z", "--", mountpoint],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=10, check=False,
        )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)


main()
