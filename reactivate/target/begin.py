"""The few steps between fork and exec of a daemon. Run as a file, never imported by the package.

Python warns against running code of its own between fork and exec in a threaded process
(`preexec_fn`), limits set from outside after exec come too late for the layout of the stack, and
changing the tool's own limits around a spawn would race with its other threads. So the daemon
starts as this small program, which sets up itself and then becomes the daemon by exec.

Arguments: STACK_BYTES (0: as inherited), PARENT_PID (0: it is outside of this process namespace),
MOUNTS (file of a mount namespace to enter, or -), FOLDER, then the command. File descriptor 3 is
one end of a socket: the program waits there for one byte (the tool has written its records by
then), and says there why it could not go on; the socket closes by itself on exec.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000
_SOCKET = 3


def main() -> None:
    """Set limits, wait for the byte, become the daemon."""
    stack_bytes, parent = int(sys.argv[1]), int(sys.argv[2])
    mounts, folder, command = sys.argv[3], sys.argv[4], sys.argv[5:]
    os.set_inheritable(_SOCKET, False)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The signal is not sent for a parent that was gone before the call.
    if os.getppid() != parent or not os.read(_SOCKET, 1):
        os._exit(1)
    try:
        if mounts != "-":
            _enter(mounts)
        os.chdir(folder)
        # Python ignores these two, and what is ignored stays ignored through exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if stack_bytes:
            resource.setrlimit(resource.RLIMIT_STACK, (stack_bytes, stack_bytes))
        os.execvp(command[0], command)
    except (OSError, ValueError) as error:
        os.write(_SOCKET, str(error).encode())
        os._exit(127)


def _enter(mounts: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(mounts, os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(descriptor, _CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "its mount namespace cannot be entered")
    os.close(descriptor)


main()
