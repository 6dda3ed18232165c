"""Real daemons for tests: a mirror of Debian (bindfs), and small programs that misbehave."""

from __future__ import annotations

import select
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import outcome
import pytest
import trio
from trio.testing import MockClock

from reactivate import procfs
from reactivate.target.model import Build, TargetSpec
from reactivate.target.mount import TargetLauncher
from reactivate.workspace import Workspace
from tests.waiting import PATIENCE_SECONDS

_T = TypeVar("_T")
_run = trio.run

BINDFS = ("bindfs", "-f", "{backing}", "{mountpoint}")

# Mounts (the answer to the kernel's INIT is never given) and waits for a signal.
SILENT_MOUNT = """
import ctypes, os, signal, sys
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = "fd=%d,rootmode=40000,user_id=%d,group_id=%d" % (fd, os.getuid(), os.getgid())
if libc.mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted and silent", flush=True)
while True:
    signal.pause()
"""

# Answers INIT, says ENOSYS to all else, does not listen to SIGTERM, stays when the mount is gone.
STUBBORN = """
import ctypes, errno, os, signal, struct, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = "fd=%d,rootmode=40000,user_id=%d,group_id=%d" % (fd, os.getuid(), os.getgid())
if libc.mount(b"stubborn", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
while True:
    try:
        request = os.read(fd, 1 << 20)
    except OSError:
        signal.pause()
    length, opcode, unique = struct.unpack_from("=IIQ", request)
    if opcode == 26:
        body = struct.pack("=IIIIHHII", 7, 31, 65536, 0, 8, 8, 65536, 1).ljust(64, bytes(1))
        os.write(fd, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
    elif opcode not in (2, 36, 42):
        os.write(fd, struct.pack("=IiQ", 16, -errno.ENOSYS, unique))
"""


def python_daemon(source: str, *arguments: str) -> tuple[str, ...]:
    """The command of a small Python program."""
    return (sys.executable, "-c", source.strip(), *arguments)


def launcher(
    root: Path,
    command: tuple[str, ...],
    *,
    mount_seconds: float = PATIENCE_SECONDS,
    stop_seconds: float = 20.0,
    environment: dict[str, str] | None = None,
    mountpoint: Path | None = None,
) -> TargetLauncher:
    """A launcher for a command, without a build."""
    spec = TargetSpec(
        name="test",
        path=root / "test.toml",
        title="test",
        build=(),
        build_timeout_seconds=PATIENCE_SECONDS,
        artifact=command[0],
        run=command,
        environment=environment or {},
        mount_timeout_seconds=mount_seconds,
        stop_timeout_seconds=stop_seconds,
        configuration=None,
        components=(),
    )
    build = Build(
        components=(),
        artifact=Path(shutil.which(command[0]) or command[0]),
        artifact_sha256="0" * 64,
        configuration_sha256="",
        seconds=0.0,
        log=root / "build.log",
        command=(),
    )
    return TargetLauncher(spec, build, Workspace(root), mountpoint=mountpoint)


def needs_bindfs() -> None:
    """Skip without bindfs."""
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")


def assert_nothing_left(root: Path) -> None:
    """No mount, no folder, no record of any mount in this workspace."""
    run = Workspace(root).run
    assert not run.is_dir() or list(run.iterdir()) == []
    assert [m for m in procfs.fuse_mounts() if m.mountpoint.is_relative_to(root.resolve())] == []


async def until(
    condition: Callable[[], object], what: str = "", *, seconds: float = PATIENCE_SECONDS
) -> None:
    """As `tests.waiting.until`, while other tasks go on."""
    ends = trio.current_time() + seconds
    while not condition():
        assert trio.current_time() < ends, f"not within {seconds:g} s: {what or 'the condition'}"
        with trio.move_on_after(0.002):
            await trio.Event().wait()


def said(run: Path, words: str) -> bool:
    """Whether the log of a daemon that runs has these words; `run`: the workspace's."""
    return any(words in log.read_text() for log in run.glob("*/daemon.log"))


def run_late(main: Callable[[], Awaitable[_T]], happened: Callable[[], object]) -> _T:
    """Run a test in which a time must be over, but not before something has happened.

    Until then trio's clock hardly moves, then it jumps: how fast the machine is does not matter.
    """
    clock = MockClock(rate=0.01)

    async def whole() -> _T:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hasten)
            result = await outcome.acapture(main)
            nursery.cancel_scope.cancel()
        return result.unwrap()

    async def hasten() -> None:
        ends = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            assert time.monotonic() < ends, "what must come first has not come"
            await trio.lowlevel.checkpoint()
            select.select([], [], [], 0.001)
        clock.jump(PATIENCE_SECONDS)
        clock.rate = 1.0

    return _run(whole, clock=clock)
