"""The few steps between fork and exec of a program that is measured over its whole life.

Run as a file, never imported by the package. Besides waiting for its tracer it asks the kernel to
stop the program, and only it, at one kind of system call: madvise(MADV_DONTNEED). With that the C
library throws away the stack of a thread that ends, before anybody could look at it.

Arguments: PARENT_PID, then the command. File descriptor 3 is one end of a socket: the program says
there that it is ready, waits for one byte, and says why it could not go on, if so; it closes by
itself on exec.
"""

import ctypes
import os
import resource
import signal
import struct
import sys

_SOCKET = 3
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_FILTER = 2

_MADVISE = 28  # x86-64
_DONTNEED = 4
_AUDIT_ARCH_X86_64 = 0xC000003E
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K

# struct seccomp_data: the system call's number at 0, the architecture at 4, arguments from 16.
_PROGRAM = (
    (_LOAD, 0, 0, 4),
    (_EQUAL, 0, 5, _AUDIT_ARCH_X86_64),
    (_LOAD, 0, 0, 0),
    (_EQUAL, 0, 3, _MADVISE),
    (_LOAD, 0, 0, 32),
    (_EQUAL, 0, 1, _DONTNEED),
    (_RETURN, 0, 0, _TRACE),
    (_RETURN, 0, 0, _ALLOW),
)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filter_calls() -> None:
    """Install the filter; seccomp(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _PROGRAM)
    program = _Filter(len(_PROGRAM), code)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no filter for system calls: {os.strerror(number)}")


def main() -> None:
    """Wait for the tracer, become the program."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(_SOCKET, False)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The tracer comes when this program's own exec is over, so that the next one is the program's.
    os.write(_SOCKET, b"r")
    # The signal is not sent for a parent that was gone before the call.
    if os.getppid() != parent or not os.read(_SOCKET, 1):
        os._exit(1)
    try:
        # Python ignores these two, and what is ignored stays ignored through exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        filter_calls()
        os.execvp(command[0], command)
    except (OSError, ValueError) as error:
        os.write(_SOCKET, str(error).encode())
        os._exit(127)


main()
