"""A process of the target: started by a thread that keeps it, and gone when that thread is.

One thread per process starts it, waits for it, and traces it if asked. That thread lives as long as
the process, for three reasons: the kernel sends the parent-death signal (prctl(2),
PR_SET_PDEATHSIG) when the *thread* that forked ends, and pooled threads end when idle; only the
thread that attached with ptrace(2) may handle a stop; and while the ended process is not reaped
its number cannot go to another one, so signals never hit a stranger.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from reactivate.errors import PrivilegeError
from reactivate.evidence import Pid
from reactivate.target import ptrace
from reactivate.target.box_namespace import enter_for_children
from reactivate.target.log_limit import limit_log
from reactivate.target.model import Fault

_BEGIN = Path(__file__).with_name("begin.py")
_SPAWN_SECONDS = 60.0


class StartError(Exception):
    """The process could not be started; the text says why."""


class KeptProcess:
    """One process in a session of its own. Made by `spawn`, let go by `release`."""

    def __init__(
        self, keeper: _Keeper, record: socket.socket, limiter: threading.Thread | None
    ) -> None:
        self._keeper = keeper
        self._limiter = limiter
        self._socket = record
        self.pid = Pid(keeper.pid)
        self._pidfd = os.pidfd_open(keeper.pid)

    def running(self) -> bool:
        """Whether it has not ended; a zombie has."""
        if self._keeper.returncode is not None:
            return False
        # The pidfd is readable from the process's end on, a moment before its keeper knows.
        return not select.select([self._pidfd], [], [], 0)[0]

    def returncode(self) -> int | None:
        """Exit status or negative signal number; None while it runs."""
        if self.running():
            return None
        self._keeper.ended.wait(_SPAWN_SECONDS)
        return self._keeper.returncode

    def faults(self) -> tuple[Fault, ...]:
        """Deadly signals seen so far; needs tracing."""
        return tuple(self._keeper.faults)

    async def begin(self) -> None:
        """Let the prepared process become the command; returns when exec has happened.

        Raises:
            StartError: the command cannot be executed, or a limit cannot be set.
        """
        self._socket.setblocking(False)
        end = trio.socket.from_stdlib_socket(self._socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await end.send(b"g")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await end.recv(1024):
                said += piece
        end.close()
        if said:
            raise StartError(said.decode(errors="replace"))

    async def wait(self, seconds: float) -> bool:
        """Wait until it has ended or the time is over; True if it has ended."""
        with trio.move_on_after(max(0.0, seconds)):
            while self.running():
                await trio.lowlevel.wait_readable(self._pidfd)
        return not self.running()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal it and everything it started that stayed in its process group."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)
        # Not reaped before `release`: the number still belongs to this group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end(self, seconds: float) -> bool:
        """SIGKILL to its group, wait, reap; False if it has not ended in time."""
        self.signal_group(signal.SIGKILL)
        if await self.wait(seconds):
            self.release()
            return True
        return False

    def release(self) -> None:
        """Reap the ended process and let its keeper go. It must have ended."""
        self._socket.close()
        self._keeper.let_go()
        if self._limiter is not None:
            self._limiter.join()
        os.close(self._pidfd)


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    stack_limit_bytes: int | None,
    traced: bool,
    autopsy: Path | None = None,
    namespaces: Pid | None = None,
) -> KeptProcess:
    """Start the process up to the point before exec; `begin` lets it go on.

    Args:
        command: program and arguments.
        environment: the whole environment; nothing else is inherited.
        folder: its working folder.
        log: file for its standard output and error; standard input is /dev/null.
        stack_limit_bytes: soft and hard RLIMIT_STACK; None for the inherited one.
        traced: see `Launcher.mounted`.
        autopsy: see `BoxLauncher.mounted`; means nothing without `traced`.
        namespaces: first process of the mount and process namespaces that it is to live in.

    Raises:
        PrivilegeError: tracing is forbidden here.
        StartError: no process could be started.
    """
    ours, theirs = socket.socketpair()
    # A parent in another process namespace is seen as 0.
    parent = os.getpid() if namespaces is None else 0
    mounts = "-" if namespaces is None else f"/proc/{namespaces}/ns/mnt"
    with theirs:
        keeper = _Keeper(
            arguments=[
                sys.executable, "-I", "-S", str(_BEGIN),
                str(stack_limit_bytes or 0), str(parent), mounts, str(folder), *command,
            ],
            environment=environment,
            log=log,
            record=theirs.fileno(),
            traced=traced,
            autopsy=autopsy,
            namespaces=namespaces,
        )  # fmt: skip
        keeper.start()
        keeper.started.wait(_SPAWN_SECONDS)
    if keeper.failure is not None:
        ours.close()
        raise keeper.failure
    return KeptProcess(keeper, ours, limit_log(log, Pid(keeper.pid)))


class _Keeper(threading.Thread):
    """The thread that a process is the child and, if traced, the tracee of."""

    def __init__(
        self,
        *,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        record: int,
        traced: bool,
        autopsy: Path | None,
        namespaces: Pid | None,
    ) -> None:
        # A daemon thread: the tool never waits for it at its own end, and the kernel
        # kills the process with it.
        super().__init__(name="keeper", daemon=True)
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._log = log
        self._record = record
        self._traced = traced
        self._autopsy = autopsy
        self._namespaces = namespaces
        self._released = threading.Event()
        self.started = threading.Event()
        self.ended = threading.Event()
        self.failure: Exception | None = None
        self.returncode: int | None = None
        self.faults: list[Fault] = []
        self.pid = 0

    def run(self) -> None:
        try:
            self._spawn()
        except OSError as error:
            self.failure = StartError(str(error))
        finally:
            self.started.set()
        if self.failure is not None:
            if self.pid:
                os.waitpid(self.pid, 0)
            return
        if self._traced:
            ptrace.follow(self.pid, self.faults, autopsy=self._autopsy)
        self._keep()

    def let_go(self) -> None:
        self._released.set()
        self.join(_SPAWN_SECONDS)

    def _spawn(self) -> None:
        if self._namespaces is not None:
            enter_for_children(self._namespaces)
        self.pid = os.posix_spawn(
            self._arguments[0],
            self._arguments,
            self._environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (
                    os.POSIX_SPAWN_OPEN, 1, str(self._log),
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644,
                ),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, self._record, 3),
            ],
            setsid=True,
            setsigmask=[],
        )  # fmt: skip
        if not self._traced:
            return
        try:
            ptrace.seize(self.pid)
        except OSError as error:
            os.kill(self.pid, signal.SIGKILL)
            self.failure = PrivilegeError(
                "the daemon cannot be traced, so the address of a fault cannot be read",
                why=f"ptrace: {error.strerror}",
                hint="run as root, or allow ptrace in the container (--cap-add SYS_PTRACE)",
            )

    def _keep(self) -> None:
        # Not by waitid alone: while another thread of ours traces the process, that would also
        # return for the stops that are that thread's.
        descriptor = os.pidfd_open(self.pid)
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll()
        os.close(descriptor)
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        killed = end.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        self.returncode = -end.si_status if killed else end.si_status
        self.ended.set()
        self._released.wait()
        os.waitpid(self.pid, 0)
