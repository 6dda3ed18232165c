"""The programs of known behaviour: compiled here, started, spoken to."""

from __future__ import annotations

import hashlib
import resource
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from reactivate.errors import BuildError, MeasurementError, MissingToolError
from reactivate.evidence import Pid
from reactivate.target.model import Build, Daemon, TargetSpec, Wrapper
from reactivate.target.mount import TargetLauncher
from reactivate.workspace import Workspace

OPTIMISED = ("O0", "O2")
"""How the programs are compiled: without optimisation, and as most daemons are."""

_MIB = 1024 * 1024
_LIMIT_BYTES = 8 * _MIB
_BUILD_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_FLAGS = "-g -fno-omit-frame-pointer -fno-stack-protector -fno-optimize-sibling-calls -Wall -Wextra"


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Built programs, by optimisation.

    Attributes:
        folder: holds a folder for each of `OPTIMISED`.
    """

    folder: Path

    def path(self, name: str, optimised: str) -> Path:
        """One program."""
        return self.folder / optimised / name


async def build(sources: Path, folder: Path) -> Programs:
    """Compile every program twice.

    Args:
        sources: probes/groundtruth.
        folder: for the results.

    Raises:
        MissingToolError: no compiler or no make.
        BuildError: with the compiler's own words.
    """
    for tool, package in (("cc", "gcc"), ("make", "make")):
        if shutil.which(tool) is None:
            raise MissingToolError(
                f"{tool} is not installed",
                why="the programs of known depth are compiled where they are measured",
                hint=f"sudo apt-get install {package}",
            )
    for optimised in OPTIMISED:
        for below in ("", "fuse"):
            await _make(sources / below, folder / optimised, optimised)
    return Programs(folder=folder)


async def _make(source: Path, out: Path, optimised: str) -> None:
    command = ["make", "-s", "-C", str(source), f"OUT={out.resolve()}",
               f"CFLAGS={_FLAGS} -{optimised}"]  # fmt: skip
    done = None
    with trio.move_on_after(_BUILD_SECONDS):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False
        )
    if done is None or done.returncode != 0:
        said = "" if done is None else (done.stderr + done.stdout).decode(errors="replace")
        raise BuildError(
            f"the programs in {source} cannot be compiled",
            why=said.strip()[-2000:] or f"make did not end within {_BUILD_SECONDS:g} s",
            hint=f"make -C {source} OUT=/tmp/groundtruth",
        )


class Asked:
    """A running program that answers each line with one line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = Pid(process.pid)

    def ask(self, line: str) -> tuple[str, ...]:
        """Send a line, return the words of the answer; blocks.

        Raises:
            MeasurementError: it does not answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_SECONDS)
        except BrokenPipeError:
            ready = []
        words = tuple(self._process.stdout.readline().decode().split()) if ready else ()
        if not words:
            raise MeasurementError(
                f"a program of known depth did not answer to `{line}`",
                why="it died, or hangs",
                hint="reactivate calibrate",
            )
        return words


@contextmanager
def asked(program: Path, *arguments: str) -> Iterator[Asked]:
    """Start a program that speaks over its standard streams, and end it."""
    with subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield Asked(process)
        finally:
            process.kill()


class Obedient:
    """Mounts the daemon that does as it is told. Satisfies `Launcher`."""

    def __init__(self, program: Path, folder: Path, *, thread: bool = False) -> None:
        """Nothing is started yet.

        Args:
            program: the built daemon.
            folder: for mount points while it runs.
            thread: it serves on a second thread, not on the main one.
        """
        extra = ("thread",) if thread else ()
        self._launcher = TargetLauncher(
            TargetSpec(
                name="obedient",
                path=program,
                title="a daemon of known behaviour",
                build=(),
                build_timeout_seconds=_BUILD_SECONDS,
                artifact=str(program),
                run=(str(program), "{mountpoint}", *extra),
                environment={},
                mount_timeout_seconds=10.0,
                stop_timeout_seconds=5.0,
                configuration=None,
                components=(),
            ),
            Build(
                components=(),
                artifact=program,
                artifact_sha256=hashlib.sha256(program.read_bytes()).hexdigest(),
                configuration_sha256="",
                seconds=0.0,
                log=Path("/dev/null"),
                command=(),
            ),
            Workspace(root=folder),
        )

    @property
    def build(self) -> Build:
        """The compiled daemon."""
        return self._launcher.build

    def mounted(
        self,
        *,
        stack_limit_bytes: int | None = None,
        traced: bool = False,
        under: Wrapper | None = None,
    ) -> AbstractAsyncContextManager[Daemon]:
        """As `Launcher.mounted`; its stack is `limit_bytes()` unless another limit is asked for."""
        return self._launcher.mounted(
            stack_limit_bytes=stack_limit_bytes or limit_bytes(), traced=traced, under=under
        )


def limit_bytes() -> int:
    """The stack of the obedient daemon: 8 MiB, or less where no more is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    return _LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, _LIMIT_BYTES)
