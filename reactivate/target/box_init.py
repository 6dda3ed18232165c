"""The first process of a box's own namespaces. Run as a file, never imported by the package.

It makes a mount and a process namespace and lives in them until its standard input ends, which
happens when the tool lets go of it or dies. The kernel then kills every process in there, and with
the last one the mount namespace and its mounts go (pid_namespaces(7), mount_namespaces(7)).

Argument: the daemon's data folder. Other FUSE mounts are taken away inside: they would keep their
daemons waiting for as long as this namespace lives.

Standard output: one line, `pid N`, as this process is numbered outside, or `no REASON`. Standard
input: lines `unmount PATH`, each answered by `0` or an error number.
"""

import ctypes
import os
import re
import signal
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Make the namespaces, then serve."""
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID):
        _give_up("unshare")
    # What is unmounted outside goes here too; nothing that is mounted here is seen outside.
    if _libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None):
        _give_up("mount --make-rslave /")
    _leave_others(os.fsencode(sys.argv[1]))
    pid = os.fork()
    if pid:
        sys.stdout.write(f"pid {pid}\n")
        sys.stdout.flush()
        # Only the first process keeps these: their ends must be seen.
        os.close(0)
        os.close(1)
        os.waitpid(pid, 0)
        os._exit(0)
    _serve()


def _leave_others(backing: bytes) -> None:
    with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 - pathlib loads slowly
        lines = file.read().split(b"\n")
    for line in reversed(lines):
        left, _, right = line.partition(b" - ")
        if not right.startswith((b"fuse ", b"fuse.", b"fuseblk")):
            continue
        path = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), left.split()[4])
        if path != backing and not backing.startswith(path + b"/"):
            _libc.umount2(path, _MNT_DETACH)


def _give_up(what: str) -> None:
    sys.stdout.write(f"no {what}: {os.strerror(ctypes.get_errno())}\n")
    sys.stdout.flush()
    os._exit(1)


def _serve() -> None:
    # Orphans become children of this process; the kernel reaps what nobody waits for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A view of the new process namespace, so that a daemon finds itself in /proc/self.
    _libc.mount(b"proc", b"/proc", b"proc", 0, None)
    for line in sys.stdin.buffer:
        verb, _, path = line.rstrip(b"\n").partition(b" ")
        failed = verb != b"unmount" or _libc.umount2(path, 0)
        os.write(1, b"%d\n" % (ctypes.get_errno() if failed else 0))


main()
