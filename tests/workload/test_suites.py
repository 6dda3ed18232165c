from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from reactivate.target.model import Daemon
from reactivate.workload.drive import drive
from reactivate.workload.operation import Operation
from reactivate.workload.suites import SUITES, operations
from tests.target.daemons import BINDFS, launcher, needs_bindfs

EVERY = operations(SUITES)
# What a plain mirror can do; the others speak the language of VexFS.
PLAIN = operations(["posix", "metadata", "cache", "transaction"])
TRACEFS = Path("/sys/kernel/tracing")


def test_names_are_unique_and_suites_agree() -> None:
    names = [operation.name for suite in SUITES.values() for operation in suite]
    assert len(set(names)) == len(names) == len(EVERY)
    for suite, members in SUITES.items():
        assert members
        assert {operation.suite for operation in members} == {suite}
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_posix_and_only_posix_is_compared_between_builds() -> None:
    assert {operation.suite for operation in EVERY if operation.paired} == {"posix"}
    assert all(operation.paired for operation in SUITES["posix"])


def test_operations_keeps_order_and_drops_repetitions() -> None:
    names = [operation.name for operation in operations(["cache", "posix", "cache"])]
    assert names == ["read_again", *(operation.name for operation in SUITES["posix"])]
    with pytest.raises(KeyError):
        operations(["nothing"])


def rounds(folder: Path, operation: Operation, repeats: int) -> list[tuple[int, int]]:
    """Do it; the monotonic nanoseconds between which each measured step ran."""
    folder.mkdir()
    if operation.setup is not None:
        operation.setup(folder)
    spans = []
    for repetition in range(repeats):
        operation.prepare(folder, repetition)
        begun = time.monotonic_ns()
        operation.run(folder, repetition)
        spans.append((begun, time.monotonic_ns()))
        operation.tidy(folder, repetition)
    return spans


@pytest.mark.parametrize("operation", PLAIN, ids=lambda operation: operation.name)
def test_on_a_plain_folder(operation: Operation, tmp_path: Path) -> None:
    """No filesystem of ours is needed: what fails on a mount then, fails because of the mount."""
    with contextlib.suppress(OSError):
        os.setxattr(tmp_path, "user.reactivate", b"1")
    if operation.suite == "metadata" and not _has_attributes(tmp_path):
        pytest.skip("the folder of this test run keeps no extended attributes")
    rounds(tmp_path / "on", operation, 4)
    left = len(list((tmp_path / "on").iterdir()))
    rounds(tmp_path / "on again", operation, 9)
    # More repetitions leave no more behind.
    assert len(list((tmp_path / "on again").iterdir())) == left


def _has_attributes(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        os.setxattr(folder, "user.test", b"1")
        return True
    return False


@contextlib.contextmanager
def requests() -> Iterator[Path]:
    """The kernel's trace of FUSE requests, in a trace instance of this test's own."""
    instance = TRACEFS / "instances" / f"test-{os.getpid()}"
    try:
        instance.mkdir()
    except OSError as error:
        pytest.skip(f"no trace instance can be made: {error.strerror}")
    try:
        (instance / "trace_clock").write_text("mono")
        (instance / "events/fuse/fuse_request_send/enable").write_text("1")
        yield instance / "trace"
    finally:
        instance.rmdir()


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.usefixtures("needs_fuse", "needs_root")
def test_every_repetition_causes_the_opcodes_it_names(tmp_path: Path) -> None:
    """The kernel's own trace is the oracle."""
    needs_bindfs()
    if not (TRACEFS / "events/fuse/fuse_request_send").is_dir():
        pytest.skip("the kernel has no tracepoint fuse:fuse_request_send, or tracefs is missing")
    spans: dict[str, list[tuple[int, int]]] = {}

    def everything(daemon: Daemon) -> None:
        for operation in PLAIN:
            spans[operation.name] = rounds(daemon.mountpoint / operation.name, operation, 5)

    async def main() -> int:
        async with launcher(tmp_path, BINDFS).mounted() as daemon:
            await drive(daemon, everything, daemon, deadline_seconds=60, doing="everything")
            return daemon.connection

    with requests() as trace:
        connection = trio.run(main)
        lines = trace.read_text().splitlines()
    pattern = re.compile(
        rf"\s([\d.]+): fuse_request_send: connection {connection} .*\(FUSE_(\w+)\)"
    )
    seen = [
        (round(float(found[1]) * 1e9), found[2])
        for line in lines
        if (found := pattern.search(line))
    ]
    assert seen
    slack_ns = 1_000  # the trace counts whole microseconds
    for operation in PLAIN:
        for begun, ended in spans[operation.name]:
            caused = {code for at, code in seen if begun - slack_ns <= at <= ended + slack_ns}
            assert set(operation.opcodes) <= caused, (operation.name, caused)
