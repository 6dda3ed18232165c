"""What a target is made of, a build, and a mounted daemon. Data and one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from reactivate.evidence import Address, NotMeasured, Pid, Tid
from reactivate.target.own_witness import OwnWitness
from reactivate.target.switches.contract import Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A deadly signal on its way to a thread of a traced daemon, as the kernel described it.

    Attributes:
        signal: number of the signal (11 is SIGSEGV).
        code: `si_code`; zero and below mean that a process sent it, not the processor.
        address: the address that could not be used; None if the signal carries none.
        tid: the thread that is to get it.
        stack_pointer: of that thread; None on processors this tool does not know.
        instruction_pointer: of that thread; None on processors this tool does not know.
        maps: text of /proc/PID/maps at that moment.
        stack_limit_bytes: soft RLIMIT_STACK of the process; None if unlimited or not read.
        delivering: the signal whose handler the kernel could not enter, because its frame could
            not be put on the stack: this fault is the kernel's answer to that. Else 0.
        autopsy: file that describes the thread's registers and stack (`snapshot.take`); None if
            they were not wanted or could not be had.
        unexplained: why they could not be had, "" otherwise.
    """

    signal: int
    code: int
    address: Address | None
    tid: Tid
    stack_pointer: Address | None
    instruction_pointer: Address | None
    maps: str
    stack_limit_bytes: int | None = None
    delivering: int = 0
    autopsy: Path | None = None
    unexplained: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSwitch:
    """A part of the target that can be on or off.

    Attributes:
        id: the name used in checklists.
        needs: ids of components that must be on with it.
        witness: name of the witness in `reactivate.workload.witness`.
        operation: a witness of the target's own, in its place.
        symbol: a function that only this component runs, in its place; "" if none.
        suite: what is done while calls of `symbol` are counted.
        switches: how it is switched, besides `{components}` and `for_each_component`.
    """

    id: str
    needs: tuple[str, ...]
    witness: str
    operation: OwnWitness | None = None
    symbol: str = ""
    suite: str = "posix"
    switches: tuple[Switch, ...] = ()


class Threads(StrEnum):
    """Which threads serve requests."""

    MAIN = "main"
    POOL = "pool"
    UNKNOWN = "not said"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """configs/targets/NAME.toml, validated. Commands are argument lists with `{fields}`."""

    name: str
    path: Path
    title: str
    build: tuple[tuple[str, ...], ...]
    build_timeout_seconds: float
    artifact: str
    run: tuple[str, ...]
    environment: Mapping[str, str]
    mount_timeout_seconds: float
    stop_timeout_seconds: float
    configuration: Path | None
    components: tuple[ComponentSwitch, ...]
    run_component: tuple[str, ...] = ()
    """Appended to `run` once for each enabled component, with `{component}` as its id."""
    source: Path | None = None
    """The user's git checkout, which is only read; None if the target has none."""
    threads: Threads = Threads.UNKNOWN
    debug_information: bool | None = None
    """Whether the artifact is meant to hold it; None if the file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A finished build.

    Attributes:
        components: ids compiled in, in the target's order.
        artifact: path of the file whose hash identifies the build.
        artifact_sha256: hex digest of that file.
        configuration_sha256: digest of the parts of the target's configuration that concern
            the enabled components and, where they are switched when the daemon is started, of
            its command line and environment; "" if there is neither.
        seconds: wall time of the build, 0.0 if it was up to date.
        log: path of the build log.
        command: the build command as run, for display.
        commit: of the source, "" without one; with `+` if it has changes not committed.
        cached: nothing was run, because nothing that goes into the build has changed.
        source_sha256: digest of commit, uncommitted changes and patches; "" without a source.
    """

    components: tuple[str, ...]
    artifact: Path
    artifact_sha256: str
    configuration_sha256: str
    seconds: float
    log: Path
    command: tuple[str, ...]
    commit: str = ""
    cached: bool = False
    source_sha256: str = ""


class Daemon(Protocol):
    """A mounted, answering daemon in a session of its own."""

    @property
    def pid(self) -> Pid:
        """Process id of the daemon that serves the mount."""

    @property
    def mountpoint(self) -> Path:
        """Where it is mounted."""

    @property
    def connection(self) -> int:
        """FUSE connection number: the mount's device minor, as in /sys/fs/fuse/connections."""

    @property
    def command(self) -> tuple[str, ...]:
        """The command line as started."""

    @property
    def log(self) -> Path:
        """File with the daemon's standard output and error."""

    def alive(self) -> bool:
        """Whether the process runs (a zombie does not)."""

    def kill(self) -> None:
        """SIGKILL to the process group and abort of the connection; blocked callers return."""

    def returncode(self) -> int | None:
        """None while alive; else the exit status, negative signal number if killed by one."""

    def faults(self) -> tuple[Fault, ...]:
        """Deadly signals seen so far, oldest first; always empty unless mounted with `traced`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """A program that runs the daemon inside its own process, as valgrind does.

    It must keep the process id that it was started with, and end when the daemon does.

    Attributes:
        prefix: put before the daemon's command line.
        environment: variables in addition to the target's.
        mount_timeout_seconds: in place of the target's, since everything is slower inside.
        stop_timeout_seconds: likewise.
    """

    prefix: tuple[str, ...]
    environment: Mapping[str, str]
    mount_timeout_seconds: float
    stop_timeout_seconds: float


class Launcher(Protocol):
    """A build that can be mounted any number of times, each time as a fresh process."""

    @property
    def build(self) -> Build:
        """The build that is mounted."""

    def mounted(
        self,
        *,
        stack_limit_bytes: int | None = None,
        traced: bool = False,
        under: Wrapper | None = None,
    ) -> AbstractAsyncContextManager[Daemon]:
        """Start and mount; stop, unmount and clean up on leaving by whichever door.

        Args:
            stack_limit_bytes: RLIMIT_STACK (soft and hard) of the daemon, set before exec;
                None leaves the inherited limit.
            traced: start the daemon under this process as ptrace tracer (PTRACE_O_EXITKILL),
                so that the fault address of its death can be read.
            under: start the daemon inside another program, with that program's patience.

        Raises:
            MountError: not mounted and answering before the deadline.
            DaemonDiedError: it ended before it was mounted.
        """


# -- boxes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What a daemon may use; None leaves a limit as it is inherited.

    Attributes:
        stack_bytes: RLIMIT_STACK, soft and hard.
        memory_bytes: memory of the daemon and all that it starts, without swap.
        processes: processes and threads of the daemon and all that it starts.
        file_size_bytes: RLIMIT_FSIZE: the largest file that it may write.
        open_files: RLIMIT_NOFILE.
        cpu_seconds: RLIMIT_CPU of each of its processes.
        isolate: mount and process namespaces of its own, where that is allowed. Its mount
            point is then reached through /proc.
    """

    stack_bytes: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    file_size_bytes: int | None = None
    open_files: int | None = None
    cpu_seconds: int | None = None
    isolate: bool = False


class BackingFault(StrEnum):
    """What is wrong with a data folder."""

    FULL = "full"
    """A filesystem of so many bytes: ENOSPC. Needs the privilege to mount."""
    READ_ONLY = "read_only"
    """EROFS; without the privilege to mount, EACCES. It is empty."""
    IO_ERROR = "io_error"
    """Whatever changes something answers EIO after so many bytes. Needs FUSE and pyfuse3."""


class Holder(StrEnum):
    """What holds a box together, that is: what limits memory, or would."""

    CGROUP_V2 = "cgroup v2"
    CGROUP_V1 = "cgroup v1"
    RLIMIT = "rlimit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """What a box really limited, and what it counted.

    Attributes:
        memory_limited: a limit of memory was asked for and holds.
        processes_limited: a limit of processes was asked for and holds.
        isolated: the daemon has mount and process namespaces of its own.
        how: what holds the box.
        why: what was asked for and could not be had, and the reason; "" if nothing.
        oom_kills: processes that the kernel killed because the box was out of memory.
        peak_bytes: most memory of all processes in the box together, page cache included.
    """

    memory_limited: bool
    processes_limited: bool
    isolated: bool
    how: Holder
    why: str
    oom_kills: int | NotMeasured
    peak_bytes: int | NotMeasured


class BoxedDaemon(Daemon, Protocol):
    """A mounted daemon that can tell how its box held."""

    def box_report(self) -> BoxReport:
        """What the box holds and has counted so far; final once the mount is left.

        Without a box: `how` is `Holder.NONE`.
        """


class BoxLauncher(Launcher, Protocol):
    """A launcher that starts its daemons itself, so that it can box them."""

    def mounted(
        self,
        *,
        stack_limit_bytes: int | None = None,
        traced: bool = False,
        under: Wrapper | None = None,
        box: Box | None = None,
        autopsy: Path | None = None,
        backing: Path | None = None,
        configuration: Path | None = None,
    ) -> AbstractAsyncContextManager[BoxedDaemon]:
        """As `Launcher.mounted`, within limits and on data that outlives the mount.

        Args:
            stack_limit_bytes: goes before the box's `stack_bytes`.
            traced: see `Launcher.mounted`.
            under: see `Launcher.mounted`.
            box: limits of the daemon and of all that it starts.
            autopsy: existing folder to which the call chain of a deadly signal is written;
                needs `traced`.
            backing: existing folder for the daemon's data, neither emptied nor removed; None
                for a fresh one that goes with the mount.
            configuration: the daemon's configuration file, in place of the target's.

        Raises:
            MountError: not mounted and answering before the deadline.
            DaemonDiedError: it ended before it was mounted.
            UsageError: `autopsy` without `traced`, or a path that does not exist.
        """
